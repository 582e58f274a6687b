"""Connected components of the random effects after the largest grouping factor is eliminated, arranged on the host.

The rest are the other grouping factors (groupings, as in :attr:`jaxlmm.model.Design.groupings`), and Z their columns.
The bases Q are orthonormal ones of the eliminated levels' own columns. A group is one of components of similar size.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, bucket, pad
from jaxlmm.errors import OptionError
from jaxlmm.linalg import MAX_SIZE_SWEPT, inverse_logdet
from jaxlmm.model import Design, linked
from jaxlmm.solvers.blocked.block import NO_LEVEL, Outside, apply_reflections
from jaxlmm.solvers.blocked.coupling import slices
from jaxlmm.solvers.blocked.entries import Entries
from jaxlmm.solvers.clusters import rounded, similar
from jaxlmm.solvers.kinds import n_factors

MAX_EFFECTS_OF_COMPONENT = 6_000
"""The most connected effects: one matrix of them is 288 MB; a Hessian needs several."""

RELATIVE_RIDGE = 1e-4
"""Added to the diagonal, relative to it, before products of columns are inverted that may be linearly dependent: large
enough that rounding is not amplified along the dependent directions."""

MAX_SIZE_REFLECTED = 256
"""Up to this size of a component, sums of a factor's columns over all its levels become columns, by reflections of the
levels (:class:`jaxlmm.solvers.blocked.block.Outside`)."""

IN_BASES_SHARE_OF_LENGTH = 1e-11
"""Such a sum lies in the bases if the length of its part outside them is at most this share of its own."""

MAX_LEVELS_UNPADDED = 4
"""The most levels of a factor in a component that are not padded to a larger number."""


class Arrangement(NamedTuple):
    """The order of the rest's columns: by group, in it by component, in that by grouping, and by level.

    ``first_columns``: per grouping, the index of the first column of each of its L levels. Per group: ``shapes``, the
    number B of its components and their size; ``counts``, the padded number of levels of each grouping in a component;
    ``tables``, which levels they are, ``NO_LEVEL`` where padded. ``n_columns``: all columns, padding included.
    """

    first_columns: list[Int[NumpyArray, " _L"]]
    shapes: list[tuple[int, int]]
    counts: list[tuple[int, ...]]
    tables: list[tuple[Int[NumpyArray, "_B _l"], ...]]
    n_columns: int


def members(design: Design, grouping: int) -> tuple[int, ...]:
    """Return the numbers of the terms on one grouping."""
    return tuple(t for t, term in enumerate(design.terms) if term.grouping == grouping)


def roles(design: Design) -> tuple[int, tuple[int, ...]]:
    """Return the grouping with the most effects, which is eliminated, and the others."""
    effects: dict[int, int] = {}
    for term in design.terms:
        effects[term.grouping] = (
            effects.get(term.grouping, 0) + int(design.groupings[term.grouping].n_levels) * term.size
        )
    eliminated = max(effects, key=lambda g: effects[g])
    return eliminated, tuple(g for g in effects if g != eliminated)


def largest_component(design: Design) -> int:
    """Return the number of effects in the largest component; 0 for one grouping factor."""
    eliminated, rest = roles(design)
    components = components_of(design, eliminated, rest)
    sizes = np.zeros(1)
    for g, labels in zip(rest, components, strict=True):
        effects = np.bincount(labels) * sum(design.terms[t].size for t in members(design, g))
        sizes = pad(sizes, max(sizes.size, effects.size)) + pad(effects, max(sizes.size, effects.size))
    return int(sizes.max())


def chosen_for(design: Design) -> str:
    """Say what the blocked solver is chosen for.

    Raises
    ------
    OptionError
        If its largest component is too large.
    """
    largest = largest_component(design)
    if largest > MAX_EFFECTS_OF_COMPONENT:
        raise OptionError(
            f"solver='blocked' takes up to {MAX_EFFECTS_OF_COMPONENT:,} connected random effects beside those of the "
            f"largest grouping factor; this model has {largest:,}. Leave one of the crossed factors out, or enter it "
            "as a fixed effect."
        )
    count = n_factors(design)
    if count == 1:
        return "one grouping factor, independent residuals"
    return f"{count} grouping factors; {largest} connected effects once the largest is eliminated"


def components_of(design: Design, eliminated: int, rest: tuple[int, ...]) -> list[Int[NumpyArray, " _L"]]:
    """Return, per grouping of the ``rest``, the number of the component that each level belongs to.

    Two levels are in one component when a chain of eliminated levels connects them.
    """
    n = int(design.n)
    groupings = [design.groupings[g] for g in (eliminated, *rest)]
    firsts = np.cumsum([0, *(int(grouping.n_levels) for grouping in groupings)])
    codes = [np.asarray(grouping.codes)[:n] for grouping in groupings]
    starts = np.tile(codes[0], len(rest))
    ends = np.concatenate([np.zeros(0, int), *(c + first for c, first in zip(codes[1:], firsts[1:-1], strict=True))])
    label = linked(int(firsts[-1]), starts, ends)
    own = [label[first:last] for first, last in itertools.pairwise(firsts[1:])]
    _, renumbered = np.unique(np.concatenate([np.zeros(0, int), *own]), return_inverse=True)
    return [renumbered[part] for part in slices([labels.size for labels in own])]


def arrange(components: list[Int[NumpyArray, " _L"]], levels: list[int], widths: tuple[int, ...]) -> Arrangement:
    """Return the columns arranged with components of similar size in groups.

    Per grouping of the rest: ``components`` are as from :func:`components_of`, ``levels`` the number of levels, and
    ``widths`` the number of columns of a level.
    """
    if not components:
        return Arrangement([], [], [], [], 0)
    number = 1 + max(int(labels.max()) for labels in components)
    n_levels = np.stack([np.bincount(labels, minlength=number) for labels in components], axis=1)
    first_columns = [np.zeros(count, int) for count in levels]
    arrangement = Arrangement(first_columns, [], [], [], 0)
    start = 0
    for chosen in similar(n_levels @ np.array(widths), 0.6, 8):
        counts = tuple(_padded(int(count)) for count in n_levels[chosen].max(axis=0))
        offsets = np.cumsum([0, *(count * width for count, width in zip(counts, widths, strict=True))])
        size = int(offsets[-1])
        n_components = bucket(chosen.size, 16) if size <= MAX_SIZE_SWEPT and chosen.size > 1 else chosen.size
        row = np.full(number, -1)  # of each component: its index in the group, -1 if it is in another
        row[chosen] = np.arange(chosen.size)
        tables = []
        for g, labels in enumerate(components):
            in_group = np.flatnonzero(row[labels] >= 0)
            in_group = in_group[np.argsort(row[labels[in_group]], kind="stable")]
            rows = row[labels[in_group]]
            before = np.searchsorted(rows, np.arange(n_components))
            local = np.arange(in_group.size) - before[rows]
            first_columns[g][in_group] = start + rows * size + offsets[g] + local * widths[g]
            table = np.full((n_components, counts[g]), NO_LEVEL, np.int32)
            table[rows, local] = in_group
            tables.append(table)
        arrangement.shapes.append((n_components, size))
        arrangement.counts.append(counts)
        arrangement.tables.append(tuple(tables))
        start += n_components * size
    return arrangement._replace(n_columns=start)


def _padded(count: int) -> int:
    """Return the padded number of levels of a factor in a component."""
    return count if count <= MAX_LEVELS_UNPADDED else rounded(count)


def outside_of(
    entries: Entries,
    indices: list[Int[NumpyArray, " n"]],
    arrangement: Arrangement,
    widths: tuple[int, ...],
    project: Callable[[Float[NumpyArray, " n"]], Float[NumpyArray, " n"]],
) -> list[Outside | None]:
    """Return, per group, the products ``Zᵀ(I − QQᵀ)Z`` of its columns outside the bases; None where they are zero.

    ``indices`` hold, for each of the arrays over rows in ``entries.outside``, the column of Z in which a row's value
    stands. A column of Z that lies, within an eliminated level, in the range of the level's basis is left out there, so
    that zeros are exact. ``project`` returns ``(I − QQᵀ)v`` of a vector v over the rows.
    """
    shapes = arrangement.shapes
    if not any(values.any() for values in entries.outside):
        return [None] * len(shapes)
    n, total = entries.outside[0].size, arrangement.n_columns
    columns = scipy.sparse.csr_array((n, total))
    for values, index in zip(entries.outside, indices, strict=True):
        nonzero = np.flatnonzero(values)
        columns = columns + scipy.sparse.csr_array((values[nonzero], (nonzero, index[nonzero])), shape=(n, total))
    partly = ~entries.inside
    n_levels, q = 1 + int(np.max(entries.level, initial=0)), entries.values.shape[1]
    rows = entries.level[partly, None] * q + np.arange(q)
    cells = rows.reshape(-1), np.repeat(entries.column[partly], q)
    in_bases = scipy.sparse.csr_array((entries.values[partly].reshape(-1), cells), shape=(n_levels * q, total))
    products = (columns.T @ columns - in_bases.T @ in_bases).tocoo()
    of_sums = []
    if any(width <= MAX_SIZE_REFLECTED for _, width in shapes):
        of_sums = [_products_of_sum(column, entries.outside, indices, total, project) for column in entries.outside]
    outside: list[Outside | None] = []
    for i, part in enumerate(slices([count * width for count, width in shapes])):
        (count, width), in_group = shapes[i], (products.row >= part.start) & (products.row < part.stop)
        row, column = products.row[in_group] - part.start, products.col[in_group] - part.start
        matrices = np.zeros((count, width, width))
        matrices[row // width, row % width, column % width] = products.data[in_group]
        if not in_group.any():
            outside.append(None)
            continue
        reflections: tuple[NumpyArray, ...] | None = None
        if width <= MAX_SIZE_REFLECTED:
            reflections, sum_columns, scales = _reflections(arrangement.tables[i], widths)
            half = apply_reflections(reflections, widths, matrices)
            matrices = np.asarray(apply_reflections(reflections, widths, half.swapaxes(-1, -2)))
            for column, scale, total_products in zip(sum_columns.T, scales.T, of_sums, strict=True):
                exact = total_products[part].reshape(count, width, 1)
                line = np.asarray(apply_reflections(reflections, widths, exact))[:, :, 0] * scale[:, None]
                each = np.arange(count)
                matrices[each, column, :] = matrices[each, :, column] = line
        outside.append(Outside(matrices, near_inverse(matrices, on_host=True), reflections))
    return outside


def _products_of_sum(
    column: Float[NumpyArray, " n"],
    columns: list[Float[NumpyArray, " n"]],
    indices: list[Int[NumpyArray, " n"]],
    total: int,
    project: Callable[[Float[NumpyArray, " n"]], Float[NumpyArray, " n"]],
) -> Float[NumpyArray, " M"]:
    """Return ``Zᵀ(I − QQᵀ)v``, v the sum over all levels of one column of a factor: by row, the ``column`` itself.

    Z is given by its ``columns`` by row and their ``indices``. Where the mean of v is large against its spread,
    projecting v by rows keeps the digits that a difference of products loses.
    """
    outside = project(column)
    if np.linalg.norm(outside) <= IN_BASES_SHARE_OF_LENGTH * np.linalg.norm(column):
        return np.zeros(total)
    outside = project(outside)
    sums = [np.bincount(index, v * outside, minlength=total) for v, index in zip(columns, indices, strict=True)]
    return np.sum(sums, axis=0)


def _reflections(
    tables: tuple[Int[NumpyArray, "B _l"], ...], widths: tuple[int, ...]
) -> tuple[tuple[Float[NumpyArray, "B _l _l"], ...], Int[NumpyArray, "B s"], Float[NumpyArray, "B s"]]:
    """Return Householder reflections, per grouping, that exchange the scaled sum over the levels with the last level.

    Also the results of :func:`sums_of_levels`.
    """
    reflections = []
    for table in tables:
        real = table < NO_LEVEL
        number = np.maximum(real.sum(axis=1), 1)
        each = np.arange(number.size)
        normal = real / np.sqrt(number)[:, None]
        normal[each, number - 1] -= 1.0
        length = np.sum(normal**2, axis=1)
        scaled = normal * np.where(length > 0, 2.0 / np.where(length > 0, length, 1.0), 0.0)[:, None]
        reflections.append(np.eye(table.shape[1]) - normal[:, :, None] * scaled[:, None, :])
    return (tuple(reflections), *sums_of_levels(tables, widths))


def sums_of_levels(
    tables: tuple[Int[NumpyArray, "B _l"], ...], widths: tuple[int, ...]
) -> tuple[Int[NumpyArray, "B s"], Float[NumpyArray, "B s"]]:
    """Return the reflected columns in which sums over all levels stand, and the factors of the sums, 1/√levels, there.

    ``tables`` are those of a group of B components; s is the number of columns of a level, summed over the groupings.
    """
    sum_columns, scales, offset = [], [], 0
    for table, width in zip(tables, widths, strict=True):
        number = np.maximum((table < NO_LEVEL).sum(axis=1), 1)
        sum_columns += [offset + (number - 1) * width + c for c in range(width)]
        scales += [1.0 / np.sqrt(number)] * width
        offset += table.shape[1] * width
    return np.stack(sum_columns, axis=1), np.stack(scales, axis=1)


def near_inverse(products: Float[Array, "B m m"], *, on_host: bool = False) -> Float[Array, "B m m"]:
    """Return inverses of positive semidefinite matrices with ``RELATIVE_RIDGE`` added; a column of zeros stays one.

    ``on_host`` with NumPy, else traced.
    """
    xp = np if on_host else jnp
    a = xp.asarray(products)
    length = xp.sqrt(xp.maximum(xp.diagonal(a, axis1=-2, axis2=-1), 0.0))
    scale = xp.where(length > 0, 1.0 / xp.where(length > 0, length, 1.0), 0.0)
    outer = scale[:, :, None] * scale[:, None, :]
    ridge = (RELATIVE_RIDGE + xp.where(scale > 0, 0.0, 1.0))[:, :, None] * xp.eye(a.shape[-1], dtype=a.dtype)[None]
    scaled = a * outer + ridge
    inverse = np.linalg.inv(scaled) if on_host else inverse_logdet(scaled)[0]
    return inverse * outer
