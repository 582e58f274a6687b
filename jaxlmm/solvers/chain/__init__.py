"""Markov chains along one coordinate: recurrences over the rows."""

from jaxlmm.solvers.chain.chain import Chain

__all__ = ["Chain"]
