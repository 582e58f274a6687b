"""Families: the distributions of a response given its linear predictor, and yours in one method."""

from jaxlmm._util import static
from jaxlmm.families.base import AbstractFamily, Derivatives, Distribution
from jaxlmm.families.counts import NegativeBinomial, Poisson
from jaxlmm.families.layout import FamilyLayout, FamilyParameters
from jaxlmm.families.links import LINKS, LinkName
from jaxlmm.families.positive import Gamma, InverseGaussian
from jaxlmm.families.proportions import Beta, Binomial
from jaxlmm.families.real import Gaussian, StudentT
from jaxlmm.families.tweedie import Tweedie
from jaxlmm.families.words import FAMILIES, family_of

__all__ = [
    "FAMILIES",
    "LINKS",
    "AbstractFamily",
    "Beta",
    "Binomial",
    "Derivatives",
    "Distribution",
    "FamilyLayout",
    "FamilyParameters",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "LinkName",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "Tweedie",
    "family_of",
    "static",
]
