"""Classes of levels with equal triangles, and sums over the levels of each."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray

MAX_CLASSES_BY_PRODUCT = 64
"""Up to this many classes, levels are pooled however few they are, and added up by a product of matrices, not by
segments."""

Span = tuple[int, int]
"""The first of some classes that stand together, and one after the last."""


class Classes(NamedTuple):
    """The class ``of_level`` of each level, and the number ``n`` of classes."""

    of_level: Int[Array, " L"]
    n: int

    def total(self, values: Float[jax.Array, " L *b"], span: Span) -> Float[jax.Array, " c *b"]:
        """Add ``values`` of levels up by class, for the classes of a span."""
        if self.n <= MAX_CLASSES_BY_PRODUCT:
            return jnp.tensordot(self._members(span, values.dtype), values, axes=1)
        return jax.ops.segment_sum(values, self.of_level, self.n)[slice(*span)]

    def total_outer(
        self, left: Float[jax.Array, "L i"], right: Float[jax.Array, "L m"], span: Span
    ) -> Float[jax.Array, "c i m"]:
        """Add the outer products of the rows of ``left`` and ``right`` up by class, for the classes of a span."""
        if self.n <= MAX_CLASSES_BY_PRODUCT:
            return jnp.einsum("cl,li,lm->cim", self._members(span, left.dtype), left, right)
        columns = jax.lax.map(lambda column: self.total(column[:, None] * right, span), left.T)  # (i, c, m)
        return jnp.moveaxis(columns, 0, 1)

    def _members(self, span: Span, dtype: np.dtype) -> Float[jax.Array, "c L"]:
        """Return which levels are in each class of a span, one or zero."""
        return (np.arange(*span, dtype=np.int32)[:, None] == jnp.asarray(self.of_level)[None, :]).astype(dtype)


def entries_of(q: int) -> list[tuple[int, int]]:
    """Return the entries k ≤ j of a symmetric matrix of size q."""
    return [(k, j) for k in range(q) for j in range(k, q)]


def both_ways(left: Float[Array, "L _q ..."], right: Float[Array, "L _q ..."], k: int, j: int) -> Float[Array, "L ..."]:
    """Return ``left_k right_j``, plus ``left_j right_k`` if the coordinates k and j differ."""
    product = left[:, k] * right[:, j]
    return product if k == j else product + left[:, j] * right[:, k]


def span_of(chosen: Bool[NumpyArray, " C"]) -> Span:
    """Return the span of the classes that are ``chosen``."""
    classes = np.flatnonzero(chosen)
    return (int(classes[0]), int(classes[-1]) + 1) if classes.size else (0, 0)
