"""Estimated marginal means and slopes, and comparisons of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.hypotheses.adjust import adjusted, choose_adjustment, critical
from jaxlmm.results.hypotheses.grid import Grid, factors_and_by, reference_grid, same_cells
from jaxlmm.results.hypotheses.response_scale import ResponseScale
from jaxlmm.results.hypotheses.rows import fixed_part
from jaxlmm.results.tables import COEF_COLUMNS, Tested, t_columns, tested


def emmeans(
    fit: Fitted,
    spec: Any,
    by: Any = None,
    *,
    type: str = "link",
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    df: str = "satterthwaite",
    vcov: str = "model",
    cluster: Any = None,
    level: float = 0.95,
) -> MarginalMeans:
    """Return estimated marginal means: predictions of the fixed effects, averaged over the factors that are not named.

    Parameters
    ----------
    spec
        The factors that the means are of: ``"a"``, ``"a:b"`` or ``["a", "b"]``; ``"~ 1"`` for one mean over all. A
        number is one where ``at`` has values of it, or the formula makes it a factor.
    by
        Factors within whose levels means are compared.
    type
        With a family: ``"link"``, means of linear predictors, or ``"response"``, these on the scale of the response,
        where differences are ratios if the link is the logarithm or the logit (of odds).
    at
        Values of covariates, which otherwise are at their means over the rows, or some levels of factors.
    weights
        ``"equal"`` averages over the levels of other factors, ``"proportional"`` by the rows that have their
        combinations, ``"outer"`` by the product of the shares of each factor's levels, ``"cells"`` by the rows of each
        mean.
    df, vcov, cluster, level
        As in :meth:`jaxlmm.Fit.coef`.

    Returns
    -------
    MarginalMeans
        The means: ``print`` shows their table, ``to_frame()`` returns it, ``pairs()`` and ``contrast()`` compare them.

    Raises
    ------
    OptionError
        If a name is no variable of the fixed effects.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.datasets.cake())
    >>> fit.emmeans("recipe").pairs()[["contrast", "estimate", "df", "p_value"]].round(3)
      contrast  estimate    df  p_value
    0    A - B     1.478  42.0     0.82
    1    A - C     1.522  42.0     0.81
    2    B - C     0.044  42.0     1.00
    """
    factors, within = factors_and_by(spec, by)
    grid = reference_grid(fixed_part(fit), [*dict.fromkeys((*factors, *within))], at, weights)
    scale = ResponseScale.of(type, fit.estimates.labels.family, fit.estimates.dispersion)
    return MarginalMeans(grid, factors, within, tested(fit, df, vcov, cluster), _mean_offset(fit), level, scale)


def emtrends(
    fit: Fitted,
    spec: Any,
    var: str,
    by: Any = None,
    *,
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    df: str = "satterthwaite",
    vcov: str = "model",
    cluster: Any = None,
    level: float = 0.95,
) -> MarginalMeans:
    """Return estimated marginal slopes over a covariate: the change of :meth:`jaxlmm.Fit.emmeans` for one unit of it.

    Parameters
    ----------
    spec
        The factors that the slopes are of, as in ``emmeans``; ``"~ 1"`` for one slope.
    var
        A covariate. The slope is that at its mean, or at its value in ``at``, which matters where it is not linear.
    by, at, weights, df, vcov, cluster, level
        As in ``emmeans``.

    Raises
    ------
    OptionError
        If a name is no variable of the fixed effects, or ``var`` is a factor.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("angle ~ recipe * temp + (1 | recipe:replicate)", lmm.datasets.cake())
    >>> fit.emtrends("recipe", "temp").to_frame()[["recipe", "estimate", "std_error"]].round(4)
      recipe  estimate  std_error
    0      A    0.1537     0.0282
    1      B    0.1646     0.0282
    2      C    0.1558     0.0282
    """
    factors, within = factors_and_by(spec, by)
    part, names = fixed_part(fit), [*dict.fromkeys((*factors, *within))]
    grid = reference_grid(part, names, at, weights, slope=str(var))
    return MarginalMeans(grid, factors, within, tested(fit, df, vcov, cluster), 0.0, level)


def _mean_offset(fit: Fitted) -> float:
    """Return the mean of the offset over the rows, which predictions hold."""
    return float(fit.frame.offset.mean()) if fit.estimates.ranges.offset.any() else 0.0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MarginalMeans:
    """Estimated marginal means, or slopes, of ``factors``, compared within the levels of the factors ``by``."""

    grid: Grid
    factors: tuple[str, ...]
    by: tuple[str, ...]
    own: Tested
    offset: float
    level: float
    scale: ResponseScale | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return the means: columns of the factors, then ``estimate std_error df statistic p_value conf_low
        conf_high``.

        The test is that the mean, with a family its linear predictor, is zero. A mean that the rows do not determine,
        as of an empty cell, is NaN.
        """
        estimate, std_error, df = self.own.combined(self.grid.rows)
        columns = t_columns(estimate + self.offset, std_error, df, self.level)
        columns = columns if self.scale is None else self.scale.of_means(columns)
        table = pd.DataFrame(dict(zip(COEF_COLUMNS, columns, strict=True)))
        return pd.concat([self.grid.cells[[*self.by, *self.factors]], table], axis=1)

    def pairs(self, *, adjust: str = "tukey", reverse: bool = False) -> pd.DataFrame:
        """Return all differences of two means, within the levels of ``by``.

        Parameters
        ----------
        adjust
            ``"tukey"`` (Tukey–Kramer, by the studentized range), ``"holm"``, ``"bonferroni"`` or ``"none"``: for the
            comparisons within one combination of the levels of ``by``. Intervals are simultaneous ones; those beside
            Holm's p-values are Bonferroni's.
        reverse
            Later minus earlier level.

        Returns
        -------
        pandas.DataFrame
            ``contrast``, the factors ``by``, ``estimate std_error df statistic p_value conf_low conf_high``.
        """
        choose_adjustment(adjust, pairwise=True)
        names = names_of(self.grid.cells, self.factors)
        return self._compared(lambda index: pairwise([names[cell] for cell in index], reverse=reverse), adjust)

    def contrast(self, coefficients: Any, *, adjust: str = "none") -> pd.DataFrame:
        """Return linear combinations of the means, within the levels of ``by``.

        Parameters
        ----------
        coefficients
            ``{name: numbers}``, one number for each mean in the order of :meth:`to_frame`; or a matrix of them.
        adjust
            ``"holm"``, ``"bonferroni"`` or ``"none"``.

        Raises
        ------
        OptionError
            If there are not as many numbers as means.
        """
        choose_adjustment(adjust, pairwise=False)
        return self._compared(lambda index: given_coefficients(coefficients, self.grid, self.factors, index), adjust)

    def _compared(self, combinations: Any, adjust: str) -> pd.DataFrame:
        parts = []
        for key, chosen in same_cells(self.grid.cells, self.by):
            index = np.flatnonzero(chosen)
            names, matrix = combinations(index)
            estimate, std_error, df = self.own.combined(combinations_of(matrix, self.grid.rows[index]))
            estimate = estimate + self.offset * matrix.sum(axis=1)
            table = pd.DataFrame(dict(zip(COEF_COLUMNS, t_columns(estimate, std_error, df, self.level), strict=True)))
            half = critical(df, self.level, adjust, index.size) * std_error
            table["p_value"] = adjusted(
                table["p_value"].to_numpy(), table["statistic"].to_numpy(), df, adjust, index.size
            )
            table["conf_low"], table["conf_high"] = estimate - half, estimate + half
            if self.scale is not None:
                own = self.scale.of_differences([table[name].to_numpy() for name in COEF_COLUMNS])
                table = pd.DataFrame(dict(zip(COEF_COLUMNS, own, strict=True)))
                names = self.scale.names(names)
            for name in reversed(self.by):
                table.insert(0, name, [key[name]] * len(table))
            table.insert(0, "contrast", names)
            parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        held = ", ".join(f"{name} = {value:.6g}" for name, value in self.grid.covariates.items())
        averaged = ", ".join(self.grid.averaged)
        notes = [
            *([f"Averaged over: {averaged}"] if averaged else []),
            *([f"Covariates at: {held}"] if held else []),
        ]
        return "\n".join([self.to_frame().to_string(index=False), *notes])

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


def names_of(cells: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    """Return the levels of each cell as one text."""
    return [" ".join(str(value) for value in row) for row in cells[list(factors)].itertuples(index=False)]


def pairwise(names: Sequence[str], *, reverse: bool = False) -> tuple[list[str], Float[NumpyArray, "c m"]]:
    """Return the names and the coefficients of all differences of two of m means.

    >>> pairwise(["a", "b"])
    (['a - b'], array([[ 1., -1.]]))
    """
    chosen = list(itertools.combinations(range(len(names)), 2))
    chosen = [pair[::-1] for pair in chosen] if reverse else chosen
    matrix = np.zeros((len(chosen), len(names)))
    for row, (one, other) in enumerate(chosen):
        matrix[row, one], matrix[row, other] = 1.0, -1.0
    return [f"{names[one]} - {names[other]}" for one, other in chosen], matrix


def given_coefficients(
    coefficients: Any, grid: Grid, factors: Sequence[str], index: NumpyArray
) -> tuple[list[str], Float[NumpyArray, "c m"]]:
    """Return names and matrix of a user's combinations of the means ``index``; raise if they do not fit."""
    named = isinstance(coefficients, Mapping)
    try:
        matrix = np.atleast_2d(np.array(list(coefficients.values()) if named else coefficients, float))
    except (TypeError, ValueError):
        matrix = np.empty((0, 0))
    if matrix.ndim != 2 or matrix.shape[1] != index.size or not len(matrix):
        cells = names_of(grid.cells, factors)
        means = ", ".join(cells[number] for number in index)
        got = matrix.shape[-1] or repr(coefficients)
        raise OptionError(f"coefficients: expected {index.size} numbers, one for each of {means}, got {got}.")
    return [str(name) for name in coefficients] if named else [f"c{i + 1}" for i in range(len(matrix))], matrix


def combinations_of(matrix: Float[NumpyArray, "c m"], rows: Float[NumpyArray, "m p"]) -> Float[NumpyArray, "c p"]:
    """Return combinations of means as rows of coefficients, NaN where a mean of one is not determined."""
    unknown = np.isnan(rows).any(axis=1)
    touched = (matrix[:, unknown] != 0).any(axis=1)
    return np.where(touched[:, None], np.nan, matrix @ np.where(np.isnan(rows), 0.0, rows))
