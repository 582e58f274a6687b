"""Immutable results with names on them."""

from jaxlmm.results.certificate import Certificate
from jaxlmm.results.deserialize import load_saved
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fit import Fit
from jaxlmm.results.fitted import Call, Fitted, Origin
from jaxlmm.results.foreign import SCAN, answering
from jaxlmm.results.hypotheses import MarginalMeans, compare
from jaxlmm.results.intervals import Bootstrap, Profile
from jaxlmm.results.many import FitMany, ManyOrigin
from jaxlmm.results.many_estimates import Collector, ManyEstimates
from jaxlmm.results.rows import Influence, check_draws, drawn, factors_of
from jaxlmm.results.separated import Limit, examined, of_full_rank, with_zero_part

__all__ = [
    "SCAN",
    "Bootstrap",
    "Call",
    "Certificate",
    "Collector",
    "Estimates",
    "Fit",
    "FitMany",
    "Fitted",
    "Influence",
    "Limit",
    "ManyEstimates",
    "ManyOrigin",
    "MarginalMeans",
    "Origin",
    "Profile",
    "answering",
    "check_draws",
    "compare",
    "drawn",
    "examined",
    "factors_of",
    "load_saved",
    "of_full_rank",
    "with_zero_part",
]
