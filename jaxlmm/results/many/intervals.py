"""Confidence intervals of the parameters of many responses, by each method."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.engine import ManyProfiler
from jaxlmm.errors import DataError, OptionError, choose, nearest
from jaxlmm.model import Natural
from jaxlmm.results.intervals import MAX_ROUNDS, Bootstrap, LimitSearch, search_from_wald
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many.tables import long_table
from jaxlmm.results.tables import check_level, intervals, t_columns

METHODS = ("wald", "profile", "bootstrap")
"""The values of ``method``."""

RESPONSES_AT_ONCE = 256
"""Responses whose profiles are computed together."""


def confint(
    many: FittedMany,
    parameters: Sequence[str] | str | None = None,
    method: str = "wald",
    level: float = 0.95,
    *,
    nsim: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return confidence intervals of fixed effects and variance parameters of all responses.

    Parameters
    ----------
    parameters, method, level, nsim, seed
        As in :meth:`jaxlmm.Fit.confint`. The profiles of all responses are computed together; a bootstrap fits ``nsim``
        draws of each response.

    Returns
    -------
    pandas.DataFrame
        ``response n parameter estimate conf_low conf_high status reason``; NaN without a proven optimum. The estimates
        beside profiles are those by ML.

    Raises
    ------
    OptionError
        If a name is no parameter, or ``method`` is something else.
    DataError
        If profile or bootstrap are asked of loaded fits.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> sleep["log"] = np.log(sleep["Reaction"])
    >>> many = lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=["Reaction", "log"])
    >>> many.confint("Days", method="profile")[["response", "conf_low", "conf_high"]].round(3)
       response  conf_low  conf_high
    0  Reaction     8.887     12.048
    1       log     0.029      0.039
    """
    choose("method", method, METHODS)
    check_level(level)
    labels = many.estimates.labels
    names = [*labels.fixed_names, *labels.parameters]
    wanted = names if parameters is None else _chosen(parameters, names)
    held = [name for name, fixed in zip(labels.parameters, many.estimates.fixed, strict=True) if fixed]
    if method == "profile" and parameters is not None and set(held) & set(wanted):
        raise OptionError(
            f"parameters: {next(name for name in wanted if name in held)!r} is fixed, and has no profile."
        )
    columns = [names.index(name) for name in wanted]
    if method == "profile":
        own, low, high = _profiled(many, columns, level)
    elif method == "bootstrap":
        return bootstrap(many, nsim, seed=seed).confint(level=level, parameters=wanted)
    else:
        own, (low, high) = many, _wald(many, level)
        low, high = low[:, columns], high[:, columns]
    estimate = np.concatenate([own.estimates.beta, own.estimates.report], axis=1)[:, columns]
    table = {"estimate": estimate, "conf_low": low, "conf_high": high}
    return long_table(many, "parameter", wanted, table, with_n=True)


def bootstrap(
    many: FittedMany, nsim: int = 1000, *, seed: int = 0, statistic: str | None = None, executor: Any = None
) -> ManyBootstrap:
    """Draw responses from the fit of each, and fit its model to them: parameters are those of
    :meth:`jaxlmm.Fit.bootstrap`.

    Each response has draws of its own, by the seed and its place. One without a proven optimum, or that cannot be
    fitted on its own rows as :class:`FitMany` ``["y7"]`` does, has none, and NaN in tables.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> sleep["log"] = np.log(sleep["Reaction"])
    >>> many = lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=["Reaction", "log"])
    >>> many.bootstrap(100, seed=1)["log"].values.shape
    (100, 4)
    """
    seeds = np.random.SeedSequence(seed).spawn(len(many))
    call, values, drawn, apart = many.call, many.values, {}, {}
    for place, (name, proven) in enumerate(zip(many.responses, many.estimates.proven, strict=True)):
        if proven:
            own = int(seeds[place].generate_state(1, np.uint64)[0])
            try:
                fit = call.single(name, values[:, place])
            except DataError as error:  # as a factor with one level on its rows
                apart[name] = str(error)
                continue
            drawn[name] = fit.bootstrap(nsim, seed=own, statistic=statistic, executor=executor)
    return ManyBootstrap(many, drawn, apart)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ManyBootstrap:
    """The bootstrap of each response with a proven optimum, by its name: ``boot["y7"]`` is a single fit's.

    ``apart`` has the errors of those that cannot be fitted on their own rows.
    """

    many: FittedMany
    drawn: dict[str, Bootstrap]
    apart: dict[str, str]

    def __getitem__(self, response: str) -> Bootstrap:
        if response not in self.drawn:
            known = "it has no proven optimum" if response in self.many.responses else "it is no response"
            known = self.apart.get(response, known).rstrip(".")
            raise OptionError(f"{response!r} has no bootstrap: {known}.")
        return self.drawn[response]

    def confint(
        self, method: str = "percentile", *, level: float = 0.95, parameters: Sequence[str] | str | None = None
    ) -> pd.DataFrame:
        """Return intervals of all responses, ``response n parameter estimate conf_low conf_high status reason``."""
        tables = {name: boot.confint(method, level=level) for name, boot in self.drawn.items()}
        every = list(dict.fromkeys(name for table in tables.values() for name in table.index))
        names = every if parameters is None else _chosen(parameters, every)
        shape = (len(self.many), len(names))
        table = {column: np.full(shape, np.nan) for column in ("estimate", "conf_low", "conf_high")}
        for number, response in enumerate(self.many.responses):
            if response in tables:
                own = tables[response].reindex(names)
                for column, values in table.items():
                    values[number] = own[column]
        return long_table(self.many, "parameter", names, table, with_n=True)

    def __repr__(self) -> str:
        return f"<bootstraps of {len(self.drawn)} responses: confint(), boot['name']>"


def _chosen(parameters: Sequence[str] | str, names: Sequence[str]) -> list[str]:
    """Return the names that are asked for; raise if one is not there."""
    wanted = [parameters] if isinstance(parameters, str) else list(parameters)
    for name in wanted:
        if name not in names:
            raise OptionError(f"parameters: no parameter is named {name!r}; {nearest(str(name), names)}.")
    return wanted


def _wald(many: FittedMany, level: float) -> tuple[Float[NumpyArray, "m c"], Float[NumpyArray, "m c"]]:
    """Return Wald's limits of all parameters."""
    estimates = many.estimates
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.diagonal(estimates.uncertainty.report_cov, axis1=1, axis2=2))
    error = np.where(estimates.fixed[None, :] | ~estimates.proven[:, None], np.nan, error)
    df = np.where(estimates.proven[:, None], estimates.uncertainty.satterthwaite(), np.nan)
    fixed_low, fixed_high = t_columns(estimates.beta, estimates.uncertainty.std_error, df, level)[-2:]
    low, high = intervals(estimates.labels.natural, estimates.report, error, level)
    return np.concatenate([fixed_low, low], axis=1), np.concatenate([fixed_high, high], axis=1)


@in_double_precision
@np.errstate(all="ignore")
def _profiled(
    many: FittedMany, columns: list[int], level: float
) -> tuple[FittedMany, Float[NumpyArray, "m c"], Float[NumpyArray, "m c"]]:
    """Return the fits by ML, and limits of the parameters that are not fixed."""
    again, method = many.call.again, many.estimates.method
    best = many if method == "ML" else again(many.responses, many.values, None, "ML")
    estimates = best.estimates
    limits = np.full((2, len(many), len(columns)), np.nan)
    proven = np.flatnonzero(estimates.proven & many.estimates.proven)
    for first in range(0, proven.size, RESPONSES_AT_ONCE):
        index = proven[first : first + RESPONSES_AT_ONCE]
        limits[:, index] = _Profiles(best, index, columns, level).limits()
    return best, limits[0], limits[1]


class _Profiles:
    """The searches of the limits of some parameters of the responses ``index``, which are minimized together."""

    def __init__(self, many: FittedMany, index: NumpyArray, columns: list[int], level: float) -> None:
        self.many, self.index, self.columns = many, index, columns
        estimates, labels = many.estimates, many.estimates.labels
        given = dict(zip(labels.parameters, estimates.given, strict=True))
        self.given = {name: float(value) for name, value in given.items() if np.isfinite(value)}
        fixed = Natural.of(many.frame.design, labels.blocks, self.given) if self.given else None
        y, solver = many.y.to_numpy()[:, index], many.solver_class
        self.profiler = ManyProfiler(many.frame.design, y, solver=solver, method=estimates.method, fixed=fixed)
        critical = float(np.sqrt(scipy.special.chdtri(1.0, 1.0 - level)))
        p = len(labels.fixed_names)
        with np.errstate(invalid="ignore"):
            errors = np.sqrt(np.diagonal(estimates.uncertainty.report_cov, axis1=1, axis2=2))
        values = np.concatenate([estimates.beta, estimates.report], axis=1)
        errors = np.concatenate([estimates.uncertainty.std_error, errors], axis=1)
        self.searches: dict[tuple[int, int, int], LimitSearch] = {}
        for place, column in enumerate(columns):
            parameter = None if column < p else labels.natural[column - p]
            if parameter is not None and parameter.name in self.given:
                continue
            for k, number in enumerate(index):
                if np.isfinite(values[number, column]):
                    for side in (0, 1):
                        self.searches[k, place, side] = search_from_wald(
                            parameter, float(values[number, column]), float(errors[number, column]),
                            float(estimates.sigma[number]), side=side, critical=critical,
                        )  # fmt: skip

    def limits(self) -> Float[NumpyArray, "2 b c"]:
        """Return lower and upper limits."""
        for _ in range(MAX_ROUNDS):
            active = {key: search for key, search in self.searches.items() if not search.done}
            if not active:
                break
            for place, column in enumerate(self.columns):
                keys = [key for key in active if key[1] == place]
                if not keys:
                    continue
                which = np.array([key[0] for key in keys])
                deviance = self._deviances(column, which, np.array([active[key].trial for key in keys]))
                above = deviance - self.many.estimates.deviance[self.index[which]]
                for key, gained in zip(keys, above, strict=True):
                    active[key].learn(float(np.sqrt(max(gained, 0.0))) if np.isfinite(gained) else np.inf)
        found = np.full((2, self.index.size, len(self.columns)), np.nan)
        for (k, place, side), search in self.searches.items():
            found[side, k, place] = search.limit
        return found

    def _deviances(self, column: int, which: NumpyArray, values: Float[NumpyArray, " c"]) -> Float[NumpyArray, " c"]:
        """Return the deviances of responses where a parameter has the value of each; NaN where none was found."""
        labels, design = self.many.estimates.labels, self.many.frame.design
        if column < len(labels.fixed_names):
            found = self.profiler.at_coefficient(column, which, values)
        else:
            held = np.tile(self.many.estimates.given, (values.size, 1))
            held[:, column - len(labels.fixed_names)] = values
            for row in np.flatnonzero(values == 0.0):  # a standard deviation of 0 leaves its correlations undefined
                named = dict(zip(labels.parameters, held[row], strict=True))
                own = {name: float(value) for name, value in named.items() if np.isfinite(value)}
                held[row] = Natural.of(design, labels.blocks, own).flat
            found = self.profiler.at(labels.blocks, which, held)
        return np.where(found.converged, found.deviance, np.nan)
