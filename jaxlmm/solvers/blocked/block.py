"""A batch of connected components of effects: small dense matrices, and how the covariance factors act on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.solvers.blocked.coupling import slices

NO_LEVEL = np.iinfo(np.int32).max
"""The level of a padded place."""


class Outside(Struct):
    """What a batch's columns do outside the eliminated levels' bases.

    ``products`` (B, m, m) is ``C = Zᵀ(I − QQᵀ)Z``, ``near_inverse`` (B, m, m) nearly its inverse. A sum of a factor's
    columns over all its levels often lies in the bases (the constant does): C is singular there, and its rounding, not
    its zeros, would be multiplied by a large variance. ``turns``, per grouping (B, l, l), are reflections of the levels
    that make such sums columns of their own, in which both matrices then stand, with exact zeros. They commute with Λ.
    There are none where matrices are large.
    """

    products: Array
    near_inverse: Array
    turns: tuple[Array, ...] | None

    def solve(self, b: jax.Array, refinements: int) -> jax.Array:
        """Return x with ``C x = b`` (B, m, c) as far as that is possible."""
        near_inverse, products = jnp.asarray(self.near_inverse), jnp.asarray(self.products)
        x = near_inverse @ b
        for _ in range(refinements - 1):
            x = x + near_inverse @ (b - products @ x)
        return x


def reflect(turns: tuple[Array, ...], widths: Sequence[int], v: Array) -> jax.Array:
    """Apply reflections of the levels (B, l, l) to ``v`` (B, m, c), whose columns stand level by level."""
    parts = []
    sizes = [turn.shape[1] * width for turn, width in zip(turns, widths, strict=True)]
    for turn, place in zip(turns, slices(sizes), strict=True):
        part = jnp.asarray(v)[:, place]
        parts.append((turn @ part.reshape(*turn.shape[:2], -1)).reshape(part.shape))
    return jnp.concatenate(parts, axis=1)


class Block(Struct):
    """A batch of connected components of the rest: B of them with m columns each.

    Columns stand grouping by grouping, level by level: ``counts`` levels of ``widths`` columns. ``outside`` is what
    they do outside the eliminated levels' bases, None where that is nothing. ``levels`` (B, l) per grouping are its
    levels, past the last where padded.
    """

    outside: Outside | None
    levels: tuple[Array, ...]
    counts: tuple[int, ...] = static()
    widths: tuple[int, ...] = static()

    @property
    def size(self) -> int:
        return sum(count * width for count, width in zip(self.counts, self.widths, strict=True))

    def turn(self, v: jax.Array, widths: Sequence[int] | None = None) -> jax.Array:
        """Exchange the levels' columns ``v`` (B, m, c) for reflected ones, or back, where the batch has reflections."""
        if self.outside is None or self.outside.turns is None:
            return v
        return reflect(self.outside.turns, self.widths if widths is None else widths, v)

    def turn_both(self, matrix: jax.Array) -> jax.Array:
        """Exchange columns for reflected ones, or back, on both sides of ``matrix`` (B, m, m), symmetric."""
        return self.turn(self.turn(matrix).swapaxes(-1, -2))

    def trimmed(self) -> tuple[Self, NumpyArray]:
        """Return a batch of one component without its padding, and which columns (m,) are left."""
        real = [np.asarray(levels[0]) < NO_LEVEL for levels in self.levels]
        kept = np.concatenate([np.repeat(mask, width) for mask, width in zip(real, self.widths, strict=True)])
        outside = self.outside
        if outside is not None:
            turns = outside.turns
            if turns is not None:
                turns = tuple(np.asarray(turn)[:, mask][:, :, mask] for turn, mask in zip(turns, real, strict=True))
            products, near_inverse = (
                np.asarray(matrix)[:, kept][:, :, kept] for matrix in (outside.products, outside.near_inverse)
            )
            outside = Outside(products, near_inverse, turns)
        levels = tuple(np.asarray(levels)[:, mask] for levels, mask in zip(self.levels, real, strict=True))
        counts = tuple(int(mask.sum()) for mask in real)
        return self.replace(outside=outside, levels=levels, counts=counts), np.flatnonzero(kept)

    def transform(self, factors: list[jax.Array], v: jax.Array) -> jax.Array:
        """Return ``Λᵀ v`` (B, r, c) for ``v`` (B, m, c), with one factor (q, s) per grouping."""
        return self._each([factor.T for factor in factors], self.widths, v)

    def transform_both(self, factors: list[jax.Array], matrix: jax.Array) -> jax.Array:
        """Return ``Λᵀ M Λ`` (B, r, r) for a symmetric ``matrix`` (B, m, m)."""
        if all(factor.shape == (1, 1) for factor in factors):
            scale = self._scales(factors)
            return matrix * (scale[:, None] * scale[None, :])[None]
        half = self.transform(factors, matrix).swapaxes(-1, -2)
        whole = self.transform(factors, half)
        return 0.5 * (whole + whole.swapaxes(-1, -2))

    def expand(self, factors: list[jax.Array], u: jax.Array) -> jax.Array:
        """Return ``Λ u`` (B, m, c) for ``u`` (B, r, c)."""
        return self._each(factors, tuple(factor.shape[1] for factor in factors), u)

    def of(self, place: int, v: jax.Array) -> jax.Array:
        """Return the part of ``v`` (B, m) that belongs to one grouping, (B, l, q)."""
        places = slices([count * width for count, width in zip(self.counts, self.widths, strict=True)])
        return v[:, places[place]].reshape(v.shape[0], self.counts[place], self.widths[place])

    def _each(self, matrices: list[jax.Array], widths: tuple[int, ...], v: jax.Array) -> jax.Array:
        if all(matrix.shape == (1, 1) for matrix in matrices):
            return v * self._scales(matrices)[None, :, None]
        parts = []
        places = slices([count * width for count, width in zip(self.counts, widths, strict=True)])
        for matrix, place, count, width in zip(matrices, places, self.counts, widths, strict=True):
            part = v[:, place].reshape(v.shape[0], count, width, v.shape[-1])
            moved = jnp.einsum("qr,blrc->blqc", matrix, part)
            parts.append(moved.reshape(v.shape[0], count * matrix.shape[0], v.shape[-1]))
        return jnp.concatenate(parts, axis=1)

    def _scales(self, matrices: list[jax.Array]) -> jax.Array:
        """Return what each column (m,) is multiplied by, where groupings have one column each."""
        scales = [jnp.broadcast_to(matrix[0, 0], count) for matrix, count in zip(matrices, self.counts, strict=True)]
        return jnp.concatenate(scales)
