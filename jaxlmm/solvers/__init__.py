"""Exact products with the inverse covariance of the data, one solver per shape of model."""

from jaxlmm.solvers.base import AbstractSolver, Effects, QuadraticForms
from jaxlmm.solvers.clusters import clusters_of
from jaxlmm.solvers.moments import Moments, moments_by_response
from jaxlmm.solvers.select import SOLVERS, Choice, select
from jaxlmm.solvers.spectral import Spectral, eigen_by_response

__all__ = [
    "SOLVERS",
    "AbstractSolver",
    "Choice",
    "Effects",
    "Moments",
    "QuadraticForms",
    "Spectral",
    "clusters_of",
    "eigen_by_response",
    "moments_by_response",
    "select",
]
