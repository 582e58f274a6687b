"""Values of a design apart from its pattern: they may be traced, and replaced."""

from jaxlmm.model.values.pattern import Pattern
from jaxlmm.model.values.replacing import padded_rows, relation_of, replaced, weighted_basis
from jaxlmm.model.values.settled import at_rest, settled

__all__ = ["Pattern", "at_rest", "padded_rows", "relation_of", "replaced", "settled", "weighted_basis"]
