"""Covariances of low rank: a few latent factors, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import NEARLY_ZERO, AbstractCovariance, BoundaryCandidates, Candidate
from jaxlmm.covariance.parameters import Parameter
from jaxlmm.covariance.reports import lower_factor
from jaxlmm.errors import OptionError
from jaxlmm.linalg import singular_vectors


class ReducedRank(AbstractCovariance):
    """Covariance ``Λ Λᵀ`` of rank d, Λ (q, d) the loadings of the columns on d latent factors; glmmTMB's ``rr``.

    ``theta`` are the loadings relative to sigma, factor by factor; those above the diagonal of Λ are zero, which takes
    away the rotations of the factors, and its diagonal is reported without a negative sign.

    Parameters
    ----------
    d
        The number of factors.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> ReducedRank(d=1).cholesky(jnp.array([1.0, 2.0, 3.0]), jnp.zeros((3, 1))).tolist()
    [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0]]
    """

    d: int = static(default=2)

    def n_params(self, q: int) -> int:
        return len(loading_indices(q, self.d)[0])

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        if not 1 <= self.d <= len(coords):
            raise OptionError(f"rr: expected d from 1 to the {len(coords)} columns of the term, got d={self.d}.")

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        return jnp.zeros((q, q), theta.dtype).at[loading_indices(q, self.d)].set(theta)

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return starting_loadings(coords.shape[-2], self.d)

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return the nearest covariances of fewer factors, the fewest first, then theta itself."""
        q = coords.shape[0]
        rows, columns = loading_indices(q, self.d)
        vectors, sds = singular_vectors(self.cholesky(theta, coords))
        candidates: list[Candidate] = []
        for rank in range(min(self.d, q)):
            kept = jnp.where(np.arange(q) < rank, sds, 0.0)
            point = lower_factor(vectors * kept[None, :])[rows, columns]
            active = np.where(columns < rank, 0, np.where(columns == rank, 1, -1))
            candidates.append((point, basis, active, sds[rank] <= NEARLY_ZERO))
        candidates.append((theta, basis, np.zeros(theta.size), np.True_))
        return BoundaryCandidates.of(candidates)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        return with_positive_diagonal(theta, basis.shape[0], self.d)

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        return loadings_of(columns, self.d)

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        return sigma * jnp.asarray(with_positive_diagonal(jnp.asarray(theta), factor.shape[0], self.d))


def loading_indices(q: int, d: int) -> tuple[Int[NumpyArray, " k"], Int[NumpyArray, " k"]]:
    """Return rows and columns of the loadings that are parameters, column by column.

    >>> [part.tolist() for part in loading_indices(3, 2)]
    [[0, 1, 2, 1, 2], [0, 0, 0, 1, 1]]
    """
    pairs = [(i, k) for k in range(min(d, q)) for i in range(k, q)]
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    return rows, columns


def starting_loadings(q: int, d: int) -> Float[NumpyArray, " k"]:
    """Return loadings without symmetries between factors, at which no derivative vanishes."""
    rows, columns = loading_indices(q, d)
    return np.where(rows == columns, 0.5, 0.3 * np.cos(np.pi * columns * (rows - columns) / max(q - 1, 1)))


def loadings_of(columns: Sequence[str], d: int) -> tuple[Parameter, ...]:
    """Return the parameters of the loadings."""
    pairs = zip(*loading_indices(len(columns), d), strict=True)
    return tuple(Parameter(f"loading({columns[row]}, {factor + 1})", "loading") for row, factor in pairs)


def with_positive_diagonal(theta: Float[Array, " k"], q: int, d: int) -> Float[Array, " k"]:
    """Return loadings with the signs of the factors such that those of Λ's diagonal are not negative."""
    rows, columns = loading_indices(q, d)
    own = theta[np.flatnonzero(rows == columns)][columns]
    signs = jnp.where(own < 0, -1.0, 1.0)
    return theta * (signs if isinstance(theta, jax.Array) else np.asarray(signs))
