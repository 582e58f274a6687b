"""The diagonal covariance: a variance for each column, no correlations."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import NEARLY_ZERO, SD_NODES, SMALLEST_GUESS, AbstractCovariance, BoundaryCandidates
from jaxlmm.covariance.parameters import SD, Kind
from jaxlmm.covariance.reports import report_sd


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

    def guess(self, covariance: jax.Array) -> jax.Array | None:
        return jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), SMALLEST_GUESS**2))

    def search_axes(self, coords: NumpyArray) -> tuple[tuple[int, NumpyArray], ...]:
        return tuple((k, SD_NODES) for k in range(coords.shape[-2]))

    def basis(self, root: NumpyArray) -> NumpyArray:
        return np.diag(1.0 / np.linalg.norm(root, axis=0))

    def boundary_candidates(
        self, theta: jax.Array, basis: jax.Array, root: jax.Array, coords: jax.Array
    ) -> BoundaryCandidates:
        order = jnp.argsort(jnp.abs(theta))
        rank = jnp.argsort(order)  # of each parameter, from the smallest
        found = []
        for count in range(theta.size, -1, -1):
            zero = rank < count
            near = jnp.abs(theta[order[count - 1]]) < NEARLY_ZERO if count else np.True_
            found.append((jnp.where(zero, 0.0, theta), basis, jnp.where(zero, 1 + np.arange(theta.size), 0), near))
        return BoundaryCandidates.of(found)

    def from_basis(self, theta: Array, basis: Array) -> Array:
        return abs(basis.diagonal() * theta)

    def from_natural(self, natural: Array, sigma: Array, coords: Array) -> Array:
        return natural / sigma

    def to_basis(self, theta: Array, basis: Array) -> Array:
        return theta / basis.diagonal()

    def reparameterized(self, natural: NumpyArray) -> AbstractCovariance | None:
        return self

    def param_names(self, columns: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"sd({column})" for column in columns)

    def param_kinds(self, columns: Sequence[str]) -> tuple[Kind, ...]:
        return (SD,) * len(columns)

    def report(self, theta: Array, factor: Array, sigma: Array) -> jax.Array:
        return report_sd(jnp.asarray(factor), jnp.asarray(sigma))
