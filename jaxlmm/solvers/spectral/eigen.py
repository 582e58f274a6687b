"""The eigendecomposition ``D K D = U S Uᵀ`` of the known matrix K, D the lengths of the columns of Z: on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, bucket
from jaxlmm.linalg import MAX_SIZE_SWEPT
from jaxlmm.model import Design, Relation
from jaxlmm.solvers.clusters import not_rounding, rounded, similar, stacked

FAINT_SHARE_OF_LENGTH = 1e-6
"""A level whose rows have less than this part of the length of another's learns its effect from relatives alone."""

MAX_FINELY_PADDED_SIZE = 256
"""Larger clusters are padded to four sizes per doubling."""


class EigenBatch(Struct):
    """B clusters of l levels, padded, whose effects covary among themselves alone.

    ``levels`` are level numbers, past the last where padded; ``rows`` the one row of each, past the last where padded,
    or None where a level may have several. With D the lengths of the levels' columns, ``D K D = U S Uᵀ``: ``vectors``
    U, ``values`` S, exactly zero where K has no rank; ``inverse_lengths`` D⁻¹.

    ``others`` are k levels whose effect is known from relatives' rows: with ``loadings`` C it is C times independent
    effects of unit variance on the eigenvectors, and an independent part of variance ``free``.
    """

    levels: Int[Array, "B l"]
    rows: Int[Array, "B l"] | None
    vectors: Float[Array, "B l l"]
    values: Float[Array, "B l"]
    inverse_lengths: Float[Array, "B l"]
    others: Int[Array, "B k"]
    loadings: Float[Array, "B k l"]
    free: Float[Array, "B k"]


class _Cluster(NamedTuple):
    """One cluster, without padding; names as in :class:`EigenBatch`."""

    levels: Int[NumpyArray, " l"]
    vectors: Float[NumpyArray, "l l"]
    values: Float[NumpyArray, " l"]
    inverse_lengths: Float[NumpyArray, " l"]
    others: Int[NumpyArray, " k"]
    loadings: Float[NumpyArray, "k l"]
    free: Float[NumpyArray, " k"]


def eigen_batches(
    design: Design, lengths: Float[NumpyArray, " G"], level_rows: Int[NumpyArray, " G"] | None
) -> tuple[EigenBatch, ...]:
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
        _batch([clusters[index] for index in group], design.n_padded, level_rows) for group in similar(sizes, 0.6, 8)
    )


def _decomposed(relation: Relation, levels: Int[NumpyArray, " _l"], lengths: Float[NumpyArray, " G"]) -> _Cluster:
    """Decompose K of one cluster of levels; those without a row, or nearly, become its ``others``."""
    block = relation.among(levels)
    length = lengths[levels]
    seen = length > 0
    d = length[seen]
    scaled = block if d.size == length.size else block[np.ix_(seen, seen)]
    raw, vectors = np.linalg.eigh(scaled * d[:, None] * d[None, :])
    values = not_rounding(raw)
    faint = np.flatnonzero(length <= FAINT_SHARE_OF_LENGTH * length.max(initial=0.0))
    root = np.sqrt(values)
    inverse_root = np.divide(1.0, root, where=root > 0, out=np.zeros_like(root))
    loadings = (block[np.ix_(faint, seen)] * d) @ vectors * inverse_root
    free = np.maximum(np.diagonal(block)[faint] - np.sum(loadings**2, axis=1), 0.0)
    return _Cluster(levels[seen], vectors, values, 1.0 / d, levels[faint], loadings, free)


def _batch(clusters: list[_Cluster], beyond: int, level_rows: Int[NumpyArray, " G"] | None) -> EigenBatch:
    """Pad clusters to one size; ``beyond`` is the number of a level or row that does not exist."""
    size = _padded(max(cluster.levels.size for cluster in clusters))
    k = max(cluster.others.size for cluster in clusters)
    count = bucket(len(clusters), 16) if size <= MAX_SIZE_SWEPT and len(clusters) > 1 else len(clusters)
    k = rounded(k) if k else 0

    def stack(arrays: list[NumpyArray], *shape: int, fill: float = 0.0) -> NumpyArray:
        return stacked(arrays, count, shape, fill)

    rows = None
    if level_rows is not None:
        rows = stack([level_rows[c.levels].astype(np.int32) for c in clusters], size, fill=beyond)
    if len(clusters) == 1 and clusters[0].levels.size == size:
        vectors = clusters[0].vectors[None]
    else:
        vectors = stack([c.vectors for c in clusters], size, size)
    return EigenBatch(
        stack([c.levels.astype(np.int32) for c in clusters], size, fill=beyond),
        rows,
        vectors,
        stack([c.values for c in clusters], size),
        stack([c.inverse_lengths for c in clusters], size),
        stack([c.others.astype(np.int32) for c in clusters], k, fill=beyond),
        stack([c.loadings for c in clusters], k, size),
        stack([c.free for c in clusters], k),
    )


def _padded(size: int) -> int:
    if size <= MAX_FINELY_PADDED_SIZE:
        return rounded(max(size, 1))
    step = 1 << (size.bit_length() - 3)
    return -(-size // step) * step


def trimmed(batch: EigenBatch, beyond: int) -> EigenBatch:
    """Return a batch without padding."""
    seen, unseen = (np.asarray(levels) < beyond for levels in (batch.levels, batch.others))
    clusters = seen.any(axis=1) | unseen.any(axis=1)  # one without a seen level may stand before others
    b = int(np.flatnonzero(clusters).max(initial=-1)) + 1
    size, k = (int(part.sum(axis=1).max(initial=0)) for part in (seen, unseen))
    return EigenBatch(
        batch.levels[:b, :size],
        None if batch.rows is None else batch.rows[:b, :size],
        np.ascontiguousarray(batch.vectors[:b, :size, :size]),
        batch.values[:b, :size],
        batch.inverse_lengths[:b, :size],
        batch.others[:b, :k],
        batch.loadings[:b, :k, :size],
        batch.free[:b, :k],
    )
