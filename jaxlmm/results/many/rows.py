"""Fitted values, residuals and modes of many fits, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.engine import patterns_of, rows_of
from jaxlmm.errors import OptionError, choose
from jaxlmm.families import FittedRows, means
from jaxlmm.inference import Rows
from jaxlmm.model import Natural
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many_estimates import FAILED
from jaxlmm.results.rows import residuals_of
from jaxlmm.results.tables import check_group


def fitted(many: FittedMany, level: str = "conditional") -> pd.DataFrame:
    """Return fitted values, rows × responses, on the data's index; NaN where a response has no value or no optimum.

    ``level`` is ``"conditional"`` (with the random effects' modes) or ``"marginal"``.
    """
    eta, labels = _linear_predictors(many, level), many.estimates.labels.family
    if labels is None:
        return eta
    own = zip(eta.to_numpy().T, many.estimates.dispersion, strict=True)
    try:
        values = np.stack([means(labels.known(), *pair, many.frame.row_data) for pair in own], axis=1)
    except NotImplementedError as error:
        raise OptionError(str(error)) from error
    return pd.DataFrame(values, index=eta.index, columns=eta.columns)


def _linear_predictors(many: FittedMany, level: str) -> pd.DataFrame:
    choose("level", level, ("conditional", "marginal"))
    return _values(many, level).add(many.frame.offset, axis=0)


def residuals(many: FittedMany, type: str = "response", level: str = "conditional", *, seed: int = 0) -> pd.DataFrame:
    """Return residuals, rows × responses, on the data's index.

    Parameters
    ----------
    type
        ``"response"``: observed minus fitted; ``"pearson"``: in units of each row's residual standard deviation; with a
        family also ``"deviance"`` and ``"quantile"``, as :meth:`jaxlmm.Fit.residuals` has them.
    level
        Of the fitted values.
    seed
        Of the generator that randomizes quantiles.
    """
    if many.estimates.labels.family is not None:
        return _of_family(many, choose("type", type, ("response", "pearson", "deviance", "quantile")), level, seed)
    kind = choose("type", type, ("response", "pearson"))
    raw = many.y - fitted(many, level)
    if kind == "response":
        return raw
    return raw / _values(many, "residual_sds")


def _of_family(many: FittedMany, kind: str, level: str, seed: int) -> pd.DataFrame:
    """Return the residuals of generalized models."""
    labels, frame, rng = many.estimates.labels.family, many.frame, np.random.default_rng(seed)
    assert labels is not None
    eta, y = _linear_predictors(many, level).to_numpy(), many.y.to_numpy()
    found = np.full(y.shape, np.nan)
    for number, dispersion in enumerate(many.estimates.dispersion):
        rows = np.isfinite(y[:, number]) & np.isfinite(eta[:, number])
        if rows.any():
            own = FittedRows(labels.known(), eta[:, number], dispersion, frame.row_data).at(rows)
            found[rows, number] = residuals_of(own, y[rows, number], kind, frame.prior_weights[rows], rng)
    return pd.DataFrame(found, index=frame.index, columns=pd.Index(many.responses, name="response"))


def _values(many: FittedMany, field: str) -> pd.DataFrame:
    """Return a field of :class:`~jaxlmm.inference.Rows`, rows × responses."""
    values = np.full((len(many.frame.index), len(many)), np.nan)
    for rows, index, by_row in _by_pattern(many):
        values[np.ix_(rows, index)] = np.asarray(getattr(by_row, field))[:, : rows.size].T
    values[np.isnan(many.y.to_numpy())] = np.nan
    return pd.DataFrame(values, index=many.frame.index, columns=pd.Index(many.responses, name="response"))


def ranef(many: FittedMany, group: str) -> pd.DataFrame:
    """Return the conditional modes of ``group``: a row for each level and column, a column for each response.

    A level without a row in a response is NaN there.
    """
    check_group(many.estimates.labels, group)
    frame, labels = many.frame, many.estimates.labels
    levels = frame.levels[group]
    terms = [number for number, term in enumerate(labels.terms) if term.group == group]
    columns = [column for number in terms for column in labels.terms[number].columns]
    values = np.full((len(levels.labels), len(columns), len(many)), np.nan)
    for rows, responses, by_row in _by_pattern(many):
        occurs = np.bincount(levels.codes[rows], minlength=len(levels.labels)) > 0
        modes = np.concatenate([frame.by_level(number, by_row.modes[number]) for number in terms], axis=2)
        values[:, :, responses] = np.where(occurs[:, None, None], np.moveaxis(modes, 0, -1), np.nan)
    index = pd.MultiIndex.from_product([levels.labels, columns], names=[group, "column"])
    return pd.DataFrame(values.reshape(-1, len(many)), index=index, columns=pd.Index(many.responses, name="response"))


@in_double_precision
def _by_pattern(many: FittedMany) -> list[tuple[Int[NumpyArray, " _"], Int[NumpyArray, " _"], Rows]]:
    return list(_each_pattern(many))


def _each_pattern(many: FittedMany) -> Iterator[tuple[Int[NumpyArray, " _"], Int[NumpyArray, " _"], Rows]]:
    """Yield the rows and responses of each pattern of missing values, with their modes and fitted values."""
    estimates, design, origin = many.estimates, many.frame.design, many.origin
    assert origin is not None
    y, fixed = many.y.to_numpy(), Natural.split(estimates.labels.blocks, estimates.given)
    fitted_ones = np.flatnonzero((estimates.status != FAILED) & ~np.isnan(estimates.deviance))
    if design.distribution is not None:  # rows without a value have no weight, where all columns have an estimate
        whole = np.isfinite(estimates.beta[fitted_ones]).all(axis=1)
        index, fitted_ones = fitted_ones[whole], fitted_ones[~whole]
        if index.size:
            theta, bases = estimates.theta[index], [basis[index] for basis in estimates.bases]
            options: Any = {"solver": origin.solver, "method": estimates.method, "fixed": fixed}
            yield np.arange(len(y)), index, rows_of(design.unpadded(), y[:, index], theta, bases, **options)
    for rows, index in patterns_of(y, fitted_ones):
        own = design.unpadded() if rows.size == len(y) else design.at_rows(rows)[0]
        if design.distribution is not None:
            own = own.with_padded_columns(to=design.basis.shape[1])
        theta, bases = estimates.theta[index], [basis[index] for basis in estimates.bases]
        batch, method = y[np.ix_(rows, index)], estimates.method
        yield rows, index, rows_of(own, batch, theta, bases, solver=origin.solver, method=method, fixed=fixed)
