"""Natural parameters of a factor: standard deviations and correlations."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array

DEPENDENT = 1e-13
"""A row of a factor of which less than this part is left beside earlier ones depends on them."""


def report_sd(factor: jax.Array, sigma: jax.Array) -> jax.Array:
    """Return the standard deviations ``(q,)`` of ``sigma² factor factorᵀ``; the derivative at an exact zero is 0."""
    variance = jnp.sum(factor**2, axis=-1)
    positive = variance > 0
    return sigma * jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)


def report_sd_corr(factor: jax.Array, sigma: jax.Array) -> jax.Array:
    """Return standard deviations, then the correlations column by column; NaN where a standard deviation is 0."""
    q = factor.shape[0]
    sd = report_sd(factor, jnp.ones_like(sigma))
    below = [(i, j) for j in range(q) for i in range(j + 1, q)]
    if not below:
        return sigma * sd
    rows, columns = (jnp.array(index) for index in zip(*below, strict=True))
    product = sd[rows] * sd[columns]
    defined = product > 0
    cosine = jnp.sum(factor[rows] * factor[columns], axis=-1) / jnp.where(defined, product, 1.0)
    return jnp.concatenate([sigma * sd, jnp.where(defined, cosine, jnp.nan)])


def lower_factor(factor: Array) -> Array:
    """Return the lower triangular ``L`` with a nonnegative diagonal and ``L Lᵀ = factor factorᵀ``.

    By orthogonalizing the rows of ``factor`` (q, q) in turn, in NumPy or in JAX as the argument is. A row that depends
    on earlier ones adds no column: a singular factor has exact zeros in its last columns.

    Examples
    --------
    >>> lower_factor(np.array([[0.0, 2.0], [3.0, 4.0]])).tolist()
    [[2.0, 0.0], [4.0, 3.0]]
    """
    xp: Any = jnp if isinstance(factor, jax.Array) else np
    directions: list[Array] = []
    rows = []
    for row in factor:
        entries, rest = [xp.zeros_like(row[0])] * len(row), row
        for _ in range(2):
            for j, direction in enumerate(directions):
                along = direction @ rest
                entries[j], rest = entries[j] + along, rest - along * direction
        square = rest @ rest
        independent = square > DEPENDENT**2 * (row @ row)
        length = xp.sqrt(xp.where(independent, square, 1.0))
        entries[len(directions)] = xp.where(independent, length, 0.0)
        directions.append(xp.where(independent, rest / length, 0.0))
        rows.append(xp.stack(entries))
    lower = xp.stack(rows)
    return lower[:, xp.argsort(xp.all(lower == 0.0, axis=0), stable=True)]
