"""Minimizers: a method is ``init / step / done``; the loop is written once."""

from jaxlmm.optimize.loop import AbstractMinimiser, Minimum, each_direction, minimise
from jaxlmm.optimize.newton import Newton, QuasiNewton
from jaxlmm.optimize.optax_adapter import Optax
from jaxlmm.optimize.search import WORTHWHILE, search_axes

__all__ = [
    "WORTHWHILE",
    "AbstractMinimiser",
    "Minimum",
    "Newton",
    "Optax",
    "QuasiNewton",
    "each_direction",
    "minimise",
    "search_axes",
]
