"""The distribution of the rows of a design given their linear predictors, and residuals from it."""

from jaxlmm.families.rows.contract import check_contract
from jaxlmm.families.rows.derivatives import derivatives_once
from jaxlmm.families.rows.distribution import RowDistribution, observations
from jaxlmm.families.rows.residuals import (
    FittedRows,
    deviance_residuals,
    limits_of_mean,
    mean_slopes,
    means,
    pearson_residuals,
    quantile_residuals,
)
from jaxlmm.families.rows.separation import Separation, separated

__all__ = [
    "FittedRows",
    "RowDistribution",
    "Separation",
    "check_contract",
    "derivatives_once",
    "deviance_residuals",
    "limits_of_mean",
    "mean_slopes",
    "means",
    "observations",
    "pearson_residuals",
    "quantile_residuals",
    "separated",
]
