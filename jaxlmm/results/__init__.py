"""Immutable results with names on them."""

from jaxlmm.results.again import Call
from jaxlmm.results.certificate import Certificate
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fit import Fit, Origin
from jaxlmm.results.loaded import load_saved
from jaxlmm.results.many import FitMany, ManyOrigin
from jaxlmm.results.scan import Scan, ScanHeader, words_of
from jaxlmm.results.scan_folder import load_scan
from jaxlmm.results.scan_table import HeldTable, Names, ScanTable, counted, tabulated

__all__ = [
    "Call",
    "Certificate",
    "Estimates",
    "Fit",
    "FitMany",
    "HeldTable",
    "ManyOrigin",
    "Names",
    "Origin",
    "Scan",
    "ScanHeader",
    "ScanTable",
    "counted",
    "load_saved",
    "load_scan",
    "tabulated",
    "words_of",
]
