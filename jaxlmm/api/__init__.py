"""The verbs: validate, build, run, label."""

from jaxlmm.api.fitting import fit
from jaxlmm.api.likelihood import design, deviance, estimate, loglik
from jaxlmm.api.loading import load
from jaxlmm.api.many import fit_many
from jaxlmm.api.names import no_attribute
from jaxlmm.api.scan import scan

__all__ = ["design", "deviance", "estimate", "fit", "fit_many", "load", "loglik", "no_attribute", "scan"]
