"""The unstructured covariance as standard deviations times correlations, for a correlation that is held."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import NEARLY_ZERO, SD_NODES, BoundaryCandidates, SearchAxes
from jaxlmm.covariance.reports import lower_factor
from jaxlmm.covariance.unstructured import Unstructured, lower_indices


class ScaledRows(Unstructured):
    """An unstructured covariance; ``theta`` are the roots of q standard deviations, then a factor of the correlations.

    With a correlation held off zero the deviance has a slope where one of the two standard deviations is zero. As a
    function of the root it has none, as in all structures here, and half the second derivative is that slope. The rows
    of the factor of the correlations, lower triangular in its basis, keep the lengths that they have at the start.
    """

    def n_params(self, q: int) -> int:
        return q + super().n_params(q)

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        return theta[:q, None] ** 2 * super().cholesky(theta[q:], coords)

    def in_basis(
        self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"], basis: Float[Array, "q q"]
    ) -> Float[jax.Array, "q q"]:
        theta = jnp.asarray(theta)
        return theta[: coords.shape[0], None] ** 2 * self._rows(theta, basis)

    def _rows(self, theta: Float[jax.Array, " k"], basis: Float[Array, "q q"]) -> Float[jax.Array, "q q"]:
        q = basis.shape[0]
        return jnp.asarray(basis) @ super().cholesky(theta[q:], jnp.zeros((q, 1)))

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        rows, columns = lower_indices(coords.shape[-2])
        return np.append(np.sqrt(np.full(coords.shape[-2], 0.5)), (rows == columns).astype(float))

    def guess(self, covariance: Float[jax.Array, "q q"]) -> Float[jax.Array, " k"] | None:
        return None

    def guessed(self, q: int) -> Bool[NumpyArray, " k"]:
        return np.zeros(self.n_params(q), bool)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        return tuple((k, np.sqrt(SD_NODES)) for k in range(coords.shape[-2]))

    def basis(self, root: Float[NumpyArray, "q q"]) -> Float[NumpyArray, "q q"]:
        return np.diag(1.0 / np.linalg.norm(root, axis=0))

    def rotated(
        self, theta: Float[jax.Array, " k"], basis: Float[jax.Array, "q q"]
    ) -> tuple[Float[jax.Array, " k"], Float[jax.Array, "q q"]]:
        return theta, basis

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return those with standard deviations at zero, then those whose correlations are singular."""
        q = basis.shape[0]
        rows, columns = lower_indices(q)
        scale, lower = theta[:q], theta[q:]
        lengths = jnp.sqrt(jnp.sum(basis**2, axis=1))
        scaled = self._rows(theta, basis) / lengths[:, None]
        plain = lower_factor(scaled)[rows, columns]
        order = jnp.argsort(jnp.abs(scale))
        rank = jnp.argsort(order)
        candidates = []
        for count in range(q, 0, -1):
            zero = rank < count
            # The other rows are triangular among themselves; one that vanished keeps a direction in which to come back.
            place = jnp.cumsum(~zero) - 1
            others = lower_factor(jnp.where(zero[:, None], 0.0, scaled))[rows, columns]
            point = jnp.where(zero[rows], plain, others)
            dropped = zero[rows] | (columns > place[rows])
            active_set = jnp.append(jnp.where(zero, 1 + np.arange(q), 0), jnp.where(dropped, -1, 0))
            near = scale[order[count - 1]] ** 2 < NEARLY_ZERO
            candidates.append((jnp.append(jnp.where(zero, 0.0, scale), point), jnp.diag(lengths), active_set, near))
        singular = super().boundary_candidates(lower, basis, root, coords)
        for one in range(len(singular.theta)):
            own = singular.active_set[one]
            numbers = jnp.append(jnp.zeros(q, jnp.int32), jnp.where(own > 0, own + q, own))
            candidates.append(
                (jnp.append(scale, singular.theta[one]), singular.basis[one], numbers, singular.valid[one])
            )
        return BoundaryCandidates.of(candidates)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " _"]:
        """Return theta of the unstructured covariance."""
        q = basis.shape[0]
        factor = self.in_basis(jnp.asarray(theta), jnp.zeros((q, 1)), basis)
        return np.asarray(lower_factor(np.asarray(factor)))[lower_indices(q)]
