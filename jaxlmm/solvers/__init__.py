"""Exact products with the inverse covariance of the data, one solver per shape of model."""

from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.moments import Moments
from jaxlmm.solvers.own_eigen import own_eigen
from jaxlmm.solvers.own_rows import own_moments
from jaxlmm.solvers.select import SOLVERS, Choice, select
from jaxlmm.solvers.spectral import Spectral

__all__ = [
    "SOLVERS",
    "AbstractSolver",
    "Choice",
    "Effects",
    "Moments",
    "Spectral",
    "own_eigen",
    "own_moments",
    "select",
]
