"""Immutable results with names on them."""

from jaxlmm.results.again import Call
from jaxlmm.results.certificate import Certificate
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fit import Fit, Origin
from jaxlmm.results.loaded import load

__all__ = ["Call", "Certificate", "Estimates", "Fit", "Origin", "load"]
