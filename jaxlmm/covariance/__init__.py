"""Covariance structures: those of the tags in formulas, and the base class of users' own."""

from jaxlmm._util import static
from jaxlmm.covariance.along import Along
from jaxlmm.covariance.base import NEARLY_ZERO as NEARLY_ZERO
from jaxlmm.covariance.base import AbstractCovariance
from jaxlmm.covariance.base import BoundaryCandidates as BoundaryCandidates
from jaxlmm.covariance.composed import ByLevel, Known, Kron, Sum
from jaxlmm.covariance.compound import CompoundSymmetry
from jaxlmm.covariance.custom import Custom
from jaxlmm.covariance.diagonal import Diagonal
from jaxlmm.covariance.field import Field
from jaxlmm.covariance.field import as_field as as_field
from jaxlmm.covariance.field import increasing as increasing
from jaxlmm.covariance.latent import FactorAnalytic, ReducedRank
from jaxlmm.covariance.links import MAX_LEADING_POSITIONS as MAX_LEADING_POSITIONS
from jaxlmm.covariance.links import Links, Steps
from jaxlmm.covariance.parameters import RESIDUAL_SD, Kind, Parameter, parameters_of
from jaxlmm.covariance.scaled import ScaledRows as ScaledRows
from jaxlmm.covariance.serial import AR1, ARMA, OU, AnteDependence, Toeplitz
from jaxlmm.covariance.spatial import Exponential, Gaussian, Matern
from jaxlmm.covariance.spatial import Kernel as Kernel
from jaxlmm.covariance.unstructured import Unstructured

__all__ = [
    "AR1",
    "ARMA",
    "OU",
    "RESIDUAL_SD",
    "AbstractCovariance",
    "Along",
    "AnteDependence",
    "ByLevel",
    "CompoundSymmetry",
    "Custom",
    "Diagonal",
    "Exponential",
    "FactorAnalytic",
    "Field",
    "Gaussian",
    "Kind",
    "Known",
    "Kron",
    "Links",
    "Matern",
    "Parameter",
    "ReducedRank",
    "Steps",
    "Sum",
    "Toeplitz",
    "Unstructured",
    "parameters_of",
    "static",
]
