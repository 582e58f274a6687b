"""Immutable results with names on them."""

from jaxlmm.results.again import Call
from jaxlmm.results.certificate import Certificate
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fit import Fit, Origin
from jaxlmm.results.loaded import load_saved
from jaxlmm.results.many import FitMany, ManyOrigin
from jaxlmm.results.scan import Scan, ScanHeader, words_of

__all__ = [
    "Call",
    "Certificate",
    "Estimates",
    "Fit",
    "FitMany",
    "ManyOrigin",
    "Origin",
    "Scan",
    "ScanHeader",
    "load_saved",
    "words_of",
]
