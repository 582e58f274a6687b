"""The columns of all grouping factors but the eliminated one, in batches of connected components."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import NumpyArray, Struct
from jaxlmm.solvers.blocked.block import Block
from jaxlmm.solvers.blocked.coupling import Coupling, Whole, slices

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

    def whole(self) -> tuple[Self, NumpyArray]:
        """Return the same with its coupling written out, where it is one component and that takes little memory.

        The second is the place (M,) of each of the columns then; padding is left out.
        """
        everywhere = np.arange(self.coupling.places)
        (count, size), *others = self.coupling.shapes or [(0, 0)]
        if isinstance(self.coupling, Whole) or others or count != 1:
            return self, everywhere
        if self.coupling.n_levels * np.shape(self.coupling.values)[1] ** 2 * size**2 > WRITTEN_OUT:
            return self, everywhere
        block, kept = self.blocks[0].trimmed()
        with jax.ensure_compile_time_eval():  # on the host, also where the caller is being traced
            coupling = Whole.of(self.coupling, kept, lambda columns: block.turn(jnp.asarray(columns)))
        return self.replace(coupling=coupling, blocks=(block,)), np.searchsorted(kept, everywhere)

    def zeros(self, width: int, dtype: jnp.dtype) -> list[jax.Array]:
        """Return batches (B, m, width) of zeros."""
        return [jnp.zeros((count, size, width), dtype) for count, size in self.coupling.shapes]

    def split(self, v: jax.Array, *, reflected: bool = False) -> list[jax.Array]:
        """Cut ``v`` (M, c) into batches (B, m, c), on reflected columns; ``reflected`` says that it is on them."""
        shapes = self.coupling.shapes
        places = slices([count * size for count, size in shapes])
        parts = [v[place].reshape(*shape, -1) for place, shape in zip(places, shapes, strict=True)]
        return parts if reflected else [block.turn(part) for block, part in zip(self.blocks, parts, strict=True)]

    def join(self, parts: list[jax.Array], *, reflected: bool = False) -> jax.Array:
        """Undo :meth:`split`."""
        if not reflected:
            parts = [block.turn(part) for block, part in zip(self.blocks, parts, strict=True)]
        return jnp.concatenate([part.reshape(part.shape[0] * part.shape[1], part.shape[2]) for part in parts])

    def up(self, b: list[jax.Array], like: jax.Array) -> jax.Array:
        """Return ``P b`` (L, q, c) for batches ``b`` (B, m, c); zeros in the shape of ``like`` without any."""
        return self.coupling.up(self.join(b, reflected=self.coupling.reflected)) if b else jnp.zeros_like(like)

    def products(self, weight: jax.Array) -> list[jax.Array]:
        """Return ``S = C + Pᵀ W P`` (B, m, m) per batch, W (L, q, q) the ``weight``."""
        found = []
        for block, gram in zip(self.blocks, self.coupling.gram(weight), strict=True):
            own = gram if self.coupling.reflected else block.turn_both(gram)
            found.append(own if block.outside is None else block.outside.products + own)
        return found

    def sandwich(self, matrices: list[jax.Array]) -> jax.Array:
        """Return ``P_j K P_jᵀ`` (L, q, q) for symmetric K, one (B, m, m) per batch."""
        if not self.coupling.reflected:
            matrices = [block.turn_both(matrix) for block, matrix in zip(self.blocks, matrices, strict=True)]
        return self.coupling.sandwich(matrices)

    def expand(self, factors: list[jax.Array], u: list[jax.Array]) -> list[jax.Array]:
        """Return ``Λ u`` (B, m, c) for batches ``u`` (B, r, c)."""
        return [block.expand(factors, part) for block, part in zip(self.blocks, u, strict=True)]

    def pull(
        self, factors: list[jax.Array], weight: jax.Array, rest: list[jax.Array], own: jax.Array
    ) -> list[jax.Array]:
        """Return ``Λᵀ (C rest + Pᵀ W own)`` in batches (B, r, c), W (L, q, q) the ``weight``."""
        parts = self.split(self.coupling.down(weight @ own), reflected=self.coupling.reflected)
        for i, (block, coefficients) in enumerate(zip(self.blocks, rest, strict=True)):
            if block.outside is not None:
                parts[i] = parts[i] + block.outside.products @ coefficients
        return [block.transform(factors, part) for block, part in zip(self.blocks, parts, strict=True)]
