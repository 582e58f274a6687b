"""What is computed of fits on request: profiles, derivatives of second order, leverages, fits without some rows."""

from jaxlmm.engine.after_fit.kenward_roger import kenward_roger
from jaxlmm.engine.after_fit.leverage import leverages
from jaxlmm.engine.after_fit.products import products_with
from jaxlmm.engine.after_fit.profile import Minima, Profiler
from jaxlmm.engine.after_fit.profile_many import ManyProfiler
from jaxlmm.engine.after_fit.without import WithoutRows, estimates_without
from jaxlmm.engine.after_fit.working import curvatures, working_model

__all__ = [
    "ManyProfiler",
    "Minima",
    "Profiler",
    "WithoutRows",
    "curvatures",
    "estimates_without",
    "kenward_roger",
    "leverages",
    "products_with",
    "working_model",
]
