"""Formulas: from a formula and a data frame to a design with its labels, on complete rows."""

from jaxlmm.formula.columns import Encoding, check_weights
from jaxlmm.formula.constant import check_varies, constant_responses
from jaxlmm.formula.exact_levels import check_levels, exact_levels
from jaxlmm.formula.family import impossible_in_words
from jaxlmm.formula.frame import ModelFrame, build_frame
from jaxlmm.formula.groups import (
    DispersionLabels,
    FamilyLabels,
    GroupLabels,
    ModelLabels,
    TermLabels,
    check_structure,
)
from jaxlmm.formula.notes import notes_of_responses
from jaxlmm.formula.response import with_response
from jaxlmm.formula.responses import Responses, read_responses
from jaxlmm.formula.syntax import Bar, ModelOptions, ParsedFormula, parse, updated, zero_terms

__all__ = [
    "Bar",
    "DispersionLabels",
    "Encoding",
    "FamilyLabels",
    "GroupLabels",
    "ModelFrame",
    "ModelLabels",
    "ModelOptions",
    "ParsedFormula",
    "Responses",
    "TermLabels",
    "build_frame",
    "check_levels",
    "check_structure",
    "check_varies",
    "check_weights",
    "constant_responses",
    "exact_levels",
    "impossible_in_words",
    "notes_of_responses",
    "parse",
    "read_responses",
    "updated",
    "with_response",
    "zero_terms",
]
