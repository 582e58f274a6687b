"""Wald, likelihood-ratio and score statistics of markers from gᵀPy, gᵀPg and yᵀPy, on the host; their p-values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray

MIN_PLAIN_TAIL = 1e-290
"""A smaller tail probability is computed as its logarithm."""

RESIDUAL_FLOOR = 2.0**-52
"""The least share of yᵀPy that a marker leaves: rounding, so that tests are finite, and huge."""


class Wald(NamedTuple):
    """``estimate``, ``std_error`` and ``statistic``, F, of each of c columns alone; ``joint``, the F of all."""

    estimate: Float[NumpyArray, " c *b"]
    std_error: Float[NumpyArray, " c *b"]
    statistic: Float[NumpyArray, " c *b"]
    joint: Float[NumpyArray, "*b"]


def solved(
    a: Float[NumpyArray, " c *b"], b: Float[NumpyArray, "c c *b"]
) -> tuple[Float[NumpyArray, " c *b"], Float[NumpyArray, " c *b"], Float[NumpyArray, "*b"]]:
    """Return the effects ``b⁻¹a``, the diagonal of ``b⁻¹`` and the explained square ``aᵀb⁻¹a`` for c of 1 or 2."""
    if len(a) == 1:
        return a / b[0], 1.0 / b[0], a[0] ** 2 / b[0, 0]
    determinant = b[0, 0] * b[1, 1] - b[0, 1] ** 2
    effect = np.stack([b[1, 1] * a[0] - b[0, 1] * a[1], b[0, 0] * a[1] - b[0, 1] * a[0]]) / determinant
    return effect, np.stack([b[1, 1], b[0, 0]]) / determinant, np.sum(a * effect, axis=0)


def wald(
    a: Float[NumpyArray, " c *b"],
    b: Float[NumpyArray, "c c *b"],
    squares: Float[NumpyArray, "*#b"],
    count: Float[NumpyArray, "*#b"] | float,
    variance: float | None = None,
) -> Wald:
    """Return Wald tests of c columns from ``a`` gᵀPy, ``b`` gᵀPg and ``squares`` yᵀPy at the variance ratio.

    ``count`` is the number of observations by which the residual square is divided, n − p − c, or n for ML; with the
    residual ``variance`` given it has no effect.
    """
    effect, inverse, explained = solved(a, b)
    spread = np.maximum(squares - explained, RESIDUAL_FLOOR * squares) / count if variance is None else variance
    std_error = np.sqrt(spread * inverse)
    return Wald(effect, std_error, (effect / std_error) ** 2, explained / (len(a) * spread))


def log_likelihood_ratio(
    explained: Float[NumpyArray, "*b"], squares: Float[NumpyArray, "*#b"], n: float
) -> Float[NumpyArray, "*b"]:
    """Return the likelihood-ratio statistic −n log(1 − aᵀb⁻¹a / yᵀPy) of markers at the ratio without them."""
    return n * -np.log1p(-np.minimum(explained / squares, 1.0 - RESIDUAL_FLOOR))


def log10_tail_f(
    statistic: Float[NumpyArray, "*b"], numerator: int, denominator: Float[NumpyArray, "*#b"] | float
) -> Float[NumpyArray, "*b"]:
    """Return −log10 P(F > statistic) of an F distribution, without underflow.

    ``P = I_x(d/2, k/2)`` with ``x = d / (d + k F)``; where that underflows, its continued fraction in logarithms
    (DLMF 8.17.22, https://dlmf.nist.gov/8.17.E22).

    Examples
    --------
    >>> round(float(log10_tail_f(np.array(10.0), 1, 100.0)), 4)
    2.6834
    >>> round(float(log10_tail_f(np.array(1e4), 1, 1000.0)), 4)
    522.2739
    """
    statistic, d = np.broadcast_arrays(np.asarray(statistic, float), np.asarray(denominator, float))
    odds = numerator * statistic / d
    x, complement = 1.0 / (1.0 + odds), odds / (1.0 + odds)  # the smaller of both keeps its digits
    a, b = d / 2, numerator / 2
    p = np.where(odds < 1.0, scipy.special.betaincc(b, a, complement), scipy.special.betainc(a, b, x))
    below = np.where(p > 0.5, scipy.special.betainc(b, a, complement), 0.0)
    height = np.where(p > 0.5, -np.log1p(-below) / np.log(10.0), -np.log10(np.maximum(p, np.finfo(float).tiny)))
    tiny = p < MIN_PLAIN_TAIL
    if tiny.any():
        height = np.array(height)
        height[tiny] = -_log_betainc(a[tiny], b, odds[tiny]) / np.log(10.0)
    return np.where(np.isfinite(statistic), height, np.where(statistic == np.inf, np.inf, np.nan))


def log10_tail_chi2(statistic: Float[NumpyArray, "*b"], degrees: int) -> Float[NumpyArray, "*b"]:
    """Return −log10 of the upper tail of a χ² distribution with one or two degrees of freedom, without underflow.

    >>> log10_tail_chi2(np.array([3.841458820694124, 4000.0]), 1).round(4).tolist()
    [1.301, 870.4882]
    """
    statistic = np.maximum(statistic, 0.0)
    if degrees == 1:
        return -(scipy.special.log_ndtr(-np.sqrt(statistic)) + np.log(2.0)) / np.log(10.0)
    return statistic / 2.0 / np.log(10.0)


def f_beyond(p: float, numerator: int, denominator: Float[NumpyArray, "*b"]) -> Float[NumpyArray, "*b"]:
    """Return the F statistics whose upper tail probability is ``p``."""
    if p > 1e-8:  # else 1 − p has lost digits
        return np.asarray(scipy.special.fdtri(numerator, denominator, 1.0 - p))
    x = scipy.special.betaincinv(denominator / 2, numerator / 2, p)
    return np.asarray(denominator / numerator * (1.0 - x) / x)


def _log_betainc(a: Float[NumpyArray, " k"], b: float, odds: Float[NumpyArray, " k"]) -> Float[NumpyArray, " k"]:
    """Return log I_x(a, b) at ``x = 1 / (1 + odds)`` in the lower tail, its continued fraction by Lentz's method."""
    log_x, x = -np.log1p(odds), 1.0 / (1.0 + odds)
    c = np.ones_like(a)
    d = 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a - 1.0 + 2 * m) * (a + 2 * m))
        d, c = 1.0 / (1.0 + even * d), 1.0 + even / c
        fraction = fraction * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 1.0 + 2 * m))
        d, c = 1.0 / (1.0 + odd * d), 1.0 + odd / c
        fraction = fraction * d * c
        if np.all(np.abs(c * d - 1.0) < 1e-15):
            break
    return a * log_x + b * (np.log(odds) + log_x) - np.log(a) - scipy.special.betaln(a, b) + np.log(fraction)
