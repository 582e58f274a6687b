"""The blocked solver on rows that are multiplied by weights: its products formed again in a traced function."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, pad
from jaxlmm.solvers.blocked.block import Block, Outside, apply_reflections
from jaxlmm.solvers.blocked.components import IN_BASES_SHARE_OF_LENGTH, near_inverse, sums_of_levels
from jaxlmm.solvers.blocked.coupling import Coupling, slices
from jaxlmm.solvers.blocked.entries import Entries, Group
from jaxlmm.solvers.blocked.gram import Gram, add_up
from jaxlmm.solvers.blocked.rest import Rest
from jaxlmm.solvers.blocked.rows import Rows
from jaxlmm.solvers.level_qr import level_qr_traced


class Reweighted(NamedTuple):
    """The parts of the solver that depend on the rows: as there."""

    rows: Rows
    triangles: Float[jax.Array, "L q q"]
    rest: Rest


class BatchSums(Struct):
    """Where sums of columns over all levels stand in a batch of components (:class:`~.block.Outside`).

    ``columns`` are those of each component, with the ``factors`` of the sums; ``start`` is the batch's first column.
    """

    columns: Int[Array, "B s"]
    factors: Float[Array, "B s"]


class Reweighting(Struct):
    """Where the rows' values go in the coupling ``P = QᵀZ`` and in ``ZᵀZ``, which weights do not change.

    Weights multiply Z and the eliminated factor's columns alike, so that a column in the range of a level's basis stays
    there, and every pattern of zeros stays. Per column of the rest ``entry``, the entry of the coupling that each row
    adds to, past the last where its value is zero, and ``square``, where its product with the component's first column
    stands among the products of all batches; ``local``, the number of the column within its component. ``inside`` as in
    :class:`~.entries.Entries`. Per batch ``pairs``, the entries from which its Gram products are formed
    (:meth:`~.gram.Gram.places`), past the last where padded, and ``sums``, None without reflections.
    """

    entry: tuple[Int[Array, " N"], ...]
    square: tuple[Int[Array, " N"], ...]
    local: tuple[Int[Array, " N"], ...]
    inside: Bool[Array, " E"]
    pairs: tuple[Int[Array, "*shape"], ...]
    sums: tuple[BatchSums | None, ...]

    @classmethod
    def of(cls, entries: Entries, rows: Rows, rest: Rest) -> Self:
        """Find the places, on the host; ``rows`` and ``rest`` are those of the solver."""
        coupling = rest.coupling
        assert isinstance(coupling, Coupling)
        total, size = coupling.n_columns, int(np.shape(coupling.values)[0])
        keys = entries.level.astype(np.int64) * total + entries.column

        def found(key: Int[NumpyArray, "*k"], valid: Bool[NumpyArray, "*k"]) -> Int[NumpyArray, "*k"]:
            """Return the entries of keys, past the last where there is none."""
            index = np.minimum(np.searchsorted(keys, key), max(keys.size - 1, 0))
            here = valid & (keys[index] == key) if keys.size else np.zeros(key.shape, bool)
            return np.where(here, index, size).astype(np.int32)

        starts = np.cumsum([0, *(count * width for count, width in coupling.shapes)])
        firsts = np.cumsum([0, *(count * width**2 for count, width in coupling.shapes)])
        widths = np.array([width for _, width in coupling.shapes], int)
        entry, square, local = [], [], []
        for z, first in zip(rows.columns, rows.first_columns, strict=True):
            for c in range(z.shape[1]):
                column = np.asarray(first, np.int64) + c
                batch = np.searchsorted(starts, column, side="right") - 1
                component, own = np.divmod(column - starts[batch], widths[batch])
                entry.append(found(np.asarray(rows.codes, np.int64) * total + column, np.asarray(z)[:, c] != 0))
                square.append(firsts[batch] + component * widths[batch] ** 2 + own * widths[batch])
                local.append(own)
        pairs = []
        for gram, start in zip(coupling.grams, starts[:-1], strict=True):
            level, column = gram.places(Group.of(entries, int(start), gram.count, gram.size))
            pairs.append(found(level * total + start + column, column >= 0))
        sums = []
        for block in rest.blocks:
            reflected = block.outside is not None and block.outside.reflections is not None
            tables = tuple(np.asarray(levels) for levels in block.levels)
            sums.append(BatchSums(*sums_of_levels(tables, block.widths)) if reflected else None)
        inside = pad(entries.inside, size)
        return cls(tuple(entry), tuple(square), tuple(local), inside, tuple(pairs), tuple(sums))

    def __call__(
        self, rows: Rows, triangles: Float[Array, "L q q"], rest: Rest, root_weight: Float[jax.Array, " N"]
    ) -> Reweighted:
        """Return the parts of the solver on rows multiplied by ``root_weight``."""
        weight, codes = root_weight[:, None], rows.codes
        z = jnp.einsum("ik,ikj->ij", rows.bases, jnp.asarray(triangles)[codes]) * weight
        bases, triangles = level_qr_traced(z, codes, triangles.shape[0])
        rows = rows.replace(bases=bases, columns=tuple(jnp.asarray(one) * weight for one in rows.columns))
        coupling = rest.coupling
        assert isinstance(coupling, Coupling)
        columns = [column for one in rows.columns for column in jnp.asarray(one).T]
        values, inside = jnp.zeros(coupling.values.shape, bases.dtype), jnp.asarray(self.inside)
        for column, entry in zip(columns, self.entry, strict=True):
            values = values.at[entry].add(column[:, None] * bases, mode="drop")
        grams = _grams(coupling.grams, self.pairs, values)
        coupling = coupling.replace(values=values, grams=grams)
        if not rest.has_outside:
            return Reweighted(rows, triangles, rest.replace(coupling=coupling))
        outside = [
            jnp.where(inside.at[entry].get(mode="fill", fill_value=True), 0.0, column)
            for column, entry in zip(columns, self.entry, strict=True)
        ]
        products = self._products(coupling, outside, jnp.where(inside[:, None], 0.0, values))
        of_sums = self._products_of_sums(rows, rest, outside)
        blocks = tuple(
            block if block.outside is None else block.replace(outside=_outside(block, batch, sums, of_sums, part))
            for block, batch, sums, part in zip(
                rest.blocks, products, self.sums, slices([n * m for n, m in coupling.shapes]), strict=True
            )
        )
        return Reweighted(rows, triangles, rest.replace(coupling=coupling, blocks=blocks))

    def _products(
        self, coupling: Coupling, outside: list[Float[jax.Array, " N"]], partly: Float[jax.Array, "E q"]
    ) -> list[Float[jax.Array, "_B _m _m"]]:
        """Return ``Zᵀ(I − QQᵀ)Z`` per batch, of columns without their part in the range of the levels' own."""
        sizes = [count * width**2 for count, width in coupling.shapes]
        squares = jnp.zeros(sum(sizes), partly.dtype)
        for one, square in zip(outside, self.square, strict=True):
            for other, local in zip(outside, self.local, strict=True):
                squares = squares + add_up(one * other, square + local, squares.shape[0])
        q = partly.shape[1]
        identity = jnp.broadcast_to(jnp.eye(q, dtype=partly.dtype), (coupling.n_levels, q, q))
        return [
            squares[part].reshape(count, width, width) - gram(identity)
            for part, (count, width), gram in zip(
                slices(sizes), coupling.shapes, _grams(coupling.grams, self.pairs, partly), strict=True
            )
        ]

    def _products_of_sums(
        self, rows: Rows, rest: Rest, outside: list[Float[jax.Array, " N"]]
    ) -> list[Float[jax.Array, " M"]]:
        """Return the products of all columns with the sum of each over its levels, off the eliminated levels' bases."""
        if all(sums is None for sums in self.sums):
            return []
        indices = [
            first + c for z, first in zip(rows.columns, rows.first_columns, strict=True) for c in range(z.shape[1])
        ]
        of_sums = []
        for column in outside:
            _, off = rows.off_levels(rest, column[:, None])
            vanishes = jnp.sum(off**2) <= IN_BASES_SHARE_OF_LENGTH**2 * jnp.sum(column**2)
            _, off = rows.off_levels(rest, off)
            off = jnp.where(vanishes, 0.0, off[:, 0])
            parts = [add_up(v * off, index, rest.coupling.n_columns) for v, index in zip(outside, indices, strict=True)]
            of_sums.append(sum(parts[1:], start=parts[0]))
        return of_sums


def _grams(
    grams: tuple[Gram, ...], pairs: tuple[Int[Array, "*shape"], ...], values: Float[jax.Array, "E q"]
) -> tuple[Gram, ...]:
    """Return the Gram products of other ``values`` of the entries."""
    return tuple(
        gram.with_values(values.at[index].get(mode="fill", fill_value=0.0))
        for gram, index in zip(grams, pairs, strict=True)
    )


def _outside(
    block: Block,
    batch: Float[jax.Array, "B m m"],
    sums: BatchSums | None,
    of_sums: list[Float[jax.Array, " M"]],
    part: slice,
) -> Outside:
    """Return the part of a batch outside the bases, on reflected columns, from its products on the levels' own."""
    assert block.outside is not None
    reflections = block.outside.reflections
    if sums is not None and reflections is not None:
        half = apply_reflections(reflections, block.widths, batch)
        batch = apply_reflections(reflections, block.widths, half.swapaxes(-1, -2))
        each, columns, factors = np.arange(batch.shape[0]), jnp.asarray(sums.columns), jnp.asarray(sums.factors)
        for number, of_sum in enumerate(of_sums):
            exact = of_sum[part].reshape(*batch.shape[:2], 1)
            line = apply_reflections(reflections, block.widths, exact)[:, :, 0] * factors[:, number, None]
            batch = batch.at[each, columns[:, number], :].set(line).at[each, :, columns[:, number]].set(line)
    return Outside(batch, jax.lax.stop_gradient(near_inverse(batch)), reflections)
