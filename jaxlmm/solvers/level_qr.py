"""A QR decomposition of a random-effect model matrix, level by level: on the host, or traced."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray

DEPENDENT_SHARE_OF_LENGTH = 1e-11
"""A column of which less than this part of its length is left, within a level, depends on the ones before."""


def level_qr(
    z: Float[NumpyArray, "N q"], codes: Int[NumpyArray, " N"], levels: int
) -> tuple[Float[NumpyArray, "N q"], Float[NumpyArray, "G q q"]]:
    """Return the rank-revealing QR decomposition ``Z_j = Q_j R_j`` of the rows of each level j, for all at once.

    Gram-Schmidt with reorthogonalization. A column that depends on earlier ones within a level gets a zero row in
    that level's triangle.

    Parameters
    ----------
    z, codes, levels
        Columns; the level of each row; the number of levels.

    Returns
    -------
    rows, triangles
        ``Q`` and the ``R_j``, with ``z[i] = rows[i] @ triangles[codes[i]]``.
    """
    n, q = z.shape
    rows, triangles = np.zeros((n, q)), np.zeros((levels, q, q))

    def total(values: Float[NumpyArray, " N"]) -> Float[NumpyArray, " G"]:
        return np.bincount(codes, values, minlength=levels)

    for k in range(q):
        column = z[:, k].copy()
        length = np.sqrt(total(column**2))
        for _ in range(2):
            for earlier in range(k):
                dot = total(rows[:, earlier] * column)
                triangles[:, earlier, k] += dot
                column -= rows[:, earlier] * dot[codes]
        left = np.sqrt(total(column**2))
        independent = left > DEPENDENT_SHARE_OF_LENGTH * length
        triangles[:, k, k] = np.where(independent, left, 0.0)
        rows[:, k] = np.where(independent[codes], column / np.where(independent, left, 1.0)[codes], 0.0)
    return rows, triangles


def level_qr_traced(
    z: Float[jax.Array, "N q"], codes: Int[Array, " N"], levels: int
) -> tuple[Float[jax.Array, "N q"], Float[jax.Array, "G q q"]]:
    """Return :func:`level_qr` in a traced function, with derivatives.

    The parameters and what is returned are the same.

    >>> z, codes = jnp.array([[3.0, 3.0], [4.0, 4.0], [2.0, 5.0]]), np.array([0, 0, 1])
    >>> rows, triangles = level_qr_traced(z, codes, 2)
    >>> triangles[0].round(3).tolist(), rows[:, 1].round(3).tolist()
    ([[5.0, 5.0], [0.0, 0.0]], [0.0, 0.0, 0.0])
    """
    n, q = z.shape
    rows: list[Float[jax.Array, " N"]] = []
    triangles = jnp.zeros((levels, q, q), z.dtype)

    def total(values: Float[jax.Array, " N"]) -> Float[jax.Array, " G"]:
        return jax.ops.segment_sum(values, codes, levels)

    for k in range(q):
        column = z[:, k]
        square = total(column**2)
        for _ in range(2):
            for earlier in range(k):
                dot = total(rows[earlier] * column)
                triangles = triangles.at[:, earlier, k].add(dot)
                column = column - rows[earlier] * dot[codes]
        left = total(column**2)
        independent = left > DEPENDENT_SHARE_OF_LENGTH**2 * square
        length = jnp.sqrt(jnp.where(independent, left, 1.0))  # no derivative of a root at zero
        triangles = triangles.at[:, k, k].set(jnp.where(independent, length, 0.0))
        rows.append(jnp.where(independent[codes], column / length[codes], 0.0))
    return jnp.stack(rows, axis=1) if rows else jnp.zeros((n, 0), z.dtype), triangles
