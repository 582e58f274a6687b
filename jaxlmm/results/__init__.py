"""Immutable results with names on them."""

from jaxlmm.results.again import Call
from jaxlmm.results.certificate import Certificate
from jaxlmm.results.fit import Fit

__all__ = ["Call", "Certificate", "Fit"]
