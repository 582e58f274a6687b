"""Optima of responses on a design: arrays in, arrays out, in compiled functions."""

from jaxlmm.engine.batch import rows_of, solve_many
from jaxlmm.engine.found import Found, certified
from jaxlmm.engine.minimum import Optima, find_optima
from jaxlmm.engine.missing import patterns_of, solve_by_response
from jaxlmm.engine.problems import Problems, RowsByResponse
from jaxlmm.engine.single import Profile, Solution, profile, solve_single
from jaxlmm.engine.traced import Estimate, estimate

__all__ = [
    "Estimate",
    "Found",
    "Optima",
    "Problems",
    "Profile",
    "RowsByResponse",
    "Solution",
    "certified",
    "estimate",
    "find_optima",
    "patterns_of",
    "profile",
    "rows_of",
    "solve_by_response",
    "solve_many",
    "solve_single",
]
