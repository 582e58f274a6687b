"""Natural parameters: what a covariance structure declares of each, and all that is asked of them."""

from jaxlmm.covariance.parameters.declared import (
    DeclaresParameters,
    correlations_of,
    declared,
    parameters_of,
    sds_of,
)
from jaxlmm.covariance.parameters.kinds import KINDS, Kind, Unit
from jaxlmm.covariance.parameters.parameter import RESIDUAL_SD, Parameter
from jaxlmm.covariance.parameters.scales import SCALES, Scale, ScaleName

__all__ = [
    "KINDS",
    "RESIDUAL_SD",
    "SCALES",
    "DeclaresParameters",
    "Kind",
    "Parameter",
    "Scale",
    "ScaleName",
    "Unit",
    "correlations_of",
    "declared",
    "parameters_of",
    "sds_of",
]
