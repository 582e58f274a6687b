"""Rows taken apart: what lies in the eliminated levels, what in the other factors' columns, and what is left."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlmm._util import Array, Struct
from jaxlmm.solvers.blocked.coupling import add_up, take
from jaxlmm.solvers.blocked.rest import Rest

ROUNDS = 2
"""Rounds in which rows are projected on the rest's columns; each takes off all but the rounding of the products C."""

REFINEMENTS = 4
"""Solves with the near inverse in each round; each takes two to four digits off what is left."""


class Side(NamedTuple):
    """One argument of a product: ``own`` (L, q, c) on the eliminated levels' bases; per batch ``rest`` (B, m, c) its
    least-squares coefficients on the rest's columns outside them, ``left`` (B, m, c) what their products with it still
    are then.
    """

    own: jax.Array
    rest: list[jax.Array]
    left: list[jax.Array]


class Rows(Struct):
    """The columns of all random effects, row by row.

    ``bases`` (N, q): row i of Q_j, with ``codes`` (N,) the eliminated level j; per grouping of the rest ``columns``
    (N, q), orthogonal, and ``places`` (N,), the place of its level's first column.
    """

    bases: Array
    codes: Array
    columns: tuple[Array, ...]
    places: tuple[Array, ...]

    def part(self, rest: Rest, a: jax.Array) -> tuple[jax.Array, Side]:
        """Return what is left of rows ``a`` (N, c) outside all random effects' columns, and their place in those."""
        own, a = self._off_levels(rest, a)
        none = rest.zeros(a.shape[1], a.dtype)
        if not rest.has_outside:
            return a, Side(own, none, none)
        total = none
        for _ in range(ROUNDS):
            change = [
                zero if block.outside is None else block.outside.solve(part, REFINEMENTS)
                for block, part, zero in zip(rest.blocks, self._down(rest, a), none, strict=True)
            ]
            a = self._off_levels(rest, a - self._up(rest, change))[1]
            total = [one + more for one, more in zip(total, change, strict=True)]
        return a, Side(own, total, self._down(rest, a))

    def _off_levels(self, rest: Rest, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Split rows (N, c) into coordinates (L, q, c) on the eliminated levels' bases and what is left."""
        bases = jnp.asarray(self.bases)
        total = jnp.zeros((rest.coupling.n_levels, bases.shape[1], a.shape[1]), a.dtype)
        for _ in range(2):
            found = add_up(bases[:, :, None] * a[:, None, :], self.codes, rest.coupling.n_levels)
            a = a - jnp.sum(bases[:, :, None] * take(found, self.codes), axis=1)
            total = total + found
        return total, a

    def _down(self, rest: Rest, a: jax.Array) -> list[jax.Array]:
        """Return ``Zᵀ a`` in batches (B, m, c) for rows ``a`` (N, c)."""
        total = jnp.zeros((rest.coupling.places, a.shape[1]), a.dtype)
        for z, place in zip(self.columns, self.places, strict=True):
            for c in range(z.shape[1]):
                total = total + add_up(jnp.asarray(z)[:, c, None] * a, place + c, total.shape[0])
        return rest.split(total)

    def _up(self, rest: Rest, b: list[jax.Array]) -> jax.Array:
        """Return ``Z b`` (N, c) for batches ``b`` (B, m, c)."""
        joined = rest.join(b)
        total = jnp.zeros((self.codes.shape[0], joined.shape[1]), joined.dtype)
        for z, place in zip(self.columns, self.places, strict=True):
            for c in range(z.shape[1]):
                total = total + jnp.asarray(z)[:, c, None] * take(joined, place + c)
        return total
