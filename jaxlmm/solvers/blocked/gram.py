"""The products ``Σ_j P_jᵀ W_j P_j`` of one group of components, formed in one of three ways."""

from __future__ import annotations

import abc
import itertools
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxlmm._util import Array, NumpyArray, Struct, bucket, pad, static
from jaxlmm.solvers.blocked.entries import Group, count_up

MULTIPLICATIONS_PER_SCATTER = 100.0
"""Adding one product to its entry of a matrix takes as long as this many multiplications inside a matrix product."""

MAX_PAIRS_WRITTEN_OUT = 2**22
"""The most pairs of entries whose products are kept, 16 bytes each; more are multiplied anew at each evaluation."""

PAIRS_PER_RUN = 16
"""How many entries that follow one another are multiplied by one entry at a time."""

RUNS_AT_ONCE = 2**14
"""How many runs are added up at a time."""


class Gram(Struct, abc.ABC):
    """The products ``Σ_j P_jᵀ W_j P_j`` of one group: ``count`` matrices of ``size`` rows and columns.

    The nonzero entries of P, those of a level beside one another and by column in it, are multiplied in pairs where few
    columns meet in a level (:class:`PairGram`, or :class:`RunGram` where there are many), else by whole columns
    (:class:`ColumnGram`).
    """

    count: int = static(kw_only=True)
    size: int = static(kw_only=True)

    @abc.abstractmethod
    def __call__(self, weight: Float[jax.Array, "L q q"]) -> Float[jax.Array, "B m m"]:
        """Add the products up with ``weight`` W."""

    @abc.abstractmethod
    def places(self, group: Group) -> tuple[Int[NumpyArray, "*shape"], Int[NumpyArray, "*shape"]]:
        """Return level and column of each entry of the ``group`` that :meth:`with_values` takes.

        The column, counted from the group's first, is -1 where it is padding.
        """

    @abc.abstractmethod
    def with_values(self, values: Float[jax.Array, "*shape q"]) -> Self:
        """Return the products of other values of the entries, those at :meth:`places`."""

    def _symmetric(self, upper: Float[jax.Array, " _Bmm"]) -> Float[jax.Array, "B m m"]:
        """Return matrices whose flattened upper triangles are given, with zeros below."""
        upper = upper.reshape(self.count, self.size, self.size)
        diagonal = jnp.eye(self.size, dtype=upper.dtype)[None] * upper
        return upper + upper.swapaxes(-1, -2) - diagonal


class PairGram(Gram):
    """``products`` of two entries of ``level`` are added to the entry ``target`` of the flattened upper triangles."""

    products: Float[Array, "q q K"]
    level: Int[Array, " K"]
    target: Int[Array, " K"]

    @classmethod
    def of(cls, group: Group) -> Self:
        """Multiply the entries of a group."""
        # Pairs are made in the order of their target's row, so that adding them up stays within a row.
        kind = np.int32 if max(group.n_components * group.size**2, group.n_pairs) < 2**31 else np.int64
        by_column, partners = group.partners()
        first = np.repeat(by_column.astype(kind), partners)
        second = first + count_up(partners.astype(kind))
        row, column = group.column.astype(kind) * group.size, (group.column % group.size).astype(kind)
        target = row[first] + column[second]
        values = np.ascontiguousarray(group.values.T)
        q, padded = values.shape[0], bucket(group.n_pairs, 64)
        products = np.zeros((q, q, padded))
        for i, j in itertools.product(range(q), repeat=2):
            np.multiply(values[i][first], values[j][second], out=products[i, j, : group.n_pairs])
        first_level = pad(group.level[first].astype(np.int32), padded)
        return cls(products, first_level, pad(target, padded), count=group.n_components, size=group.size)

    def __call__(self, weight: Float[jax.Array, "L q q"]) -> Float[jax.Array, "B m m"]:
        products, q = jnp.asarray(self.products), weight.shape[-1]
        total = sum(products[i, j] * take(weight[:, i, j], self.level) for i in range(q) for j in range(q))
        return self._symmetric(add_up(jnp.asarray(total), self.target, self.count * self.size**2))

    def places(self, group: Group) -> tuple[Int[NumpyArray, "2 K"], Int[NumpyArray, "2 K"]]:
        target = np.asarray(self.target, np.int64)
        own = target // self.size**2 * self.size
        ends = np.stack([own + target // self.size % self.size, own + target % self.size])
        level = np.broadcast_to(np.asarray(self.level, np.int64), ends.shape)
        return level, np.where(np.arange(target.size) < group.n_pairs, ends, -1)

    def with_values(self, values: Float[jax.Array, "2 K q"]) -> Self:
        return self.replace(products=jnp.einsum("ki,kj->ijk", values[0], values[1]))


class RunGram(Gram):
    """The entry ``first`` of each run is multiplied by those that follow from ``start`` on, as far as its level goes.

    ``values``, ``level`` and ``column`` are those of the group's entries, and past the last one of a level that is
    none. Only those are kept, since pairs can be a hundred times as many. Sums are formed over ``RUNS_AT_ONCE`` runs at
    a time.
    """

    values: Float[Array, "E q"]
    level: Int[Array, " E"]
    column: Int[Array, " E"]
    first: Int[Array, "S R"]
    start: Int[Array, "S R"]

    @classmethod
    def of(cls, group: Group) -> Self:
        """Arrange the entries of a group."""
        by_column, partners = group.partners()
        n_runs = -(-partners // PAIRS_PER_RUN)
        first = np.repeat(by_column, n_runs)
        start = first + count_up(n_runs) * PAIRS_PER_RUN
        n_entries = group.level.size
        size = bucket(n_entries + PAIRS_PER_RUN, 64)
        steps = -(-bucket(first.size, RUNS_AT_ONCE) // RUNS_AT_ONCE)
        level, column = np.full(size, -1, np.int32), np.zeros(size, np.int32)
        level[:n_entries], column[:n_entries] = group.level, group.column
        runs = np.full((2, steps * RUNS_AT_ONCE), n_entries, np.int32)  # padding: of no level
        runs[:, : first.size] = first, start
        shaped = runs.reshape(2, steps, RUNS_AT_ONCE)
        values = pad(group.values, size)
        return cls(values, level, column, shaped[0], shaped[1], count=group.n_components, size=group.size)

    def __call__(self, weight: Float[jax.Array, "L q q"]) -> Float[jax.Array, "B m m"]:
        values = jnp.asarray(self.values)
        level = jnp.asarray(self.level)
        weighted = jnp.einsum("eq,eqr->er", values, take(weight, jnp.maximum(level, 0)))
        column = jnp.asarray(self.column).astype(jnp.int32 if self.count * self.size**2 < 2**31 else jnp.int64)
        along = jnp.arange(PAIRS_PER_RUN, dtype=jnp.int32)

        @jax.checkpoint  # derivatives compute the products anew: kept, they would be all pairs again
        def add(
            upper: Float[jax.Array, " _Bmm"], runs: tuple[Int[jax.Array, " R"], Int[jax.Array, " R"]]
        ) -> tuple[Float[jax.Array, " _Bmm"], None]:
            first, second = runs[0], jnp.minimum(runs[1][:, None] + along[None, :], level.shape[0] - 1)
            one, others = take(weighted, first), take(values, second)
            products = jnp.sum(one[:, None, :] * others, axis=-1)
            same = take(level, second) == take(level, first)[:, None]
            entry = take(column, first)[:, None] * self.size + take(column, second) % self.size
            return upper.at[entry].add(jnp.where(same, products, 0.0), mode="promise_in_bounds"), None

        zeros = jnp.zeros(self.count * self.size**2, weighted.dtype)
        upper, _ = jax.lax.scan(add, zeros, (jnp.asarray(self.first), jnp.asarray(self.start)))
        return self._symmetric(upper)

    def places(self, group: Group) -> tuple[Int[NumpyArray, " E"], Int[NumpyArray, " E"]]:
        level, column = np.asarray(self.level, np.int64), np.asarray(self.column, np.int64)
        return level, np.where(level >= 0, column, -1)

    def with_values(self, values: Float[jax.Array, "E q"]) -> Self:
        return self.replace(values=values)


class ColumnGram(Gram):
    """All ``columns`` of P over the ``levels`` of each component, zeros included."""

    columns: Float[Array, "B l q m"]
    levels: Int[Array, "B l"]

    @classmethod
    def of(cls, group: Group) -> Self:
        """Write the columns of a group out."""
        levels, of_entry = np.unique(group.level, return_inverse=True)
        component = np.zeros(levels.size, int)
        component[of_entry] = group.column // group.size  # a level's columns are all in one component
        order = np.argsort(component, kind="stable")
        within = np.empty(levels.size, int)
        within[order] = count_up(np.bincount(component, minlength=group.n_components))
        width = bucket(int(group.levels_by_component().max(initial=0)), 4)
        columns = np.zeros((group.n_components, width, group.values.shape[1], group.size))
        columns[component[of_entry], within[of_entry], :, group.column % group.size] = group.values
        table = np.zeros((group.n_components, width), np.int32)
        table[component, within] = levels
        return cls(columns, table, count=group.n_components, size=group.size)

    def __call__(self, weight: Float[jax.Array, "L q q"]) -> Float[jax.Array, "B m m"]:
        scaled = jnp.einsum("blqr,blrm->blqm", take(weight, self.levels), self.columns)
        scaled = scaled.reshape(self.count, -1, self.size)
        return jnp.asarray(self.columns).reshape(scaled.shape).swapaxes(-1, -2) @ scaled

    def places(self, group: Group) -> tuple[Int[NumpyArray, "B l m"], Int[NumpyArray, "B l m"]]:
        levels = np.asarray(self.levels, np.int64)
        real = np.arange(levels.shape[1])[None, :] < group.levels_by_component()[:, None]
        column = np.arange(self.count)[:, None, None] * self.size + np.arange(self.size)
        shape = (*levels.shape, self.size)
        return np.broadcast_to(levels[:, :, None], shape), np.where(real[:, :, None], column, -1)

    def with_values(self, values: Float[jax.Array, "B l m q"]) -> Self:
        return self.replace(columns=jnp.moveaxis(values, -1, 2))


def take(values: Shaped[jax.Array, " _l *c"], index: Int[Array, "*k"]) -> Shaped[jax.Array, "*k *c"]:
    """Return ``values[index]``; every index is known to be in bounds."""
    return values.at[index].get(mode="promise_in_bounds")


def add_up(values: Shaped[jax.Array, " K *c"], index: Int[Array, " K"], size: int) -> Shaped[jax.Array, " {size} *c"]:
    """Return the sums of ``values`` by ``index`` below ``size``; every index is known to be in bounds."""
    return jnp.zeros((size, *values.shape[1:]), values.dtype).at[index].add(values, mode="promise_in_bounds")


def gram_of(group: Group) -> Gram:
    """Choose how the products of a group are formed, and prepare them."""
    by_columns = (
        group.n_components * int(group.levels_by_component().max(initial=0)) * group.values.shape[1] * group.size**2
    )
    if MULTIPLICATIONS_PER_SCATTER * group.n_pairs > by_columns:
        return ColumnGram.of(group)
    return PairGram.of(group) if group.n_pairs <= MAX_PAIRS_WRITTEN_OUT else RunGram.of(group)
