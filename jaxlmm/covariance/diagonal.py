"""The diagonal covariance: a variance for each column, no correlations."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._typing import Array, NumpyArray
from jaxlmm.covariance.base import NEARLY_ZERO, SD_NODES, AbstractCovariance, Placement, report_sd


class Diagonal(AbstractCovariance):
    """Independent columns, each with its own variance; ``theta`` are the relative standard deviations.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Diagonal().cholesky(jnp.array([1.0, 2.0]), jnp.zeros((2, 1))).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """

    def n_params(self, q: int) -> int:
        return q

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        return jnp.diag(theta)

    def search_axes(self, coords: NumpyArray) -> tuple[tuple[int, NumpyArray], ...]:
        return tuple((k, SD_NODES) for k in range(coords.shape[-2]))

    def frame(self, root: NumpyArray) -> NumpyArray:
        return np.diag(1.0 / np.linalg.norm(root, axis=0))

    def placements(self, theta: NumpyArray, frame: NumpyArray, root: NumpyArray) -> list[Placement]:
        small = sorted(np.flatnonzero(np.abs(theta) < NEARLY_ZERO), key=lambda k: abs(theta[k]))
        found = []
        for count in range(len(small), -1, -1):
            zero = np.isin(np.arange(theta.size), small[:count])
            duals = tuple(np.array([k]) for k in np.flatnonzero(zero))
            found.append(Placement(np.where(zero, 0.0, theta), frame, ~zero, duals))
        return found

    def canonical(self, theta: NumpyArray, frame: NumpyArray) -> NumpyArray:
        return np.abs(np.diag(frame) * theta)

    def param_names(self, columns: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"sd({column})" for column in columns)

    def report(self, theta: Array, factor: Array, sigma: Array) -> jax.Array:
        return report_sd(jnp.asarray(factor), jnp.asarray(sigma))
