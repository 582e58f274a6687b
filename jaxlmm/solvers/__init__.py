"""Exact products with the inverse covariance of the data, one solver per shape of model."""

from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.moments import Moments
from jaxlmm.solvers.own_rows import own_moments
from jaxlmm.solvers.select import SOLVERS, Choice, select

__all__ = ["SOLVERS", "AbstractSolver", "Choice", "Effects", "Moments", "own_moments", "select"]
