"""The verbs: validate, build, run, label."""

from jaxlmm.api.arrays import design_from_arrays
from jaxlmm.api.call import Call
from jaxlmm.api.fitting import design, fit, fit_many
from jaxlmm.api.likelihood import deviance, estimate, loglik
from jaxlmm.api.many import run_many
from jaxlmm.api.names import named_options, no_attribute
from jaxlmm.api.options import FitOptions
from jaxlmm.api.progress import progress_bar
from jaxlmm.api.simulating import simulate
from jaxlmm.api.values import natural

__all__ = [
    "Call",
    "FitOptions",
    "design",
    "design_from_arrays",
    "deviance",
    "estimate",
    "fit",
    "fit_many",
    "loglik",
    "named_options",
    "natural",
    "no_attribute",
    "progress_bar",
    "run_many",
    "simulate",
]
