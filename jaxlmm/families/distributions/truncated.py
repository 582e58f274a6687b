"""Distributions of counts given that they are at least 1, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray

FEW_POSITIVE = 1e-8
"""The probability of a positive count below which the variance of these is that of the second one: both terms of the
difference are 1."""


class TruncatedCounts:
    """The distribution of those of ``counts``, elementwise of their ``mean``, that are at least 1.

    ``counts`` is a frozen distribution of SciPy.

    >>> import scipy.stats
    >>> one = TruncatedCounts(scipy.stats.poisson(1e-9), np.array(1e-9))
    >>> float(one.cdf(0.0)), round(float(one.cdf(1.0)), 6), float(one.rvs(random_state=1))
    (0.0, 1.0, 1.0)
    """

    def __init__(self, counts: Any, mean: Float[NumpyArray, "*b"]) -> None:
        self._counts, self._mean, self._positive = counts, mean, np.asarray(counts.sf(0))

    def cdf(self, x: Float[NumpyArray, "*b"]) -> Float[NumpyArray, "*b"]:
        """Return the probability of at most ``x``."""
        x = np.asarray(x, float)
        return np.where(x >= 1.0, 1.0 - np.asarray(self._counts.sf(x)) / self._positive, 0.0)

    def sf(self, x: Float[NumpyArray, "*b"]) -> Float[NumpyArray, "*b"]:
        """Return the probability of more than ``x``."""
        x = np.asarray(x, float)
        return np.where(x >= 1.0, np.asarray(self._counts.sf(x)) / self._positive, 1.0)

    def rvs(self, size: int | tuple[int, ...] | None = None, random_state: object = None) -> Float[NumpyArray, "*b"]:
        """Return random observations, as SciPy's distributions do."""
        rng = np.random.default_rng(random_state)  # type: ignore[arg-type]
        shape = self._positive.shape if size is None else size
        drawn = np.asarray(self._counts.isf(rng.uniform(size=shape) * self._positive), float)
        return np.where(np.isfinite(drawn), np.maximum(drawn, 1.0), 1.0)  # infinite where all but 1 are impossible

    def var(self) -> Float[NumpyArray, "*b"]:
        """Return the variances."""
        square = np.asarray(self._counts.var()) + self._mean**2
        exact = square / self._positive - (self._mean / self._positive) ** 2
        small = np.asarray(self._counts.pmf(2)) / np.where(self._positive > 0.0, self._positive, 1.0)
        return np.where(self._positive < FEW_POSITIVE, small, exact)
