"""A model on new data: columns, offsets, levels, positions, and the random terms of a prediction."""

from jaxlmm.formula.newdata.newdata import MISSING_CODE, UNSEEN_LEVEL, levels_on, offset_on, positions_on, row_labels
from jaxlmm.formula.newdata.subset import chosen_columns

__all__ = [
    "MISSING_CODE",
    "UNSEEN_LEVEL",
    "chosen_columns",
    "levels_on",
    "offset_on",
    "positions_on",
    "row_labels",
]
