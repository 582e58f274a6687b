"""Natural parameters of a factor: standard deviations and correlations."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array

DEPENDENT_ROW_SHARE = 1e-13
"""Share of a row's length, left after projection on earlier rows of a factor, up to which it depends on them."""


def report_sd(factor: Float[jax.Array, "q q"], sigma: Float[jax.Array, ""]) -> Float[jax.Array, " q"]:
    """Return the standard deviations of ``sigma² factor factorᵀ``; the derivative at an exact zero is 0."""
    variance = jnp.sum(factor**2, axis=-1)
    positive = variance > 0
    return sigma * jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)


def report_sd_corr(factor: Float[jax.Array, "q q"], sigma: Float[jax.Array, ""]) -> Float[jax.Array, " r"]:
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


def lower_factor(factor: Float[Array, "q q"]) -> Float[Array, "q q"]:
    """Return the lower triangular ``L`` with a nonnegative diagonal and ``L Lᵀ = factor factorᵀ``.

    By orthogonalizing the rows of ``factor`` in turn, in NumPy or in JAX as the argument is. A row that depends on
    earlier ones adds no column, so where ``factor`` is singular the last columns of L are exactly zero.

    Examples
    --------
    >>> lower_factor(np.array([[0.0, 2.0], [3.0, 4.0]])).tolist()
    [[2.0, 0.0], [4.0, 3.0]]
    """
    xp: Any = jnp if isinstance(factor, jax.Array) else np
    directions: list[Float[Array, " q"]] = []
    rows = []
    for row in factor:
        entries, residual = [xp.zeros_like(row[0])] * len(row), row
        for _ in range(2):
            for j, direction in enumerate(directions):
                along = direction @ residual
                entries[j], residual = entries[j] + along, residual - along * direction
        square = residual @ residual
        independent = square > DEPENDENT_ROW_SHARE**2 * (row @ row)
        length = xp.sqrt(xp.where(independent, square, 1.0))
        entries[len(directions)] = xp.where(independent, length, 0.0)
        directions.append(xp.where(independent, residual / length, 0.0))
        rows.append(xp.stack(entries))
    lower = xp.stack(rows)
    return lower[:, xp.argsort(xp.all(lower == 0.0, axis=0), stable=True)]
