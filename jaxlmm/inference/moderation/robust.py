"""A prior of variances that outlying ones do not move: Phipson, Lee, Majewski, Alexander and Smyth (2016).

With s² the variances and z = log s², a share of the largest and smallest z is drawn in to a quantile (winsorized), and
the prior is that for which the winsorized z are expected to have the mean and variance that they have. A variance so
large that fewer of its size are expected than there are is an outlier in part, and has a prior of fewer degrees of
freedom.
"""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.inference.moderation.prior import Prior, fit_prior

TAILS = (0.05, 0.1)
"""The shares of the smallest and largest variances that are winsorized, as in limma."""

N_NODES = 128
"""Nodes of the quadrature of winsorized moments."""

SMALLEST_SHARE_OF_MEDIAN = 1e-12
"""Variances below this share of their median are raised to it."""


def fit_robust_prior(variance: Float[NumpyArray, " m"], df: Float[NumpyArray, " m"]) -> Prior:
    """Return the prior with degrees of freedom for each response, as limma's ``fitFDistRobustly`` does.

    Responses whose variance or degrees of freedom are not positive and finite do not count, and have those of the
    prior; NaN with fewer than three.
    """
    used = np.isfinite(variance) & np.isfinite(df) & (df > 1e-15) & (variance >= 0.0)
    plain = fit_prior(variance, df)
    n = int(used.sum())
    if n < 3 or max(TAILS) < 1.0 / n or not np.median(variance[used]) > 0.0:
        return plain
    x = np.maximum(variance[used], SMALLEST_SHARE_OF_MEDIAN * float(np.median(variance[used])))
    d = float(df[used].max())
    z = np.log(_with_equal_df(x, df[used], d, plain))
    center = float(scipy.stats.trim_mean(z, TAILS[1]))
    residual = z - center
    low, high = np.quantile(residual, [TAILS[0], 1.0 - TAILS[1]])
    winsorized = np.clip(residual, low, high)
    mean, spread = float(winsorized.mean()), float(winsorized.var(ddof=1))

    def excess(share: float) -> float:
        return float(np.log(spread / _winsorized_moments(d, _from_share(share))[1]))

    at_infinity = excess(1.0)
    if at_infinity <= 0.0:
        prior_df = np.inf
    elif np.isinf(plain.df):
        return plain
    else:
        lower = plain.df / (1.0 + plain.df)
        prior_df = plain.df
        if excess(lower) < 0.0:
            prior_df = _from_share(scipy.optimize.brentq(excess, lower, 1.0, xtol=1e-12))
    center += mean - _winsorized_moments(d, prior_df)[0]
    own = np.full(variance.shape, prior_df)
    own[used] = _by_response(np.exp(z - center), d, prior_df)
    return Prior(prior_df, float(np.exp(center)), own)


def _from_share(share: float) -> float:
    """Return degrees of freedom from their share d/(1 + d)."""
    return np.inf if share >= 1.0 else share / (1.0 - share)


def _with_equal_df(
    x: Float[NumpyArray, " m"], df: Float[NumpyArray, " m"], largest: float, prior: Prior
) -> Float[NumpyArray, " m"]:
    """Return the variances with the tail probabilities of these, at the largest degrees of freedom."""
    few = df < largest - 1e-14
    if not few.any():
        return x
    ratio = x[few] / prior.variance
    upper, lower = _log_tail(ratio, df[few], prior.df), _log_tail(ratio, df[few], prior.df, below=True)
    at = np.where(
        upper < lower,
        _quantile(np.exp(upper), largest, prior.df, upper=True),
        _quantile(np.exp(lower), largest, prior.df),
    )
    moved = x.copy()
    moved[few] = at * prior.variance
    return moved


def _log_tail(
    ratio: Float[NumpyArray, " m"], df: Float[NumpyArray, " m"] | float, prior_df: float, *, below: bool = False
) -> Float[NumpyArray, " m"]:
    """Return the logarithm of the probability of a larger ratio of variances, or of a smaller one."""
    if np.isinf(prior_df):
        return np.asarray((scipy.stats.chi2.logcdf if below else scipy.stats.chi2.logsf)(ratio * df, df))
    return np.asarray((scipy.stats.f.logcdf if below else scipy.stats.f.logsf)(ratio, df, prior_df))


def _quantile(
    probability: Float[NumpyArray, " m"], df: float, prior_df: float, *, upper: bool = False
) -> Float[NumpyArray, " m"]:
    if np.isinf(prior_df):
        return np.asarray((scipy.stats.chi2.isf if upper else scipy.stats.chi2.ppf)(probability, df) / df)
    return np.asarray((scipy.stats.f.isf if upper else scipy.stats.f.ppf)(probability, df, prior_df))


def _winsorized_moments(df: float, prior_df: float) -> tuple[float, float]:
    """Return the mean and variance of the winsorized logarithm of an F variable, by quadrature over f/(1 + f)."""
    ends = np.array([float(_quantile(np.array([p]), df, prior_df)[0]) for p in (TAILS[0], 1.0 - TAILS[1])])
    log_ends, shares = np.log(ends), ends / (1.0 + ends)
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    width = shares[1] - shares[0]
    at = shares[0] + 0.5 * width * (nodes + 1.0)
    ratio = at / (1.0 - at)
    if np.isinf(prior_df):
        density = scipy.stats.chi2.pdf(ratio * df, df) * df
    else:
        density = scipy.stats.f.pdf(ratio, df, prior_df)
    mass, logs = 0.5 * width * weights * density / (1.0 - at) ** 2, np.log(ratio)
    mean = float(mass @ logs + log_ends @ TAILS)
    return mean, float(mass @ (logs - mean) ** 2 + (log_ends - mean) ** 2 @ TAILS)


def _by_response(ratio: Float[NumpyArray, " m"], df: float, prior_df: float) -> Float[NumpyArray, " m"]:
    """Return prior degrees of freedom of each response: fewer for outliers, and monotonic in the tail probability."""
    n = ratio.size
    log_tail = _log_tail(ratio, df, prior_df)
    expected = np.log((n - scipy.stats.rankdata(ratio) + 0.5) / n)
    log_regular = np.minimum(log_tail - expected, 0.0)
    outlying: Bool[NumpyArray, " m"] = log_regular < 0.0
    if not outlying.any():
        return np.full(n, prior_df)
    order = np.argsort(log_tail, kind="stable")
    regular = np.exp(log_regular)
    if np.isinf(prior_df):
        found = np.full(n, np.inf)
        found[outlying] = regular[outlying] * n * df
        found[order] = np.maximum.accumulate(found[order])
        return found
    least = float(log_tail.min())
    if np.isneginf(least):
        of_outlier = 0.0
    else:  # the largest ratio becomes the median of its distribution
        of_outlier = float(np.log(0.5)) / least * prior_df
        again = float(_log_tail(np.array([ratio.max()]), df, of_outlier)[0])
        of_outlier *= float(np.log(0.5)) / again
    found = regular * prior_df - np.expm1(log_regular) * of_outlier
    ordered = found[order]
    means = np.cumsum(ordered) / np.arange(1, n + 1)
    lowest = int(np.argmin(means))
    ordered[: lowest + 1] = means[lowest]
    found[order] = np.maximum.accumulate(ordered)
    return found
