"""Connected components of graphs, such as levels that covary."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from jaxtyping import Int

from jaxlmm._util import NumpyArray


def connected(matrix: Any) -> Int[NumpyArray, " n"]:
    """Return the component of each node of a graph, numbered from 0 in order of occurrence.

    ``matrix`` (n, n) is an array, symmetric, or a sparse one of SciPy; two nodes are joined where an entry is not zero.

    >>> connected(np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]])).tolist()
    [0, 1, 0]
    """
    if scipy.sparse.issparse(matrix):
        label = scipy.sparse.csgraph.connected_components(matrix, directed=False)[1]
        _, first_nodes, number = np.unique(label, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first_nodes))[number]
    component, count, first = np.full(len(matrix), -1), 0, 0
    while first < len(matrix):  # each row is read once, when it is reached, and none when all have been
        reached = np.array([first])
        while reached.size:
            component[reached] = count
            left = np.flatnonzero(component < 0)
            reached = left[np.any(matrix[reached][:, left] != 0, axis=0)] if left.size else left
        count += 1
        later = np.flatnonzero(component < 0)
        first = int(later[0]) if later.size else len(matrix)
    return component


def linked(count: int, one: Int[NumpyArray, " e"], two: Int[NumpyArray, " e"]) -> Int[NumpyArray, " n"]:
    """Return the component of each of ``count`` nodes, given the ends ``one`` and ``two`` of the graph's edges.

    >>> linked(4, np.array([0, 3]), np.array([2, 2])).tolist()
    [0, 1, 0, 0]
    """
    return connected(scipy.sparse.coo_array((np.ones(one.size, np.int8), (one, two)), shape=(count, count)))
