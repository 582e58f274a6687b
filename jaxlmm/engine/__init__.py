"""Programs over arrays: a design and responses in, optima out. No pandas here."""

from jaxlmm.engine.batch import rows_of, solve_many
from jaxlmm.engine.found import Found, known
from jaxlmm.engine.minimum import Optima, solve
from jaxlmm.engine.missing import patterns_of, solve_own_rows, takes_own_rows
from jaxlmm.engine.problems import OwnRows, Problems
from jaxlmm.engine.single import Solution, solve_single
from jaxlmm.engine.traced import Estimate, estimate

__all__ = [
    "Estimate",
    "Found",
    "Optima",
    "OwnRows",
    "Problems",
    "Solution",
    "estimate",
    "known",
    "patterns_of",
    "rows_of",
    "solve",
    "solve_many",
    "solve_own_rows",
    "solve_single",
    "takes_own_rows",
]
