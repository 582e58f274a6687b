"""One grouping factor: pooled cross-products of each level."""

from jaxlmm.solvers.moments.missing import moments_by_response
from jaxlmm.solvers.moments.moments import Moments

__all__ = ["Moments", "moments_by_response"]
