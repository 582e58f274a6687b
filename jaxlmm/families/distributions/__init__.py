"""Distributions that SciPy has not, with the methods of its frozen ones."""

from jaxlmm.families.distributions.compound_poisson import CompoundPoisson
from jaxlmm.families.distributions.truncated import TruncatedCounts
from jaxlmm.families.distributions.with_zeros import WithZeros

__all__ = ["CompoundPoisson", "TruncatedCounts", "WithZeros"]
