"""Singular vectors of small matrices by plane rotations, without LAPACK."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray

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
    rounds = jnp.asarray(_rounds(q), jnp.int32)

    def rotate(step: Int[jax.Array, ""], state: _State) -> _State:
        rows, vectors = state  # vectorsᵀ a = rows
        i, j = rounds[step % rounds.shape[0]]  # pairs that share no row are rotated at once
        one, other = rows[i], rows[j]
        dot = jnp.sum(one * other, axis=1, keepdims=True)
        needed = jnp.abs(dot) > 0.0
        difference = jnp.sum(other**2, axis=1, keepdims=True) - jnp.sum(one**2, axis=1, keepdims=True)
        cotangent = difference / (2.0 * jnp.where(needed, dot, 1.0))
        sign = jnp.where(cotangent < 0, -1.0, 1.0)
        tangent = jnp.where(needed, sign / (jnp.abs(cotangent) + jnp.sqrt(1.0 + cotangent**2)), 0.0)
        cosine = 1.0 / jnp.sqrt(1.0 + tangent**2)
        sine = cosine * tangent
        rows = rows.at[i].set(cosine * one - sine * other).at[j].set(sine * one + cosine * other)
        left, right, cosine, sine = vectors[:, i], vectors[:, j], cosine.T, sine.T
        vectors = vectors.at[:, i].set(cosine * left - sine * right).at[:, j].set(sine * left + cosine * right)
        return rows, vectors

    turns = jnp.int32(ROTATION_SWEEPS * rounds.shape[0])
    rows, vectors = jax.lax.fori_loop(jnp.int32(0), turns, rotate, (a, vectors))
    values = jnp.sqrt(jnp.sum(rows**2, axis=-1))
    order = jnp.argsort(-values)
    return vectors[:, order], values[order]


def _rounds(q: int) -> Int[NumpyArray, "rounds 2 pairs"]:
    """Return all pairs of q rows, first and second, in rounds in which no row stands twice (a round robin).

    >>> _rounds(4).tolist()
    [[[0, 1], [3, 2]], [[0, 3], [2, 1]], [[0, 2], [1, 3]]]
    """
    players = q + q % 2  # of an odd number of rows one rests in each round
    table, turns = np.arange(players), []
    for _ in range(players - 1):
        pairs = np.stack([table[: players // 2], table[players // 2 :][::-1]])
        turns.append(pairs[:, (pairs < q).all(axis=0)])
        table = np.concatenate([table[:1], table[-1:], table[1:-1]])
    return np.array(turns)
