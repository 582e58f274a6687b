"""Singular vectors of small matrices by plane rotations, without LAPACK."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

ROTATION_SWEEPS = 10
"""Rounds of rotations after which the columns of a small matrix are orthogonal; convergence is quadratic."""


_State = tuple[Float[jax.Array, "q q"], Float[jax.Array, "q q"]]


def singular_vectors(a: Float[jax.Array, "q q"]) -> tuple[Float[jax.Array, "q q"], Float[jax.Array, " q"]]:
    """Return the left singular vectors and the singular values of a small square matrix, without LAPACK.

    Rotations of pairs of rows until all are orthogonal (Hestenes 1958, "Inversion of matrices by biorthogonalization"),
    which finds small singular values to high relative accuracy.

    Parameters
    ----------
    a
        ``(q, q)``; ``vmap`` serves a batch.

    Returns
    -------
    vectors, values
        ``(q, q)`` with the vectors as columns, and ``(q,)``, the largest first.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> vectors, values = singular_vectors(jnp.array([[3.0, 0.0], [4.0, 0.0]]))
    >>> values.tolist(), (jnp.abs(vectors[:, 0]) * 5).round(4).tolist()
    ([5.0, 0.0], [3.0, 4.0])
    """
    q = a.shape[-1]
    vectors = jnp.eye(q, dtype=a.dtype)
    if q == 1:
        return vectors, jnp.abs(a[0])
    one, other = (jnp.asarray(index, jnp.int32) for index in np.triu_indices(q, 1))

    def rotate(step: Int[jax.Array, ""], state: _State) -> _State:
        rows, vectors = state  # vectorsᵀ a = rows
        i, j = one[step % one.size], other[step % one.size]
        dot = rows[i] @ rows[j]
        needed = jnp.abs(dot) > 0.0
        cotangent = (rows[j] @ rows[j] - rows[i] @ rows[i]) / (2.0 * jnp.where(needed, dot, 1.0))
        sign = jnp.where(cotangent < 0, -1.0, 1.0)
        tangent = jnp.where(needed, sign / (jnp.abs(cotangent) + jnp.sqrt(1.0 + cotangent**2)), 0.0)
        cosine = 1.0 / jnp.sqrt(1.0 + tangent**2)
        sine = cosine * tangent
        rows = rows.at[i].set(cosine * rows[i] - sine * rows[j]).at[j].set(sine * rows[i] + cosine * rows[j])
        left, right = vectors[:, i], vectors[:, j]
        vectors = vectors.at[:, i].set(cosine * left - sine * right).at[:, j].set(sine * left + cosine * right)
        return rows, vectors

    rows, vectors = jax.lax.fori_loop(jnp.int32(0), jnp.int32(ROTATION_SWEEPS * one.size), rotate, (a, vectors))
    values = jnp.sqrt(jnp.sum(rows**2, axis=-1))
    order = jnp.argsort(-values)
    return vectors[:, order], values[order]
