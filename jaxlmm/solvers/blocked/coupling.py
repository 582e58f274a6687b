"""The coupling ``P = Qᵀ Z`` of the other grouping factors' columns Z to the eliminated levels' bases Q."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, bucket, pad, static
from jaxlmm.solvers.blocked.entries import Entries, Group
from jaxlmm.solvers.blocked.gram import Gram, add_up, gram_of, take


class Coupling(Struct):
    """``P = Qᵀ Z``, the rest's columns on the bases of the eliminated levels.

    ``values``, ``level``, ``column``: the nonzero entries, padded with zeros; ``n_columns`` is the number M of the
    rest's columns in all groups, padding included, and ``n_levels`` that of eliminated levels. Columns are those
    before they are ``reflected``.
    """

    reflected: ClassVar[bool] = False

    values: Float[Array, "E q"]
    level: Int[Array, " E"]
    column: Int[Array, " E"]
    grams: tuple[Gram, ...]
    n_columns: int = static()
    n_levels: int = static()

    @classmethod
    def of(cls, entries: Entries, groups: list[tuple[int, int]], n_levels: int) -> Self:
        """Arrange entries for ``groups`` of components, (count, size) each; their columns follow one another."""
        size = bucket(entries.level.size, 64)
        values = pad(entries.values, size)
        level, column = (pad(part.astype(np.int32), size) for part in (entries.level, entries.column))
        ends = np.cumsum([0, *(count * width for count, width in groups)])
        grams = tuple(
            gram_of(Group.of(entries, int(start), count, width))
            for start, (count, width) in zip(ends[:-1], groups, strict=True)
        )
        return cls(values, level, column, grams, int(ends[-1]), n_levels)

    @property
    def bulk(self) -> int:
        """The number of entries of all arrays."""
        return int(self.level.shape[0]) + sum(count * size**2 for count, size in self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The number and the size of the components of each group."""
        return [(gram.count, gram.size) for gram in self.grams]

    def gram(self, weight: Float[jax.Array, "L q q"]) -> list[Float[jax.Array, "_B _m _m"]]:
        """Return ``Pᵀ W P`` for ``weight`` W, per group."""
        return [gram(weight) for gram in self.grams]

    def down(self, v: Float[jax.Array, "L q c"]) -> Float[jax.Array, "M c"]:
        """Return ``Pᵀ v``."""
        products = jnp.sum(jnp.asarray(self.values)[:, :, None] * take(v, self.level), axis=1)
        return add_up(products, self.column, self.n_columns)

    def up(self, b: Float[jax.Array, "M c"]) -> Float[jax.Array, "L q c"]:
        """Return ``P b``."""
        if self.n_columns == 0:
            return jnp.zeros((self.n_levels, self.values.shape[1], b.shape[1]), b.dtype)
        products = jnp.asarray(self.values)[:, :, None] * take(b, self.column)[:, None, :]
        return add_up(products, self.level, self.n_levels)

    def sandwich(self, matrices: list[Float[jax.Array, "_B _m _m"]]) -> Float[jax.Array, "L q q"]:
        """Return ``P_j K P_jᵀ`` for symmetric K, one matrix per group."""
        shape = (self.n_levels, self.values.shape[1], self.values.shape[1])
        transpose = jax.linear_transpose(self.gram, jax.ShapeDtypeStruct(shape, self.values.dtype))
        product: jax.Array = transpose(matrices)[0]
        return 0.5 * (product + product.swapaxes(-1, -2))


class DenseCoupling(Struct):
    """The same products from dense matrices: for one small component and many responses at once.

    ``matrix`` is ``Qᵀ Z`` on reflected columns; ``products`` (L · q · q, M · M) are those of its columns, level by
    level. Thousands of responses share them, and every product is one of large matrices.
    """

    reflected: ClassVar[bool] = True

    matrix: Float[Array, "L q M"]
    products: Float[Array, "_Lqq _MM"]

    @classmethod
    def of(
        cls,
        coupling: Coupling,
        kept: Int[NumpyArray, " M"],
        reflect: Callable[[Float[NumpyArray, "1 M c"]], Float[Array, "1 M c"]],
    ) -> Self:
        """Write the columns ``kept`` of a coupling out; ``reflect`` takes them to reflected columns."""
        levels, q = coupling.n_levels, int(np.shape(coupling.values)[1])
        matrix = np.zeros((coupling.n_columns, levels, q))
        values = np.asarray(coupling.values)
        real = values.any(axis=1)
        matrix[np.asarray(coupling.column)[real], np.asarray(coupling.level)[real]] = values[real]
        reflected = np.asarray(reflect(matrix[kept].reshape(1, kept.size, -1)))
        matrix = np.moveaxis(reflected.reshape(kept.size, levels, q), 0, -1)
        products = np.einsum("lim,ljn->lijmn", matrix, matrix)
        return cls(matrix, products.reshape(-1, kept.size**2))

    @property
    def bulk(self) -> int:
        """The number of entries of all arrays."""
        return int(np.size(self.matrix)) + self.n_columns**2

    @property
    def n_columns(self) -> int:
        """The number of the rest's columns."""
        return int(self.matrix.shape[2])

    @property
    def n_levels(self) -> int:
        """The number of eliminated levels."""
        return int(self.matrix.shape[0])

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The number and the size of the components of each group."""
        return [(1, self.n_columns)]

    def gram(self, weight: Float[jax.Array, "L q q"]) -> list[Float[jax.Array, "1 M M"]]:
        """Return ``Pᵀ W P`` as :meth:`Coupling.gram` does."""
        return [(weight.reshape(-1) @ self.products).reshape(1, self.n_columns, self.n_columns)]

    def down(self, v: Float[jax.Array, "L q c"]) -> Float[jax.Array, "M c"]:
        """Return ``Pᵀ v``."""
        return jnp.tensordot(self.matrix, v, axes=((0, 1), (0, 1)))

    def up(self, b: Float[jax.Array, "M c"]) -> Float[jax.Array, "L q c"]:
        """Return ``P b``."""
        return jnp.tensordot(self.matrix, b, axes=1)

    def sandwich(self, matrices: list[Float[jax.Array, "1 M M"]]) -> Float[jax.Array, "L q q"]:
        """Return ``P_j K P_jᵀ`` for a symmetric K."""
        matrix = jnp.asarray(self.matrix)
        return matrix @ matrices[0][0][None] @ matrix.swapaxes(-1, -2)


def slices(sizes: list[int]) -> list[slice]:
    """Return the slices of arrays of ``sizes`` that follow one another."""
    return [slice(start, end) for start, end in itertools.pairwise(itertools.accumulate(sizes, initial=0))]
