"""The distribution of the rows of a design given their linear predictors, and residuals from it."""

from jaxlmm.families.rows.contract import check_contract
from jaxlmm.families.rows.derivatives import Derivatives, row_derivatives
from jaxlmm.families.rows.distribution import RowDistribution, observations
from jaxlmm.families.rows.reported import with_reported_zero_part
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
    "Derivatives",
    "FittedRows",
    "RowDistribution",
    "Separation",
    "check_contract",
    "deviance_residuals",
    "limits_of_mean",
    "mean_slopes",
    "means",
    "observations",
    "pearson_residuals",
    "quantile_residuals",
    "row_derivatives",
    "separated",
    "with_reported_zero_part",
]
