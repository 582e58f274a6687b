"""Laplace's approximation of the likelihood of a generalized linear mixed model."""

from jaxlmm.likelihood.laplace.blocks import EffectsInBlocks, RowsByLevel
from jaxlmm.likelihood.laplace.by_row import EffectsWithRows
from jaxlmm.likelihood.laplace.choice import algebra_of, effects_of
from jaxlmm.likelihood.laplace.effects import AbstractEffects, EffectsByLevel, EffectsBySolver
from jaxlmm.likelihood.laplace.elimination import EffectsByElimination
from jaxlmm.likelihood.laplace.guesses import coefficients_without_effects, likely_dispersion, rough_variances
from jaxlmm.likelihood.laplace.modes import Given, Laplace, Modes, Observations
from jaxlmm.likelihood.laplace.quadrature import Quadrature
from jaxlmm.likelihood.laplace.restricted import EffectsWithCoefficients, RestrictedLaplace

__all__ = [
    "AbstractEffects",
    "EffectsByElimination",
    "EffectsByLevel",
    "EffectsBySolver",
    "EffectsInBlocks",
    "EffectsWithCoefficients",
    "EffectsWithRows",
    "Given",
    "Laplace",
    "Modes",
    "Observations",
    "Quadrature",
    "RestrictedLaplace",
    "RowsByLevel",
    "algebra_of",
    "coefficients_without_effects",
    "effects_of",
    "likely_dispersion",
    "rough_variances",
]
