"""Kernels: correlations that decay with the distance of positions, in any number of dimensions."""

from jaxlmm.covariance.spatial.exponential import Exponential
from jaxlmm.covariance.spatial.gaussian import Gaussian
from jaxlmm.covariance.spatial.kernel import Kernel
from jaxlmm.covariance.spatial.matern import Matern

__all__ = ["Exponential", "Gaussian", "Kernel", "Matern"]
