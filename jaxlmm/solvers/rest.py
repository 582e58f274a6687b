"""The columns of all grouping factors but the eliminated one, in batches of connected components."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._struct import Struct
from jaxlmm.solvers.block import Block
from jaxlmm.solvers.coupling import Coupling, Whole, slices

WRITTEN_OUT = 2**20
"""Numbers that the products of a component's columns may take when they are written out level by level."""


class Rest(Struct):
    """The rest's columns Z: how they lie in the eliminated levels (``coupling``), and one ``block`` per batch.

    Vectors over the columns are lists of batches (B, m, c), on the blocks' reflected columns; Λ takes effects of unit
    variance (B, r, c) to coefficients (B, m, c). ``factors`` are those of the groupings, (q, s) each.
    """

    coupling: Coupling | Whole
    blocks: tuple[Block, ...]

    @property
    def largest(self) -> int:
        """The number of columns of the largest component."""
        return max((block.size for block in self.blocks), default=0)

    @property
    def has_outside(self) -> bool:
        """Whether any column has a part outside the eliminated levels' bases."""
        return any(block.outside is not None for block in self.blocks)

    def whole(self) -> Self:
        """Return the same with its coupling written out, where it is one component and that takes little memory."""
        (count, size), *others = self.coupling.shapes or [(0, 0)]
        if isinstance(self.coupling, Whole) or others or count != 1:
            return self
        if self.coupling.n_levels * np.shape(self.coupling.values)[1] ** 2 * size**2 > WRITTEN_OUT:
            return self
        return self.replace(coupling=Whole.of(self.coupling))

    def zeros(self, width: int, dtype: jnp.dtype) -> list[jax.Array]:
        """Return batches (B, m, width) of zeros."""
        return [jnp.zeros((count, size, width), dtype) for count, size in self.coupling.shapes]

    def split(self, v: jax.Array) -> list[jax.Array]:
        """Cut ``v`` (M, c) into batches (B, m, c), on reflected columns."""
        sizes = [count * size for count, size in self.coupling.shapes]
        return [
            block.turn(v[place].reshape(count, size, -1))
            for place, block, (count, size) in zip(slices(sizes), self.blocks, self.coupling.shapes, strict=True)
        ]

    def join(self, parts: list[jax.Array]) -> jax.Array:
        """Undo :meth:`split`."""
        turned = [block.turn(part) for block, part in zip(self.blocks, parts, strict=True)]
        return jnp.concatenate([part.reshape(-1, part.shape[-1]) for part in turned])

    def up(self, b: list[jax.Array], like: jax.Array) -> jax.Array:
        """Return ``P b`` (L, q, c) for batches ``b`` (B, m, c); zeros in the shape of ``like`` without any."""
        return self.coupling.up(self.join(b)) if b else jnp.zeros_like(like)

    def expand(self, factors: list[jax.Array], u: list[jax.Array]) -> list[jax.Array]:
        """Return ``Λ u`` (B, m, c) for batches ``u`` (B, r, c)."""
        return [block.expand(factors, part) for block, part in zip(self.blocks, u, strict=True)]

    def pull(
        self, factors: list[jax.Array], weight: jax.Array, rest: list[jax.Array], own: jax.Array
    ) -> list[jax.Array]:
        """Return ``Λᵀ (C rest + Pᵀ W own)`` in batches (B, r, c), W (L, q, q) the ``weight``."""
        parts = self.split(self.coupling.down(weight @ own))
        for i, (block, coefficients) in enumerate(zip(self.blocks, rest, strict=True)):
            if block.outside is not None:
                parts[i] = parts[i] + block.outside.products @ coefficients
        return [block.transform(factors, part) for block, part in zip(self.blocks, parts, strict=True)]
