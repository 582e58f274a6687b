"""Splines of R's package splines: ``bs`` and ``ns``, whose knots are those of the fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import BSpline

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, choose

OUTSIDE = ("extend", "clip", "na", "zero", "raise")
"""What happens beyond the boundary knots: the polynomials go on, as in R, or otherwise."""


def bs(
    x: Any,
    df: int | None = None,
    knots: Iterable[float] | None = None,
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
    """Return a basis (n, df) of polynomial splines, R's ``bs``: B-splines on quantiles of ``x``.

    Parameters
    ----------
    x
        Numbers (n,).
    df
        The number of columns, from which that of the interior knots follows.
    knots
        The interior knots, in place of ``df``; by default none.
    degree, intercept
        The polynomials' degree; whether the first B-spline is kept.
    Boundary_knots
        The boundary knots; by default the range of ``x``. ``lower_bound`` and ``upper_bound`` give one of them.
    extrapolation
        One of ``OUTSIDE``.
    _state
        What the first call learned, and later ones use: all knots.

    Raises
    ------
    DataError
        If ``df`` is too small, or a knot of ``x`` is not within the boundary.
    """
    keep = intercept if include_intercept is None else include_intercept
    values = _numbers(x)
    fewest = degree + (1 if keep else 0)
    bounds = (lower_bound, upper_bound) if Boundary_knots is None else Boundary_knots
    inner, low, high = _knots(values, df, fewest, knots, bounds, _state)
    outside = (values < low) | (values > high)
    if choose("extrapolation", extrapolation, OUTSIDE) == "raise" and outside.any():
        raise DataError(
            f"expected values from {low:g} to {high:g}, got {values[outside][0]:g}; extrapolation='extend' goes on."
        )
    spline = _b_splines(inner, low, high, degree)
    basis = spline(np.clip(values, low, high) if extrapolation == "clip" else values)
    if extrapolation in ("na", "zero"):
        basis[outside] = np.nan if extrapolation == "na" else 0.0
    return _columns(basis[:, 0 if keep else 1 :])


def ns(
    x: Any,
    df: int | None = None,
    knots: Iterable[float] | None = None,
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
    inner, low, high = _knots(values, df, 1 + intercept, knots, bounds, _state)
    spline, ends = _b_splines(inner, low, high, 3), np.array([low, high])
    within = np.clip(values, low, high)
    basis = spline(within) + (values - within)[:, None] * spline(within, 1)
    first = 0 if intercept else 1
    # The second derivatives vanish at both ends: what is orthogonal to them, in R's basis, that of Householder's QR.
    orthogonal = np.linalg.qr(spline(ends, 2)[:, first:].T, mode="complete")[0]
    return _columns(basis[:, first:] @ orthogonal[:, 2:])


def _numbers(x: Any) -> NumpyArray:
    if isinstance(getattr(x, "dtype", None), pd.CategoricalDtype):
        raise DataError("expected numbers, got a factor.")
    return np.asarray(x, float).reshape(-1)


def _knots(
    values: NumpyArray,
    df: int | None,
    fewest: int,
    knots: Iterable[float] | None,
    bounds: Iterable[float | None],
    state: dict[str, Any] | None,
) -> tuple[list[float], float, float]:
    """Return the interior knots and the two at the boundary: those of the state, which learns them at first."""
    if state:
        return state["knots"], *state["boundary"]
    given = list(bounds)
    if len(given) != 2:
        raise DataError(f"expected two boundary knots, got {len(given)}.")
    low, high = (
        float(edge(values) if bound is None else bound) for edge, bound in zip((np.min, np.max), given, strict=True)
    )
    low, high = min(low, high), max(low, high)
    if not low < high:
        raise DataError(f"expected values that vary, got {low:g} in all rows.")
    if df is not None and df < fewest:
        raise DataError(f"expected df of at least {fewest}, got {df}.")
    if knots is not None:
        inner = sorted(float(knot) for knot in np.atleast_1d(np.asarray(knots, float)))
        if df is not None and df != fewest + len(inner):
            raise DataError(f"expected df or knots, got both, and {len(inner)} knots make {fewest + len(inner)}.")
    else:
        share = np.linspace(0, 1, 2 + (0 if df is None else int(df) - fewest))[1:-1]
        inner = np.quantile(values[(values >= low) & (values <= high)], share).tolist()
    outside = [knot for knot in inner if not low < knot < high]
    if outside:
        raise DataError(
            f"expected knots between {low:g} and {high:g}, got {outside[0]:g}"
            + ("; give those inside." if knots is not None else ", as many values are equal; give knots=, or less df.")
        )
    if state is not None:
        state.update(knots=inner, boundary=[low, high])
    return inner, low, high


def _b_splines(inner: list[float], low: float, high: float, degree: int) -> BSpline:
    """Return all B-splines on these knots as one function of values (n,), with a column for each."""
    indices = np.array([*[low] * (degree + 1), *inner, *[high] * (degree + 1)])
    return BSpline(indices, np.eye(len(indices) - degree - 1), degree)


def _columns(basis: NumpyArray) -> pd.DataFrame:
    return pd.DataFrame(basis, columns=[str(index + 1) for index in range(basis.shape[1])])
