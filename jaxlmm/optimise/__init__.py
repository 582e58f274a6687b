"""Minimisers: a method is ``init / step / done``; the loop is written once."""

from jaxlmm.optimise.loop import AbstractMinimiser, Minimum, minimise
from jaxlmm.optimise.newton import Newton, QuasiNewton
from jaxlmm.optimise.optax_adapter import Optax
from jaxlmm.optimise.search import search_axes

__all__ = ["AbstractMinimiser", "Minimum", "Newton", "Optax", "QuasiNewton", "minimise", "search_axes"]
