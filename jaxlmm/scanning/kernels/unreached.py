"""Orthogonal complement of fixed and random effects in the space of rows: differences between rows of a level.

Only the residual has variance there. It is computed exactly, from the rows of each level, not from eigenvectors of a
matrix: a marker or a response that is constant in a level would be zero in these but for the last digit, and such
digits are multiplied by any variance ratio.
"""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray

CONSTANT_IN_LEVELS = 1e-12
"""A fixed effect that varies in levels by no larger share of its length is constant in them."""


def unreached(
    fixed: Float[NumpyArray, "n p"], codes: Int[NumpyArray, " n"], z: Float[NumpyArray, " n"]
) -> Float[NumpyArray, "n u"]:
    """Return an orthonormal basis of the orthogonal complement of the fixed effects and of a term's columns.

    Parameters
    ----------
    fixed
        An orthonormal basis of the fixed effects.
    codes, z
        The level of each row, and the random effect's column.

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
    rows, columns, values, count = [], [], [], 0
    for level in np.flatnonzero((counts > 1) | (np.bincount(levels, z**2) == 0.0)):
        own = np.flatnonzero(levels == level)
        inside = _orthogonal_to(z[own])
        rows.append(np.repeat(own, inside.shape[1]))
        columns.append(count + np.tile(np.arange(inside.shape[1]), own.size))
        values.append(inside.ravel())
        count += inside.shape[1]
    if not count:
        return np.zeros((n, 0))
    indices = np.concatenate(rows), np.concatenate(columns)
    differences = scipy.sparse.csr_array((np.concatenate(values), indices), shape=(n, count))
    orthonormal, triangle, _ = scipy.linalg.qr(differences.T @ fixed, pivoting=True, check_finite=False)
    rank = int(np.sum(np.abs(np.diagonal(triangle)) > CONSTANT_IN_LEVELS))
    return np.asarray(differences @ orthonormal[:, rank:])


def _orthogonal_to(z: Float[NumpyArray, " l"]) -> Float[NumpyArray, "l _"]:
    """Return an orthonormal basis of the orthogonal complement of a vector, which may be zero, by a reflection."""
    length = np.linalg.norm(z)
    if length == 0.0:
        return np.eye(z.size)
    reflected = z / length
    reflected[0] += np.copysign(1.0, reflected[0])
    return np.asarray(np.eye(z.size) - np.outer(reflected, reflected) / abs(reflected[0]))[:, 1:]
