"""Intervals of parameters: Wald's, of profiles, of the bootstrap; draws of the estimates."""

from jaxlmm.results.intervals.bootstrap import Bootstrap, bootstrap
from jaxlmm.results.intervals.confint import confint
from jaxlmm.results.intervals.draws import draws
from jaxlmm.results.intervals.profile import Profile, profile

__all__ = ["Bootstrap", "Profile", "bootstrap", "confint", "draws", "profile"]
