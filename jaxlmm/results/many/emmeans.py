"""Marginal means of many responses, and comparisons of models for each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.results.hypotheses import (
    FixedPart,
    Grid,
    ResponseScale,
    adjusted,
    choose_adjustment,
    combinations_of,
    critical,
    factors_and_by,
    given_coefficients,
    names_of,
    pairwise,
    reference_grid,
    same_cells,
)
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many.tables import false_discovery_rate
from jaxlmm.results.many.tested import ManyTested, many_tested
from jaxlmm.results.tables import COEF_COLUMNS, t_columns


def emmeans(
    many: FittedMany,
    spec: Any,
    by: Any = None,
    *,
    type: str = "link",
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    df: str = "satterthwaite",
    level: float = 0.95,
) -> ManyMarginalMeans:
    """Return estimated marginal means of all responses, on one grid; parameters are those of
    :meth:`jaxlmm.Fit.emmeans`.

    Covariates are at their means over all rows of the design, also for a response with missing values.

    Returns
    -------
    ManyMarginalMeans
        ``to_frame()``: the means, ``pairs()``: their differences; with ``q_value`` over the responses.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> cake = lmm.datasets.cake()
    >>> cake["log"] = np.log(cake["angle"])
    >>> many = lmm.fit_many("~ recipe + (1 | replicate)", cake, responses=["angle", "log"])
    >>> many.emmeans("recipe").pairs()[["response", "contrast", "estimate"]].round(3).head(3)
      response contrast  estimate
    0    angle    A - B     1.478
    1    angle    A - C     1.522
    2    angle    B - C     0.044
    """
    scale = ResponseScale.of(type, many.estimates.labels.family, many.estimates.dispersion)
    return dataclasses.replace(_marginal(many, spec, by, None, at, weights, df, level), scale=scale)


def emtrends(
    many: FittedMany,
    spec: Any,
    var: str,
    by: Any = None,
    *,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    df: str = "satterthwaite",
    level: float = 0.95,
) -> ManyMarginalMeans:
    """Return estimated marginal slopes over a covariate of all responses; parameters are those of
    :meth:`jaxlmm.Fit.emtrends`.
    """
    return _marginal(many, spec, by, str(var), at, weights, df, level)


def _marginal(
    many: FittedMany,
    spec: Any,
    by: Any,
    slope: str | None,
    at: Mapping[str, Any] | None,
    weights: str,
    df: str,
    level: float,
) -> ManyMarginalMeans:
    own = many_tested(many, df)
    factors, within = factors_and_by(spec, by)
    part = FixedPart.of(many.estimates.labels, lambda: (many.frame, many.call.data))
    grid = reference_grid(part, [*dict.fromkeys((*factors, *within))], at, weights, slope=slope)
    offset = float(many.frame.offset.mean()) if slope is None else 0.0
    return ManyMarginalMeans(many, grid, factors, within, own, offset, level)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ManyMarginalMeans:
    """Estimated marginal means of ``factors`` for each of ``many`` responses, compared within the levels of ``by``."""

    many: FittedMany
    grid: Grid
    factors: tuple[str, ...]
    by: tuple[str, ...]
    own: ManyTested
    offset: float
    level: float
    scale: ResponseScale | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return the means: ``response n``, the factors, ``estimate std_error df statistic p_value conf_low conf_high
        q_value status reason``.
        """
        columns = self._tested(self.grid.rows, np.full(len(self.grid.rows), self.offset))
        columns = columns if self.scale is None else self.scale.of_means(columns)
        table = dict(zip(COEF_COLUMNS, columns, strict=True))
        return self._long(self.grid.cells[[*self.by, *self.factors]], table)

    def pairs(self, *, adjust: str = "none", reverse: bool = False) -> pd.DataFrame:
        """Return all differences of two means of each response, within the levels of ``by``.

        ``adjust`` is for the comparisons of one response, as in a single fit's ``pairs``; ``q_value`` is over the
        responses, comparison by comparison, of the adjusted p-values. Tukey's takes a tenth of a second for each.
        """
        choose_adjustment(adjust, pairwise=True)
        names = names_of(self.grid.cells, self.factors)
        return self._compared(lambda index: pairwise([names[cell] for cell in index], reverse=reverse), adjust)

    def contrast(self, coefficients: Mapping[str, Any], *, adjust: str = "none") -> pd.DataFrame:
        """Return linear combinations of the means, ``{name: numbers}``, of each response."""
        choose_adjustment(adjust, pairwise=False)
        return self._compared(lambda index: given_coefficients(coefficients, self.grid, self.factors, index), adjust)

    def __repr__(self) -> str:
        means = ", ".join((*self.by, *self.factors))
        return f"<marginal means of {means} for {len(self.many)} responses: to_frame(), pairs(), contrast()>"

    def _compared(
        self, combinations: Callable[[NumpyArray], tuple[list[str], Float[NumpyArray, "c m"]]], adjust: str
    ) -> pd.DataFrame:
        keys, parts = [], []
        for key, chosen in same_cells(self.grid.cells, self.by):
            index = np.flatnonzero(chosen)
            names, matrix = combinations(index)
            estimate, std_error, df, statistic, p_value, _, _ = self._tested(
                combinations_of(matrix, self.grid.rows[index]), self.offset * matrix.sum(axis=1)
            )
            half = critical(df, self.level, adjust, index.size) * std_error
            p_value = adjusted(p_value, statistic, df, adjust, index.size)
            columns = [estimate, std_error, df, statistic, p_value, estimate - half, estimate + half]
            if self.scale is not None:
                names, columns = self.scale.names(names), self.scale.of_differences(columns)
            keys += [{"contrast": name, **key} for name in names]
            parts.append(columns)
        joined = [np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)]
        return self._long(pd.DataFrame(keys), dict(zip(COEF_COLUMNS, joined, strict=True)))

    def _tested(self, rows: Float[NumpyArray, "c p"], added: Float[NumpyArray, " c"]) -> list[Float[NumpyArray, "m c"]]:
        """Return the columns of tests of combinations to which constants are ``added``, responses × combinations."""
        estimate, std_error, df = self.own.combined(rows)
        return t_columns(estimate + added, std_error, df, self.level)

    def _long(self, keys: pd.DataFrame, table: dict[str, Float[NumpyArray, "m c"]]) -> pd.DataFrame:
        estimates, count, m = self.many.estimates, len(keys), len(self.many)
        columns: dict[str, Any] = {
            "response": np.repeat(np.array(estimates.names, object), count),
            "n": np.repeat(estimates.n, count),
        }
        columns |= {str(name): np.tile(keys[name].to_numpy(object), m) for name in keys}
        columns |= {name: values.reshape(-1) for name, values in table.items()}
        columns["q_value"] = false_discovery_rate(table["p_value"]).reshape(-1)
        columns |= {"status": np.repeat(estimates.words, count), "reason": np.repeat(estimates.reason, count)}
        return pd.DataFrame(columns)
