"""Rows in the order of their levels, padded to as many for each: sums and copies by level without scatters."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, Struct, static
from jaxlmm.likelihood.laplace.effects import EffectsByLevel
from jaxlmm.model import Design

MAX_PADDING = 1.5
"""The number of rows with padding, relative to that without, up to which padding costs less than scatters."""


class RowsByLevel(Struct):
    """The order of M padded rows, ``width`` for each level.

    ``row`` is the number of each in the design, any for padding, which is not ``real``; ``position`` is where each row
    of the design is.
    """

    row: Int[Array, " M"]
    real: Bool[Array, " M"]
    position: Int[Array, " N"]
    width: int = static()

    @classmethod
    def of(cls, design: Design) -> Self | None:
        """Return the order for an unpadded design on one grouping factor, None where padding would be much."""
        n = int(design.n)
        if not design.terms or n < design.n_padded or len({term.grouping for term in design.terms}) > 1:
            return None
        grouping = design.groupings[design.terms[0].grouping]
        codes, count = np.asarray(grouping.codes), int(grouping.n_levels)
        sizes = np.bincount(codes, minlength=count)
        width = int(sizes.max())
        if count * width > MAX_PADDING * n:
            return None
        order = np.argsort(codes, kind="stable")
        position = np.empty(n, np.int32)
        position[order] = codes[order] * width + np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        row, real = np.zeros(count * width, np.int32), np.zeros(count * width, bool)
        row[position], real[position] = np.arange(n), True
        return cls(row, real, position, width)

    def arranged(self, values: Float[Array, "*b N"]) -> Float[Array, "*b M"]:
        """Return values of the design's rows in this order, 0 in padding."""
        xp = values.__array_namespace__()
        real = xp.asarray(self.real).reshape((1,) * (values.ndim - 1) + (-1,))
        return xp.where(real, values[..., self.row], 0.0)

    def restored(self, values: Float[Array, "*b M"]) -> Float[Array, "*b N"]:
        """Return values of these rows in the order of the design."""
        return values[..., self.position]


class EffectsInBlocks(EffectsByLevel):
    """The same on rows by level, ``width`` for each."""

    width: int = static(kw_only=True)

    @classmethod
    def arranged(cls, design: Design, by_level: RowsByLevel) -> Self:
        """Return the effects of a design on its rows by level."""
        own = EffectsByLevel.of(design)
        codes = np.repeat(np.arange(own.n_blocks, dtype=np.int32), by_level.width)
        return cls(codes, by_level.arranged(np.asarray(own.z).T).T, own.present, width=by_level.width)

    def total(self, rows: Float[jax.Array, " M"]) -> Float[jax.Array, " L"]:
        return jnp.sum(rows.reshape(-1, self.width), axis=1)

    def largest(self, rows: Float[jax.Array, " M"]) -> Float[jax.Array, " L"]:
        return jnp.maximum(jnp.max(rows.reshape(-1, self.width), axis=1), 0.0)

    def spread(self, levels: jax.Array) -> jax.Array:
        shape = (levels.shape[0], self.width, *levels.shape[1:])
        return jnp.broadcast_to(levels[:, None], shape).reshape(-1, *levels.shape[1:])
