"""Formulas as terms and bars: parsed, resolved against a data frame's names, updated."""

from jaxlmm.formula.syntax.options import ModelOptions
from jaxlmm.formula.syntax.parse import Bar, ParsedFormula, bar_of, parse, parse_tag, parts_of, residual_bar, with_bars
from jaxlmm.formula.syntax.powers import notes_of_powers
from jaxlmm.formula.syntax.products import expand
from jaxlmm.formula.syntax.resolve import column_of, renamed, resolved, resolved_options, with_known_names
from jaxlmm.formula.syntax.tags import TAGS
from jaxlmm.formula.syntax.unknown import sorted_names, unknown_names
from jaxlmm.formula.syntax.update import updated
from jaxlmm.formula.syntax.zeros import zero_terms

__all__ = [
    "TAGS",
    "Bar",
    "ModelOptions",
    "ParsedFormula",
    "bar_of",
    "column_of",
    "expand",
    "notes_of_powers",
    "parse",
    "parse_tag",
    "parts_of",
    "renamed",
    "residual_bar",
    "resolved",
    "resolved_options",
    "sorted_names",
    "unknown_names",
    "updated",
    "with_bars",
    "with_known_names",
    "zero_terms",
]
