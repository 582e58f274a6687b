"""Programmes over arrays: a design and responses in, optima out. No pandas here."""

from jaxlmm.engine.optimum import Optima, judged, solve
from jaxlmm.engine.problems import Problems
from jaxlmm.engine.single import Solution, solve_single

__all__ = ["Optima", "Problems", "Solution", "judged", "solve", "solve_single"]
