"""Minimizers: a method is ``init / step / done``; the loop is written once."""

from jaxlmm.optimize.loop import AbstractMinimizer, Minimum, each_direction, minimize
from jaxlmm.optimize.newton import Newton, QuasiNewton
from jaxlmm.optimize.optax_adapter import Optax
from jaxlmm.optimize.search import WORTHWHILE, search_axes

__all__ = [
    "WORTHWHILE",
    "AbstractMinimizer",
    "Minimum",
    "Newton",
    "Optax",
    "QuasiNewton",
    "each_direction",
    "minimize",
    "search_axes",
]
