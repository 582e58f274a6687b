"""Programmes over arrays: a design and a response in, an optimum out. No pandas here."""

from jaxlmm.engine.single import Solution, solve_single

__all__ = ["Solution", "solve_single"]
