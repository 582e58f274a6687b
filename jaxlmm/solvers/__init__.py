"""Exact products with the inverse covariance of the data, one solver per shape of model."""

from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.select import SOLVERS, Choice, select

__all__ = ["SOLVERS", "AbstractSolver", "Choice", "Effects", "select"]
