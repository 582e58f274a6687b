"""What is computed of fits on request: profiles, derivatives of second order, products with the inverse covariance."""

from jaxlmm.engine.after_fit.kenward_roger import kenward_roger
from jaxlmm.engine.after_fit.products import products_with
from jaxlmm.engine.after_fit.profile import Minima, Profiler

__all__ = ["Minima", "Profiler", "kenward_roger", "products_with"]
