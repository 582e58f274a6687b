"""Factor analysis: a few latent factors, and a variance of its own for each column."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import NEARLY_ZERO, AbstractCovariance, BoundaryCandidates, Candidate
from jaxlmm.covariance.latent.reduced_rank import (
    loading_indices,
    loadings_of,
    starting_loadings,
    with_positive_diagonal,
)
from jaxlmm.covariance.parameters import Parameter
from jaxlmm.errors import OptionError


class FactorAnalytic(AbstractCovariance):
    """Covariance ``Λ Λᵀ + diag(ψ²)``, Λ (q, d) the loadings and ψ the specific standard deviations; SAS's ``FA(d)``.

    ``theta`` are the loadings, as in :class:`ReducedRank`, and ψ, all relative to sigma.

    Parameters
    ----------
    d
        The number of factors.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> FactorAnalytic(d=1).covariance(jnp.array([1.0, 2.0, 1.0, 1.0]), jnp.zeros((2, 1))).tolist()
    [[2.0, 2.0], [2.0, 5.0]]
    """

    d: int = static(default=1)

    def n_params(self, q: int) -> int:
        return len(loading_indices(q, self.d)[0]) + q

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        q = len(coords)
        if self.d < 1 or self.n_params(q) > q * (q + 1) // 2:
            raise OptionError(
                f"fa: expected d of at least 1, and no more parameters than a covariance of {q} columns has, "
                f"{q * (q + 1) // 2}, got d={self.d} with {self.n_params(q) if self.d > 0 else 0}."
            )

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        indices = loading_indices(q, self.d)
        loadings = jnp.zeros((q, min(self.d, q)), theta.dtype).at[indices].set(theta[: len(indices[0])])
        return loadings @ loadings.T + jnp.diag(theta[len(indices[0]) :] ** 2)

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        q = coords.shape[-2]
        return np.append(starting_loadings(q, self.d), np.full(q, 0.4))

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return everything at zero, the loadings at zero, the smallest specific sds at zero, then theta itself."""
        q = coords.shape[0]
        count = theta.size - q
        specific, number = theta[count:], np.arange(theta.size)
        order = jnp.argsort(jnp.abs(specific))
        rank = jnp.argsort(order)
        small = jnp.abs(theta) < NEARLY_ZERO
        first, is_loading = loading_indices(q, self.d)[1] == 0, number < count
        own = np.where(np.append(first, np.zeros(q, bool)), 1, -1)  # at zero later factors say nothing new
        candidates: list[Candidate] = [
            (jnp.zeros_like(theta), basis, np.where(is_loading, own, number + 1), jnp.all(small)),
            (jnp.where(is_loading, 0.0, theta), basis, np.where(is_loading, own, 0), jnp.all(small[:count])),
        ]
        for zeros in range(q, 0, -1):
            zero = jnp.append(np.zeros(count, bool), rank < zeros)
            near = jnp.abs(specific[order[zeros - 1]]) < NEARLY_ZERO
            candidates.append((jnp.where(zero, 0.0, theta), basis, jnp.where(zero, number + 1, 0), near))
        candidates.append((theta, basis, np.zeros(theta.size), np.True_))
        return BoundaryCandidates.of(candidates)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        q = basis.shape[0]
        specific = np.where(np.arange(theta.size) < theta.size - q, 0.0, 1.0)
        return self._signed(theta, q) * (1.0 - specific) + abs(theta) * specific

    def _signed(self, theta: Float[Array, " k"], q: int) -> Float[Array, " k"]:
        signed = with_positive_diagonal(theta[: theta.size - q], q, self.d)
        concatenate = jnp.concatenate if isinstance(theta, jax.Array) else np.concatenate
        return concatenate([signed, theta[theta.size - q :]])

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        specific = tuple(Parameter(f"specific sd({column})", "sd") for column in columns)
        return loadings_of(columns, self.d) + specific

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        q = factor.shape[0]
        signed = self._signed(jnp.asarray(theta), q)
        return sigma * jnp.append(signed[:-q], jnp.abs(signed[-q:]))
