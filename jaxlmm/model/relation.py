"""A known covariance across the levels of a grouping factor, without its zeros."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from jaxlmm._struct import Struct
from jaxlmm._typing import Array, NumpyArray


class Relation(Struct):
    """A symmetric matrix (G, G) by compressed sparse rows: that of 28,000 people in families is never written out.

    ``starts`` (G + 1,) is where each row begins in ``columns`` and ``values`` (E,), which hold its entries in the
    order of the columns. It is read on the host alone: solvers take what they need when they are built.
    """

    starts: Array
    columns: Array
    values: Array

    @classmethod
    def of(cls, matrix: Any) -> Self:
        """Take a symmetric matrix, dense or a sparse one of SciPy.

        >>> Relation.of(np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])).components().tolist()
        [0, 0, 1]
        """
        from scipy.sparse import csr_array

        rows = csr_array(matrix, dtype=float)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        return cls(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data)

    @property
    def size(self) -> int:
        """The number of levels, G."""
        return int(np.shape(self.starts)[0]) - 1

    def sparse(self) -> Any:
        """Return the matrix as a ``scipy.sparse.csr_array``."""
        from scipy.sparse import csr_array

        parts = (np.asarray(self.values), np.asarray(self.columns), np.asarray(self.starts))
        return csr_array(parts, shape=(self.size, self.size))

    def dense(self) -> NumpyArray:
        """Return the whole matrix (G, G)."""
        return np.asarray(self.sparse().toarray())

    def diagonal(self) -> NumpyArray:
        """Return the diagonal (G,)."""
        return np.asarray(self.sparse().diagonal())

    def among(self, levels: NumpyArray) -> NumpyArray:
        """Return the matrix (l, l) of some ``levels`` (l,), which are in increasing order."""
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
        from scipy.sparse.csgraph import connected_components

        if np.diff(np.asarray(self.starts)).max(initial=0) == self.size:  # one covaries with all: no need to look
            return np.zeros(self.size, np.int32)
        return np.asarray(connected_components(self.sparse(), directed=False)[1])

    def blocks(self) -> list[NumpyArray]:
        """Return the levels of each component, in increasing order."""
        number = self.components()
        order = np.argsort(number, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
