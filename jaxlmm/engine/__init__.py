"""Programs over arrays: a design and responses in, optima out. No pandas here."""

from jaxlmm.engine.batch import rows_of, solve_many
from jaxlmm.engine.found import Found, known
from jaxlmm.engine.minimum import Optima, solve
from jaxlmm.engine.missing import patterns_of, solve_by_response, solves_by_response
from jaxlmm.engine.problems import Problems, RowsByResponse
from jaxlmm.engine.single import Solution, solve_single
from jaxlmm.engine.traced import Estimate, estimate

__all__ = [
    "Estimate",
    "Found",
    "Optima",
    "Problems",
    "RowsByResponse",
    "Solution",
    "estimate",
    "known",
    "patterns_of",
    "rows_of",
    "solve",
    "solve_by_response",
    "solve_many",
    "solve_single",
    "solves_by_response",
]
