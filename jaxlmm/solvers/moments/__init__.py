"""One grouping factor: pooled cross-products of each level."""

from jaxlmm.solvers.moments.moments import Moments

__all__ = ["Moments"]
