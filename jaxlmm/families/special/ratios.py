"""Ratios without cancellation near 0, products with a logarithm, and a sum of what is known by its logarithm."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array

EXPONENTIAL_SERIES_BELOW = 1.0
"""Arguments below which ``(exp(x) − 1) / x`` and its derivatives are series."""

SERIES_BELOW, N_TERMS = 0.1, 18
"""Arguments below which ``log(1 + x) / x`` and its derivatives are series of so many terms; just above, the fourth one
loses five digits to cancellation."""

FAR = 600.0
"""Below minus this the logarithm of a probability is that of a number which double precision does not have."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def ratio_derivative(order: int, x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the derivative of an ``order`` of ``f(x) = log(1 + x) / x``, which is 1 at 0, for x > −1.

    With fₙ the n-th derivative, ``x fₙ + n fₙ₋₁`` is that of log(1 + x); near 0 a series.
    """
    x = jnp.asarray(x)
    near = jnp.abs(x) < SERIES_BELOW
    small, large = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    series = jnp.zeros_like(x)
    for k in range(N_TERMS, -1, -1):
        series = math.factorial(k + order) / math.factorial(k) / (k + order + 1) - small * series
    value = jnp.log1p(large) / large
    for n in range(1, order + 1):
        value = ((-1.0) ** (n - 1) * math.factorial(n - 1) / (1.0 + large) ** n - n * value) / large
    return jnp.where(near, (-1.0) ** order * series, value)


@ratio_derivative.defjvp
def _of_ratio(order: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (along,) = primals, tangents
    return ratio_derivative(order, x), ratio_derivative(order + 1, x) * along


def log1p_ratio(x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``log(1 + x) / x``, 1 at 0, for x > −1.

    >>> float(log1p_ratio(jnp.array(0.0))), round(float(log1p_ratio(jnp.array(1.0))), 4)
    (1.0, 0.6931)
    """
    return ratio_derivative(0, x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def expm1_derivative(order: int, x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the derivative of an ``order`` of ``f(x) = (exp(x) − 1) / x``, which is 1 at 0.

    With fₙ the n-th derivative, ``x fₙ + n fₙ₋₁`` is exp(x); near 0 a series.
    """
    x = jnp.asarray(x)
    near = jnp.abs(x) < EXPONENTIAL_SERIES_BELOW
    small, large = jnp.where(near, x, 0.0), jnp.where(near, EXPONENTIAL_SERIES_BELOW, x)
    series = jnp.zeros_like(x)
    for k in range(N_TERMS, -1, -1):
        series = 1.0 / (math.factorial(k) * (k + order + 1)) + small * series
    value = jnp.expm1(large) / large
    for n in range(1, order + 1):
        value = (jnp.exp(large) - n * value) / large
    return jnp.where(near, series, value)


@expm1_derivative.defjvp
def _of_expm1(order: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (along,) = primals, tangents
    return expm1_derivative(order, x), expm1_derivative(order + 1, x) * along


def expm1_ratio(x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``(exp(x) − 1) / x``, 1 at 0.

    >>> float(expm1_ratio(jnp.array(0.0))), round(float(expm1_ratio(jnp.array(1.0))), 4)
    (1.0, 1.7183)
    """
    return expm1_derivative(0, x)


def log_times(y: Float[Array, "*b"], log: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``y · log``, 0 where y is 0 whatever the logarithm, its derivatives too."""
    zero = jnp.asarray(y) == 0.0
    return jnp.where(zero, 0.0, y * jnp.where(zero, 0.0, log))


def log_sum(odds: Float[jax.Array, ""], log: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``log(odds + exp(log))``, also at odds of 0, for logarithms of at most 0."""
    far, possible = log < -FAR, odds > 0.0
    near = jnp.log(odds + jnp.exp(jnp.where(far, 0.0, log)))
    return jnp.where(far, jnp.where(possible, jnp.log(jnp.where(possible, odds, 1.0)), log), near)
