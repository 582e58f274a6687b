"""Clusters that repeat a few patterns of positions: one inverse for each pattern."""

from jaxlmm.solvers.patterns.patterns import Patterns

__all__ = ["Patterns"]
