"""Families: the distributions of a response given its linear predictor, and yours in one method."""

from jaxlmm._util import static
from jaxlmm.families.base import AbstractFamily, Distribution
from jaxlmm.families.counts import NegativeBinomial, Poisson
from jaxlmm.families.layout import LIMIT_BETWEEN, FamilyLayout, FamilyParameters
from jaxlmm.families.links import LINKS, LinkName, has_unit
from jaxlmm.families.positive import Gamma, InverseGaussian
from jaxlmm.families.proportions import Beta, Binomial
from jaxlmm.families.real import Gaussian, StudentT
from jaxlmm.families.rows import (
    Derivatives,
    FittedRows,
    RowDistribution,
    Separation,
    check_contract,
    deviance_residuals,
    limits_of_mean,
    mean_slopes,
    means,
    observations,
    pearson_residuals,
    quantile_residuals,
    row_derivatives,
    separated,
    with_reported_zero_part,
)
from jaxlmm.families.tweedie import Tweedie
from jaxlmm.families.words import FAMILIES, family_of, named
from jaxlmm.families.words import from_plain as family_from_plain
from jaxlmm.families.words import to_plain as family_to_plain
from jaxlmm.families.zeros import ZERO_PART, ZeroInflated

__all__ = [
    "FAMILIES",
    "LIMIT_BETWEEN",
    "LINKS",
    "ZERO_PART",
    "AbstractFamily",
    "Beta",
    "Binomial",
    "Derivatives",
    "Distribution",
    "FamilyLayout",
    "FamilyParameters",
    "FittedRows",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "LinkName",
    "NegativeBinomial",
    "Poisson",
    "RowDistribution",
    "Separation",
    "StudentT",
    "Tweedie",
    "ZeroInflated",
    "check_contract",
    "deviance_residuals",
    "family_from_plain",
    "family_of",
    "family_to_plain",
    "has_unit",
    "limits_of_mean",
    "mean_slopes",
    "means",
    "named",
    "observations",
    "pearson_residuals",
    "quantile_residuals",
    "row_derivatives",
    "separated",
    "static",
    "with_reported_zero_part",
]
