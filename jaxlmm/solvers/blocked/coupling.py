"""How the columns of the other grouping factors lie in the levels of the one that is eliminated first."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, Struct, bucket, pad, static

IN_RANGE = 1e-13
"""A column of which less than this share of its squared length is left, within a level, is in the range of the level's
own columns."""

PAIR_COST = 100.0
"""Adding one product to its place in a matrix takes as long as this many multiplications inside a matrix product."""


class Entries(NamedTuple):
    """The nonzero parts of ``Qᵀ Z``, on the host: column ``place`` (E,) of the rest in an eliminated ``level`` (E,).

    ``values`` (E, q) are its coordinates on the level's basis; ``inside`` (E,) says that nothing of the column, within
    the level, lies outside that basis. ``outside`` are the columns' values (n,) without those.
    """

    level: NumpyArray
    place: NumpyArray
    values: NumpyArray
    inside: NumpyArray
    outside: list[NumpyArray]

    @classmethod
    def of(
        cls, rows: NumpyArray, codes: NumpyArray, columns: list[tuple[NumpyArray, NumpyArray]], n_places: int
    ) -> Self:
        """Collect entries from orthonormal ``rows`` (n, q) of levels ``codes`` (n,) and the rest's ``columns``: values
        (n,) with the place (n,) that each row's value belongs to.
        """
        none = np.zeros(0, int)
        parts, outside = [(none, np.zeros((0, rows.shape[1])), np.zeros(0, bool))], []
        for values, place in columns:
            nonzero = np.flatnonzero(values)
            value, own = values[nonzero], rows[nonzero]
            key = codes[nonzero].astype(np.int64) * n_places + place[nonzero]
            keys, entry = np.unique(key, return_inverse=True)

            def total(v: NumpyArray, entry: NumpyArray = entry, count: int = keys.size) -> NumpyArray:
                return np.bincount(entry, v, minlength=count)

            coordinates = np.stack([total(own[:, i] * value) for i in range(rows.shape[1])], axis=1)
            square = total(value**2)
            inside = square - np.sum(coordinates**2, axis=1) <= IN_RANGE * square
            parts.append((keys, coordinates, inside))
            left = np.zeros(values.size)
            left[nonzero] = np.where(inside[entry], 0.0, value)
            outside.append(left)
        joined = [np.concatenate([part[i] for part in parts]) for i in range(3)]
        order = np.argsort(joined[0], kind="stable")
        keys, coordinates, inside = (part[order] for part in joined)
        return cls(*np.divmod(keys, n_places), coordinates, inside, outside)


class Gram(Struct):
    """The products of one batch of components: ``Σ_j P_jᵀ W_j P_j`` (B, m, m), from pairs of entries or whole columns.

    By pairs where few columns meet in a level: ``products`` (q, q, K) of two entries of ``level`` (K,) add to place
    ``target`` (K,) of the upper triangle. By ``columns`` (B, l, q, m) over ``levels`` (B, l) where most do.
    """

    count: int = static()
    size: int = static()
    products: Array | None = None
    level: Array | None = None
    target: Array | None = None
    columns: Array | None = None
    levels: Array | None = None

    def __call__(self, weight: jax.Array) -> jax.Array:
        """Add the products up with ``weight`` (L, q, q)."""
        if self.columns is not None and self.levels is not None:
            own = weight[self.levels]
            scaled = jnp.einsum("blqr,blrm->blqm", own, self.columns).reshape(self.count, -1, self.size)
            return jnp.asarray(self.columns).reshape(scaled.shape).swapaxes(-1, -2) @ scaled
        products, q = jnp.asarray(self.products), weight.shape[-1]
        total = sum(products[i, j] * take(weight[:, i, j], self.level) for i in range(q) for j in range(q))
        upper = add_up(jnp.asarray(total), self.target, self.count * self.size**2)
        upper = upper.reshape(self.count, self.size, self.size)
        diagonal = jnp.eye(self.size, dtype=upper.dtype)[None] * upper
        return upper + upper.swapaxes(-1, -2) - diagonal


class Coupling(Struct):
    """``P = Qᵀ Z``, the rest's columns on the bases of the eliminated levels.

    ``values`` (E, q), ``level`` (E,), ``place`` (E,): the nonzero entries, padded with zeros; ``places`` is the number
    M of the rest's columns in all batches, padding included, and ``n_levels`` that of eliminated levels. Columns are
    those before they are ``reflected``.
    """

    reflected: ClassVar[bool] = False

    values: Array
    level: Array
    place: Array
    grams: tuple[Gram, ...]
    places: int = static()
    n_levels: int = static()

    @classmethod
    def of(cls, entries: Entries, batches: list[tuple[int, int]], n_levels: int) -> Self:
        """Arrange entries for ``batches`` of components, (count, size) each; their places follow one another."""
        size = bucket(entries.level.size, 64)
        values = pad(entries.values, size)
        level, place = (pad(part.astype(np.int32), size) for part in (entries.level, entries.place))
        ends = np.cumsum([0, *(count * width for count, width in batches)])
        grams = tuple(
            _gram(entries, int(start), count, width) for start, (count, width) in zip(ends[:-1], batches, strict=True)
        )
        return cls(values, level, place, grams, int(ends[-1]), n_levels)

    @property
    def bulk(self) -> int:
        """The number of entries of all arrays."""
        return int(self.level.shape[0]) + sum(count * size**2 for count, size in self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The number and the size of the components of each batch."""
        return [(gram.count, gram.size) for gram in self.grams]

    def gram(self, weight: jax.Array) -> list[jax.Array]:
        """Return ``Pᵀ W P`` for ``weight`` (L, q, q), one (B, m, m) per batch."""
        return [gram(weight) for gram in self.grams]

    def down(self, v: jax.Array) -> jax.Array:
        """Return ``Pᵀ v`` (M, c) for ``v`` (L, q, c)."""
        products = jnp.sum(jnp.asarray(self.values)[:, :, None] * take(v, self.level), axis=1)
        return add_up(products, self.place, self.places)

    def up(self, b: jax.Array) -> jax.Array:
        """Return ``P b`` (L, q, c) for ``b`` (M, c)."""
        if self.places == 0:
            return jnp.zeros((self.n_levels, self.values.shape[1], b.shape[1]), b.dtype)
        products = jnp.asarray(self.values)[:, :, None] * take(b, self.place)[:, None, :]
        return add_up(products, self.level, self.n_levels)

    def sandwich(self, matrices: list[jax.Array]) -> jax.Array:
        """Return ``P_j K P_jᵀ`` (L, q, q) for symmetric K, one (B, m, m) per batch."""
        shape = (self.n_levels, self.values.shape[1], self.values.shape[1])
        found: jax.Array = jax.linear_transpose(self.gram, jax.ShapeDtypeStruct(shape, self.values.dtype))(matrices)[0]
        return 0.5 * (found + found.swapaxes(-1, -2))


class Whole(Struct):
    """The same products from whole matrices: for one small component and many responses at once.

    ``matrix`` (L, q, M) is ``Qᵀ Z`` on reflected columns; ``products`` (L · q · q, M · M) are those of its columns,
    level by level. Thousands of responses share them, and every product is one of large matrices.
    """

    reflected: ClassVar[bool] = True

    matrix: Array
    products: Array

    @classmethod
    def of(cls, coupling: Coupling, kept: NumpyArray, turn: Callable[[NumpyArray], Array]) -> Self:
        """Write the columns ``kept`` (M,) of a coupling out; ``turn`` reflects columns (1, M, c)."""
        levels, q = coupling.n_levels, int(np.shape(coupling.values)[1])
        matrix = np.zeros((coupling.places, levels, q))
        values = np.asarray(coupling.values)
        real = values.any(axis=1)
        matrix[np.asarray(coupling.place)[real], np.asarray(coupling.level)[real]] = values[real]
        turned = np.asarray(turn(matrix[kept].reshape(1, kept.size, -1)))
        matrix = np.moveaxis(turned.reshape(kept.size, levels, q), 0, -1)
        products = np.einsum("lim,ljn->lijmn", matrix, matrix)
        return cls(matrix, products.reshape(-1, kept.size**2))

    @property
    def bulk(self) -> int:
        """The number of entries of all arrays."""
        return int(np.size(self.matrix)) + self.places**2

    @property
    def places(self) -> int:
        """The number of the rest's columns."""
        return int(self.matrix.shape[2])

    @property
    def n_levels(self) -> int:
        """The number of eliminated levels."""
        return int(self.matrix.shape[0])

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The number and the size of the components of each batch."""
        return [(1, self.places)]

    def gram(self, weight: jax.Array) -> list[jax.Array]:
        """Return ``Pᵀ W P`` as :meth:`Coupling.gram` does."""
        return [(weight.reshape(-1) @ self.products).reshape(1, self.places, self.places)]

    def down(self, v: jax.Array) -> jax.Array:
        """Return ``Pᵀ v`` (M, c) for ``v`` (L, q, c)."""
        return jnp.tensordot(self.matrix, v, axes=((0, 1), (0, 1)))

    def up(self, b: jax.Array) -> jax.Array:
        """Return ``P b`` (L, q, c) for ``b`` (M, c)."""
        return jnp.tensordot(self.matrix, b, axes=1)

    def sandwich(self, matrices: list[jax.Array]) -> jax.Array:
        """Return ``P_j K P_jᵀ`` (L, q, q) for a symmetric K."""
        matrix = jnp.asarray(self.matrix)
        return matrix @ matrices[0][0][None] @ matrix.swapaxes(-1, -2)


def _gram(entries: Entries, start: int, count: int, size: int) -> Gram:
    """Choose how one batch's products are formed, and prepare it."""
    chosen = np.flatnonzero((entries.place >= start) & (entries.place < start + count * size))
    level, local = entries.level[chosen], entries.place[chosen] - start
    levels, run, met = np.unique(level, return_index=True, return_counts=True)
    n_pairs = int(np.sum(met * (met + 1) // 2))
    component = local // size
    per_component = np.bincount(component[run], minlength=count)
    widest = int(per_component.max(initial=0))
    q = entries.values.shape[1]
    if PAIR_COST * n_pairs <= count * widest * q * size**2:
        # Entries stand by level, and by place within a level: an entry's partners are those up to its level's end.
        # Pairs are made in the order of their target's row, so that adding them up stays within a row.
        kind = np.int32 if max(count * size**2, n_pairs) < 2**31 else np.int64
        by_place = np.argsort(local, kind="stable").astype(kind)
        partners = np.repeat((run + met).astype(kind), met)[by_place] - by_place
        first = np.repeat(by_place, partners)
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


def _count_up(counts: NumpyArray) -> NumpyArray:
    """Return 0 … c − 1 for each c of ``counts``, one run after the other."""
    starts = np.repeat((np.cumsum(counts) - counts).astype(counts.dtype), counts)
    return np.arange(starts.size, dtype=counts.dtype) - starts


def take(values: jax.Array, places: Array) -> jax.Array:
    """Return ``values[places]`` along the first axis; places are known to be inside."""
    return values.at[places].get(mode="promise_in_bounds")


def add_up(values: jax.Array, places: Array, size: int) -> jax.Array:
    """Add ``values`` (K, ...) up by place; returns (size, ...). Places are known to be inside."""
    return jnp.zeros((size, *values.shape[1:]), values.dtype).at[places].add(values, mode="promise_in_bounds")


def slices(sizes: list[int]) -> list[slice]:
    """Return the slices of arrays of ``sizes`` that follow one another."""
    return [slice(start, end) for start, end in itertools.pairwise(itertools.accumulate(sizes, initial=0))]
