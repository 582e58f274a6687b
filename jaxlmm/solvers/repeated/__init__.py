"""Clusters that repeat a few patterns of positions: one inverse for each pattern."""

from jaxlmm.solvers.repeated.repeated import Repeated

__all__ = ["Repeated"]
