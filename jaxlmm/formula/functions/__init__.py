"""R's functions, contrasts and operators on columns of data."""

from jaxlmm.formula.functions.arithmetic import NUMBERS, arithmetic, logical_as_numbers
from jaxlmm.formula.functions.functions import FUNCTIONS, INSTEAD, KNOWN, dummy, factor, level_among, ordered
from jaxlmm.formula.functions.splines import bs, ns
from jaxlmm.formula.functions.standins import StandIns, column_name
from jaxlmm.formula.functions.variables import (
    EXACT,
    Variable,
    as_numbers,
    check_exact,
    check_levels,
    is_text,
    plain_dtypes,
    said,
)

__all__ = [
    "EXACT",
    "FUNCTIONS",
    "INSTEAD",
    "KNOWN",
    "NUMBERS",
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
    "logical_as_numbers",
    "ns",
    "ordered",
    "plain_dtypes",
    "said",
]
