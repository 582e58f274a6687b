"""A QR decomposition of a random-effect model matrix, level by level."""

from __future__ import annotations

import numpy as np

from jaxlmm._util import NumpyArray


def level_qr(z: NumpyArray, codes: NumpyArray, levels: int) -> tuple[NumpyArray, NumpyArray]:
    """Return a rank-revealing QR of the rows of each level, for all levels at once.

    Gram-Schmidt with reorthogonalization. A column that depends on earlier ones within a level gets a zero row in
    that level's triangle.

    Parameters
    ----------
    z, codes, levels
        ``(N, q)``; ``(N,)`` the level of each row; the number of levels G.

    Returns
    -------
    rows, triangles
        ``(N, q)`` and ``(G, q, q)`` with ``z[i] = rows[i] @ triangles[codes[i]]``.
    """
    n, q = z.shape
    rows, triangles = np.zeros((n, q)), np.zeros((levels, q, q))

    def total(values: NumpyArray) -> NumpyArray:
        return np.bincount(codes, values, minlength=levels)

    for k in range(q):
        column = z[:, k].copy()
        length = np.sqrt(total(column**2))
        for _ in range(2):
            for earlier in range(k):
                dot = total(rows[:, earlier] * column)
                triangles[:, earlier, k] += dot
                column -= rows[:, earlier] * dot[codes]
        rest = np.sqrt(total(column**2))
        independent = rest > 1e-11 * length
        triangles[:, k, k] = np.where(independent, rest, 0.0)
        rows[:, k] = np.where(independent[codes], column / np.where(independent, rest, 1.0)[codes], 0.0)
    return rows, triangles
