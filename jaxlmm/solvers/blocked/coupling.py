"""The coupling ``P = Qᵀ Z`` of the other grouping factors' columns Z to the eliminated levels' bases Q."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import Array, NumpyArray, Struct, bucket, pad, static

IN_RANGE_SQUARED_SHARE = 1e-13
"""A column of which less than this share of its squared length is left, within a level, is in the range of the level's
own columns."""

MULTIPLICATIONS_PER_SCATTER = 100.0
"""Adding one product to its entry of a matrix takes as long as this many multiplications inside a matrix product."""


class Entries(NamedTuple):
    """The nonzero parts of ``Qᵀ Z``, on the host: a ``column`` of the rest in an eliminated ``level``.

    ``values`` are its coordinates on the level's basis; ``inside`` says that the column, within the level, is in the
    range of that basis. ``outside`` are the columns' values without those.
    """

    level: Int[NumpyArray, " E"]
    column: Int[NumpyArray, " E"]
    values: Float[NumpyArray, "E q"]
    inside: Bool[NumpyArray, " E"]
    outside: list[Float[NumpyArray, " n"]]

    @classmethod
    def of(
        cls,
        rows: Float[NumpyArray, "n q"],
        codes: Int[NumpyArray, " n"],
        columns: list[tuple[Float[NumpyArray, " n"], Int[NumpyArray, " n"]]],
        n_columns: int,
    ) -> Self:
        """Collect entries from orthonormal ``rows`` of levels ``codes``, and the rest's ``columns``: values with the
        column that each row's value belongs to.
        """
        none = np.zeros(0, int)
        parts, outside = [(none, np.zeros((0, rows.shape[1])), np.zeros(0, bool))], []
        for values, column in columns:
            nonzero = np.flatnonzero(values)
            value, basis = values[nonzero], rows[nonzero]
            key = codes[nonzero].astype(np.int64) * n_columns + column[nonzero]
            keys, entry = np.unique(key, return_inverse=True)

            def total(v: NumpyArray, entry: NumpyArray = entry, count: int = keys.size) -> NumpyArray:
                return np.bincount(entry, v, minlength=count)

            coordinates = np.stack([total(basis[:, i] * value) for i in range(rows.shape[1])], axis=1)
            square = total(value**2)
            inside = square - np.sum(coordinates**2, axis=1) <= IN_RANGE_SQUARED_SHARE * square
            parts.append((keys, coordinates, inside))
            remaining = np.zeros(values.size)
            remaining[nonzero] = np.where(inside[entry], 0.0, value)
            outside.append(remaining)
        joined = [np.concatenate([part[i] for part in parts]) for i in range(3)]
        order = np.argsort(joined[0], kind="stable")
        keys, coordinates, inside = (part[order] for part in joined)
        return cls(*np.divmod(keys, n_columns), coordinates, inside, outside)


class Gram(Struct):
    """The products ``Σ_j P_jᵀ W_j P_j`` of one group of components, from pairs of entries or whole columns.

    By pairs where few columns meet in a level: ``products`` of two entries of ``level`` are added to the entry
    ``target`` of the flattened upper triangle. By ``columns`` over ``levels`` where most do.
    """

    count: int = static()
    size: int = static()
    products: Float[Array, "q q K"] | None = None
    level: Int[Array, " K"] | None = None
    target: Int[Array, " K"] | None = None
    columns: Float[Array, "B l q m"] | None = None
    levels: Int[Array, "B l"] | None = None

    def __call__(self, weight: Float[jax.Array, "L q q"]) -> Float[jax.Array, "B m m"]:
        """Add the products up with ``weight`` W."""
        if self.columns is not None and self.levels is not None:
            scaled = jnp.einsum("blqr,blrm->blqm", weight[self.levels], self.columns).reshape(self.count, -1, self.size)
            return jnp.asarray(self.columns).reshape(scaled.shape).swapaxes(-1, -2) @ scaled
        products, q = jnp.asarray(self.products), weight.shape[-1]
        total = sum(products[i, j] * take(weight[:, i, j], self.level) for i in range(q) for j in range(q))
        upper = add_up(jnp.asarray(total), self.target, self.count * self.size**2)
        upper = upper.reshape(self.count, self.size, self.size)
        diagonal = jnp.eye(self.size, dtype=upper.dtype)[None] * upper
        return upper + upper.swapaxes(-1, -2) - diagonal


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
            _gram(entries, int(start), count, width) for start, (count, width) in zip(ends[:-1], groups, strict=True)
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


def _gram(entries: Entries, start: int, count: int, size: int) -> Gram:
    """Choose how one group's products are formed, and prepare it."""
    chosen = np.flatnonzero((entries.column >= start) & (entries.column < start + count * size))
    level, local = entries.level[chosen], entries.column[chosen] - start
    levels, run, met = np.unique(level, return_index=True, return_counts=True)
    n_pairs = int(np.sum(met * (met + 1) // 2))
    component = local // size
    per_component = np.bincount(component[run], minlength=count)
    widest = int(per_component.max(initial=0))
    q = entries.values.shape[1]
    if MULTIPLICATIONS_PER_SCATTER * n_pairs <= count * widest * q * size**2:
        # Entries stand by level, and by column within a level: an entry's partners are those up to its level's end.
        # Pairs are made in the order of their target's row, so that adding them up stays within a row.
        kind = np.int32 if max(count * size**2, n_pairs) < 2**31 else np.int64
        by_column = np.argsort(local, kind="stable").astype(kind)
        partners = np.repeat((run + met).astype(kind), met)[by_column] - by_column
        first = np.repeat(by_column, partners)
        second = first + _count_up(partners)
        row, column = local.astype(kind) * size, (local % size).astype(kind)
        target = row[first] + column[second]
        values = np.ascontiguousarray(entries.values[chosen].T)
        padded = bucket(n_pairs, 64)
        products = np.zeros((q, q, padded))
        for i, j in itertools.product(range(q), repeat=2):
            np.multiply(values[i][first], values[j][second], out=products[i, j, :n_pairs])
        first_level = pad(level[first].astype(np.int32), padded)
        return Gram(count, size, products=products, level=first_level, target=pad(target, padded))
    order = np.argsort(component[run], kind="stable")
    within = np.empty(levels.size, int)
    within[order] = _count_up(per_component)
    width = bucket(widest, 4)
    columns = np.zeros((count, width, q, size))
    entry_level = np.repeat(np.arange(levels.size), met)
    columns[component, within[entry_level], :, local % size] = entries.values[chosen]
    table = np.zeros((count, width), np.int32)
    table[component[run], within] = levels
    return Gram(count, size, columns=columns, levels=table)


def _count_up(counts: Int[NumpyArray, " r"]) -> Int[NumpyArray, " K"]:
    """Return 0 … c − 1 for each c of ``counts``, one run after the other."""
    starts = np.repeat((np.cumsum(counts) - counts).astype(counts.dtype), counts)
    return np.arange(starts.size, dtype=counts.dtype) - starts


def take(values: Shaped[jax.Array, " _l *c"], index: Int[Array, " K"]) -> Shaped[jax.Array, " K *c"]:
    """Return ``values[index]``; every index is known to be in bounds."""
    return values.at[index].get(mode="promise_in_bounds")


def add_up(values: Shaped[jax.Array, " K *c"], index: Int[Array, " K"], size: int) -> Shaped[jax.Array, " {size} *c"]:
    """Return the sums of ``values`` by ``index`` below ``size``; every index is known to be in bounds."""
    return jnp.zeros((size, *values.shape[1:]), values.dtype).at[index].add(values, mode="promise_in_bounds")


def slices(sizes: list[int]) -> list[slice]:
    """Return the slices of arrays of ``sizes`` that follow one another."""
    return [slice(start, end) for start, end in itertools.pairwise(itertools.accumulate(sizes, initial=0))]
