"""Model matrices from formulas and data, and their encodings, which compute the same columns on other data."""

from jaxlmm.formula.columns.checks import (
    check_grouping,
    check_names,
    check_response,
    check_unique,
    check_weights,
    column_or_array,
    finite_or_raise,
    variables_of,
)
from jaxlmm.formula.columns.circular import check_response_apart, explains_itself, right_variables
from jaxlmm.formula.columns.columns import Columns, as_arithmetic, model_columns, model_variables, used_variables
from jaxlmm.formula.columns.encoding import Encoding, Terms
from jaxlmm.formula.columns.numeric import array_numbers, frame_numbers
from jaxlmm.formula.columns.plain import numbers_from_plain, numbers_to_plain

__all__ = [
    "Columns",
    "Encoding",
    "Terms",
    "array_numbers",
    "as_arithmetic",
    "check_grouping",
    "check_names",
    "check_response",
    "check_response_apart",
    "check_unique",
    "check_weights",
    "column_or_array",
    "explains_itself",
    "finite_or_raise",
    "frame_numbers",
    "model_columns",
    "model_variables",
    "numbers_from_plain",
    "numbers_to_plain",
    "right_variables",
    "used_variables",
    "variables_of",
]
