"""First-order recurrences along one axis, by blocks of the root of its length: linear ones, and the Riccati equation.

A recurrence of n steps is ``√n`` loops of ``√n`` steps side by side, twice: once to see what each block does to what
comes in, and, when the blocks are linked, once more from there (the partition method for recurrences; Wang 1981, "A
parallel method for tridiagonal equations"). Every step is that of the sequential recurrence, with its rounding errors.
Derivatives are recurrences too, so that no loop is ever differentiated.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Float

MAX_STEPS_ONE_BY_ONE = 256
"""Length up to which a recurrence is one loop."""

Matrix: TypeAlias = tuple[
    Float[jax.Array, " B"], Float[jax.Array, " B"], Float[jax.Array, " B"], Float[jax.Array, " B"]
]
"""The entries of B matrices of size two, row by row."""


def linear_recurrence(
    coefficients: Float[jax.Array, " n"], constants: Float[jax.Array, "n c"]
) -> Float[jax.Array, "n c"]:
    """Return x with ``x_k = a_k x_{k−1} + b_k``, beginning with ``x_1 = b_1``, for c columns b.

    It is stable where no coefficient is beyond ±1. To be differentiated any number of times: the system is linear, its
    transpose is the recurrence from the end.

    >>> linear_recurrence(jnp.array([0.0, 0.5, 1.0]), jnp.array([[2.0], [3.0], [1.0]])).tolist()
    [[2.0], [4.0], [5.0]]
    """
    after = jnp.concatenate([coefficients[1:], jnp.zeros_like(coefficients[:1])])

    def matrix(x: Float[jax.Array, "n c"]) -> Float[jax.Array, "n c"]:
        return x - coefficients[:, None] * before(x)

    def solve(_: object, b: Float[jax.Array, "n c"]) -> Float[jax.Array, "n c"]:
        return _linear(coefficients, b)

    def solve_transposed(_: object, b: Float[jax.Array, "n c"]) -> Float[jax.Array, "n c"]:
        return _linear(after[::-1], b[::-1])[::-1]

    found: Float[jax.Array, "n c"] = jax.lax.custom_linear_solve(matrix, constants, solve, solve_transposed)
    return found


def backward_recurrence(
    coefficients: Float[jax.Array, " n"], constants: Float[jax.Array, "n c"]
) -> Float[jax.Array, "n c"]:
    """Return x with ``x_k = a_k x_{k+1} + b_k``, ending with ``x_n = b_n``."""
    return linear_recurrence(coefficients[::-1], constants[::-1])[::-1]


def before(x: Float[jax.Array, "n ..."]) -> Float[jax.Array, "n ..."]:
    """Return x shifted by one along its first axis: zero, then all entries but the last.

    >>> before(jnp.array([1.0, 2.0])).tolist()
    [0.0, 1.0]
    """
    return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])


def after(x: Float[jax.Array, "n ..."]) -> Float[jax.Array, "n ..."]:
    """Return x shifted back by one along its first axis: all entries but the first, then zero."""
    return jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])


@jax.custom_jvp
def riccati_recurrence(
    kept: Float[jax.Array, " n"], added: Float[jax.Array, " n"], precision: Float[jax.Array, " n"]
) -> Float[jax.Array, " n"]:
    """Return P with ``P_k = kept_k P_{k−1} / (1 + precision_k P_{k−1}) + added_k``, beginning with ``P_1 = added_1``.

    The variances of a Kalman filter in one dimension, before each observation: all arguments and all results are
    positive, so nothing cancels. ``precision_k`` is what the observation before k adds to the precision.

    >>> riccati_recurrence(jnp.array([0.0, 0.5]), jnp.array([1.0, 0.5]), jnp.array([0.0, 1.0])).tolist()
    [1.0, 0.75]
    """
    n = kept.shape[0]
    if n <= MAX_STEPS_ONE_BY_ONE:
        return _riccati(jnp.zeros_like(kept[0]), kept, added, precision)
    # A step is a fraction of linear functions of P. That of many steps is the product of their matrices, which are
    # positive; its scale is free.
    blocks = [_in_blocks(part) for part in (kept, added, precision)]
    size = blocks[0].shape[1]
    one, zero = jnp.ones(size, kept.dtype), jnp.zeros(size, kept.dtype)

    def link(matrix: Matrix, step: tuple[Float[jax.Array, " B"], ...]) -> tuple[Matrix, None]:
        (a, b, c, d), (r, q, h) = matrix, step
        below = h * a + c, h * b + d
        top = r * a + q * below[0], r * b + q * below[1]
        scale = 1.0 / (top[0] + top[1] + below[0] + below[1])
        return (top[0] * scale, top[1] * scale, below[0] * scale, below[1] * scale), None

    (a, b, c, d), _ = jax.lax.scan(link, (one, zero, zero, one), tuple(blocks))

    def across(
        start: Float[jax.Array, ""], block: tuple[Float[jax.Array, ""], ...]
    ) -> tuple[Float[jax.Array, ""], Float[jax.Array, ""]]:
        a, b, c, d = block
        return (a * start + b) / (c * start + d), start

    _, starts = jax.lax.scan(across, zero[0], (a, b, c, d))
    return _out_of_blocks(_riccati(starts, *blocks), n)


@riccati_recurrence.defjvp
def _riccati_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (kept, _, precision), (d_kept, d_added, d_precision) = primals, tangents
    variance = riccati_recurrence(*primals)
    earlier = before(variance)
    left = 1.0 / (1.0 + precision * earlier)
    known = earlier * left
    moved = d_added + d_kept * known - kept * known * known * d_precision
    return variance, linear_recurrence(kept * left * left, moved[:, None])[:, 0]


def _riccati(
    start: Float[jax.Array, "*B"],
    kept: Float[jax.Array, "T ..."],
    added: Float[jax.Array, "T ..."],
    precision: Float[jax.Array, "T ..."],
) -> Float[jax.Array, "T ..."]:
    """Return the Riccati recurrence along the first axis, from the ``start`` before it."""

    def step(
        variance: Float[jax.Array, "*B"], own: tuple[Float[jax.Array, "*B"], ...]
    ) -> tuple[Float[jax.Array, "*B"], Float[jax.Array, "*B"]]:
        kept, added, precision = own
        variance = kept * (variance / (1.0 + precision * variance)) + added
        return variance, variance

    variances: Float[jax.Array, "T ..."] = jax.lax.scan(step, start, (kept, added, precision))[1]
    return variances


def _linear(coefficients: Float[jax.Array, " n"], constants: Float[jax.Array, "n c"]) -> Float[jax.Array, "n c"]:
    """Return the linear recurrence, without a derivative rule."""
    n = coefficients.shape[0]
    if n <= MAX_STEPS_ONE_BY_ONE:
        return _linear_from(jnp.zeros_like(constants[0]), coefficients, constants)
    a, b = _in_blocks(coefficients), _in_blocks(constants)

    def link(
        sums: tuple[Float[jax.Array, " B"], Float[jax.Array, "B c"]],
        step: tuple[Float[jax.Array, " B"], Float[jax.Array, "B c"]],
    ) -> tuple[tuple[Float[jax.Array, " B"], Float[jax.Array, "B c"]], None]:
        (product, x), (a, b) = sums, step
        return (a * product, a[:, None] * x + b), None

    (product, ends), _ = jax.lax.scan(link, (jnp.ones_like(a[0]), jnp.zeros_like(b[0])), (a, b))
    starts = before(_linear_from(jnp.zeros_like(ends[0]), product, ends))
    return _out_of_blocks(_linear_from(starts, a, b), n)


def _linear_from(
    start: Float[jax.Array, "*B c"], coefficients: Float[jax.Array, "T ..."], constants: Float[jax.Array, "T *B c"]
) -> Float[jax.Array, "T *B c"]:
    """Return the linear recurrence along the first axis, from the ``start`` before it."""

    def step(
        x: Float[jax.Array, "*B c"], own: tuple[Float[jax.Array, "*B"], Float[jax.Array, "*B c"]]
    ) -> tuple[Float[jax.Array, "*B c"], Float[jax.Array, "*B c"]]:
        x = own[0][..., None] * x + own[1]
        return x, x

    found: Float[jax.Array, "T *B c"] = jax.lax.scan(step, start, (coefficients, constants))[1]
    return found


def _in_blocks(x: Float[jax.Array, "n ..."]) -> Float[jax.Array, "T B *c"]:
    """Return x (T, B, ...) in B blocks of T steps, both about the root of its length; the last one ends in zeros."""
    n = x.shape[0]
    steps = math.isqrt(n - 1) + 1
    count = -(-n // steps)
    padded = jnp.pad(x, [(0, steps * count - n), *[(0, 0)] * (x.ndim - 1)])
    return padded.reshape(count, steps, *x.shape[1:]).swapaxes(0, 1)


def _out_of_blocks(blocks: Float[jax.Array, "T B *c"], n: int) -> Float[jax.Array, "n ..."]:
    """Return the first n steps of blocks in one axis."""
    return blocks.swapaxes(0, 1).reshape(-1, *blocks.shape[2:])[:n]
