"""Programmes over arrays: a design and responses in, optima out. No pandas here."""

from jaxlmm.engine.found import Found
from jaxlmm.engine.many import rows_of, solve_many
from jaxlmm.engine.optimum import Optima, solve
from jaxlmm.engine.own_rows import solve_own_rows, takes_own_rows
from jaxlmm.engine.patterns import patterns_of
from jaxlmm.engine.problems import Problems
from jaxlmm.engine.pure import Estimate, estimate
from jaxlmm.engine.scan_any import AnyScanner, NullPoint
from jaxlmm.engine.scan_keep import Keeper, Pairs
from jaxlmm.engine.scan_panel import Rows as ScanRows
from jaxlmm.engine.scan_panel import has_one_ratio
from jaxlmm.engine.scan_run import Scanner, block_size
from jaxlmm.engine.scan_tally import CODES, UNSEEN, Tally
from jaxlmm.engine.scan_traits import Given, Traits
from jaxlmm.engine.single import Solution, solve_single

__all__ = [
    "CODES",
    "UNSEEN",
    "AnyScanner",
    "Estimate",
    "Found",
    "Given",
    "Keeper",
    "NullPoint",
    "Optima",
    "Pairs",
    "Problems",
    "ScanRows",
    "Scanner",
    "Solution",
    "Tally",
    "Traits",
    "block_size",
    "estimate",
    "has_one_ratio",
    "patterns_of",
    "rows_of",
    "solve",
    "solve_many",
    "solve_own_rows",
    "solve_single",
    "takes_own_rows",
]
