"""Clusters of related levels, and residual structures: dense blocks."""

from jaxlmm.solvers.dense.by_rows import DenseByRows, largest_cluster
from jaxlmm.solvers.dense.dense import Dense
from jaxlmm.solvers.dense.dense import effects_of as effects_of
from jaxlmm.solvers.dense.group import ClusterGroup as ClusterGroup
from jaxlmm.solvers.dense.group import group_of as group_of

__all__ = ["Dense", "DenseByRows", "largest_cluster"]
