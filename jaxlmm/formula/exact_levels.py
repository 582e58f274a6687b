"""Levels of a model of dispersion in which the fixed effects leave no residual whose size could be estimated."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula.fixed import MAX_PERFECT_RESIDUAL
from jaxlmm.formula.frame import ModelFrame
from jaxlmm.model import Natural, independent_basis, least_squares

MAX_ERROR = 1e-8
"""Largest error with which the indicator of a level is a combination of columns."""


def check_levels(frame: ModelFrame, fixed: Natural | None) -> None:
    """Raise if the fixed effects fit the response exactly in a level that has a standard deviation of its own.

    As this goes to zero the likelihood grows without bound, or, by REML in a level of as many rows as coefficients,
    does not change.
    """
    assert frame.y is not None
    (level,) = exact_levels(frame, frame.y[:, None], np.arange(frame.y.size), fixed)
    if level:
        assert frame.labels.dispersion is not None
        text, n = frame.labels.dispersion.text, int(frame.dispersion_levels[level].sum())
        raise DataError(
            f"dispersion {text!r}: expected levels in which the fixed effects leave a residual, "
            f"got {level}, whose {'only row' if n == 1 else f'{n} rows'} they fit exactly, so that its standard "
            "deviation has no estimate; merge this level with another one, drop its rows, or give its coefficient by "
            "fixed=."
        )


def exact_levels(
    frame: ModelFrame, y: Float[NumpyArray, "n m"], rows: Int[NumpyArray, " l"], fixed: Natural | None
) -> list[str]:
    """Return for each response the level in which the fixed effects fit it exactly on its ``rows``, or ``""``.

    A response that they fit in all rows has none.
    """
    found = [""] * y.shape[1]
    levels = {level: own for level, own in _free_alone(frame, fixed).items() if own[rows].any()}
    if not levels or rows.size <= frame.x.shape[1]:
        return found
    root = np.sqrt(frame.weights[rows])[:, None]
    weighted = root * (y[rows] - frame.offset[rows, None])
    _, residual = least_squares(independent_basis(root * frame.x[rows]).basis, weighted)
    limit = MAX_PERFECT_RESIDUAL * np.linalg.norm(weighted, axis=0)
    left = np.linalg.norm(residual, axis=0) > limit
    for level, own in levels.items():
        for number in np.flatnonzero(left & (np.linalg.norm(residual[own[rows]], axis=0) <= limit)):
            found[number] = found[number] or level
    return found


def _free_alone(frame: ModelFrame, fixed: Natural | None) -> dict[str, Bool[NumpyArray, " n"]]:
    """Return the levels whose standard deviation can be any number while it stays elsewhere.

    Their indicator is a linear combination of the columns of the log standard deviation with a free coefficient.
    """
    if frame.design.dispersion is None or not frame.dispersion_levels:
        return {}
    n = len(frame.x)
    columns = np.asarray(frame.design.dispersion.columns)[:n]
    free = np.ones(columns.shape[1] + 1, bool)
    if fixed is not None:
        sigma, coefficients = fixed.values[-1][0], fixed.values[-1][-columns.shape[1] :]
        free = np.isnan([sigma, *coefficients])
        columns = columns * np.asarray(frame.design.dispersion.spread) + np.asarray(frame.design.dispersion.center)
    basis = independent_basis(np.column_stack([np.ones(n), columns])[:, free]).basis
    return {
        level: rows
        for level, rows in frame.dispersion_levels.items()
        if np.allclose(basis @ (basis.T @ rows), rows, rtol=0.0, atol=MAX_ERROR)
    }
