"""Immutable results with names on them."""

from jaxlmm.results.certificate import Certificate
from jaxlmm.results.deserialize import load_saved
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fit import Fit, Origin
from jaxlmm.results.foreign import SCAN, answering
from jaxlmm.results.many import FitMany, ManyOrigin
from jaxlmm.results.refit import Call

__all__ = [
    "SCAN",
    "Call",
    "Certificate",
    "Estimates",
    "Fit",
    "FitMany",
    "ManyOrigin",
    "Origin",
    "answering",
    "load_saved",
]
