"""A mixture of zero and another distribution, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray


class WithZeros:
    """Zero with a ``probability``, else a draw from ``others``, of a ``mean``, elementwise, on the host."""

    def __init__(self, others: Any, mean: Float[NumpyArray, "*b"], probability: Float[NumpyArray, "*b"]) -> None:
        self._others, self._mean, self._probability = others, mean, probability

    def cdf(self, x: Float[NumpyArray, "*b"]) -> Float[NumpyArray, "*b"]:
        """Return the probability of at most ``x``."""
        other = (1.0 - self._probability) * np.asarray(self._others.cdf(x), float)
        return np.asarray(np.where(np.asarray(x) >= 0.0, self._probability, 0.0) + other)

    def sf(self, x: Float[NumpyArray, "*b"]) -> Float[NumpyArray, "*b"]:
        """Return the probability of more than ``x``."""
        own = self._others.sf(x) if hasattr(self._others, "sf") else 1.0 - self._others.cdf(x)
        other = (1.0 - self._probability) * np.asarray(own, float)
        return np.asarray(np.where(np.asarray(x) < 0.0, self._probability, 0.0) + other)

    def rvs(self, size: int | tuple[int, ...] | None = None, random_state: object = None) -> Float[NumpyArray, "*b"]:
        """Return random observations, as SciPy's distributions do."""
        rng = np.random.default_rng(random_state)  # type: ignore[arg-type]
        drawn = np.asarray(self._others.rvs(size=np.shape(self._mean) if size is None else size, random_state=rng))
        return np.where(rng.uniform(size=drawn.shape) < self._probability, 0.0, drawn)

    def var(self) -> Float[NumpyArray, "*b"]:
        """Return the variances."""
        share = 1.0 - self._probability
        return np.asarray(share * np.asarray(self._others.var()) + share * self._probability * self._mean**2)
