"""One long table, and one row, in the manner of broom.mixed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxlmm.errors import choose
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.tables.columns import t_table
from jaxlmm.results.tables.fixed import coef
from jaxlmm.results.tables.random import ranef, ranef_sd, variance

GLANCE = ("n", "n_params", "loglik", "deviance", "aic", "bic", "sigma", "df_residual", "method", "solver", "status")
RAN_VALS = ["group", "level", "term", "estimate", "std_error", "conf_low", "conf_high"]


def tidy(fit: Fitted, effects: str = "fixed", *, df: str = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
    """Return one table in the manner of broom.mixed.

    Parameters
    ----------
    effects
        ``"fixed"``, ``"ran_pars"`` (variance parameters), ``"ran_vals"`` (modes), or ``"all"`` of them with a
        first column ``effect``.
    df, level
        As in :meth:`coef`.
    """
    choose("effects", effects, ("fixed", "ran_pars", "ran_vals", "all"))
    if effects == "fixed":
        return coef(fit, df, level=level).reset_index()
    if effects == "ran_pars":
        return variance(fit).rename_axis("term").reset_index()
    if effects == "ran_vals":
        return _ran_vals(fit, level)
    parts = {kind: tidy(fit, kind, df=df, level=level) for kind in ("fixed", "ran_pars", "ran_vals")}
    table = pd.concat([part.assign(effect=kind) for kind, part in parts.items() if len(part)], ignore_index=True)
    return table[["effect", *(name for name in table if name != "effect")]]


def _ran_vals(fit: Fitted, level: float) -> pd.DataFrame:
    modes, sds = ranef(fit), ranef_sd(fit)
    assert isinstance(modes, dict)
    assert isinstance(sds, dict)
    parts = []
    for group, table in modes.items():
        labels = list(table.index)
        for column in table:
            sd = sds[group][column].to_numpy()
            rows = t_table(labels, table[column].to_numpy(), sd, np.array(np.inf), level)
            parts.append(rows.rename_axis("level").reset_index().assign(group=group, term=str(column))[RAN_VALS])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=RAN_VALS)


def glance(fit: Fitted) -> pd.DataFrame:
    """Return one row of scalars."""
    row = {name: getattr(fit, name) for name in GLANCE}
    return pd.DataFrame([{**row, "reason": "", "seconds": fit.seconds}])
