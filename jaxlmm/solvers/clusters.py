"""Independent clusters of rows and their random effects, prepared and padded on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Int, Shaped

from jaxlmm._util import NumpyArray, bucket
from jaxlmm.linalg import MAX_SIZE_SWEPT
from jaxlmm.model import Design, Term, linked

MIN_RELATIVE_PIVOT = 1e-11
"""Largest pivot, of columns of Z scaled to length 1, that counts as rounding: its direction is not in their range."""

MIN_REGULAR_VARIANCE_SHARE = 1e-10
"""Smallest squared pivot of a known matrix, relative to its largest diagonal entry, at which it counts as regular."""

MIN_ROW_SHARE = 1e-6
"""Smallest entry of a term's column, relative to the largest in the cluster, that is not taken for rounding."""

MAX_ROWS_FOR_RANGE_BASIS = 500
"""In a larger cluster with at least as many effects as rows, no range is computed: the basis is the identity."""


class ClusterTerm(NamedTuple):
    """The part of one term's Z in one cluster: N rows, L levels and q columns (or positions) of each.

    ``columns`` maps effects to rows; ``levels`` are codes of the grouping factor. With a known matrix K across these
    levels, ``root rootᵀ = K`` and ``columns`` are those of Z times the root, so that effects are independent across
    levels. ``spans`` says that the columns are known to span all rows.
    """

    columns: Float[NumpyArray, "N L q"]
    levels: Int[NumpyArray, " L"]
    root: Float[NumpyArray, "L L"] | None
    spans: bool


class Cluster(NamedTuple):
    """Rows that covary, with an orthonormal ``basis`` of the space in which the covariance is not the identity.

    That is the range of their random effects' columns, or all rows (the identity): with a residual structure, or where
    the columns span the rows.
    """

    rows: Int[NumpyArray, " N"]
    basis: Float[NumpyArray, "N m"]
    terms: tuple[ClusterTerm, ...]


def clusters_of(design: Design) -> list[Int[NumpyArray, " _N"]]:
    """Return the row numbers of each independent cluster: the connected components of the covariance."""
    # The nodes of a graph: rows, then for each grouping factor its levels and the components of its known matrix.
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


def describe(design: Design, rows: Int[NumpyArray, " N"]) -> Cluster:
    """Return the cluster of ``rows`` with its terms and basis."""
    terms = tuple(_cluster_term(design, term, rows) for term in design.terms)
    flat = np.concatenate([np.zeros((rows.size, 0)), *(t.columns.reshape(rows.size, -1) for t in terms)], axis=1)
    spanned = flat.shape[1] >= rows.size > MAX_ROWS_FOR_RANGE_BASIS or any(term.spans for term in terms)
    if not design.residual_is_white or spanned:
        return Cluster(rows, np.eye(rows.size), terms)
    return Cluster(rows, _range(flat), terms)


def _cluster_term(design: Design, term: Term, rows: Int[NumpyArray, " N"]) -> ClusterTerm:
    """Return the part of a term in the cluster of ``rows``."""
    grouping = design.groupings[term.grouping]
    levels, local = np.unique(np.asarray(grouping.codes)[rows], return_inverse=True)
    columns = np.zeros((rows.size, levels.size, term.size))
    z, row = np.asarray(term.z)[rows], np.arange(rows.size)
    if term.positions is None:
        columns[row, local.reshape(-1)] = z
    else:
        columns[row, local.reshape(-1), np.asarray(term.positions)[rows]] = z[:, 0]
    if grouping.relation is None:
        return ClusterTerm(columns, levels, None, False)
    root, regular = _root(grouping.relation.among(levels))
    nonzero = np.abs(z[:, 0]).min() > MIN_ROW_SHARE * np.abs(z[:, 0]).max()
    spans = bool(regular and nonzero and levels.size == rows.size)
    return ClusterTerm(np.moveaxis(np.moveaxis(columns, 2, 0) @ root, 0, 2), levels, root, spans)


def _root(matrix: Float[NumpyArray, "l l"]) -> tuple[Float[NumpyArray, "l l"], bool]:
    """Return a root of a covariance matrix, and whether the matrix is far from singular.

    A nearly singular one is factored with pivoting, down to the first pivot that is rounding (Higham 1990, "Analysis of
    the Cholesky decomposition of a semi-definite matrix"). If that does not give the matrix back, because it came with
    errors larger than those of double precision, its root is that of its eigenvectors, at twenty times the price.
    """
    try:
        root = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        root = np.zeros_like(matrix)
    largest = np.diagonal(matrix).max()
    if np.diagonal(root).min() ** 2 > MIN_REGULAR_VARIANCE_SHARE * largest:
        return root, True
    rounding = len(matrix) * np.finfo(float).eps * largest
    factor, pivots, rank, _ = scipy.linalg.lapack.dpstrf(matrix, lower=1, tol=rounding)
    lower = np.tril(factor)
    lower[:, rank:] = 0.0
    root[pivots - 1] = lower
    if np.abs(root @ root.T - matrix).max() <= 4.0 * rounding:
        return root, False
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(not_rounding(values))), False


def not_rounding(values: Float[NumpyArray, " l"]) -> Float[NumpyArray, " l"]:
    """Return the eigenvalues of a covariance matrix, exactly zero where they are rounding.

    The eigenvalues of a symmetric matrix are found with errors of the order of ``l ε`` times the largest. What is
    smaller may be zero, and is taken to be: times a large variance ratio, a rounding error would become a variance.
    """
    tolerance = values.size * np.finfo(float).eps * max(float(values.max(initial=0.0)), 0.0)
    return np.where(values > tolerance, values, 0.0)


def _range(columns: Float[NumpyArray, "N c"]) -> Float[NumpyArray, "N m"]:
    """Return an orthonormal basis of the columns' range, of dimension m."""
    length = np.linalg.norm(columns, axis=0)
    basis, triangle, _ = scipy.linalg.qr(columns[:, length > 0] / length[length > 0], mode="economic", pivoting=True)
    rank = int(np.count_nonzero(np.abs(np.diag(triangle)) > MIN_RELATIVE_PIVOT))
    return basis[:, :rank]


def grouped(clusters: list[Cluster]) -> list[list[Cluster]]:
    """Group clusters whose bases are of similar size and whose rows are of comparable number, the largest first."""
    widths = np.array([cluster.basis.shape[1] for cluster in clusters])
    rows = np.array([cluster.rows.size for cluster in clusters])
    groups = []
    for group in similar(widths, 0.6, 8):
        groups += [[clusters[index] for index in group[part]] for part in similar(rows[group], 0.25, MAX_SIZE_SWEPT)]
    return groups


def similar(sizes: Int[NumpyArray, " c"], share: float, small: int) -> list[Int[NumpyArray, " _g"]]:
    """Return groups of indices of similar ``sizes``, the largest first.

    A group takes all sizes above ``share`` of the largest that is left, or, if that is at most ``small``, all that are
    left.
    """
    sizes = np.array([rounded(int(size)) for size in sizes])
    ungrouped, groups = np.ones(sizes.size, bool), []
    while ungrouped.any():
        largest = sizes[ungrouped].max()
        chosen = ungrouped & ((sizes > share * largest) | (largest <= small))
        groups.append(np.flatnonzero(chosen))
        ungrouped &= ~chosen
    return groups


def rounded(size: int) -> int:
    """Return a padded matrix size: 4, multiples of 8 up to 64, then multiples of 32.

    >>> [rounded(size) for size in (1, 5, 33, 65)]
    [4, 8, 40, 96]
    """
    if size <= 4:
        return 4
    step = 8 if size <= 2 * MAX_SIZE_SWEPT else MAX_SIZE_SWEPT
    return -(-size // step) * step


def padded_count(count: int, size: int) -> int:
    """Return a padded number of clusters of ``size``: the larger they are, the less padding is worth.

    >>> [padded_count(300, size) for size in (8, 32, 64)]
    [1024, 320, 300]
    """
    if size > MAX_SIZE_SWEPT:
        return count
    if size <= 8 or count <= 16:
        return bucket(count, 16)
    step = 1 << (count.bit_length() - 3)
    return -(-count // step) * step


def stacked(
    arrays: list[Shaped[NumpyArray, " ..."]], count: int, shape: tuple[int, ...], fill: float = 0.0
) -> Shaped[NumpyArray, " {count} ..."]:
    """Stack arrays padded with ``fill`` to one ``shape``, and pad their number to ``count``."""
    result = np.full((count, *shape), fill, dtype=arrays[0].dtype)
    for index, array in enumerate(arrays):
        result[index][tuple(slice(0, size) for size in array.shape)] = array
    return result
