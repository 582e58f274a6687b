"""A known covariance across the levels of a grouping factor, dense or sparse."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct
from jaxlmm.model.graph import connected

MAX_SPARSE_DENSITY = 0.25
"""Share of nonzero entries above which a matrix is stored dense, without a column number for each entry."""


class Relation(Struct):
    """A symmetric (L, L) matrix, stored without its zeros: one of 28,000 people in families is never formed densely.

    In compressed sparse rows, ``starts`` (L + 1,) is where each row begins in ``columns`` and ``values``, which hold
    its E entries in the order of the columns. A matrix with few zeros is ``values`` (L, L), and the other two are None.
    It is read on the host alone, and not written to: solvers take what they need when they are built.
    """

    starts: Int[Array, " _"] | None
    columns: Int[Array, " E"] | None
    values: Float[Array, " E"] | Float[Array, "L L"]

    @classmethod
    def of(cls, matrix: Any) -> Self:
        """Return the relation of a symmetric matrix, dense or a sparse one of SciPy.

        >>> Relation.of(np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])).components().tolist()
        [0, 0, 1]
        """
        count = matrix.count_nonzero() if scipy.sparse.issparse(matrix) else np.count_nonzero(matrix)
        if count > MAX_SPARSE_DENSITY * matrix.shape[0] ** 2:
            return cls(None, None, np.asarray(matrix.toarray() if scipy.sparse.issparse(matrix) else matrix, float))
        rows = scipy.sparse.csr_array(matrix, dtype=float)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        return cls(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data)

    @property
    def size(self) -> int:
        """The number of levels, L."""
        return int(np.shape(self.values)[0] if self.starts is None else np.shape(self.starts)[0] - 1)

    def sparse(self) -> Any:
        """Return the matrix as a ``scipy.sparse.csr_array``."""
        if self.starts is None:
            return scipy.sparse.csr_array(np.asarray(self.values))
        parts = (np.asarray(self.values), np.asarray(self.columns), np.asarray(self.starts))
        return scipy.sparse.csr_array(parts, shape=(self.size, self.size))

    def dense(self) -> Float[NumpyArray, "L L"]:
        """Return the dense matrix; it may be the one that is stored."""
        return np.asarray(self.values) if self.starts is None else np.asarray(self.sparse().toarray())

    def diagonal(self) -> Float[NumpyArray, " L"]:
        """Return the diagonal."""
        return np.asarray(np.diagonal(np.asarray(self.values)) if self.starts is None else self.sparse().diagonal())

    def among(self, levels: Int[NumpyArray, " l"]) -> Float[NumpyArray, "l l"]:
        """Return the submatrix of some ``levels``, which are in increasing order."""
        if self.starts is None:
            values = np.asarray(self.values)
            return values if levels.size == self.size else values[np.ix_(levels, levels)]
        starts, matrix = np.asarray(self.starts), np.zeros((levels.size, levels.size))
        counts = starts[levels + 1] - starts[levels]
        first = np.cumsum(counts) - counts
        entries = np.arange(counts.sum()) + np.repeat(starts[levels] - first, counts)
        columns = np.asarray(self.columns)[entries]
        local = np.minimum(np.searchsorted(levels, columns), max(levels.size - 1, 0))
        inside = levels[local] == columns
        rows = np.repeat(np.arange(levels.size), counts)
        matrix[rows[inside], local[inside]] = np.asarray(self.values)[entries[inside]]
        return matrix

    def components(self) -> Int[NumpyArray, " L"]:
        """Return the component of each level: levels that covary, directly or through others, share a number."""
        return connected(np.asarray(self.values) if self.starts is None else self.sparse())

    def blocks(self) -> list[Int[NumpyArray, " _"]]:
        """Return the levels of each component, in increasing order."""
        number = self.components()
        order = np.argsort(number, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
