"""Independent clusters of rows, found and padded on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxlmm._util import NumpyArray, bucket
from jaxlmm.linalg import BLOCK
from jaxlmm.model import Design, Term, linked

RANK_TOLERANCE = 1e-11
"""A direction of the random effects' columns, each scaled to length 1, with a smaller pivot does not exist."""

NEARLY_SINGULAR = 1e-10
"""Of the largest variance, a smaller one given the others may be rounding."""

SMALL_ROW = 1e-6
"""A row that a term moves less than this part of another may be rounding."""

LARGE = 500
"""In a larger cluster with as many effects as rows, the basis is taken to be that of the rows."""


class ClusterTerm(NamedTuple):
    """What one term does in one cluster.

    ``columns`` (N, L, q) maps its independent effects to rows; ``levels`` (L,) are the levels they belong to; with a
    known matrix across levels, ``root`` (L, L) times its transpose is that matrix and is part of ``columns``. ``spans``
    says that they are known to move every row on its own.
    """

    columns: NumpyArray
    levels: NumpyArray
    root: NumpyArray | None
    spans: bool


class Cluster(NamedTuple):
    """Rows that covary: ``rows`` (N,), an orthonormal ``basis`` (N, m) of what random effects can do to them."""

    rows: NumpyArray
    basis: NumpyArray
    terms: tuple[ClusterTerm, ...]


def clusters_of(design: Design) -> list[NumpyArray]:
    """Return the row numbers of each independent cluster: the connected components of the covariance."""
    n, nodes = int(design.n), int(design.n)
    starts, ends = [np.zeros(0, int)], [np.zeros(0, int)]
    for grouping in design.groupings:
        starts.append(np.arange(n))
        ends.append(np.asarray(grouping.codes)[:n] + nodes)
        if grouping.relation is not None:
            block = grouping.relation.components()
            starts.append(np.arange(block.size) + nodes)
            ends.append(block + nodes + block.size)
            nodes += int(block.max(initial=-1)) + 1
        nodes += int(grouping.n_levels)
    label = linked(nodes, np.concatenate(starts), np.concatenate(ends))
    order = np.argsort(label[:n], kind="stable")
    edges = np.flatnonzero(np.diff(label[:n][order])) + 1
    return np.split(order, edges)


def describe(design: Design, rows: NumpyArray) -> Cluster:
    """Work out one cluster of ``rows``."""
    terms = tuple(_cluster_term(design, term, rows) for term in design.terms)
    flat = np.concatenate([np.zeros((rows.size, 0)), *(t.columns.reshape(rows.size, -1) for t in terms)], axis=1)
    at_once = flat.shape[1] >= rows.size > LARGE or any(term.spans for term in terms)
    if design.residual is not None or at_once:
        return Cluster(rows, np.eye(rows.size), terms)
    return Cluster(rows, _range(flat), terms)


def _cluster_term(design: Design, term: Term, rows: NumpyArray) -> ClusterTerm:
    grouping = design.groupings[term.grouping]
    levels, local = np.unique(np.asarray(grouping.codes)[rows], return_inverse=True)
    columns = np.zeros((rows.size, levels.size, term.size))
    z, place = np.asarray(term.z)[rows], np.arange(rows.size)
    if term.positions is None:
        columns[place, local.reshape(-1)] = z
    else:
        columns[place, local.reshape(-1), np.asarray(term.positions)[rows]] = z[:, 0]
    if grouping.relation is None:
        return ClusterTerm(columns, levels, None, False)
    root, regular = _root(grouping.relation.among(levels))
    own = np.abs(z[:, 0]).min() > SMALL_ROW * np.abs(z[:, 0]).max()
    spans = bool(regular and own and levels.size == rows.size)
    return ClusterTerm(np.moveaxis(np.moveaxis(columns, 2, 0) @ root, 0, 2), levels, root, spans)


def _root(matrix: NumpyArray) -> tuple[NumpyArray, bool]:
    """Return a root (l, l) of a covariance matrix, and whether it is far from singular.

    A nearly singular one is factored with pivots, which end where they are rounding (Higham 1990, "Analysis of the
    Cholesky decomposition of a semi-definite matrix"). If that is not exact, because the matrix is semidefinite but
    for rounding larger than its own arithmetic's, the root is that of its eigenvectors, at twenty times the price.
    """
    from scipy.linalg.lapack import dpstrf

    try:
        root = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        root = np.zeros_like(matrix)
    largest = np.diagonal(matrix).max()
    if np.diagonal(root).min() ** 2 > NEARLY_SINGULAR * largest:
        return root, True
    rounding = len(matrix) * np.finfo(float).eps * largest
    factor, pivots, rank, _ = dpstrf(matrix, lower=1, tol=rounding)
    lower = np.tril(factor)
    lower[:, rank:] = 0.0
    root[pivots - 1] = lower
    if np.abs(root @ root.T - matrix).max() <= 4.0 * rounding:
        return root, False
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(not_rounding(values))), False


def not_rounding(values: NumpyArray) -> NumpyArray:
    """Return the eigenvalues (l,) of a covariance matrix, exactly zero where they are rounding.

    The eigenvalues of a symmetric matrix are found with errors of the order of ``l ε`` times the largest: what is
    smaller may be zero, and is taken to be: at a large variance ratio a rounding error would be a variance.
    """
    tolerance = values.size * np.finfo(float).eps * max(float(values.max(initial=0.0)), 0.0)
    return np.where(values > tolerance, values, 0.0)


def _range(columns: NumpyArray) -> NumpyArray:
    """Return an orthonormal basis (N, m) of the columns' range."""
    from scipy.linalg import qr

    length = np.linalg.norm(columns, axis=0)
    basis, triangle, _ = qr(columns[:, length > 0] / length[length > 0], mode="economic", pivoting=True)
    rank = int(np.count_nonzero(np.abs(np.diag(triangle)) > RANK_TOLERANCE))
    return basis[:, :rank]


def batched(clusters: list[Cluster]) -> list[list[Cluster]]:
    """Group clusters whose bases are of similar size and whose rows are of comparable number, the largest first."""
    widths = np.array([cluster.basis.shape[1] for cluster in clusters])
    rows = np.array([cluster.rows.size for cluster in clusters])
    batches = []
    for group in similar(widths, 0.6, 8):
        batches += [[clusters[place] for place in group[part]] for part in similar(rows[group], 0.25, BLOCK)]
    return batches


def similar(sizes: NumpyArray, share: float, small: int) -> list[NumpyArray]:
    """Split places by size (c,): together are sizes above ``share`` of the largest left, or all up to ``small``."""
    sizes = np.array([rounded(int(size)) for size in sizes])
    left, found = np.ones(sizes.size, bool), []
    while left.any():
        largest = sizes[left].max()
        chosen = left & ((sizes > share * largest) | (largest <= small))
        found.append(np.flatnonzero(chosen))
        left &= ~chosen
    return found


def rounded(size: int) -> int:
    """Return a padded matrix size: 4, multiples of 8 up to twice a block, then multiples of 32.

    >>> [rounded(size) for size in (1, 5, 33, 65)]
    [4, 8, 40, 96]
    """
    if size <= 4:
        return 4
    step = 8 if size <= 2 * BLOCK else BLOCK
    return -(-size // step) * step


def padded_count(count: int, size: int) -> int:
    """Return a padded number of clusters of ``size``: the larger they are, the less padding is worth.

    >>> [padded_count(300, size) for size in (8, 32, 64)]
    [1024, 320, 300]
    """
    if size > BLOCK:
        return count
    if size <= 8 or count <= 16:
        return bucket(count, 16)
    step = 1 << (count.bit_length() - 3)
    return -(-count // step) * step


def stacked(arrays: list[NumpyArray], count: int, shape: tuple[int, ...], fill: float = 0.0) -> NumpyArray:
    """Pad arrays to one ``shape`` and stack them, with ``count`` places."""
    result = np.full((count, *shape), fill, dtype=arrays[0].dtype)
    for place, array in enumerate(arrays):
        result[place][tuple(slice(0, size) for size in array.shape)] = array
    return result
