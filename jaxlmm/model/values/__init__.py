"""Values of a design apart from its incidence: they may be traced, and replaced."""

from jaxlmm.model.values.incidence import Incidence
from jaxlmm.model.values.replacing import padded_rows, relation_of, replaced, weighted_basis
from jaxlmm.model.values.settled import at_rest, settled

__all__ = ["Incidence", "at_rest", "padded_rows", "relation_of", "replaced", "settled", "weighted_basis"]
