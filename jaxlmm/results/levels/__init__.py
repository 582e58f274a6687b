"""Covariances of rows and levels at the optimum, and effects of levels without a row."""

from jaxlmm.results.levels.covariances import factors_at, row_covariance, unweighted, with_roots
from jaxlmm.results.levels.unobserved import effects_given_modes, effects_of_unobserved, root_across

__all__ = [
    "effects_given_modes",
    "effects_of_unobserved",
    "factors_at",
    "root_across",
    "row_covariance",
    "unweighted",
    "with_roots",
]
