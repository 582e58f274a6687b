"""The nonzero entries of the coupling ``P = Qᵀ Z``, on the host."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray

IN_RANGE_SQUARED_SHARE = 1e-13
"""A column of which less than this share of its squared length is left, within a level, is in the range of the level's
own columns."""


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


class Group(NamedTuple):
    """The entries of one group: ``n_components`` components with ``size`` columns each.

    Entries stand by ``level``, and by ``column`` within a level; columns are counted from the group's first. A level's
    columns are all in one component. A pair is an entry with itself or with a later one of its level.
    """

    n_components: int
    size: int
    level: Int[NumpyArray, " E"]
    column: Int[NumpyArray, " E"]
    values: Float[NumpyArray, "E q"]

    @classmethod
    def of(cls, entries: Entries, start: int, n_components: int, size: int) -> Self:
        """Choose the entries of the columns from ``start`` on."""
        chosen = np.flatnonzero((entries.column >= start) & (entries.column < start + n_components * size))
        return cls(n_components, size, entries.level[chosen], entries.column[chosen] - start, entries.values[chosen])

    @property
    def n_pairs(self) -> int:
        """The number of pairs."""
        met = np.unique(self.level, return_counts=True)[1].astype(np.int64)
        return int(np.sum(met * (met + 1) // 2))

    def partners(self) -> tuple[Int[NumpyArray, " E"], Int[NumpyArray, " E"]]:
        """Return the entries ordered by column, and of each the number of pairs that it begins."""
        _, run, met = np.unique(self.level, return_index=True, return_counts=True)
        by_column = np.argsort(self.column, kind="stable")
        return by_column, np.repeat(run + met, met)[by_column] - by_column

    def levels_by_component(self) -> Int[NumpyArray, " B"]:
        """Return how many levels each component has."""
        _, run = np.unique(self.level, return_index=True)
        return np.bincount(self.column[run] // self.size, minlength=self.n_components)


def count_up(counts: Int[NumpyArray, " r"]) -> Int[NumpyArray, " K"]:
    """Return 0 … c − 1 for each c of ``counts``, one run after the other."""
    starts = np.repeat((np.cumsum(counts) - counts).astype(counts.dtype), counts)
    return np.arange(starts.size, dtype=counts.dtype) - starts
