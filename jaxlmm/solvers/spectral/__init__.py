"""One known matrix: the eigenbasis."""

from jaxlmm.solvers.spectral.spectral import Spectral

__all__ = ["Spectral"]
