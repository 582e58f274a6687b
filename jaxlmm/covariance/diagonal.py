"""The diagonal covariance: a variance for each column, no correlations."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import (
    NEARLY_ZERO,
    SD_NODES,
    SMALLEST_GUESSED_SD,
    AbstractCovariance,
    BoundaryCandidates,
    SearchAxes,
)
from jaxlmm.covariance.parameters import Parameter, sds_of
from jaxlmm.covariance.reports import report_sd


class Diagonal(AbstractCovariance):
    """Independent columns, each with its own variance; ``theta`` are the relative standard deviations.

    Parameters
    ----------
    hom
        Whether there is one standard deviation for all.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Diagonal().cholesky(jnp.array([1.0, 2.0]), jnp.zeros((2, 1))).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """

    hom: bool = static(default=False)

    def n_params(self, q: int) -> int:
        return 1 if self.hom else q

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        return jnp.diag(jnp.broadcast_to(theta, (coords.shape[0],)))

    def guess(self, covariance: Float[jax.Array, "q q"]) -> Float[jax.Array, " k"] | None:
        variances = jnp.maximum(jnp.diagonal(covariance), SMALLEST_GUESSED_SD**2)
        return jnp.sqrt(jnp.mean(variances)[None] if self.hom else variances)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        return tuple((k, SD_NODES) for k in range(self.n_params(coords.shape[-2])))

    def basis(self, root: Float[NumpyArray, "q q"]) -> Float[NumpyArray, "q q"]:
        return np.eye(len(root)) if self.hom else np.diag(1.0 / np.linalg.norm(root, axis=0))

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        order = jnp.argsort(jnp.abs(theta))
        rank = jnp.argsort(order)  # of each parameter, from the smallest
        candidates = []
        for count in range(theta.size, -1, -1):
            zero = rank < count
            near = jnp.abs(theta[order[count - 1]]) < NEARLY_ZERO if count else np.True_
            candidates.append((jnp.where(zero, 0.0, theta), basis, jnp.where(zero, 1 + np.arange(theta.size), 0), near))
        return BoundaryCandidates.of(candidates)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        return abs(theta) if self.hom else abs(basis.diagonal() * theta)

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        return (Parameter("sd", "sd"),) if self.hom else sds_of(columns)

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        sds = report_sd(jnp.asarray(factor), jnp.asarray(sigma))
        return sds[:1] if self.hom else sds
