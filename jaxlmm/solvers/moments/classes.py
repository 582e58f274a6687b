"""Levels of one grouping factor that share a class, and sums over them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray

FEW_CLASSES = 64
"""Up to this many classes, levels are pooled however few they are, and added up by a product of matrices, not by
segments."""

Span = tuple[int, int]
"""The first of some classes that stand together, and one after the last."""


class Classes(NamedTuple):
    """The class ``of_level`` (L,) of each of L levels, and the number ``n`` of classes."""

    of_level: Array
    n: int

    def total(self, values: jax.Array, span: Span) -> jax.Array:
        """Add ``values`` (L, ...) of levels up by class, (c, ...) for the classes of a span."""
        if self.n <= FEW_CLASSES:
            return jnp.tensordot(self._members(span, values.dtype), values, axes=1)
        return jax.ops.segment_sum(values, self.of_level, self.n)[slice(*span)]

    def total_outer(self, left: jax.Array, right: jax.Array, span: Span) -> jax.Array:
        """Add the outer products of the rows of ``left`` (L, i) and ``right`` (L, m) up by class, (c, i, m)."""
        if self.n <= FEW_CLASSES:
            return jnp.einsum("cl,li,lm->cim", self._members(span, left.dtype), left, right)
        columns = jax.lax.map(lambda column: self.total(column[:, None] * right, span), left.T)  # (i, c, m)
        return jnp.moveaxis(columns, 0, 1)

    def _members(self, span: Span, dtype: np.dtype) -> jax.Array:
        """Return which levels (c, L) are in each class of a span, one or zero."""
        return (np.arange(*span, dtype=np.int32)[:, None] == jnp.asarray(self.of_level)[None, :]).astype(dtype)


def entries_of(q: int) -> list[tuple[int, int]]:
    """Return the entries k ≤ j of a symmetric matrix of size q."""
    return [(k, j) for k in range(q) for j in range(k, q)]


def both_ways(left: jax.Array, right: jax.Array, k: int, j: int) -> jax.Array:
    """Return the products of coordinates k and j of arrays (L, q, ...), both ways if they differ."""
    product = left[:, k] * right[:, j]
    return product if k == j else product + left[:, j] * right[:, k]


def span_of(chosen: NumpyArray) -> Span:
    """Return the span of the classes that are ``chosen`` (C,)."""
    places = np.flatnonzero(chosen)
    return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)
