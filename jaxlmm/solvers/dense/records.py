"""What the dense solver prepares and computes: cross-products, augmented columns, factors."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Float


class DenseProducts(NamedTuple):
    """Cross-products: ``outside`` the bases U, ``(A − UUᵀA)ᵀ(B − UUᵀB)``; per group ``left`` = UᵀA, ``right`` = UᵀB."""

    outside: Float[jax.Array, "*b i j"]
    left: list[Float[jax.Array, "*_b _B _m i"]]
    right: list[Float[jax.Array, "*_b _B _m j"]]


class DenseAugmented(NamedTuple):
    """Augmented columns of responses e: ``outside`` the bases U, with A, and ``square`` with themselves; per group of
    clusters ``right`` = Uᵀe.
    """

    outside: Float[jax.Array, "*b i"]
    square: Float[jax.Array, "*b"]
    right: list[Float[jax.Array, "*_b _B _m"]]


class DenseFactor(NamedTuple):
    """Per group H on the basis, ``matrices``, and ``inverses``; the ``logdet`` over all clusters."""

    matrices: list[Float[jax.Array, "_B _m _m"]]
    inverses: list[Float[jax.Array, "_B _m _m"]]
    logdet: Float[jax.Array, ""]
