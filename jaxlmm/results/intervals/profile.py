"""Profiles of the deviance: each parameter held at values, minimized over all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy

from jaxlmm._util import in_double_precision
from jaxlmm.covariance import Parameter
from jaxlmm.engine import Minima, Profiler
from jaxlmm.errors import DataError, OptionError, choose, nearest
from jaxlmm.model import Natural
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.intervals.limits import MAX_ROUNDS, LimitSearch, search_from_wald
from jaxlmm.results.tables import check_level

POINTS = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.25])
"""Points of a profile on either side, as parts of the distance of its 99 % limit."""

PROFILE_LEVEL = 0.99
"""The confidence level whose limits scale the points of a profile."""


@in_double_precision
def profile(fit: Fitted, parameters: Sequence[str] | str | None = None, *, criterion: str = "ML") -> Profile:
    """Profile the deviance: hold each parameter at values, and minimize over all others.

    Parameters
    ----------
    parameters
        Names of :meth:`fixef` or :meth:`variance`; None for all that are not fixed.
    criterion
        ``"ML"``, also of a fit by REML, as lme4 does: estimates are then those by ML; or ``"REML"``, of variance
        parameters alone.

    Returns
    -------
    Profile
        ``.frame``: ``parameter value zeta deviance``, ζ the signed square root of the deviance above its minimum, which
        is nearly standard normal; ``.confint(level)`` finds the limits themselves.

    Raises
    ------
    OptionError
        If a name is no parameter, is one that is fixed, or a fixed effect by REML.
    DataError
        If the fit was loaded, or has no proven optimum.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", lmm.datasets.penicillin())
    >>> prof = fit.profile("plate: sd(Intercept)", criterion="REML")
    >>> prof.confint().round(2).to_numpy().tolist()
    [[0.85, 0.63, 1.18]]
    """
    choose("criterion", criterion, ("ML", "REML"))
    if criterion == "REML" and fit.method != "REML":
        raise OptionError("criterion: 'REML' is of fits by REML, got one by ML.")
    best = fit if fit.method == criterion else fit.call.update(fit, None, None, {"method": criterion})
    if not best.estimates.proven:
        raise DataError(f"profile: expected a fit with a proven optimum, got one whose status is {best.status}.")
    labels, fixed = best.estimates.labels, best.estimates.fixed
    free = [name for name, held in zip(labels.parameters, fixed, strict=True) if not held]
    names = [*([] if criterion == "REML" else labels.fixed_names), *free]
    if parameters is not None:
        wanted = [parameters] if isinstance(parameters, str) else list(parameters)
        for name in wanted:
            if name in labels.parameters and name not in free:
                raise OptionError(f"parameters: {name!r} is fixed, and has no profile.")
            if name not in names:
                by = " by REML (take criterion='ML')" if name in labels.fixed_names else ""
                raise OptionError(f"parameters: {name!r} has no profile{by}; {nearest(str(name), names)}.")
        names = wanted
    solver = type(best.solution.likelihood.solver)
    held = dict(zip(labels.parameters, best.estimates.report, strict=True))
    given = {name: float(held[name]) for name, is_held in zip(labels.parameters, fixed, strict=True) if is_held}
    natural = Natural.of(best.design, labels.blocks, given) if given else None
    assert best.frame.y is not None
    profiler = Profiler(best.design, best.frame.y, solver=solver, method=criterion, fixed=natural)
    return Profile(best, tuple(names), profiler, given)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Profile:
    """Profiles of the parameters ``names`` of a ``fit``, by a ``profiler``; some others are ``given``."""

    fit: Fitted
    names: tuple[str, ...]
    profiler: Profiler
    given: dict[str, float]

    @in_double_precision
    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """Return limits where the deviance is above its minimum by the quantile of chi-squared, index ``parameter``.

        ``estimate conf_low conf_high``, on the scale of standard deviations and correlations. Where the deviance stays
        below up to a bound that the parameter can attain, as zero, the limit is that bound.
        """
        check_level(level)
        low, high = self._limits(level)
        table = {"estimate": [self._estimate(name) for name in self.names], "conf_low": low, "conf_high": high}
        return pd.DataFrame(table, index=pd.Index(list(self.names), name="parameter"))

    @property
    def frame(self) -> pd.DataFrame:
        """Points of the profiles: ``parameter value zeta deviance``."""
        if "points" not in self.__dict__:
            object.__setattr__(self, "points", self._points())
        points: pd.DataFrame = self.__dict__["points"]
        return points.copy()

    @in_double_precision
    def _points(self) -> pd.DataFrame:
        low, high = self._limits(PROFILE_LEVEL)
        asked: list[tuple[str, float]] = []
        for name, lower, upper in zip(self.names, low, high, strict=True):
            own, (least, most) = self._estimate(name), self._bounds(name)
            for limit in (lower, upper):
                if np.isfinite(limit) and limit != own:
                    steps = own + POINTS * (limit - own)
                    asked += [(name, float(value)) for value in steps if least <= value <= most]
        rows = [(name, self._estimate(name), 0.0, self.fit.deviance) for name in self.names]
        for (name, value), deviance in zip(asked, self._deviances(asked), strict=True):
            zeta = np.sign(value - self._estimate(name)) * np.sqrt(max(deviance - self.fit.deviance, 0.0))
            rows.append((name, value, float(zeta), float(deviance)))
        order = {name: number for number, name in enumerate(self.names)}
        rows.sort(key=lambda row: (order[row[0]], row[1]))
        return pd.DataFrame(rows, columns=["parameter", "value", "zeta", "deviance"])

    def __repr__(self) -> str:
        by = "" if self.fit.method == "REML" else " (estimates by ML)"
        return f"Profile of {len(self.names)} parameters by {self.fit.method}{by}\n{self.confint().to_string()}"

    def _parameter(self, name: str) -> Parameter | None:
        labels = self.fit.estimates.labels
        return None if name in labels.fixed_names else labels.natural[labels.parameters.index(name)]

    def _estimate(self, name: str) -> float:
        estimates = self.fit.estimates
        if self._parameter(name) is None:
            return float(estimates.beta[estimates.labels.fixed_names.index(name)])
        return float(estimates.report[estimates.labels.parameters.index(name)])

    def _bounds(self, name: str) -> tuple[float, float]:
        parameter = self._parameter(name)
        return (-np.inf, np.inf) if parameter is None else (parameter.lower, parameter.upper)

    def _deviances(self, asked: Sequence[tuple[str, float]]) -> np.ndarray[Any, Any]:
        """Return the deviances where one parameter has a value, all of them in few calls."""
        found, labels = np.full(len(asked), np.nan), self.fit.estimates.labels
        effects = [index for index, (name, _) in enumerate(asked) if self._parameter(name) is None]
        for name in dict.fromkeys(asked[index][0] for index in effects):
            own = [index for index in effects if asked[index][0] == name]
            values = np.array([asked[index][1] for index in own])
            found[own] = _where_converged(self.profiler.at_coefficient(labels.fixed_names.index(name), values))
        others = [index for index in range(len(asked)) if index not in set(effects)]
        if others:
            by_name = [{**self.given, asked[index][0]: asked[index][1]} for index in others]
            held = [Natural.of(self.fit.design, labels.blocks, own_values) for own_values in by_name]
            found[others] = _where_converged(self.profiler.at(held))
        return found

    def _limits(self, level: float) -> tuple[list[float], list[float]]:
        """Return lower and upper limits; all of them are looked for together."""
        critical = float(np.sqrt(scipy.special.chdtri(1.0, 1.0 - level)))
        searches = [(name, self._search(name, side, critical)) for name in self.names for side in (0, 1)]
        for _ in range(MAX_ROUNDS):
            active = [(name, search) for name, search in searches if not search.done]
            if not active:
                break
            deviances = self._deviances([(name, search.trial) for name, search in active])
            for (_, search), deviance in zip(active, deviances, strict=True):
                above = max(deviance - self.fit.deviance, 0.0)
                search.learn(float(np.sqrt(above)) if np.isfinite(deviance) else np.inf)
        limits = [search.limit for _, search in searches]
        return limits[::2], limits[1::2]

    def _search(self, name: str, side: int, critical: float) -> LimitSearch:
        """Return the search of the lower (0) or upper (1) limit of a parameter, from Wald's."""
        estimates, parameter, own = self.fit.estimates, self._parameter(name), self._estimate(name)
        if parameter is None:
            error = float(estimates.uncertainty.std_error[estimates.labels.fixed_names.index(name)])
        else:
            number = estimates.labels.parameters.index(name)
            error = float(np.sqrt(estimates.uncertainty.report_cov[number, number]))
        return search_from_wald(parameter, own, error, self.fit.estimates.sigma, side=side, critical=critical)


def _where_converged(found: Minima) -> np.ndarray[Any, Any]:
    """Return deviances, NaN where the minimizer stopped early."""
    return np.where(found.converged, found.deviance, np.nan)
