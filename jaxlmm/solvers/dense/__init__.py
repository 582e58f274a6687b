"""Clusters of related levels, and residual structures: dense blocks."""

from jaxlmm.solvers.dense.by_rows import DenseByRows, largest_cluster
from jaxlmm.solvers.dense.dense import Dense

__all__ = ["Dense", "DenseByRows", "largest_cluster"]
