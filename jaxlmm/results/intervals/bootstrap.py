"""The parametric bootstrap: refits of responses that are drawn from a fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray, check_executor
from jaxlmm.errors import OptionError, choose
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.many_estimates import ManyEstimates
from jaxlmm.results.rows import check_draws, simulate
from jaxlmm.results.tables import check_level, components_of, pve_of, ratio_of

STATISTICS = ("fixef", "variance", "ratio", "pve")
"""Statistics by name, which need no loop in Python."""

METHODS = ("percentile", "basic", "bca")
"""Kinds of bootstrap intervals."""


def bootstrap(
    fit: Fitted,
    nsim: int = 1000,
    *,
    seed: int = 0,
    statistic: str | Callable[[Any], Any] | None = None,
    executor: Any = None,
) -> Bootstrap:
    """Draw responses from the fit and fit the model to each of them, all in one call.

    Parameters
    ----------
    nsim, seed
        The number of draws, and the seed of NumPy's generator.
    statistic
        What is kept of each refit: ``"fixef"``, ``"variance"`` (standard deviations and correlations), ``"ratio"`` of
        each group, ``"pve"``, None for fixed effects and variance parameters; or a function of a :class:`jaxlmm.Fit`
        that returns a number, a series or an array, which is called in a loop.
    executor
        As in :func:`jaxlmm.fit_many`: its workers refit the draws. The draws are those that this process makes.

    Returns
    -------
    Bootstrap
        ``.values`` (draws × statistics), ``.confint()``, ``.tidy()``.

    Raises
    ------
    OptionError
        If ``nsim`` is not positive, ``statistic`` has another name or, beside an executor, is a function.
    DataError
        If the fit was loaded, and has no rows.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> boot = fit.bootstrap(200, seed=1)
    >>> boot.values.shape, boot.status.value_counts().index[0]
    ((200, 6), 'interior')
    """
    check_draws("nsim", nsim)
    if statistic is not None and not callable(statistic):
        choose("statistic", statistic, STATISTICS)
    if executor is not None:
        check_executor(executor)
        if callable(statistic):
            raise OptionError("executor: expected a statistic by name beside it, got a function, which is called here.")
    y = simulate(fit, nsim, seed=seed).to_numpy()
    if callable(statistic):
        own, rows, words = _series(statistic(fit)), [], []
        for column in y.T:
            one = fit.call.refit(fit, column)
            words.append(one.status)
            rows.append(_series(statistic(one)).to_numpy(float) if one.estimates.proven else np.full(len(own), np.nan))
        values, status = np.array(rows).reshape(nsim, len(own)), pd.Series(words, name="status")
    else:
        refits = fit.call.refit_many(fit, y, executor)
        own = _values(fit.estimates, statistic, 0).iloc[0]
        values = _values(refits, statistic, nsim).to_numpy()
        status = pd.Series(refits.words, name="status")
    return Bootstrap(fit, own, pd.DataFrame(values, columns=own.index), status, statistic)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Bootstrap:
    """Statistics of refits: ``values``, draws × statistics; ``estimates`` are those of the ``fit``, ``status`` of each
    draw.

    A refit without an optimum is NaN, and left out of intervals.
    """

    fit: Fitted
    estimates: pd.Series
    values: pd.DataFrame
    status: pd.Series
    statistic: str | Callable[[Any], Any] | None

    def confint(self, method: str = "percentile", *, level: float = 0.95) -> pd.DataFrame:
        """Return intervals, index ``term``: ``estimate conf_low conf_high``.

        Parameters
        ----------
        method
            ``"percentile"``: quantiles of the draws; ``"basic"``: these reflected about the estimate; ``"bca"``:
            bias-corrected and accelerated (Efron 1987), with the acceleration by the jackknife over the levels of the
            largest grouping factor (over rows without one), which are refitted.
        level
            The confidence level.
        """
        choose("method", method, METHODS)
        check_level(level)
        tail = 0.5 * (1.0 - level)
        low, high = (np.full(len(self.estimates), np.nan) for _ in range(2))
        acceleration = self._acceleration() if method == "bca" else np.zeros(len(self.estimates))
        for number in range(len(self.estimates)):
            draws = self.values.iloc[:, number].to_numpy()
            draws, own = draws[np.isfinite(draws)], float(self.estimates.iloc[number])
            if not draws.size or not np.isfinite(own):
                continue
            shares = np.array([tail, 1.0 - tail])
            if method == "bca":
                below = (np.sum(draws < own) + 0.5 * np.sum(draws == own)) / draws.size
                bias = scipy.special.ndtri(np.clip(below, 0.5 / draws.size, 1.0 - 0.5 / draws.size))
                moved = bias + scipy.special.ndtri(shares)
                shares = scipy.special.ndtr(bias + moved / (1.0 - acceleration[number] * moved))
            quantiles = np.quantile(draws, shares)
            low[number], high[number] = 2.0 * own - quantiles[::-1] if method == "basic" else quantiles
        table = {"estimate": self.estimates.to_numpy(float), "conf_low": low, "conf_high": high}
        return pd.DataFrame(table, index=pd.Index(list(self.estimates.index), name="term"))

    def tidy(self, method: str = "percentile", *, level: float = 0.95) -> pd.DataFrame:
        """Return ``term estimate std_error bias n conf_low conf_high``; n draws have a value."""
        table = self.confint(method, level=level)
        draws = self.values.to_numpy()
        with np.errstate(invalid="ignore"):
            table.insert(1, "std_error", np.nanstd(draws, axis=0, ddof=1))
            table.insert(2, "bias", np.nanmean(draws, axis=0) - table["estimate"].to_numpy())
        table.insert(3, "n", np.isfinite(draws).sum(axis=0))
        return table.reset_index()

    def __repr__(self) -> str:
        counts = ", ".join(f"{word} {count}" for word, count in self.status.value_counts().items())
        return f"{len(self.values)} draws ({counts})\n{self.tidy().to_string(index=False)}"

    def _acceleration(self) -> Float[NumpyArray, " s"]:
        """Return Efron's acceleration of each statistic, by leaving out one level of the largest factor at a time."""
        frame = self.fit.frame
        assert frame.y is not None
        factors = [np.asarray(level.codes) for level in frame.levels.values()]
        codes = max(factors, key=np.max, default=np.arange(len(frame.y)))
        levels = np.unique(codes)
        if callable(self.statistic):
            raise OptionError("method: 'bca' is of statistics by name; of a function take 'percentile' or 'basic'.")
        y = np.where(codes[:, None] == levels[None, :], np.nan, frame.y[:, None])
        left = _values(self.fit.call.refit_many(self.fit, y), self.statistic, levels.size).to_numpy()
        apart = np.nanmean(left, axis=0) - left
        apart = np.where(np.isfinite(apart), apart, 0.0)
        square = np.sum(apart**2, axis=0)
        return np.asarray(np.sum(apart**3, axis=0) / (6.0 * np.where(square > 0, square, 1.0) ** 1.5))


def _series(value: Any) -> pd.Series:
    """Return the value of a user's statistic as a series with names."""
    if isinstance(value, pd.DataFrame):
        raise OptionError("statistic: expected a function that returns a number, a series or an array, got a frame.")
    if isinstance(value, pd.Series):
        return value
    values = np.atleast_1d(np.asarray(value, float))
    return pd.Series(values, index=["value"] if values.size == 1 else [f"value{i + 1}" for i in range(values.size)])


def _values(estimates: Estimates | ManyEstimates, statistic: str | None, count: int) -> pd.DataFrame:
    """Return named statistics of one fit (``count`` 0), or of many, as rows."""
    labels, parts = estimates.labels, {}
    if statistic in (None, "fixef"):
        parts["fixef"] = (list(labels.fixed_names), estimates.beta)
    if statistic in (None, "variance"):
        parts["variance"] = (list(labels.parameters), estimates.report)
    if statistic == "ratio":
        groups = list(labels.groups)
        parts["ratio"] = (groups, np.stack([ratio_of(estimates, group)[0] for group in groups], axis=-1))
    if statistic == "pve":
        parts["pve"] = (components_of(estimates), pve_of(estimates)[0])
    names = [name for own, _ in parts.values() for name in own]
    values = np.concatenate([np.atleast_2d(own) for _, own in parts.values()], axis=1)
    values = np.where(np.reshape(estimates.proven, (-1, 1)), values, np.nan)
    return pd.DataFrame(values.reshape(max(count, 1), len(names)), columns=names)
