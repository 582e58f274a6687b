"""Records of the blocked solver: prepared cross-products, factors, and solutions."""

from __future__ import annotations

from typing import NamedTuple

import jax

from jaxlmm.solvers.blocked.rows import Side


class BlockedPair(NamedTuple):
    """``within`` (i, j), outside all random effects' columns; ``b`` is None where it is ``a``."""

    within: jax.Array
    a: Side
    b: Side | None


class BlockedBorder(NamedTuple):
    """For each of m responses, what it is outside all random effects' columns: ``products`` (m, i) with the columns
    and ``square`` (m,); its ``side``, whose leaves have a first axis over the responses and one column; ``moments``
    (m, t) are its second moments.
    """

    products: jax.Array
    square: jax.Array
    side: Side
    moments: jax.Array


class BlockedFactor(NamedTuple):
    """``weight`` (L, q, q), the inverse of I + R Λ Λᵀ Rᵀ per eliminated level; per batch ``matrices`` (B, r, r),
    I + Λᵀ S Λ, and their ``inverses``; ``rest`` the factors of the rest's groupings; ``logdet`` ().
    """

    weight: jax.Array
    matrices: list[jax.Array]
    inverses: list[jax.Array]
    rest: list[jax.Array]
    logdet: jax.Array


class Solved(NamedTuple):
    """The mixed-model equations solved for one side.

    Per batch ``effects`` (B, r, c), of unit variance, and ``coefficients`` (B, m, c) = Λ times the effects; ``rest``
    (B, m, c) and ``own`` (L, q, c) are the side's coordinates less those.
    """

    effects: list[jax.Array]
    coefficients: list[jax.Array]
    rest: list[jax.Array]
    own: jax.Array
