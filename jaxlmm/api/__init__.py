"""The verbs: validate, build, run, label."""

from jaxlmm.api.fitting import fit
from jaxlmm.api.likelihood import design, deviance, loglik

__all__ = ["design", "deviance", "fit", "loglik"]
