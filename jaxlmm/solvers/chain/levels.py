"""Random effects of columns, level by level, on rows that are white."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxlmm.linalg import inverse_logdet


class LevelEffects(NamedTuple):
    """Effects ``Λ u`` of columns z of r white rows, each row of one of L levels: ``H = I + Z Λ Λᵀ Zᵀ``.

    ``spread`` is Λ, ``codes`` are the levels, past the last where padded, and ``inverse`` is ``(I + Λᵀ Zᵀ Z Λ)⁻¹``.
    """

    z: Float[jax.Array, "r q"]
    codes: Int[jax.Array, " r"]
    spread: Float[jax.Array, "q s"]
    inverse: Float[jax.Array, "L s s"]
    logdet: Float[jax.Array, ""]

    @classmethod
    def of(
        cls, z: Float[jax.Array, "r q"], codes: Int[jax.Array, " r"], spread: Float[jax.Array, "q s"], n_levels: int
    ) -> Self:
        """Return the effects of white columns z."""
        scaled = z @ spread
        squares = _sums(scaled[:, :, None] * scaled[:, None, :], codes, n_levels)
        inverse, logdet = inverse_logdet(jnp.eye(spread.shape[1])[None] + squares)
        return cls(z, codes, spread, inverse, jnp.sum(logdet))

    def modes(self, a: Float[jax.Array, "r i"]) -> Float[jax.Array, "L s i"]:
        """Return the modes of u given each white column of A."""
        scaled = self.z @ self.spread
        return self.inverse @ _sums(scaled[:, :, None] * a[:, None, :], self.codes, len(self.inverse))

    def left(self, a: Float[jax.Array, "r i"], modes: Float[jax.Array, "L s i"]) -> Float[jax.Array, "r i"]:
        """Return A less the effects at their ``modes``.

        ``AᵀH⁻¹B`` is the inner product of what is left, plus that of the modes: nothing is subtracted from a sum.
        """
        return a - at_rows(self.z, self.codes, self.spread @ modes)

    def covariance(self) -> Float[jax.Array, "L q q"]:
        """Return the covariance of ``Λ u`` given the rows."""
        return self.spread @ self.inverse @ self.spread.T


def at_rows(
    z: Float[jax.Array, "r q"], codes: Int[jax.Array, " r"], effects: Float[jax.Array, "L q i"]
) -> Float[jax.Array, "r i"]:
    """Return ``Z b``; zero where a row is padded."""
    return jnp.einsum("rq,rqi->ri", z, effects.at[codes].get(mode="fill", fill_value=0.0))


def _sums(products: Float[jax.Array, "r ..."], codes: Int[jax.Array, " r"], n_levels: int) -> Float[jax.Array, "L ..."]:
    """Return sums by level; without those of padded rows."""
    flat = products.reshape(len(products), -1)
    total = jnp.zeros((n_levels, flat.shape[1])).at[codes].add(flat, mode="drop")
    return total.reshape(n_levels, *products.shape[1:])
