"""Directions of the rows that neither fixed effects nor the random effects of one term reach: differences in a level.

There only the residual is seen. They are found exactly, from the rows of each level, not as eigenvectors of a matrix:
what is the same in all rows of a level, a marker or a response that stands twice, is zero in them but for the last
digit, and such digits are multiplied by any variance ratio.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from jaxlmm._util import NumpyArray

IN_LEVELS = 1e-12
"""A fixed effect that varies by no more than this in levels, relative to its length, is constant in them."""


def unreached(fixed: NumpyArray, codes: NumpyArray, z: NumpyArray) -> NumpyArray:
    """Return an orthonormal basis (n, w) of what neither columns nor levels reach.

    Parameters
    ----------
    fixed
        ``(n, p)`` an orthonormal basis of the fixed effects.
    codes, z
        ``(n,)`` the level of each row, and the random effect's column.

    Examples
    --------
    >>> constant = np.full((3, 1), 3.0**-0.5)
    >>> unreached(constant, np.array([0, 1, 1]), np.ones(3)).T.round(4).tolist()
    [[0.0, -0.7071, 0.7071]]
    >>> unreached(constant, np.arange(3), np.ones(3)).shape
    (3, 0)
    """
    n = len(fixed)
    _, levels, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rows, columns, values, w = [], [], [], 0
    for level in np.flatnonzero((counts > 1) | (np.bincount(levels, z**2) == 0.0)):
        own = np.flatnonzero(levels == level)
        inside = _orthogonal_to(z[own])
        rows.append(np.repeat(own, inside.shape[1]))
        columns.append(w + np.tile(np.arange(inside.shape[1]), own.size))
        values.append(inside.ravel())
        w += inside.shape[1]
    if not w:
        return np.zeros((n, 0))
    places = np.concatenate(rows), np.concatenate(columns)
    differences = sparse.csr_array((np.concatenate(values), places), shape=(n, w))
    seen = differences.T @ fixed
    orthonormal, triangle, _ = linalg.qr(seen, pivoting=True, check_finite=False)
    rank = int(np.sum(np.abs(np.diagonal(triangle)) > IN_LEVELS))
    return np.asarray(differences @ orthonormal[:, rank:])


def _orthogonal_to(z: NumpyArray) -> NumpyArray:
    """Return an orthonormal basis (r, ·) of what is orthogonal to a vector (r,), which may be zero."""
    length = np.linalg.norm(z)
    if length == 0.0:
        return np.eye(z.size)
    reflected = z / length
    reflected[0] += np.copysign(1.0, reflected[0])
    return np.asarray(np.eye(z.size) - np.outer(reflected, reflected) / abs(reflected[0]))[:, 1:]
