"""The residual variance of new rows: by the model of dispersion, and by their position in a residual structure."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import ByLevel
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import variables_of
from jaxlmm.formula.newdata import row_labels
from jaxlmm.formula.syntax import parse_tag
from jaxlmm.genetics.ids import label_texts
from jaxlmm.model import PAST, ChainFactor
from jaxlmm.results.fitted import Fitted

ROUNDING = 1e-12
"""Relative difference of residual variances up to which they are one."""


def new_residual_variance(fit: Fitted, newdata: Any) -> Float[NumpyArray, " m"]:
    """Return the residual variances of new rows at weight 1; NaN where a variable is missing.

    Raises
    ------
    DataError
        If positions have variances of their own, and a row has a position that the fit does not have, or none.
    """
    labels, m = fit.estimates.labels, len(row_labels(newdata))
    variance = np.full(m, float(fit.sigma) ** 2)
    if labels.dispersion is not None:
        coefficients = fit.estimates.report[-len(labels.dispersion.columns) :]
        variance = variance * np.exp(2.0 * labels.dispersion.encoding.columns(newdata)[:, 1:] @ coefficients)
    found = fit.by_row.residual_covariance
    if labels.residual is None or found is None:
        return variance
    chain = isinstance(found, ChainFactor)
    own = np.asarray(found.links.sd) ** 2 if chain else np.diagonal(np.asarray(found), axis1=-2, axis2=-1)
    if np.ptp(own) <= ROUNDING * own.max():  # the same at any position
        return np.asarray(variance * own.flat[0])
    positions = _positions(fit, newdata)
    known = np.where(positions < 0, 0, positions)
    return np.where(positions < 0, np.nan, variance * _by_position(fit, found)[known])


def _by_position(fit: Fitted, found: Any) -> Float[NumpyArray, " q"]:
    """Return the relative variances at the positions that levels share."""
    term = fit.design.residual
    assert term is not None
    if not isinstance(found, ChainFactor):
        return np.asarray(np.diagonal(np.asarray(found)[0]))
    cells, sds = np.asarray(found.cells), np.asarray(found.links.sd)
    variances = np.full(term.size, np.nan)
    real = cells != PAST
    variances[cells[real] % term.size] = sds[real] ** 2
    return variances


def _positions(fit: Fitted, newdata: Any) -> Int[NumpyArray, " m"]:
    """Return the index of each new row's position on the grid that levels share, -1 where a variable is missing."""
    labels, term = fit.estimates.labels.residual, fit.design.residual
    assert labels is not None
    assert term is not None
    by = term.structure if isinstance(term.structure, ByLevel) else None
    grid = np.asarray(term.coords)[0, :, 0]
    own = grid[: grid.size // len(by.levels)] if by is not None else grid
    if labels.encoding is None or term.own_positions or np.shape(term.coords)[-1] > 1:
        raise DataError(
            f"predict: which residual variance new rows have is not known: positions of {labels.text} are the order "
            "of the fit's rows, or each level's own, or have several coordinates. Ask for interval='confidence', or "
            "predict the fit's rows."
        )
    values = labels.encoding.columns(newdata)[:, 0]
    same = own[None, :] == values[:, None]
    missing = np.isnan(values)
    unknown = np.flatnonzero(~same.any(axis=1) & ~missing)
    if unknown.size:
        raise DataError(
            f"predict: expected positions that the fit has in {labels.text}, whose residual variances differ, got "
            f"another one in {unknown.size} rows. Ask for interval='confidence' there."
        )
    index = np.where(missing, -1, same.argmax(axis=1))
    if by is None:
        return index
    factor = parse_tag(labels.text, "residual").by
    assert factor is not None
    column = variables_of(newdata, [factor])[factor]
    texts = np.array([str(text) for text in label_texts(column.array)])
    level = np.array([by.levels.index(text) if text in by.levels else -1 for text in texts])
    return np.where((index < 0) | (level < 0), -1, index + own.size * level)
