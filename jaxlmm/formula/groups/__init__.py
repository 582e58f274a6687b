"""Grouping factors: levels, structures, known matrices, labels."""

from jaxlmm.formula.groups.beyond import DispersionLabels, FamilyLabels, ZeroLabels
from jaxlmm.formula.groups.by_level import bars_by_level
from jaxlmm.formula.groups.coordinates import LevelStructure
from jaxlmm.formula.groups.copies import notes_of_copies
from jaxlmm.formula.groups.ids import comparable, named_like, spelling_hint
from jaxlmm.formula.groups.kinship import KnownMatrix, group_names, known_matrices, not_grouped_by
from jaxlmm.formula.groups.labels import GroupLabels, ModelLabels, OffsetLabels, TermLabels
from jaxlmm.formula.groups.levels import Levels, grouping_levels, level_labels, real_factors
from jaxlmm.formula.groups.structures import check_structure, structures_of
from jaxlmm.formula.groups.terms import TermBuilder

__all__ = [
    "DispersionLabels",
    "FamilyLabels",
    "GroupLabels",
    "KnownMatrix",
    "LevelStructure",
    "Levels",
    "ModelLabels",
    "OffsetLabels",
    "TermBuilder",
    "TermLabels",
    "ZeroLabels",
    "bars_by_level",
    "check_structure",
    "comparable",
    "group_names",
    "grouping_levels",
    "known_matrices",
    "level_labels",
    "named_like",
    "not_grouped_by",
    "notes_of_copies",
    "real_factors",
    "spelling_hint",
    "structures_of",
]
