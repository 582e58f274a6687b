"""Empirical-Bayes moderation of residual variances across responses."""

from jaxlmm.inference.moderation.posterior import moderated, residual_degrees
from jaxlmm.inference.moderation.prior import Prior, fit_prior
from jaxlmm.inference.moderation.robust import fit_robust_prior

__all__ = ["Prior", "fit_prior", "fit_robust_prior", "moderated", "residual_degrees"]
