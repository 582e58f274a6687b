"""Intervals of parameters: Wald's, of profiles, of the bootstrap; draws of the estimates."""

from jaxlmm.results.intervals.bootstrap import Bootstrap, bootstrap
from jaxlmm.results.intervals.confint import confint
from jaxlmm.results.intervals.draws import draws
from jaxlmm.results.intervals.limits import MAX_ROUNDS, LimitSearch, search_from_wald
from jaxlmm.results.intervals.profile import Profile, profile

__all__ = [
    "MAX_ROUNDS",
    "Bootstrap",
    "LimitSearch",
    "Profile",
    "bootstrap",
    "confint",
    "draws",
    "profile",
    "search_from_wald",
]
