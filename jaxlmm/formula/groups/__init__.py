"""Grouping factors: levels, structures, known matrices, labels."""

from jaxlmm.formula.groups.coordinates import Located
from jaxlmm.formula.groups.copies import notes_of_copies
from jaxlmm.formula.groups.ids import close, compared, named_like
from jaxlmm.formula.groups.kinship import Known, known_matrices, not_grouped_by, repeated
from jaxlmm.formula.groups.labels import GroupLabels, ModelLabels, OffsetLabels, TermLabels
from jaxlmm.formula.groups.levels import Levels, grouping_levels, level_labels, real_factors
from jaxlmm.formula.groups.structures import structures_of
from jaxlmm.formula.groups.terms import TermBuilder

__all__ = [
    "GroupLabels",
    "Known",
    "Levels",
    "Located",
    "ModelLabels",
    "OffsetLabels",
    "TermBuilder",
    "TermLabels",
    "close",
    "compared",
    "grouping_levels",
    "known_matrices",
    "level_labels",
    "named_like",
    "not_grouped_by",
    "notes_of_copies",
    "real_factors",
    "repeated",
    "structures_of",
]
