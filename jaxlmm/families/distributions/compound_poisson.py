"""Tweedie's distribution of powers between 1 and 2, on the host."""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray

TAIL_SDS, TAIL_TERMS = 15.0, 60.0
"""How far beyond the mean, in standard deviations and in terms, numbers are summed for probabilities of the tail."""


class CompoundPoisson:
    """Tweedie's distribution on the host: sums of a Poisson number of gamma variables, elementwise of the ``mean``."""

    def __init__(self, mean: Float[NumpyArray, "*b"], phi: float, power: float) -> None:
        self._mean, self._phi, self._power = mean, phi, power
        self._rate = mean ** (2.0 - power) / (phi * (2.0 - power))
        self._shape = (2.0 - power) / (power - 1.0)
        self._scale = phi * (power - 1.0) * mean ** (power - 1.0)

    def cdf(self, x: Float[NumpyArray, "*b"]) -> Float[NumpyArray, "*b"]:
        """Return the probability of at most ``x``."""
        x, rate, scale = np.broadcast_arrays(np.asarray(x, float), self._rate, self._scale)
        number = scipy.stats.poisson(rate)
        first, last = number.ppf(1e-15).min(initial=np.inf), number.isf(1e-15).max(initial=0.0)
        total = np.where(x >= 0.0, number.pmf(0), 0.0)
        for j in np.arange(max(first, 1.0), last + 1.0):
            total = total + number.pmf(j) * scipy.stats.gamma(j * self._shape, scale=scale).cdf(x)
        return np.minimum(total, 1.0)

    def sf(self, x: Float[NumpyArray, "*b"]) -> Float[NumpyArray, "*b"]:
        """Return the probability of more than ``x``."""
        x, rate, scale = np.broadcast_arrays(np.asarray(x, float), self._rate, self._scale)
        number = scipy.stats.poisson(rate)
        first, largest = number.ppf(1e-15).min(initial=np.inf), rate.max(initial=0.0)
        last = np.ceil(largest + TAIL_SDS * np.sqrt(largest) + TAIL_TERMS)
        total = np.where(x >= 0.0, 0.0, number.pmf(0))
        for j in np.arange(max(first, 1.0), last + 1.0):
            total = total + number.pmf(j) * scipy.stats.gamma(j * self._shape, scale=scale).sf(x)
        return np.minimum(total, 1.0)

    def rvs(self, size: int | tuple[int, ...] | None = None, random_state: object = None) -> Float[NumpyArray, "*b"]:
        """Return random observations, as SciPy's distributions do."""
        rng = np.random.default_rng(random_state)  # type: ignore[arg-type]
        number = rng.poisson(self._rate, size)
        return rng.gamma(np.maximum(number, 1) * self._shape, self._scale, number.shape) * (number > 0)

    def var(self) -> Float[NumpyArray, "*b"]:
        """Return the variances."""
        return np.asarray(self._phi * self._mean**self._power)
