"""Exact products with the inverse covariance of the data, one solver per shape of model, and the base of users' own."""

from jaxlmm._util import static
from jaxlmm.model import Factors
from jaxlmm.solvers.base import AbstractSolver, ByResponse, Effects, Route
from jaxlmm.solvers.base import QuadraticForms as QuadraticForms
from jaxlmm.solvers.blocked import Blocked
from jaxlmm.solvers.chain import Chain
from jaxlmm.solvers.clusters import clusters_of as clusters_of
from jaxlmm.solvers.dense import Dense
from jaxlmm.solvers.moments import Moments
from jaxlmm.solvers.repeated import Repeated
from jaxlmm.solvers.select import SOLVERS as SOLVERS
from jaxlmm.solvers.select import Choice as Choice
from jaxlmm.solvers.select import as_solver as as_solver
from jaxlmm.solvers.select import built as built
from jaxlmm.solvers.select import identity as identity
from jaxlmm.solvers.select import select as select
from jaxlmm.solvers.select import unsuitable as unsuitable
from jaxlmm.solvers.select import with_matrices as with_matrices
from jaxlmm.solvers.spectral import Spectral

__all__ = [
    "AbstractSolver",
    "Blocked",
    "ByResponse",
    "Chain",
    "Dense",
    "Effects",
    "Factors",
    "Moments",
    "Repeated",
    "Route",
    "Spectral",
    "static",
]
