"""Splines of R's package splines: ``bs`` and ``ns``, whose knots are those of the fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, choose

EXTRAPOLATIONS = ("extend", "clip", "na", "zero", "raise")
"""Values beyond the boundary knots: of the same polynomials, as in R; of the nearest knot; NaN; 0; or an error."""


def bs(
    x: Any,
    df: int | None = None,
    knots: float | Iterable[float] | None = None,
    degree: int = 3,
    intercept: bool = False,
    Boundary_knots: Iterable[float] | None = None,
    *,
    include_intercept: bool | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    extrapolation: str = "extend",
    _state: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Return a basis (n, df) of polynomial splines, R's ``bs``: B-splines with knots at quantiles of ``x``.

    Parameters
    ----------
    x
        Numbers (n,).
    df
        The number of columns, which gives the number of interior knots.
    knots
        The interior knots, in place of ``df``; by default none.
    degree, intercept
        The polynomials' degree; whether the first B-spline is kept.
    Boundary_knots
        The boundary knots; by default the range of ``x``. ``lower_bound`` and ``upper_bound`` give one of them.
    extrapolation
        The values beyond the boundary knots: one of ``EXTRAPOLATIONS``.
    _state
        The knots of the fit: empty at the first call, which fills it.

    Raises
    ------
    DataError
        If ``df`` is too small, or a knot of ``x`` is not within the boundary.
    """
    with_intercept = intercept if include_intercept is None else include_intercept
    values = _numbers(x)
    min_df = degree + (1 if with_intercept else 0)
    bounds = (lower_bound, upper_bound) if Boundary_knots is None else Boundary_knots
    interior, low, high = _knots(values, df, min_df, knots, bounds, _state)
    outside = (values < low) | (values > high)
    if choose("extrapolation", extrapolation, EXTRAPOLATIONS) == "raise" and outside.any():
        raise DataError(
            f"expected values from {low:g} to {high:g}, got {values[outside][0]:g}; extrapolation='extend' goes on."
        )
    spline = _b_splines(interior, low, high, degree)
    basis = spline(np.clip(values, low, high) if extrapolation == "clip" else values)
    if extrapolation in ("na", "zero"):
        basis[outside] = np.nan if extrapolation == "na" else 0.0
    return _columns(basis[:, 0 if with_intercept else 1 :])


def ns(
    x: Any,
    df: int | None = None,
    knots: float | Iterable[float] | None = None,
    intercept: bool = False,
    Boundary_knots: Iterable[float] | None = None,
    *,
    _state: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Return a basis (n, df) of natural cubic splines, R's ``ns``: beyond the boundary knots they are straight.

    Parameters
    ----------
    x
        Numbers (n,).
    df, knots, intercept, Boundary_knots, _state
        As in :func:`bs`.

    Raises
    ------
    DataError
        As :func:`bs` does.
    """
    values = _numbers(x)
    bounds = (None, None) if Boundary_knots is None else Boundary_knots
    interior, low, high = _knots(values, df, 1 + intercept, knots, bounds, _state)
    spline, ends = _b_splines(interior, low, high, 3), np.array([low, high])
    within = np.clip(values, low, high)
    basis = spline(within) + (values - within)[:, None] * spline(within, 1)
    first = 0 if intercept else 1
    # A basis of the coefficients for which the second derivatives at both ends vanish, by Householder's QR as in R.
    orthogonal = np.linalg.qr(spline(ends, 2)[:, first:].T, mode="complete")[0]
    return _columns(basis[:, first:] @ orthogonal[:, 2:])


def _numbers(x: Any) -> Float[NumpyArray, " n"]:
    if isinstance(getattr(x, "dtype", None), pd.CategoricalDtype):
        raise DataError("expected numbers, got a factor.")
    return np.asarray(x, float).reshape(-1)


def _knots(
    values: Float[NumpyArray, " n"],
    df: int | None,
    min_df: int,
    knots: float | Iterable[float] | None,
    bounds: Iterable[float | None],
    state: dict[str, Any] | None,
) -> tuple[list[float], float, float]:
    """Return the interior knots and the two boundary knots: those in ``state``, which is filled if it is empty."""
    if state:
        return state["knots"], *state["boundary"]
    boundary = list(bounds)
    if len(boundary) != 2:
        raise DataError(f"expected two boundary knots, got {len(boundary)}.")
    low, high = (
        float(edge(values) if bound is None else bound) for edge, bound in zip((np.min, np.max), boundary, strict=True)
    )
    low, high = min(low, high), max(low, high)
    if not low < high:
        raise DataError(f"expected values that vary, got {low:g} in all rows.")
    if df is not None and df < min_df:
        raise DataError(f"expected df of at least {min_df}, got {df}.")
    if knots is not None:
        interior = sorted(float(knot) for knot in np.atleast_1d(np.asarray(knots, float)))
        if df is not None and df != min_df + len(interior):
            raise DataError(f"expected df or knots, got both, and {len(interior)} knots make {min_df + len(interior)}.")
    else:
        probabilities = np.linspace(0, 1, 2 + (0 if df is None else int(df) - min_df))[1:-1]
        interior = np.quantile(values[(values >= low) & (values <= high)], probabilities).tolist()
    outside = [knot for knot in interior if not low < knot < high]
    if outside:
        raise DataError(
            f"expected knots between {low:g} and {high:g}, got {outside[0]:g}"
            + ("; give those inside." if knots is not None else ", as many values are equal; give knots=, or less df.")
        )
    if state is not None:
        state.update(knots=interior, boundary=[low, high])
    return interior, low, high


def _b_splines(interior: list[float], low: float, high: float, degree: int) -> Any:
    """Return all B-splines with these knots as one function of values, with a column for each."""
    knots = np.array([*[low] * (degree + 1), *interior, *[high] * (degree + 1)])
    return scipy.interpolate.BSpline(knots, np.eye(len(knots) - degree - 1), degree)


def _columns(basis: Float[NumpyArray, "n df"]) -> pd.DataFrame:
    """Return a basis as columns that are counted from 1, as in R."""
    return pd.DataFrame(basis, columns=[str(index + 1) for index in range(basis.shape[1])])
