"""One known matrix: the eigenbasis."""

from jaxlmm.solvers.spectral.missing import own_eigen
from jaxlmm.solvers.spectral.spectral import Spectral

__all__ = ["Spectral", "own_eigen"]
