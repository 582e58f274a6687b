"""One known matrix: the eigenbasis."""

from jaxlmm.solvers.spectral.missing import eigen_by_response
from jaxlmm.solvers.spectral.spectral import Spectral

__all__ = ["Spectral", "eigen_by_response"]
