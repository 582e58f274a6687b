"""Structures along positions in time: their order, and the steps between them, matter."""

from jaxlmm.covariance.serial.antedependence import AnteDependence
from jaxlmm.covariance.serial.ar1 import AR1
from jaxlmm.covariance.serial.arma import ARMA
from jaxlmm.covariance.serial.ou import OU
from jaxlmm.covariance.serial.toeplitz import Toeplitz

__all__ = ["AR1", "ARMA", "OU", "AnteDependence", "Toeplitz"]
