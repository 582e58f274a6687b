"""Likelihoods: what the search, the inference and the results ask of one, and the Gaussian ones."""

from jaxlmm.likelihood.choice import choose, likelihood_of
from jaxlmm.likelihood.contract import Likelihood, Point, Response
from jaxlmm.likelihood.dispersed import Rescaled
from jaxlmm.likelihood.gaussian import additive_constant
from jaxlmm.likelihood.generalized import Generalized

__all__ = ["Generalized", "Likelihood", "Point", "Rescaled", "Response", "additive_constant", "choose", "likelihood_of"]
