"""R's functions and operators on columns of data; the types of columns."""

from jaxlmm.formula.functions.arithmetic import LOGICAL_AS_NUMBERS, arithmetic, logical_as_numbers
from jaxlmm.formula.functions.functions import (
    BUILTIN_NAMES,
    FUNCTIONS,
    REPLACEMENTS,
    dummy,
    factor,
    level_among,
    ordered,
)
from jaxlmm.formula.functions.splines import bs, ns
from jaxlmm.formula.functions.standins import StandIns, column_name
from jaxlmm.formula.functions.variables import (
    MAX_EXACT_INTEGER,
    Variable,
    as_numbers,
    check_exact,
    check_levels,
    is_text,
    listed,
    plain_dtypes,
)

__all__ = [
    "BUILTIN_NAMES",
    "FUNCTIONS",
    "LOGICAL_AS_NUMBERS",
    "MAX_EXACT_INTEGER",
    "REPLACEMENTS",
    "StandIns",
    "Variable",
    "arithmetic",
    "as_numbers",
    "bs",
    "check_exact",
    "check_levels",
    "column_name",
    "dummy",
    "factor",
    "is_text",
    "level_among",
    "listed",
    "logical_as_numbers",
    "ns",
    "ordered",
    "plain_dtypes",
]
