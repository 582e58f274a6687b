"""Fits of many responses."""

from jaxlmm.results.many.fit_many import FitMany
from jaxlmm.results.many.fitted import ManyOrigin

__all__ = ["FitMany", "ManyOrigin"]
