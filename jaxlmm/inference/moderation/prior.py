"""The prior of residual variances across responses, by moments: Smyth (2004)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray

SMALLEST_SHARE_OF_MEDIAN = 1e-5
"""Variances below this share of their median are raised to it, as in limma, since their logarithms are taken."""


class Prior(NamedTuple):
    """A scaled inverse chi-squared distribution of variances; degrees of freedom are infinite where all are equal.

    A robust prior has them ``by_response``, fewer for outliers.
    """

    df: float
    variance: float
    by_response: Float[NumpyArray, " m"] | None = None

    @property
    def degrees(self) -> Float[NumpyArray, "*m"]:
        """Degrees of freedom, those of each response where they differ."""
        return np.asarray(self.df if self.by_response is None else self.by_response)

    def posterior(self, variance: Float[NumpyArray, "*m"], df: Float[NumpyArray, "*m"]) -> Float[NumpyArray, "*m"]:
        """Return the posterior means of variances that are estimated with ``df`` degrees of freedom.

        >>> Prior(4.0, 2.0).posterior(np.array([1.0]), np.array([4.0])).tolist()
        [1.5]
        """
        infinite, own = np.isinf(self.degrees), np.where(np.isinf(self.degrees), 0.0, self.degrees)
        with np.errstate(invalid="ignore"):
            mean = (df * variance + own * self.variance) / (df + own)
        return np.asarray(np.where(infinite, np.where(np.isfinite(variance), self.variance, np.nan), mean))


def fit_prior(variance: Float[NumpyArray, " m"], df: Float[NumpyArray, " m"]) -> Prior:
    """Return the prior by the moments of the variances' logarithms (Smyth 2004, section 6.2), as limma's ``fitFDist``
    does.

    Responses whose variance or degrees of freedom are not positive and finite do not count. NaN with fewer than three.
    """
    used = np.isfinite(variance) & np.isfinite(df) & (df > 1e-15) & (variance > -1e-15)
    if used.sum() < 3:
        return Prior(np.nan, np.nan)
    x, d = np.maximum(variance[used], 0.0), df[used]
    median = float(np.median(x))
    x = np.maximum(x, SMALLEST_SHARE_OF_MEDIAN * (median if median > 0.0 else 1.0))
    e = np.log(x) - scipy.special.digamma(d / 2.0) + np.log(d / 2.0)
    mean = float(e.mean())
    spread = float(np.sum((e - mean) ** 2) / (e.size - 1) - np.mean(scipy.special.polygamma(1, d / 2.0)))
    if spread <= 0.0:
        return Prior(np.inf, float(x.mean()))
    prior_df = 2.0 * trigamma_inverse(spread)
    return Prior(prior_df, float(np.exp(mean + scipy.special.digamma(prior_df / 2.0) - np.log(prior_df / 2.0))))


def trigamma_inverse(x: float) -> float:
    """Return y with trigamma(y) = x, by Newton's method on 1/trigamma, which is convex (Smyth 2004, appendix).

    >>> round(trigamma_inverse(float(scipy.special.polygamma(1, 2.5))), 10)
    2.5
    """
    if x > 1e7:
        return float(1.0 / np.sqrt(x))
    if x < 1e-6:
        return 1.0 / x
    y = 0.5 + 1.0 / x
    for _ in range(50):
        trigamma = float(scipy.special.polygamma(1, y))
        step = trigamma * (1.0 - trigamma / x) / float(scipy.special.polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y
