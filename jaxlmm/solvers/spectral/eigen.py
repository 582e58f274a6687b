"""The eigendecomposition ``D K D = U S Uᵀ`` of the known matrix K, D the lengths of the columns of Z: on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, bucket
from jaxlmm.linalg import MAX_SIZE_SWEPT, eigh
from jaxlmm.model import Design, Relation
from jaxlmm.solvers.clusters import not_rounding, rounded, similar, stacked

FAINT_SHARE_OF_LENGTH = 1e-6
"""A level whose rows have less than this part of the length of another's learns its effect from relatives alone."""

MAX_FINELY_PADDED_SIZE = 256
"""Larger clusters are padded to four sizes per doubling."""


class ClusterGroup(Struct):
    """A group of B clusters of levels, padded to l levels each; the effects of a cluster covary among themselves alone.

    ``levels`` are level numbers, ``padding_index`` where padded; ``rows`` the one row of each, likewise padded, or None
    where a level may have several. With D the lengths of the levels' columns, ``D K D = U S Uᵀ``: ``vectors``
    U, ``values`` S, exactly zero where K has no rank; ``inverse_lengths`` D⁻¹.

    ``levels_from_relatives`` are k levels without rows, or almost, whose effect is known from relatives' rows: with
    ``loadings`` C it is C times independent effects of unit variance on the eigenvectors, and an independent part of
    variance ``free``.
    """

    levels: Int[Array, "B l"]
    rows: Int[Array, "B l"] | None
    vectors: Float[Array, "B l l"]
    values: Float[Array, "B l"]
    inverse_lengths: Float[Array, "B l"]
    levels_from_relatives: Int[Array, "B k"]
    loadings: Float[Array, "B k l"]
    free: Float[Array, "B k"]


class _Cluster(NamedTuple):
    """One cluster, without padding; names as in :class:`ClusterGroup`."""

    levels: Int[NumpyArray, " l"]
    vectors: Float[NumpyArray, "l l"]
    values: Float[NumpyArray, " l"]
    inverse_lengths: Float[NumpyArray, " l"]
    levels_from_relatives: Int[NumpyArray, " k"]
    loadings: Float[NumpyArray, "k l"]
    free: Float[NumpyArray, " k"]


def cluster_groups(
    design: Design, lengths: Float[NumpyArray, " G"], level_rows: Int[NumpyArray, " G"] | None
) -> tuple[ClusterGroup, ...]:
    """Decompose the design's only known matrix, cluster by cluster.

    Parameters
    ----------
    design
        With one term of one column.
    lengths
        The length of each level's column of Z.
    level_rows
        The row of each level if it is one each.
    """
    relation = design.groupings[design.terms[0].grouping].relation
    assert relation is not None
    clusters = [_decomposed(relation, levels, lengths) for levels in relation.blocks()]
    sizes = np.array([cluster.levels.size for cluster in clusters])
    return tuple(
        _stacked([clusters[index] for index in group], design.n_padded, level_rows) for group in similar(sizes, 0.6, 8)
    )


def _decomposed(relation: Relation, levels: Int[NumpyArray, " _l"], lengths: Float[NumpyArray, " G"]) -> _Cluster:
    """Decompose K of one cluster of levels; those without a row, or nearly, are known from relatives."""
    block = relation.among(levels)
    length = lengths[levels]
    seen = length > 0
    d = length[seen]
    scaled = block if d.size == length.size else block[np.ix_(seen, seen)]
    raw, vectors = eigh(scaled * d[:, None] * d[None, :])
    values = not_rounding(raw)
    faint = np.flatnonzero(length <= FAINT_SHARE_OF_LENGTH * length.max(initial=0.0))
    root = np.sqrt(values)
    inverse_root = np.divide(1.0, root, where=root > 0, out=np.zeros_like(root))
    loadings = (block[np.ix_(faint, seen)] * d) @ vectors * inverse_root
    free = np.maximum(np.diagonal(block)[faint] - np.sum(loadings**2, axis=1), 0.0)
    return _Cluster(levels[seen], vectors, values, 1.0 / d, levels[faint], loadings, free)


def _stacked(clusters: list[_Cluster], padding_index: int, level_rows: Int[NumpyArray, " G"] | None) -> ClusterGroup:
    """Pad clusters to one size and stack them; ``padding_index`` is past every level and row."""
    size = _padded(max(cluster.levels.size for cluster in clusters))
    k = max(cluster.levels_from_relatives.size for cluster in clusters)
    count = bucket(len(clusters), 16) if size <= MAX_SIZE_SWEPT and len(clusters) > 1 else len(clusters)
    k = rounded(k) if k else 0

    def stack(arrays: list[NumpyArray], *shape: int, fill: float = 0.0) -> NumpyArray:
        return stacked(arrays, count, shape, fill)

    rows = None
    if level_rows is not None:
        rows = stack([level_rows[c.levels].astype(np.int32) for c in clusters], size, fill=padding_index)
    if len(clusters) == 1 and clusters[0].levels.size == size:
        vectors = clusters[0].vectors[None]
    else:
        vectors = stack([c.vectors for c in clusters], size, size)
    return ClusterGroup(
        stack([c.levels.astype(np.int32) for c in clusters], size, fill=padding_index),
        rows,
        vectors,
        stack([c.values for c in clusters], size),
        stack([c.inverse_lengths for c in clusters], size),
        stack([c.levels_from_relatives.astype(np.int32) for c in clusters], k, fill=padding_index),
        stack([c.loadings for c in clusters], k, size),
        stack([c.free for c in clusters], k),
    )


def _padded(size: int) -> int:
    if size <= MAX_FINELY_PADDED_SIZE:
        return rounded(max(size, 1))
    step = 1 << (size.bit_length() - 3)
    return -(-size // step) * step


def trimmed(group: ClusterGroup, padding_index: int) -> ClusterGroup:
    """Return a group without padding."""
    seen, unseen = (np.asarray(levels) < padding_index for levels in (group.levels, group.levels_from_relatives))
    clusters = seen.any(axis=1) | unseen.any(axis=1)  # one with no seen level may stand before one with
    b = int(np.flatnonzero(clusters).max(initial=-1)) + 1
    size, k = (int(part.sum(axis=1).max(initial=0)) for part in (seen, unseen))
    return ClusterGroup(
        group.levels[:b, :size],
        None if group.rows is None else group.rows[:b, :size],
        np.ascontiguousarray(group.vectors[:b, :size, :size]),
        group.values[:b, :size],
        group.inverse_lengths[:b, :size],
        group.levels_from_relatives[:b, :k],
        group.loadings[:b, :k, :size],
        group.free[:b, :k],
    )
