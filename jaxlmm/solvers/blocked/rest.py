"""The columns of all grouping factors but the eliminated one, in groups of connected components."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, Struct
from jaxlmm.solvers.blocked.block import Block, GroupingFactors
from jaxlmm.solvers.blocked.coupling import Coupling, DenseCoupling, slices

MAX_ENTRIES_WRITTEN_OUT = 2**20
"""The most entries of a :class:`DenseCoupling`'s products of columns, level by level: 8 MB."""


VectorsByGroup = list[Float[jax.Array, "_B _m c"]]
"""c vectors over the rest's columns: an array for each group, of B components with m columns each."""


class Rest(Struct):
    """The rest's columns Z: ``coupling`` P = QᵀZ with the eliminated levels' bases Q, and a block for each group.

    Vectors over the columns (:data:`VectorsByGroup`) stand on the blocks' reflected columns
    (:class:`jaxlmm.solvers.blocked.block.Outside`). Λ takes effects u of unit variance, r to a component, to
    coefficients b = Λu, m to a component.
    """

    coupling: Coupling | DenseCoupling
    blocks: tuple[Block, ...]

    @property
    def largest(self) -> int:
        """The number of columns of the largest component."""
        return max((block.size for block in self.blocks), default=0)

    @property
    def has_outside(self) -> bool:
        """Whether any column has a part outside the eliminated levels' bases."""
        return any(block.outside is not None for block in self.blocks)

    def with_dense_coupling(self) -> tuple[Self, Int[NumpyArray, " M"]]:
        """Return the rest with a dense coupling and without padding, if it is one component and takes little memory.

        Also the new index of each column. Otherwise all is as before.
        """
        columns = np.arange(self.coupling.n_columns)
        (count, size), *others = self.coupling.shapes or [(0, 0)]
        if isinstance(self.coupling, DenseCoupling) or others or count != 1:
            return self, columns
        if self.coupling.n_levels * np.shape(self.coupling.values)[1] ** 2 * size**2 > MAX_ENTRIES_WRITTEN_OUT:
            return self, columns
        block, kept = self.blocks[0].trimmed()
        coupling = DenseCoupling.of(self.coupling, kept, block.reflect)
        return self.replace(coupling=coupling, blocks=(block,)), np.searchsorted(kept, columns)

    def zeros(self, width: int, dtype: jnp.dtype) -> VectorsByGroup:
        """Return ``width`` vectors of zeros."""
        return [jnp.zeros((count, size, width), dtype) for count, size in self.coupling.shapes]

    def split(self, v: Float[jax.Array, "M c"], *, reflected: bool = False) -> VectorsByGroup:
        """Return the parts of ``v`` in the groups, on reflected columns; ``reflected`` says that ``v`` is on them."""
        shapes = self.coupling.shapes
        columns = slices([count * size for count, size in shapes])
        parts = [v[part].reshape(*shape, -1) for part, shape in zip(columns, shapes, strict=True)]
        return parts if reflected else [block.reflect(part) for block, part in zip(self.blocks, parts, strict=True)]

    def join(self, parts: VectorsByGroup, *, reflected: bool = False) -> Float[jax.Array, "M c"]:
        """Return the vectors of which these are the parts: the inverse of :meth:`split`."""
        if not reflected:
            parts = [block.reflect(part) for block, part in zip(self.blocks, parts, strict=True)]
        return jnp.concatenate([part.reshape(part.shape[0] * part.shape[1], part.shape[2]) for part in parts])

    def up(self, b: VectorsByGroup, like: Float[jax.Array, "L q c"]) -> Float[jax.Array, "L q c"]:
        """Return ``P b``; zeros in the shape of ``like`` if there are no groups."""
        return self.coupling.up(self.join(b, reflected=self.coupling.reflected)) if b else jnp.zeros_like(like)

    def products(self, weight: Float[jax.Array, "L q q"]) -> list[Float[jax.Array, "_B _m _m"]]:
        """Return ``S = C + Pᵀ W P`` per group, with ``C = Zᵀ(I − QQᵀ)Z`` and W the ``weight`` of eliminated levels."""
        products = []
        for block, gram in zip(self.blocks, self.coupling.gram(weight), strict=True):
            inside = gram if self.coupling.reflected else block.reflect_both(gram)
            products.append(inside if block.outside is None else block.outside.products + inside)
        return products

    def sandwich(self, matrices: list[Float[jax.Array, "_B _m _m"]]) -> Float[jax.Array, "L q q"]:
        """Return ``P_j K P_jᵀ`` of each eliminated level j, for a symmetric K with a block per component."""
        if not self.coupling.reflected:
            matrices = [block.reflect_both(matrix) for block, matrix in zip(self.blocks, matrices, strict=True)]
        return self.coupling.sandwich(matrices)

    def expand(self, factors: GroupingFactors, u: VectorsByGroup) -> VectorsByGroup:
        """Return ``Λ u``."""
        return [block.expand(factors, part) for block, part in zip(self.blocks, u, strict=True)]

    def pull(
        self,
        factors: GroupingFactors,
        weight: Float[jax.Array, "L q q"],
        coefficients: VectorsByGroup,
        projected: Float[jax.Array, "L q c"],
    ) -> VectorsByGroup:
        """Return ``Λᵀ (C coefficients + Pᵀ W projected)``, W the ``weight``."""
        parts = self.split(self.coupling.down(weight @ projected), reflected=self.coupling.reflected)
        for i, (block, part) in enumerate(zip(self.blocks, coefficients, strict=True)):
            if block.outside is not None:
                parts[i] = parts[i] + block.outside.products @ part
        return [block.transform(factors, part) for block, part in zip(self.blocks, parts, strict=True)]
