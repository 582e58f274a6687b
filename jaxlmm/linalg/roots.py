"""Roots of positive semidefinite matrices, without LAPACK."""

from __future__ import annotations

import jax
import jax.numpy as jnp

LEFT_OVER = 1e-8
"""Relative to the largest diagonal entry, what is left of a semidefinite matrix without its positive pivots."""

INDEFINITE = 1e-3
"""Relative to the largest diagonal entry, a pivot below minus this, or larger entries beside one that vanishes, are no
rounding: the matrix has a negative eigenvalue."""


def semidefinite_cholesky(a: jax.Array, *, nearest: bool = False) -> jax.Array:
    """Return a lower factor of a positive semidefinite matrix; columns of a vanishing pivot are zero.

    Parameters
    ----------
    a
        ``(q, q)``, symmetric, possibly singular. NaN is returned for a matrix that has a negative eigenvalue, so that
        no other matrix stands in for it, and for one whose small pivots are lost in rounding, as of a smooth kernel at
        many places: :func:`semidefinite_root` takes such.
    nearest
        Leave out negative pivots in place of NaN: for what is rough anyway.

    Returns
    -------
    factor
        ``(q, q)`` lower triangular with ``factor @ factor.T == a``; differentiable where the rank does not change.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> factor = semidefinite_cholesky(jnp.ones((2, 2)))
    >>> bool(jnp.allclose(factor @ factor.T, 1.0))
    True
    """
    index = jnp.arange(a.shape[-1])
    tolerance = 4.0 * a.shape[-1] * jnp.finfo(a.dtype).eps
    scale = jnp.diagonal(a)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(scale), initial=0.0))

    def step(rest: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
        pivot = rest[k, k]
        positive = pivot > tolerance * scale[k]
        root = jnp.sqrt(jnp.where(positive, pivot, 1.0))
        column = jnp.where((index >= k) & positive, rest[:, k] / root, 0.0)
        if not nearest:
            beside = jnp.max(jnp.where(index > k, jnp.abs(rest[:, k]), 0.0))
            rounding = (pivot >= -INDEFINITE * largest) & (beside <= INDEFINITE * largest)
            column = jnp.where(positive | rounding, column, jnp.nan)
        return rest - column[:, None] * column[None, :], column

    _, columns = jax.lax.scan(step, a, index)
    return columns.T


def semidefinite_root(a: jax.Array) -> jax.Array:
    """Return a square root of a positive semidefinite matrix, to the last digits however close to singular it is.

    Cholesky's factor with the largest pivot first (Higham 2002, "Accuracy and stability of numerical algorithms",
    section 10.3), in the order of the rows of ``a``: hence no triangle.

    Parameters
    ----------
    a
        ``(q, q)``, symmetric; NaN is returned where it has a negative eigenvalue.

    Returns
    -------
    root
        ``(q, q)`` with ``root @ root.T == a``; differentiable where the rank does not change.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> semidefinite_root(jnp.array([[1.0, 2.0], [2.0, 4.0]])).tolist()
    [[1.0, 0.0], [2.0, 0.0]]
    """
    tolerance = 4.0 * a.shape[-1] * jnp.finfo(a.dtype).eps
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(jnp.diagonal(a)), initial=0.0))

    def step(rest: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        k = jnp.argmax(jnp.diagonal(rest))
        pivot = rest[k, k]
        positive = pivot > tolerance * largest
        column = jnp.where(positive, rest[:, k] / jnp.sqrt(jnp.where(positive, pivot, 1.0)), 0.0)
        return rest - column[:, None] * column[None, :], column

    rest, columns = jax.lax.scan(step, a, None, length=a.shape[-1])
    exact = jnp.max(jnp.abs(jax.lax.stop_gradient(rest)), initial=0.0) <= LEFT_OVER * largest
    return jnp.where(exact, columns.T, jnp.nan)
