"""Laplace's approximation of the likelihood of a generalized linear mixed model."""

from jaxlmm.likelihood.laplace.blocks import EffectsInBlocks, Places
from jaxlmm.likelihood.laplace.by_row import EffectsWithRows
from jaxlmm.likelihood.laplace.choice import algebra_of, effects_of
from jaxlmm.likelihood.laplace.effects import AbstractEffects, EffectsByLevel, EffectsBySolver
from jaxlmm.likelihood.laplace.elimination import EffectsByElimination
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
    "Places",
    "Quadrature",
    "RestrictedLaplace",
    "algebra_of",
    "effects_of",
]
