"""Structures of few latent factors."""

from jaxlmm.covariance.latent.factor_analytic import FactorAnalytic
from jaxlmm.covariance.latent.reduced_rank import ReducedRank

__all__ = ["FactorAnalytic", "ReducedRank"]
