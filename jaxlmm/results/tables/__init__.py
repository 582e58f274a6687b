"""Tables of coefficients, variances, shares and tests."""

from jaxlmm.results.tables.clusters import codes_by
from jaxlmm.results.tables.columns import (
    COEF_COLUMNS,
    by_reason,
    check_level,
    intervals,
    noted,
    status_counts,
    t_columns,
)
from jaxlmm.results.tables.contrasts import hypothesis, in_words
from jaxlmm.results.tables.fixed import coef, fixef, vcov
from jaxlmm.results.tables.random import check_group, coef_by, on_scale, ranef, ranef_sd, variance, with_scale
from jaxlmm.results.tables.shares import SHARE, components_of, delta, pve, pve_of, r2, ratio, ratio_of
from jaxlmm.results.tables.tested import Tested, choose_df, tested
from jaxlmm.results.tables.tidy import GLANCE, glance, tidy

__all__ = [
    "COEF_COLUMNS",
    "GLANCE",
    "SHARE",
    "Tested",
    "by_reason",
    "check_group",
    "check_level",
    "choose_df",
    "codes_by",
    "coef",
    "coef_by",
    "components_of",
    "delta",
    "fixef",
    "glance",
    "hypothesis",
    "in_words",
    "intervals",
    "noted",
    "on_scale",
    "pve",
    "pve_of",
    "r2",
    "ranef",
    "ranef_sd",
    "ratio",
    "ratio_of",
    "status_counts",
    "t_columns",
    "tested",
    "tidy",
    "variance",
    "vcov",
    "with_scale",
]
