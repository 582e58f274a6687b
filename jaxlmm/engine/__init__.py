"""Optima of responses on a design: arrays in, arrays out, in compiled functions."""

from jaxlmm.engine.after_fit import (
    ManyProfiler,
    Minima,
    Profiler,
    WithoutRows,
    curvatures,
    estimates_without,
    kenward_roger,
    leverages,
    products_with,
    working_model,
)
from jaxlmm.engine.found import Found, certified
from jaxlmm.engine.many import patterns_of, prepared_anew, rows_of, solve_by_response, solve_many
from jaxlmm.engine.minimum import Optima, find_optima
from jaxlmm.engine.problems import Problems, RowsByResponse, batches
from jaxlmm.engine.single import Solution, solve_single
from jaxlmm.engine.traced import Estimate, estimate

__all__ = [
    "Estimate",
    "Found",
    "ManyProfiler",
    "Minima",
    "Optima",
    "Problems",
    "Profiler",
    "RowsByResponse",
    "Solution",
    "WithoutRows",
    "batches",
    "certified",
    "curvatures",
    "estimate",
    "estimates_without",
    "find_optima",
    "kenward_roger",
    "leverages",
    "patterns_of",
    "prepared_anew",
    "products_with",
    "rows_of",
    "solve_by_response",
    "solve_many",
    "solve_single",
    "working_model",
]
