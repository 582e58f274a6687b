"""The QR decomposition of a matrix with few columns, and inverses of triangles, in traced functions without LAPACK."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

DEPENDENT_SHARE = 1e-7
"""A column of which no more than this share of its length is left after projection on those before it depends on them,
as in R's ``qr``."""


@functools.partial(jax.jit, inline=False)
def orthonormal_basis(
    x: Float[jax.Array, "n p"],
) -> tuple[Float[jax.Array, "n p"], Float[jax.Array, "p p"], Bool[jax.Array, " p"]]:
    """Return ``basis``, ``triangle`` and which columns are independent of those before them: ``x = basis @ triangle``.

    Gram and Schmidt's method, each projection done twice: a loop over the columns, with derivatives of any order. A
    column that depends on others has zeros in the basis and a one on the triangle's diagonal.

    Parameters
    ----------
    x
        ``(n, p)``; rows of zeros stay.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> basis, triangle, independent = orthonormal_basis(jnp.array([[3.0, 6.0], [4.0, 8.0]]))
    >>> triangle.tolist(), independent.tolist()
    ([[5.0, 0.0], [0.0, 1.0]], [True, False])
    """
    p = x.shape[1]

    def step(
        basis: Float[jax.Array, "n p"], k: Int[jax.Array, ""]
    ) -> tuple[Float[jax.Array, "n p"], tuple[Float[jax.Array, " p"], Bool[jax.Array, ""]]]:
        column, row = x[:, k], jnp.zeros(p, x.dtype)
        smallest = DEPENDENT_SHARE**2 * jnp.sum(column**2)
        for _ in range(2):
            product = column @ basis
            column, row = column - basis @ product, row + product
        left = jnp.sum(column**2)
        independent = left > smallest
        length = jnp.sqrt(jnp.where(independent, left, 1.0))  # no derivative of a root at zero
        basis = basis.at[:, k].set(jnp.where(independent, column / length, 0.0))
        return basis, (jnp.where(independent, row, 0.0).at[k].set(length), independent)

    basis, (rows, independent) = jax.lax.scan(step, jnp.zeros_like(x), jnp.arange(p))
    return basis, rows.T, independent


@functools.partial(jax.jit, inline=False)
def inverse_triangle(triangle: Float[jax.Array, "p p"]) -> Float[jax.Array, "p p"]:
    """Return the inverse of an upper triangle, row by row from the last.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> inverse_triangle(jnp.array([[2.0, 1.0], [0.0, 4.0]])).tolist()
    [[0.5, -0.125], [0.0, 0.25]]
    """
    identity = jnp.eye(triangle.shape[0], dtype=triangle.dtype)

    def step(
        inverse: Float[jax.Array, "p p"], k: Int[jax.Array, ""]
    ) -> tuple[Float[jax.Array, "p p"], None]:  # rows below k are those of the inverse, the others zero
        return inverse.at[k].set((identity[k] - triangle[k] @ inverse) / triangle[k, k]), None

    inverse, _ = jax.lax.scan(step, jnp.zeros_like(triangle), jnp.arange(triangle.shape[0]), reverse=True)
    return inverse
