"""Confidence intervals of all parameters, by each method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxlmm.errors import OptionError, choose, nearest
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.intervals.bootstrap import bootstrap
from jaxlmm.results.intervals.profile import profile
from jaxlmm.results.tables import check_level, intervals, t_columns

METHODS = ("wald", "profile", "bootstrap")
"""The values of ``method``."""


def confint(
    fit: Fitted,
    parameters: Sequence[str] | str | None = None,
    method: str = "wald",
    level: float = 0.95,
    *,
    nsim: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return confidence intervals of fixed effects and variance parameters.

    Parameters
    ----------
    parameters
        Names of :meth:`fixef` or :meth:`variance`; None for all.
    method
        ``"wald"``: fixed effects with Satterthwaite's degrees of freedom, variance parameters symmetric on their own
        scales; ``"profile"`` of the deviance by ML, as :meth:`profile`; ``"bootstrap"``: percentiles of ``nsim`` refits
        of draws, as :meth:`bootstrap`.
    level
        The confidence level.
    nsim, seed
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        ``estimate conf_low conf_high``, index ``parameter``. The estimates beside profiles are those by ML.

    Raises
    ------
    OptionError
        If a name is no parameter, or ``method`` is something else.
    DataError
        If profile or bootstrap are asked of a loaded fit.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.confint(["Days", "Residual: sd"], method="profile").round(2)
                  estimate  conf_low  conf_high
    parameter
    Days             10.47      7.36      13.58
    Residual: sd     25.59     22.90      28.86
    """
    choose("method", method, METHODS)
    check_level(level)
    labels = fit.estimates.labels
    names = [*labels.fixed_names, *labels.parameters]
    if parameters is not None:
        wanted = [parameters] if isinstance(parameters, str) else list(parameters)
        for name in wanted:
            if name not in names:
                raise OptionError(f"parameters: no parameter is named {name!r}; {nearest(str(name), names)}.")
        names = wanted
    if method == "profile":
        return profile(fit, None if parameters is None else names).confint(level)
    if method == "bootstrap":
        return bootstrap(fit, nsim, seed=seed).confint(level=level).loc[names].rename_axis("parameter")
    estimates = fit.estimates
    with np.errstate(invalid="ignore"):
        report_error = np.sqrt(np.diagonal(estimates.uncertainty.report_cov))
    df = estimates.uncertainty.satterthwaite() if estimates.proven else np.full(estimates.beta.size, np.nan)
    fixed_low, fixed_high = t_columns(estimates.beta, estimates.uncertainty.std_error, df, level)[-2:]
    report_error = np.where(estimates.fixed, np.nan, report_error)
    low, high = intervals(labels.natural, estimates.report, report_error, level)
    table = pd.DataFrame(
        {
            "estimate": np.append(estimates.beta, estimates.report),
            "conf_low": np.append(fixed_low, low),
            "conf_high": np.append(fixed_high, high),
        },
        index=pd.Index([*labels.fixed_names, *labels.parameters], name="parameter"),
    )
    return table.loc[names]
