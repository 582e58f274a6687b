"""Random effects: variance parameters, conditional modes, and coefficients by level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.errors import OptionError, choose, nearest
from jaxlmm.formula import ModelLabels
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.many_estimates import ManyEstimates
from jaxlmm.results.tables.columns import intervals
from jaxlmm.results.tables.fixed import fixef


def variance(fit: Fitted, scale: str = "sd") -> pd.DataFrame:
    """Return the variance parameters, index ``parameter``.

    Parameters
    ----------
    scale
        ``"sd"``: standard deviations in response units, and correlations; ``"variance"``: squared ones.

    Returns
    -------
    pandas.DataFrame
        ``group estimate std_error conf_low conf_high at_boundary fixed``. Standard errors come from the exact
        Hessian; a parameter at a boundary or on a ridge, or one that is fixed, has none. The scale is part of the
        parameters' names (``sd`` or ``var``), stands above them where the frame is printed, and in its
        ``attrs["scale"]``.
    """
    estimates = fit.estimates
    parameters, estimate, std_error = on_scale(estimates, scale)
    low, high = intervals(parameters, estimate, std_error)
    table = {
        "group": [parameter.group for parameter in parameters],
        "estimate": estimate,
        "std_error": std_error,
        "conf_low": low,
        "conf_high": high,
        "at_boundary": estimates.verdict.at_boundary,
        "fixed": estimates.fixed,
    }
    index = pd.Index([parameter.name for parameter in parameters], name="parameter")
    return with_scale(pd.DataFrame(table, index=index), scale)


def with_scale(frame: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Name the scale of variance parameters above the printed frame and in ``attrs["scale"]``."""
    frame.columns.name = f"scale: {scale}"
    frame.attrs["scale"] = scale
    return frame


def on_scale(
    estimates: Estimates | ManyEstimates, scale: str
) -> tuple[tuple[Parameter, ...], Float[NumpyArray, "*b r"], Float[NumpyArray, "*b r"]]:
    """Return the variance parameters on a ``scale``, their estimates and standard errors."""
    choose("scale", scale, ("sd", "variance"))
    parameters, estimate = estimates.labels.natural, estimates.report.copy()
    with np.errstate(invalid="ignore"):
        std_error = np.sqrt(np.diagonal(estimates.uncertainty.report_cov, axis1=-2, axis2=-1))
    std_error = np.where(estimates.fixed | np.isnan(estimate), np.nan, std_error)
    if scale == "sd":
        return parameters, estimate, std_error
    is_sd = np.array([parameter.is_sd for parameter in parameters])
    std_error = np.where(is_sd, 2.0 * estimate * std_error, std_error)
    estimate = np.where(is_sd, estimate**2, estimate)
    return tuple(parameter.squared for parameter in parameters), estimate, std_error


def ranef(fit: Fitted, group: str | None = None) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """Return the conditional modes, levels × columns of all terms of ``group``; a dict for all groups without.

    With a known matrix (``kinship=``) its ids without a row follow after the levels.
    """
    return _by_group(fit, [modes.values for modes in fit.estimates.modes], group)


def ranef_sd(fit: Fitted, group: str | None = None) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """Return the conditional standard deviations of the modes given theta and beta, in the shape of ``ranef``."""
    return _by_group(fit, [modes.sds for modes in fit.estimates.modes], group)


def coef_by(fit: Fitted, group: str) -> pd.DataFrame:
    """Return the coefficients of each level of ``group``: fixed effect plus conditional mode, lme4's ``coef``.

    Parameters
    ----------
    group
        A grouping factor.

    Returns
    -------
    pandas.DataFrame
        Levels × columns: first the random columns that have no fixed effect of the same name, whose coefficient is
        the mode alone, then all fixed effects. A fixed effect that does not vary over the group is the same in all
        rows. Columns meet by name, as formulaic prints it: ``recipe[T.B]``, a difference, is not ``recipe[B]``.

    Raises
    ------
    OptionError
        If no random term is grouped by ``group``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.coef_by("Subject").head(2).round(2)
             Intercept   Days
    Subject
    308         253.66  19.67
    309         211.01   1.85
    """
    check_group(fit.estimates.labels, group)
    modes, fixed = _one_group(fit, [modes.values for modes in fit.estimates.modes], group), fixef(fit)
    names = [*(name for name in modes if name not in fixed.index), *fixed.index]
    return modes.reindex(columns=names, fill_value=0.0) + fixed.reindex(names, fill_value=0.0)


def check_group(labels: ModelLabels, group: object) -> None:
    """Raise unless a random term is grouped by ``group``."""
    if group not in labels.groups:
        raise OptionError(f"group: no random term is grouped by {group!r}; {nearest(str(group), labels.groups)}.")


def _by_group(
    fit: Fitted, arrays: Sequence[Float[NumpyArray, "_ _"]], group: str | None
) -> pd.DataFrame | dict[str, pd.DataFrame]:
    if group is None:
        return {name: _one_group(fit, arrays, name) for name in fit.estimates.labels.groups}
    check_group(fit.estimates.labels, group)
    return _one_group(fit, arrays, group)


def _one_group(fit: Fitted, arrays: Sequence[Float[NumpyArray, "_ _"]], group: str) -> pd.DataFrame:
    labels = fit.estimates.labels.groups[group].ids
    parts = [
        pd.DataFrame(array.copy(), index=labels, columns=list(term.columns))
        for term, array in zip(fit.estimates.labels.terms, arrays, strict=True)
        if term.group == group
    ]
    return pd.concat(parts, axis=1).rename_axis(index=group)
