"""Solutions of linear equations with symmetric positive definite matrices, with derivatives of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jaxlmm.linalg.entries import eliminated, product
from jaxlmm.linalg.inverse import MAX_SIZE_UNROLLED, inverse_logdet

T = TypeVar("T")


@jax.custom_jvp
def normal_equations(
    a: Float[jax.Array, "p p"], b: Float[jax.Array, " p"]
) -> tuple[Float[jax.Array, "p p"], Float[jax.Array, ""], Float[jax.Array, " p"], Float[jax.Array, ""]]:
    """Solve the normal equations ``a x = b``, with the inverse and log-determinant of ``a``, and ``bᵀx``.

    A row of zeros is a column of X that is padding: its ``x`` is 0, and it adds nothing to the log-determinant.
    The derivatives of ``x`` and ``bᵀx`` are those of a solution, products of matrices and vectors alone.

    Parameters
    ----------
    a, b
        A symmetric positive definite matrix, and the right hand side.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> _, _, x, square = normal_equations(2.0 * jnp.eye(2), jnp.array([4.0, 2.0]))
    >>> x.tolist(), float(square)
    ([2.0, 1.0], 10.0)
    """
    inverse, logdet = inverse_logdet(a + jnp.diag(jnp.where(jnp.diagonal(a) == 0, 1.0, 0.0).astype(a.dtype)))
    x = inverse @ b
    return inverse, logdet, x, b @ x


@normal_equations.defjvp
def _normal_equations_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (a, b), (da, db) = primals, tangents
    inverse, logdet, x, square = normal_equations(a, b)
    moved = x @ da
    out = -(inverse @ da @ inverse), jnp.sum(inverse * da), (db - moved) @ inverse, 2.0 * (x @ db) - x @ moved
    return (inverse, logdet, x, square), out


@jax.custom_jvp
def apply_inverse(
    a: Float[jax.Array, "*b q q"], inverse: Float[jax.Array, "*b q q"], b: Float[jax.Array, "*b q p"]
) -> Float[jax.Array, "*b q p"]:
    """Return ``inverse @ b`` with the derivatives of the solution of ``a x = b``.

    Through the inverse a gradient would be two products of whole matrices; through the solution it is products with its
    few columns.

    Parameters
    ----------
    a, inverse
        A symmetric matrix, and its inverse by :func:`inverse_logdet`.
    b
        The right hand sides.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> def f(t):
    ...     a = t * jnp.eye(2)
    ...     return apply_inverse(a, inverse_logdet(a)[0], jnp.ones((2, 1)))[0, 0]
    >>> float(f(2.0)), float(jax.grad(f)(2.0)), float(jax.hessian(f)(2.0))
    (0.5, -0.25, 0.25)
    """
    return inverse @ b


@apply_inverse.defjvp
def _apply_inverse_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (a, inverse, b), (da, _, db) = primals, tangents
    x = apply_inverse(a, inverse, b)
    return x, inverse @ (db - da @ x)


def shifted_solutions(
    a: Float[jax.Array, "q q"],
    metric: Float[jax.Array, " q"],
    shifts: Float[jax.Array, " s"],
    b: Float[jax.Array, " q"],
) -> tuple[list[Float[jax.Array, " s"]], Bool[jax.Array, " s"]]:
    """Solve ``(a + μ diag(metric)) x = b`` for several shifts μ at once.

    Parameters
    ----------
    a, metric, shifts, b
        A symmetric matrix; the diagonal of the metric; the shifts; the right hand side.

    Returns
    -------
    x, definite
        For each of the q unknowns its values at the shifts; whether each shifted matrix is positive definite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x, definite = shifted_solutions(jnp.eye(2), jnp.ones(2), jnp.array([-2.0, 1.0]), jnp.array([1.0, 2.0]))
    >>> [one.tolist() for one in x], definite.tolist()
    ([[-1.0, 0.5], [-2.0, 1.0]], [False, True])
    """
    q = a.shape[0]
    if not 0 < q <= MAX_SIZE_UNROLLED:
        inverse, logdet = inverse_logdet(a[None] + shifts[:, None, None] * jnp.diag(metric)[None])
        return list((inverse @ b).T), jnp.isfinite(logdet)
    rows = [[a[i, j] + shifts * (metric[i] if i == j else 0.0) for j in range(q)] for i in range(q)]
    entries, pivots = eliminated(rows)
    return [row[0] for row in product(entries, [[entry] for entry in b])], functools.reduce(jnp.minimum, pivots) > 0.0


def solve(multiply: Callable[[T], T], inverse: Callable[[T], T], b: T) -> T:
    """Return the solution x of ``multiply(x) = b``; its derivatives are solves too, and never those of an inverse.

    Parameters
    ----------
    multiply, inverse
        A symmetric positive definite map of arrays (or of a list of arrays) and its inverse. Only ``multiply`` is
        differentiated. One step of iterative refinement is taken.
    b
        The right hand side.
    """

    def refined(multiply: Callable[[T], T], b: T) -> T:
        x = inverse(b)
        residual = jax.tree.map(jnp.subtract, b, multiply(x))
        return jax.tree.map(jnp.add, x, inverse(residual))

    x: T = jax.lax.custom_linear_solve(multiply, b, refined, symmetric=True)
    return x
