"""Sums over the rows that depend on the dispersion alone, whose derivatives are evaluated once for all directions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array, is_zero, materialized


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def sum_of_rows(
    function: Callable[..., Any], order: int, y: Float[Array, "*y"], weight: Float[Array, " N"],
    dispersion: Float[Array, " d"],
) -> Float[jax.Array, "*d"]:  # fmt: skip
    """Return the derivative of an ``order`` in the dispersion of the weighted sum of a ``function`` of the rows.

    It is evaluated once for all directions in which theta is differentiated.
    """
    return _derivative_of_sum(function, order, y, weight, dispersion)


def _derivative_of_sum(
    function: Callable[..., Any], order: int, y: Float[Array, "*y"], weight: Float[Array, " N"],
    dispersion: Float[Array, " d"],
) -> Float[jax.Array, "*d"]:  # fmt: skip
    total: Callable[..., jax.Array] = functools.partial(_sum, function, y, weight)
    for _ in range(order):
        total = jax.jacfwd(total)
    return total(jnp.asarray(dispersion))


def _sum(
    function: Callable[..., Any], y: Float[Array, "*y"], weight: Float[Array, " N"], dispersion: Float[Array, " d"]
) -> Float[jax.Array, ""]:
    rows = function(y, dispersion)
    return jnp.zeros(()) if rows is None else jnp.sum(jnp.where(weight > 0.0, weight * rows, 0.0))


def _of_sum(
    function: Callable[..., Any], order: int, primals: tuple[Array, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    of_y, of_weight, of_dispersion = tangents
    change = jnp.zeros((primals[2].size,) * order)
    if not is_zero(of_dispersion):
        change = change + sum_of_rows(function, order + 1, *primals) @ of_dispersion
    if not (is_zero(of_y) and is_zero(of_weight)):
        moving = materialized(of_y), materialized(of_weight)

        def derivative(y: jax.Array, weight: jax.Array) -> jax.Array:
            return _derivative_of_sum(function, order, y, weight, primals[2])

        change = change + jax.jvp(derivative, primals[:2], moving)[1]
    return sum_of_rows(function, order, *primals), change


sum_of_rows.defjvp(_of_sum, symbolic_zeros=True)
