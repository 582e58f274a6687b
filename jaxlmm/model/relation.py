"""A known covariance across the levels of a grouping factor, without its zeros where they are many."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from jaxlmm._util import Array, NumpyArray, Struct
from jaxlmm.model.graph import connected

FILLED = 0.25
"""A matrix with a larger part of its entries other than zero is kept whole: each entry then needs no column number."""


class Relation(Struct):
    """A symmetric matrix (G, G): that of 28,000 people in families is never written out.

    By compressed sparse rows, ``starts`` (G + 1,) is where each row begins in ``columns`` and ``values`` (E,), which
    hold its entries in the order of the columns. A matrix with few zeros is ``values`` (G, G), and the other two are
    None. It is read on the host alone, and not written to: solvers take what they need when they are built.
    """

    starts: Array | None
    columns: Array | None
    values: Array

    @classmethod
    def of(cls, matrix: Any) -> Self:
        """Take a symmetric matrix, dense or a sparse one of SciPy.

        >>> Relation.of(np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])).components().tolist()
        [0, 0, 1]
        """
        from scipy.sparse import csr_array, issparse

        count = matrix.count_nonzero() if issparse(matrix) else np.count_nonzero(matrix)
        if count > FILLED * matrix.shape[0] ** 2:
            return cls(None, None, np.asarray(matrix.toarray() if issparse(matrix) else matrix, float))
        rows = csr_array(matrix, dtype=float)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        return cls(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data)

    @property
    def size(self) -> int:
        """The number of levels, G."""
        return int(np.shape(self.values)[0] if self.starts is None else np.shape(self.starts)[0] - 1)

    def sparse(self) -> Any:
        """Return the matrix as a ``scipy.sparse.csr_array``."""
        from scipy.sparse import csr_array

        if self.starts is None:
            return csr_array(np.asarray(self.values))
        parts = (np.asarray(self.values), np.asarray(self.columns), np.asarray(self.starts))
        return csr_array(parts, shape=(self.size, self.size))

    def dense(self) -> NumpyArray:
        """Return the whole matrix (G, G); it may be the one that is kept."""
        return np.asarray(self.values) if self.starts is None else np.asarray(self.sparse().toarray())

    def diagonal(self) -> NumpyArray:
        """Return the diagonal (G,)."""
        return np.asarray(np.diagonal(np.asarray(self.values)) if self.starts is None else self.sparse().diagonal())

    def among(self, levels: NumpyArray) -> NumpyArray:
        """Return the matrix (l, l) of some ``levels`` (l,), which are in increasing order."""
        if self.starts is None:
            values = np.asarray(self.values)
            return values if levels.size == self.size else values[np.ix_(levels, levels)]
        starts, found = np.asarray(self.starts), np.zeros((levels.size, levels.size))
        counts = starts[levels + 1] - starts[levels]
        first = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(starts[levels] - first, counts)
        columns = np.asarray(self.columns)[places]
        local = np.minimum(np.searchsorted(levels, columns), max(levels.size - 1, 0))
        inside = levels[local] == columns
        rows = np.repeat(np.arange(levels.size), counts)
        found[rows[inside], local[inside]] = np.asarray(self.values)[places[inside]]
        return found

    def components(self) -> NumpyArray:
        """Return a number (G,) for each level: levels that covary, directly or through others, have the same."""
        return connected(np.asarray(self.values) if self.starts is None else self.sparse())

    def blocks(self) -> list[NumpyArray]:
        """Return the levels of each component, in increasing order."""
        number = self.components()
        order = np.argsort(number, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
