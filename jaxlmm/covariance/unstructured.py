"""The unstructured covariance: every variance and covariance free, on lme4's Cholesky parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import (
    NEARLY_ZERO,
    SD_NODES,
    SMALLEST_GUESSED_SD,
    AbstractCovariance,
    BoundaryCandidates,
    Candidate,
    SearchAxes,
)
from jaxlmm.covariance.reports import lower_factor
from jaxlmm.linalg import semidefinite_cholesky, singular_vectors


def lower_indices(q: int) -> tuple[Int[NumpyArray, " k"], Int[NumpyArray, " k"]]:
    """Return rows and columns of the lower triangle, column by column: lme4's order of theta."""
    columns, rows = np.triu_indices(q)
    return rows, columns


class Unstructured(AbstractCovariance):
    """Any positive semidefinite covariance; ``theta`` is its lower Cholesky factor, column by column.

    While it is optimized the factor is multiplied by a basis that whitens the columns and, near the optimum, by the
    eigenvectors of the covariance. A Cholesky factor takes the columns in order: where the first variance is near zero,
    its theta lies in a curved valley in which Newton's method crawls. In the basis of the eigenvectors, the largest
    variance first, the same point is an ordinary minimum.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Unstructured().cholesky(jnp.array([1.0, 0.5, 2.0]), jnp.zeros((2, 1))).tolist()
    [[1.0, 0.0], [0.5, 2.0]]
    """

    def n_params(self, q: int) -> int:
        return q * (q + 1) // 2

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        return jnp.zeros((q, q), theta.dtype).at[lower_indices(q)].set(theta)

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        rows, columns = lower_indices(coords.shape[-2])
        return np.where(rows == columns, 0.5, 0.0)

    def guess(self, covariance: Float[jax.Array, "q q"]) -> Float[jax.Array, " k"] | None:
        rows, columns = lower_indices(covariance.shape[0])
        theta = semidefinite_cholesky(covariance, nearest=True)[rows, columns]
        return jnp.where(rows == columns, jnp.maximum(theta, SMALLEST_GUESSED_SD), theta)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        rows, columns = lower_indices(coords.shape[-2])
        return tuple((int(k), SD_NODES) for k in np.flatnonzero(rows == columns))

    def basis(self, root: Float[NumpyArray, "q q"]) -> Float[NumpyArray, "q q"]:
        """Return the inverse of ``root``: the columns become uncorrelated with unit mean square.

        Columns that are nearly collinear are only scaled.
        """
        length = np.linalg.norm(root, axis=0)
        if np.abs(np.diag(root) / length).min() < 1e-10:
            return np.diag(1.0 / length)
        return np.linalg.inv(root / length) / length[:, None]

    def rotated(
        self, theta: Float[jax.Array, " k"], basis: Float[jax.Array, "q q"]
    ) -> tuple[Float[jax.Array, " k"], Float[jax.Array, "q q"]]:
        """Return theta and the basis rotated to the eigenvectors of the covariance, where it is diagonal.

        Standard deviations below ``NEARLY_ZERO`` are raised to it: at zero the gradient vanishes.
        """
        rows, columns = lower_indices(basis.shape[0])
        vectors, sd = singular_vectors(jnp.zeros(basis.shape, theta.dtype).at[rows, columns].set(theta))
        return jnp.where(rows == columns, jnp.maximum(sd, NEARLY_ZERO)[rows], 0.0), basis @ vectors

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return the nearest covariances of rank 0, 1, …, q − 1, in the basis of the eigenvectors, then the point.

        Before a rank above 0 stands the same covariance with variances of exactly zero for the columns that add next to
        nothing to a row, if there are any.
        """
        q = basis.shape[0]
        rows, columns = lower_indices(q)
        vectors, sd = singular_vectors(jnp.zeros((q, q), theta.dtype).at[rows, columns].set(theta))
        rotated, number = basis @ vectors, np.arange(q)
        candidates: list[Candidate] = []
        for rank in range(q):
            kept = jnp.where(number < rank, sd, 0.0)
            point = jnp.where(rows == columns, kept[rows], 0.0)
            active_set = np.where(columns < rank, 0, np.where(columns == rank, 1, -1))
            near = sd[rank] <= NEARLY_ZERO
            if rank > 0:  # per column, the variance that it adds to a row: Var(b_j) times the mean of z_j²
                added = jnp.sum((rotated * kept[None, :]) ** 2, axis=1) * jnp.sum(root**2, axis=0)
                vanishing = added < 1e-4 * jnp.max(added)
                zeroed = jnp.where(vanishing[:, None] & (number < rank)[None, :], 0.0, rotated)
                candidates.append((point, zeroed, active_set, near & jnp.any(vanishing)))
            candidates.append((point, rotated, active_set, near))
        close = sd[-1] <= NEARLY_ZERO  # far from the boundary, the point may stay in the basis it has
        point = jnp.where(close, jnp.where(rows == columns, sd[rows], 0.0), theta)
        candidates.append((point, jnp.where(close, rotated, basis), np.zeros(theta.size), np.True_))
        return BoundaryCandidates.of(candidates)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        rows, columns = lower_indices(basis.shape[0])
        # The lower triangle from theta, by a product with 0 and 1, which arrays of NumPy and of JAX both have.
        entry = np.zeros((theta.size, *basis.shape))
        entry[np.arange(theta.size), rows, columns] = 1.0
        lower = (theta @ entry.reshape(theta.size, -1)).reshape(basis.shape)
        return lower_factor(basis @ lower)[rows, columns]
