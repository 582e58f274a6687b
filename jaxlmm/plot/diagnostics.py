"""Pictures of residuals: against what was fitted, and their quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.plot.axes import axes_or_new
from jaxlmm.plot.order import order_statistic_limits
from jaxlmm.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUARTILES = (0.25, 0.5, 0.75)

N_WINDOWS, SHARE_OF_WINDOW = 50, 0.2
"""Windows whose quartiles are drawn, and the share of the rows in each."""


def residuals(fit: Fit, *, seed: int = 0, ax: Any = None) -> Axes:
    """Draw residuals against fitted values; with a family, quantile residuals against their ranks.

    Of a linear mixed model these are Pearson residuals and conditional fitted values. Of a generalized one they are
    randomized quantile residuals, standard normal where the model is right, and the order of the fitted values without
    random effects, from 0 to 1 (conditional ones rise with the residuals where modes are shrunk); with the quartiles
    of the residuals in windows of a fifth of the rows, and a band in which 95 % of each such quartile fall where the
    model is right.

    Parameters
    ----------
    fit
        A fit with its rows.
    seed
        Of the generator that randomizes quantiles.
    ax
        Axes to draw on; a new figure otherwise.

    Raises
    ------
    OptionError
        If the family has no mean or distribution.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.plot.residuals(fit).get_xlabel()
    'fitted value of Reaction'
    """
    ax = axes_or_new(ax)
    if fit.estimates.labels.family is not None:
        _by_rank(ax, *_fitted_and_quantile_residuals(fit, seed))
        ax.set(xlabel="rank of the fitted value without random effects", ylabel="quantile residual")
        return ax
    ax.plot(fit.fitted(), fit.residuals("pearson"), ".", alpha=0.7)
    ax.axhline(0.0, color="grey", linewidth=0.8)
    ax.set(xlabel=f"fitted value of {fit.estimates.labels.response}", ylabel="residual (standard deviations)")
    return ax


def _fitted_and_quantile_residuals(fit: Fit, seed: int) -> tuple[Float[NumpyArray, " n"], Float[NumpyArray, " n"]]:
    """Return fitted values without random effects and quantile residuals, but of rows that separation makes certain."""
    uncertain = np.isfinite(np.asarray(fit.by_row.marginal)[: fit.n])
    return fit.fitted("marginal").to_numpy()[uncertain], fit.residuals("quantile", seed=seed).to_numpy()[uncertain]


def _by_rank(ax: Any, fitted: Float[NumpyArray, " n"], found: Float[NumpyArray, " n"]) -> None:
    """Draw residuals over the ranks of fitted values, equal ones in the order of the rows, with running quartiles."""
    n = found.size
    ordered = found[np.argsort(fitted, kind="stable")]
    rank = (np.arange(n) + 0.5) / n
    ax.plot(rank, ordered, ".", alpha=0.7)
    size = max(int(SHARE_OF_WINDOW * n), 1)
    starts = np.unique(np.linspace(0, n - size, N_WINDOWS).astype(int))
    quartiles = np.stack([np.quantile(ordered[start : start + size], QUARTILES) for start in starts])
    middle = (starts + 0.5 * size) / n
    for share, own in zip(QUARTILES, quartiles.T, strict=True):
        low, high = order_statistic_limits(np.array(share * (size - 1) + 1.0), size)
        ax.axhspan(float(scipy.special.ndtri(low)), float(scipy.special.ndtri(high)), color="lightgrey", zorder=0.5)
        ax.axhline(float(scipy.special.ndtri(share)), color="grey", linewidth=0.8, linestyle="--")
        ax.plot(middle, own, color="tab:red")


def qq(fit: Fit, group: str | None = None, *, seed: int = 0, ax: Any = None) -> Axes:
    """Draw quantiles of the residuals, or of the modes of a ``group``, against those of a normal distribution.

    The residuals are Pearson's, with a family randomized quantile residuals: beside these a band in which 95 % of each
    fall where the model is right, and the p-value of Kolmogorov and Smirnov's test as title. Both take parameters and
    modes as known. Where levels have few rows the modes follow the observations, and points in the tails of a right
    model too are nearer to the middle than the line; farther out than the band is what a wrong model shows. The modes
    of each column are scaled by their own standard deviation; the line is that of a standard normal distribution.

    Parameters
    ----------
    fit
        A fit with its rows.
    group
        A grouping factor, whose modes are drawn instead of residuals.
    seed
        Of the generator that randomizes quantiles.
    ax
        Axes to draw on; a new figure otherwise.

    Raises
    ------
    OptionError
        If the family has no distribution.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.plot.qq(fit).get_xlabel()
    'normal quantile'
    """
    ax = axes_or_new(ax)
    if group is not None:
        modes = pd.DataFrame(fit.ranef(group))
        parts = {str(name): modes[name].to_numpy() / (modes[name].std() or 1.0) for name in modes}
        what = f"mode of {group} (standard deviations)"
    elif fit.estimates.labels.family is None:
        parts, what = {"residual": fit.residuals("pearson").to_numpy()}, "residual (standard deviations)"
    else:
        found, what = _fitted_and_quantile_residuals(fit, seed)[1], "quantile residual"
        parts = {"residual": found}
        _band(ax, found.size)
        ax.set_title(f"Kolmogorov–Smirnov p = {scipy.stats.kstest(found, 'norm').pvalue:.3g}")
    for name, values in parts.items():
        ordered = np.sort(values[np.isfinite(values)])
        ax.plot(_normal_quantiles(ordered.size), ordered, ".", label=name)
    ax.axline((0.0, 0.0), slope=1.0, color="grey", linewidth=0.8)
    ax.set(xlabel="normal quantile", ylabel=what)
    if len(parts) > 1:
        ax.legend(frameon=False)
    return ax


def _normal_quantiles(n: int) -> Float[NumpyArray, " n"]:
    return np.asarray(scipy.special.ndtri((np.arange(n) + 0.5) / n))


def _band(ax: Any, n: int) -> None:
    """Draw the limits of the order statistics of n standard normal values."""
    low, high = order_statistic_limits(np.arange(1.0, n + 1.0), n)
    ax.fill_between(_normal_quantiles(n), scipy.special.ndtri(low), scipy.special.ndtri(high), color="lightgrey")
