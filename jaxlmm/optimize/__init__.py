"""Minimizers: a method is ``init / step / done``; the loop is written once."""

from jaxlmm.optimize.constraint import Constraint, Tangent, along_surface, feasible
from jaxlmm.optimize.loop import AbstractMinimizer, Minimum, Objective, minimize, with_directions
from jaxlmm.optimize.newton import Newton, QuasiNewton
from jaxlmm.optimize.optax_adapter import Optax
from jaxlmm.optimize.search import WORTHWHILE, search_axes

__all__ = [
    "WORTHWHILE",
    "AbstractMinimizer",
    "Constraint",
    "Minimum",
    "Newton",
    "Objective",
    "Optax",
    "QuasiNewton",
    "Tangent",
    "along_surface",
    "feasible",
    "minimize",
    "search_axes",
    "with_directions",
]
