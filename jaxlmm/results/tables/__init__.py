"""Tables of coefficients, variances, shares and tests."""

from jaxlmm.results.tables.columns import COEF_COLUMNS, by_reason, intervals, noted, status_counts, t_columns
from jaxlmm.results.tables.contrasts import hypothesis, in_words
from jaxlmm.results.tables.fixed import choose_df, coef, vcov
from jaxlmm.results.tables.random import check_group, on_scale, ranef, ranef_sd, variance, with_scale
from jaxlmm.results.tables.shares import components_of, pve_of, ratio_of
from jaxlmm.results.tables.tidy import GLANCE

__all__ = [
    "COEF_COLUMNS",
    "GLANCE",
    "by_reason",
    "check_group",
    "choose_df",
    "coef",
    "components_of",
    "hypothesis",
    "in_words",
    "intervals",
    "noted",
    "on_scale",
    "pve_of",
    "ranef",
    "ranef_sd",
    "ratio_of",
    "status_counts",
    "t_columns",
    "variance",
    "vcov",
    "with_scale",
]
