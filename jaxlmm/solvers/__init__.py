"""Exact products with the inverse covariance of the data, one solver per shape of model."""

from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.clusters import clusters_of
from jaxlmm.solvers.moments import Moments, own_moments
from jaxlmm.solvers.select import SOLVERS, Choice, select
from jaxlmm.solvers.spectral import Spectral, own_eigen

__all__ = [
    "SOLVERS",
    "AbstractSolver",
    "Choice",
    "Effects",
    "Moments",
    "Spectral",
    "clusters_of",
    "own_eigen",
    "own_moments",
    "select",
]
