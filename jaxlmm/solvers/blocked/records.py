"""Records of the blocked solver: prepared cross-products, factors, and solutions."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Float

from jaxlmm.solvers.blocked.rows import Side


class BlockedProducts(NamedTuple):
    """Cross-products: ``outside`` all random effects' columns; the sides ``a`` and ``b``, None where it is ``a``."""

    outside: Float[jax.Array, "*b i j"]
    a: Side
    b: Side | None


class BlockedAugmented(NamedTuple):
    """Augmented columns of responses e: ``outside`` all effects' columns, with A, and ``square`` with themselves.

    The ``side`` of each has one column, and its leaves a first axis over the responses; ``moments`` are second moments.
    """

    outside: Float[jax.Array, "*b i"]
    square: Float[jax.Array, "*b"]
    side: Side
    moments: Float[jax.Array, "*b t"]


class BlockedFactor(NamedTuple):
    """``weight`` is the inverse of I + R Λ Λᵀ Rᵀ per eliminated level; per group of components ``matrices`` I + Λᵀ S Λ,
    and ``inverses``; ``factors`` are those of the rest's groupings; ``logdet`` is log|H|.
    """

    weight: Float[jax.Array, "L q q"]
    matrices: list[Float[jax.Array, "_B _r _r"]]
    inverses: list[Float[jax.Array, "_B _r _r"]]
    factors: list[Float[jax.Array, "_q _s"]]
    logdet: Float[jax.Array, ""]


class Solved(NamedTuple):
    """The solution of the mixed-model equations for one side.

    Per group of components ``effects`` u of unit variance, ``coefficients`` Λ u, and ``differences``, Λ u less the
    side's coefficients; ``projected`` is the side's projection less that of Z Λ u.
    """

    effects: list[Float[jax.Array, "_B _r c"]]
    coefficients: list[Float[jax.Array, "_B _m c"]]
    differences: list[Float[jax.Array, "_B _m c"]]
    projected: Float[jax.Array, "L q c"]
