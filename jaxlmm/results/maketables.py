"""The protocol of the package maketables, by which fits stand side by side in tables for papers; nothing is imported.

``maketables.ETable([fit, other])`` reads these members.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxlmm.errors import DataError
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.tables import coef, r2

STAT_LABELS = {
    "N": "Observations", "groups": "Groups", "sigma": "Residual SD", "ll": "Log-likelihood", "aic": "AIC", "bic": "BIC",
    "r2_marginal": "R² (marginal)", "r2_conditional": "R² (conditional)", "method": "Method",
}  # fmt: skip
"""Statistics of a fit and their labels."""

DEFAULT_STATS = ["N", "groups", "sigma", "ll", "aic"]
"""Statistics that are shown unless others are asked for."""


def coef_table(fit: Fitted) -> pd.DataFrame:
    """Return the fixed effects under maketables' names, with Satterthwaite's degrees of freedom: ``b se t p ci95l
    ci95u``.
    """
    names = {
        "estimate": "b",
        "std_error": "se",
        "statistic": "t",
        "p_value": "p",
        "conf_low": "ci95l",
        "conf_high": "ci95u",
    }
    table = coef(fit).dropna(subset="estimate")[list(names)].rename(columns=names)
    return table.rename_axis("Coefficient")


def stat(fit: Fitted, key: str) -> Any:
    """Return a statistic of :data:`STAT_LABELS` (or ``loglik``, ``deviance``), None where there is none."""
    if key in ("r2_marginal", "r2_conditional"):
        try:
            return float(r2(fit)["estimate"].loc[key.removeprefix("r2_")])
        except DataError:  # of a loaded fit
            return None
    values = {
        "N": fit.n, "sigma": fit.sigma, "ll": fit.loglik, "loglik": fit.loglik, "deviance": fit.deviance,
        "aic": fit.aic, "bic": fit.bic, "method": fit.method,
        "groups": ", ".join(f"{name} {count}" for name, count in fit.n_groups.items()) or None,
    }  # fmt: skip
    found = values.get(key)
    return None if isinstance(found, float) and not np.isfinite(found) else found  # as where no residual is left


def depvar(fit: Fitted) -> str:
    """Return the response's name."""
    return fit.estimates.labels.response


def vcov_info(fit: Fitted) -> dict[str, Any]:
    """Return what the standard errors are."""
    return {"vcov_type": "model", "clustervar": None}


def stat_labels(fit: Fitted) -> dict[str, str]:
    """Return the labels of statistics."""
    return dict(STAT_LABELS)


def default_stat_keys(fit: Fitted) -> list[str]:
    """Return the statistics that are shown unless others are asked for."""
    return list(DEFAULT_STATS)
