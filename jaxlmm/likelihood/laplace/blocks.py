"""Rows in the order of their levels, as many places for each level: sums and copies by level without scatters."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, Struct, static
from jaxlmm.likelihood.laplace.effects import EffectsByLevel
from jaxlmm.model import Design

MAX_PLACES = 1.5
"""Places for each row, up to which empty ones cost less than scatters save."""


class Places(Struct):
    """Where rows are placed: the ``rows`` of the M places, any where none is, ``filled`` places, ``place`` of each row.

    Each level has ``width`` places.
    """

    rows: Int[Array, " M"]
    filled: Bool[Array, " M"]
    place: Int[Array, " N"]
    width: int = static()

    @classmethod
    def of(cls, design: Design) -> Self | None:
        """Return the places of an unpadded design's rows on one grouping factor, None where many would be empty."""
        n = int(design.n)
        if not design.terms or n < design.n_padded or len({term.grouping for term in design.terms}) > 1:
            return None
        grouping = design.groupings[design.terms[0].grouping]
        codes, count = np.asarray(grouping.codes), int(grouping.n_levels)
        sizes = np.bincount(codes, minlength=count)
        width = int(sizes.max())
        if count * width > MAX_PLACES * n:
            return None
        order = np.argsort(codes, kind="stable")
        place = np.empty(n, np.int32)
        place[order] = codes[order] * width + np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows, filled = np.zeros(count * width, np.int32), np.zeros(count * width, bool)
        rows[place], filled[place] = np.arange(n), True
        return cls(rows, filled, place, width)

    def put(self, values: Float[Array, "*b N"]) -> Float[Array, "*b M"]:
        """Return values of the rows in their places, 0 in empty ones."""
        xp = values.__array_namespace__()
        filled = xp.asarray(self.filled).reshape((1,) * (values.ndim - 1) + (-1,))
        return xp.where(filled, values[..., self.rows], 0.0)

    def taken(self, values: Float[Array, "*b M"]) -> Float[Array, "*b N"]:
        """Return values of the rows in their own order."""
        return values[..., self.place]


class EffectsInBlocks(EffectsByLevel):
    """The same on rows in their places, ``width`` for each level."""

    width: int = static(kw_only=True)

    @classmethod
    def placed(cls, design: Design, places: Places) -> Self:
        """Return the effects of a design on rows in their places."""
        own = EffectsByLevel.of(design)
        codes = np.repeat(np.arange(own.n_blocks, dtype=np.int32), places.width)
        return cls(codes, places.put(np.asarray(own.z).T).T, own.present, width=places.width)

    def total(self, rows: Float[jax.Array, " M"]) -> Float[jax.Array, " L"]:
        return jnp.sum(rows.reshape(-1, self.width), axis=1)

    def largest(self, rows: Float[jax.Array, " M"]) -> Float[jax.Array, " L"]:
        return jnp.maximum(jnp.max(rows.reshape(-1, self.width), axis=1), 0.0)

    def spread(self, levels: jax.Array) -> jax.Array:
        shape = (levels.shape[0], self.width, *levels.shape[1:])
        return jnp.broadcast_to(levels[:, None], shape).reshape(-1, *levels.shape[1:])
