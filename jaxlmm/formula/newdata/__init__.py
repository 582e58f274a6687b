"""A model on new data."""

from jaxlmm.formula.newdata.newdata import MISSING, UNSEEN, offset_on, places_on, positions_on, row_labels
from jaxlmm.formula.newdata.subset import chosen_columns

__all__ = ["MISSING", "UNSEEN", "chosen_columns", "offset_on", "places_on", "positions_on", "row_labels"]
