"""Roots of positive semidefinite matrices, without LAPACK."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

MAX_REMAINDER_SHARE = 1e-8
"""Largest entry that elimination of all positive pivots may leave of a semidefinite matrix, relative to its largest
diagonal entry."""

INDEFINITE_PIVOT_SHARE = 1e-3
"""A pivot below minus this, or an entry above this in the column of a vanishing pivot, both relative to the largest
diagonal entry, is not rounding: the matrix has a negative eigenvalue."""


def semidefinite_cholesky(a: Float[jax.Array, "q q"], *, nearest: bool = False) -> Float[jax.Array, "q q"]:
    """Return the Cholesky factor of a positive semidefinite matrix, with a column of zeros where a pivot vanishes.

    Parameters
    ----------
    a
        ``(q, q)``, symmetric, possibly singular. NaN is returned for a matrix that has a negative eigenvalue, so that
        it is not replaced by another one, and for one whose small pivots are lost in rounding, as of a smooth kernel at
        many positions: :func:`semidefinite_root` takes such.
    nearest
        Take negative pivots as zero, and return no NaN: for matrices that are approximate anyway, as a guess.

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

    def step(
        schur: Float[jax.Array, "q q"], k: Int[jax.Array, ""]
    ) -> tuple[Float[jax.Array, "q q"], Float[jax.Array, " q"]]:
        pivot = schur[k, k]
        positive = pivot > tolerance * scale[k]
        root = jnp.sqrt(jnp.where(positive, pivot, 1.0))
        column = jnp.where((index >= k) & positive, schur[:, k] / root, 0.0)
        if not nearest:
            below = jnp.max(jnp.where(index > k, jnp.abs(schur[:, k]), 0.0))
            rounding = (pivot >= -INDEFINITE_PIVOT_SHARE * largest) & (below <= INDEFINITE_PIVOT_SHARE * largest)
            column = jnp.where(positive | rounding, column, jnp.nan)
        return schur - column[:, None] * column[None, :], column

    _, columns = jax.lax.scan(step, a, index)
    return columns.T


def semidefinite_root(a: Float[jax.Array, "q q"]) -> Float[jax.Array, "q q"]:
    """Return a square root of a positive semidefinite matrix, accurate however close to singular it is.

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

    def step(schur: Float[jax.Array, "q q"], _: None) -> tuple[Float[jax.Array, "q q"], Float[jax.Array, " q"]]:
        k = jnp.argmax(jnp.diagonal(schur))
        pivot = schur[k, k]
        positive = pivot > tolerance * largest
        column = jnp.where(positive, schur[:, k] / jnp.sqrt(jnp.where(positive, pivot, 1.0)), 0.0)
        return schur - column[:, None] * column[None, :], column

    remainder, columns = jax.lax.scan(step, a, None, length=a.shape[-1])
    exact = jnp.max(jnp.abs(jax.lax.stop_gradient(remainder)), initial=0.0) <= MAX_REMAINDER_SHARE * largest
    return jnp.where(exact, columns.T, jnp.nan)
