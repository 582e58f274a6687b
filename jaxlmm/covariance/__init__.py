"""Covariance structures: those of the tags in formulas, and the base class of users' own."""

from jaxlmm._util import static
from jaxlmm.covariance.base import NEARLY_ZERO as NEARLY_ZERO
from jaxlmm.covariance.base import AbstractCovariance
from jaxlmm.covariance.base import BoundaryCandidates as BoundaryCandidates
from jaxlmm.covariance.custom import Custom
from jaxlmm.covariance.diagonal import Diagonal
from jaxlmm.covariance.field import Field
from jaxlmm.covariance.field import as_field as as_field
from jaxlmm.covariance.field import increasing as increasing
from jaxlmm.covariance.links import Links
from jaxlmm.covariance.ou import OU
from jaxlmm.covariance.parameters import RESIDUAL_SD, Kind, Parameter, parameters_of
from jaxlmm.covariance.scaled import ScaledRows as ScaledRows
from jaxlmm.covariance.unstructured import Unstructured

__all__ = [
    "OU",
    "RESIDUAL_SD",
    "AbstractCovariance",
    "Custom",
    "Diagonal",
    "Field",
    "Kind",
    "Links",
    "Parameter",
    "Unstructured",
    "parameters_of",
    "static",
]
