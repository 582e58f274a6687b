"""Rows as sums of projections: on the eliminated grouping factor's levels, on the other grouping factors, and the rest.

Z is here that of the grouping factors that are not eliminated, the rest; its products are in groups of components that
are padded to one size (:mod:`jaxlmm.solvers.blocked.rest`).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, Struct
from jaxlmm.solvers.blocked.gram import add_up, take
from jaxlmm.solvers.blocked.rest import Rest

PROJECTION_ROUNDS = 2
"""Rounds of projection on Z; each leaves the rounding of the products ZᵀZ of the one before."""

REFINEMENTS_PER_ROUND = 4
"""Solves with an approximate inverse of Zᵀ(I − QQᵀ)Z in each round: iterative refinement, two to four digits each."""


class Side(NamedTuple):
    """An argument A of AᵀH⁻¹B in coordinates: ``projected`` = QᵀA on the eliminated levels' bases.

    Per group of components, ``coefficients`` are those of least squares on (I − QQᵀ)Z, and ``remainders`` the products
    of these columns with the residual, which would be zero without rounding.
    """

    projected: Float[jax.Array, "*b L q c"]
    coefficients: list[Float[jax.Array, "*_b _B _m c"]]
    remainders: list[Float[jax.Array, "*_b _B _m c"]]


class Rows(Struct):
    """The columns of all random effects, row by row.

    ``bases`` has rows of Q_j, with ``codes`` the eliminated level j; per grouping factor of the rest ``columns``,
    orthogonal within a level, and ``first_columns``, the index of the first column of the row's level in Z.
    """

    bases: Float[Array, "N q"]
    codes: Int[Array, " N"]
    columns: tuple[Float[Array, "N _q"], ...]
    first_columns: tuple[Int[Array, " N"], ...]

    def none(self) -> Self:
        """Return the same with no row."""
        empty: Self = jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), self)
        return empty

    def split(self, rest: Rest, a: Float[jax.Array, "N c"]) -> tuple[Float[jax.Array, "N c"], Side]:
        """Return the residual of rows ``a`` on all random effects' columns, and their coordinates on those."""
        projected, a = self.off_levels(rest, a)
        zeros = rest.zeros(a.shape[1], a.dtype)
        if not rest.has_outside:
            return a, Side(projected, zeros, zeros)
        total = zeros
        for _ in range(PROJECTION_ROUNDS):
            change = [
                zero if block.outside is None else block.outside.solve(part, REFINEMENTS_PER_ROUND)
                for block, part, zero in zip(rest.blocks, self._transposed_product(rest, a), zeros, strict=True)
            ]
            a = self.off_levels(rest, a - self._product(rest, change))[1]
            total = [one + more for one, more in zip(total, change, strict=True)]
        return a, Side(projected, total, self._transposed_product(rest, a))

    def off_levels(
        self, rest: Rest, a: Float[jax.Array, "N c"]
    ) -> tuple[Float[jax.Array, "L q c"], Float[jax.Array, "N c"]]:
        """Return QᵀA and A − QQᵀA for the eliminated levels' bases Q."""
        bases = jnp.asarray(self.bases)
        total = jnp.zeros((rest.coupling.n_levels, bases.shape[1], a.shape[1]), a.dtype)
        for _ in range(2):
            projected = add_up(bases[:, :, None] * a[:, None, :], self.codes, rest.coupling.n_levels)
            a = a - jnp.sum(bases[:, :, None] * take(projected, self.codes), axis=1)
            total = total + projected
        return total, a

    def _transposed_product(self, rest: Rest, a: Float[jax.Array, "N c"]) -> list[Float[jax.Array, "_B _m c"]]:
        """Return ``Zᵀ a`` in groups of components."""
        total = jnp.zeros((rest.coupling.n_columns, a.shape[1]), a.dtype)
        for z, first in zip(self.columns, self.first_columns, strict=True):
            for c in range(z.shape[1]):
                total = total + add_up(jnp.asarray(z)[:, c, None] * a, first + c, total.shape[0])
        return rest.split(total)

    def _product(self, rest: Rest, b: list[Float[jax.Array, "_B _m c"]]) -> Float[jax.Array, "N c"]:
        """Return ``Z b``, ``b`` in groups of components."""
        joined = rest.join(b)
        total = jnp.zeros((self.codes.shape[0], joined.shape[1]), joined.dtype)
        for z, first in zip(self.columns, self.first_columns, strict=True):
            for c in range(z.shape[1]):
                total = total + jnp.asarray(z)[:, c, None] * take(joined, first + c)
        return total
