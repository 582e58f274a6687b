"""Fits of many responses."""

from jaxlmm.results.many.estimates import CIRCULAR, Collector, ManyEstimates
from jaxlmm.results.many.fit_many import FitMany, ManyOrigin

__all__ = ["CIRCULAR", "Collector", "FitMany", "ManyEstimates", "ManyOrigin"]
