"""Inverse and log-determinant of symmetric positive definite matrices, in batches, on CPUs without LAPACK.

Batched LAPACK calls inside compiled programs are slow for small matrices and can deadlock on CPUs with few cores, so
everything here is elementwise arithmetic and matrix products, but for large matrices on other devices. The derivative
is one rule on full symmetric matrices, itself differentiable to any order: the elimination is never differentiated.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxlmm.linalg.entries import eliminated, total

MAX_SIZE_UNROLLED = 3
"""Matrices up to this size are inverted by straight-line code."""

MAX_SIZE_SWEPT = 32
"""Matrices up to this size are swept column by column, larger ones by blocks of at most this many columns."""

MAX_SIZE_BY_BLOCKS = 160
"""Matrices beyond this size are inverted by halves: 4/3 q³ multiplications in large products instead of 2 q³."""

MAX_HALVINGS = 2
"""Halves are halved again up to so often: each time doubles what is compiled, and more than two save little."""


@jax.custom_jvp
def inverse_logdet(a: Float[jax.Array, "*b q q"]) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
    """Return the inverse and the log-determinant of symmetric positive definite matrices.

    Gauss-Jordan elimination without pivoting, which is as accurate as a Cholesky factorization on positive definite
    matrices (Peters and Wilkinson 1975, "On the stability of Gauss-Jordan elimination with pivoting"); on an
    accelerator, a Cholesky factorization of large ones.

    Parameters
    ----------
    a
        ``(..., q, q)``, symmetric.

    Returns
    -------
    inverse, logdet
        ``(..., q, q)`` and ``(...)``. The inverse is that of a positive definite matrix, and may be NaN of any other.
        The log-determinant is NaN exactly where a pivot is negative, that is where
        the matrix is not positive definite (and not finite where it is singular).

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> inverse, logdet = inverse_logdet(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> bool(jnp.allclose(logdet, jnp.log(3.0)))
    True
    """
    size = a.shape[-1]
    if size <= MAX_SIZE_UNROLLED:
        return _unrolled(a)
    if size <= MAX_SIZE_SWEPT:
        return _sweep(a)
    if size <= MAX_SIZE_BY_BLOCKS:
        return _blocked(a)
    return jax.lax.platform_dependent(a, cpu=_halved, default=_by_cholesky)


@inverse_logdet.defjvp
def _inverse_logdet_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (a,), (da,) = primals, tangents
    inverse, logdet = inverse_logdet(a)
    return (inverse, logdet), (-(inverse @ da @ inverse), jnp.sum(inverse * da, axis=(-2, -1)))


@functools.partial(jax.jit, inline=True)
def _unrolled(a: Float[jax.Array, "*b q q"]) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
    """Invert by straight-line code."""
    size = a.shape[-1]
    if size == 0:
        return a, jnp.zeros(a.shape[:-2], a.dtype)
    inverse, pivots = eliminated([[a[..., i, j] for j in range(size)] for i in range(size)])
    logdet = total(jnp.log(pivot) for pivot in pivots)
    return jnp.stack([jnp.stack(row, axis=-1) for row in inverse], axis=-2), logdet


def _sweep(a: Float[jax.Array, "*b q q"]) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
    """Invert column by column."""
    index = jnp.arange(a.shape[-1])
    lead = (1,) * (a.ndim - 2)

    def eliminate(
        k: Int[jax.Array, ""], state: tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]
    ) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
        a, logdet = state
        at = (index == k).reshape(*lead, -1)
        row = jax.lax.dynamic_slice_in_dim(a, k, 1, axis=-2)
        column = jax.lax.dynamic_slice_in_dim(a, k, 1, axis=-1)
        diagonal = jax.lax.dynamic_slice_in_dim(row, k, 1, axis=-1)
        pivot = 1.0 / diagonal
        in_row, in_column = at[..., :, None], at[..., None, :]
        updated = jnp.where(in_row, row * pivot, jnp.where(in_column, -column * pivot, a - column * (row * pivot)))
        updated = jnp.where(in_row & in_column, pivot, updated)
        return updated, logdet + jnp.log(diagonal[..., 0, 0])

    return jax.lax.fori_loop(0, a.shape[-1], eliminate, (a, jnp.zeros(a.shape[:-2], a.dtype)))


def _blocked(a: Float[jax.Array, "*b q q"]) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
    """Invert block of columns by block of columns."""
    size = a.shape[-1]
    count = -(-size // MAX_SIZE_SWEPT)
    block = -(-size // count)
    a = _enlarged(a, count * block)

    def eliminate(
        k: Int[jax.Array, ""], state: tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]
    ) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
        a, logdet = state
        start = k * block
        rows = jax.lax.dynamic_slice_in_dim(a, start, block, axis=-2)
        columns = jax.lax.dynamic_slice_in_dim(a, start, block, axis=-1)
        pivot, logdet_pivot = _sweep(jax.lax.dynamic_slice_in_dim(rows, start, block, axis=-1))
        scaled = pivot @ rows
        put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=start)
        updated = put(a - columns @ scaled, scaled, axis=-2)
        updated_columns = put(-(columns @ pivot), pivot, axis=-2)
        return put(updated, updated_columns, axis=-1), logdet + logdet_pivot

    initial = (a, jnp.zeros(a.shape[:-2], a.dtype))
    inverse, logdet = jax.lax.fori_loop(0, count, eliminate, initial)
    return inverse[..., :size, :size], logdet


def _by_cholesky(a: Float[jax.Array, "*b q q"]) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
    """Return ``L⁻ᵀ L⁻¹`` and ``2 Σ log L_ii`` with ``a = L Lᵀ``, in a few calls on an accelerator, as loops are not."""
    root = jax.lax.linalg.cholesky(a, symmetrize_input=False)
    identity = jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape)
    inverse_root = jax.lax.linalg.triangular_solve(root, identity, left_side=True, lower=True)
    logdet = 2.0 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
    return inverse_root.swapaxes(-1, -2) @ inverse_root, logdet


def _halved(a: Float[jax.Array, "*b q q"]) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
    """Invert the leading half, then its Schur complement, each by halves again, ``MAX_HALVINGS`` times."""
    size = a.shape[-1]
    depth = min(math.ceil(math.log2(size / MAX_SIZE_BY_BLOCKS)), MAX_HALVINGS)
    leaf = -(-size // (4 << depth)) * 4
    inverse, logdet = _by_halves(_enlarged(a, leaf << depth), depth)
    return inverse[..., :size, :size], logdet


def _by_halves(a: Float[jax.Array, "*b q q"], depth: int) -> tuple[Float[jax.Array, "*b q q"], Float[jax.Array, "*b"]]:
    if depth == 0:
        return _blocked(a)
    half = a.shape[-1] // 2
    corner = a[..., :half, half:]
    first, first_logdet = _by_halves(a[..., :half, :half], depth - 1)
    carried = first @ corner
    schur = a[..., half:, half:] - corner.swapaxes(-1, -2) @ carried
    last, last_logdet = _by_halves(0.5 * (schur + schur.swapaxes(-1, -2)), depth - 1)
    across = -(carried @ last)
    top = jnp.concatenate([first - across @ carried.swapaxes(-1, -2), across], axis=-1)
    bottom = jnp.concatenate([across.swapaxes(-1, -2), last], axis=-1)
    return jnp.concatenate([top, bottom], axis=-2), first_logdet + last_logdet


def _enlarged(a: Float[jax.Array, "*b q q"], padded: int) -> Float[jax.Array, " *b {padded} {padded}"]:
    """Continue matrices by an identity to ``padded`` rows and columns."""
    size = a.shape[-1]
    a = jnp.pad(a, [*[(0, 0)] * (a.ndim - 2), (0, padded - size), (0, padded - size)])
    filler = jnp.diag((jnp.arange(padded) >= size).astype(a.dtype))
    return a + filler.reshape((1,) * (a.ndim - 2) + filler.shape)
