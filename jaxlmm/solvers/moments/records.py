"""Records of the moments solver: prepared cross-products and factors."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxlmm._util import Array
from jaxlmm.linalg import entries


class MomentsProducts(NamedTuple):
    """Cross-products: ``outside`` the levels' bases, ``(A − QQᵀA)ᵀ(B − QQᵀB)``, and inside them.

    Inside, either ``pooled`` sums by class, or each level's ``left`` = ``Q_jᵀA`` and ``right`` = ``Q_jᵀB``; the others
    are None.
    """

    outside: Float[jax.Array, "*b i j"]
    pooled: Float[Array, "E i j"] | None
    left: Float[Array, "*b L q i"] | None
    right: Float[Array, "*b L q j"] | None


class MomentsAugmented(NamedTuple):
    """Augmented columns of responses e: ``outside`` the levels' bases, with A, and ``square`` with themselves.

    Inside them, either sums by class, ``cross`` with A and ``pooled`` with themselves, or each level's
    ``right`` = ``Q_jᵀe``; the others are None.
    """

    outside: Float[jax.Array, "*b i"]
    square: Float[jax.Array, "*b"]
    cross: Float[Array, "*b E i"] | None
    pooled: Float[Array, "*b E"] | None
    right: Float[Array, "*b L q"] | None


class MomentsFactor(NamedTuple):
    """The inverse of I + R Λ Λᵀ Rᵀ per class and the ``logdet`` over all levels.

    The inverse is one array, or, where it is taken entry by entry, ``entries`` (C,) each; the other is None.
    """

    inverse: Float[jax.Array, "C q q"] | None
    entries: entries.Entries | None
    logdet: Float[jax.Array, ""]

    def multiply(self, v: Float[Array, "L q"], level_class: Int[Array, " L"]) -> Float[jax.Array, "L q"]:
        """Return the inverse times ``v``, level by level."""
        if self.inverse is not None:
            return jnp.einsum("lkj,lj->lk", self.inverse[level_class], v)
        assert self.entries is not None
        columns = [[v[:, j]] for j in range(len(self.entries))]
        return jnp.stack([row[0] for row in entries.product(self.entries, columns)], axis=1)

    @property
    def matrices(self) -> Float[jax.Array, "C q q"]:
        """The inverses."""
        if self.inverse is not None:
            return self.inverse
        assert self.entries is not None
        return jnp.stack([jnp.stack(row, axis=-1) for row in self.entries], axis=-2)

    def entry(self, i: int, j: int) -> Float[jax.Array, " C"]:
        """One entry of the inverses."""
        return self.matrices[:, i, j] if self.entries is None else self.entries[i][j]
