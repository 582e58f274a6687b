"""The logarithm of the gamma function, and the rest of Stirling's formula, with derivatives of any order."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array

SHIFT = 10
"""By how much arguments are raised for Stirling's series, so that it is exact in seven terms."""

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
"""Bernoulli's numbers of even index, from the second."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def gamma_derivative(order: int, x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the derivative of an ``order`` of ``log Γ(x)``, for x > 0; itself where that is 0.

    By Stirling's series at x + 10 and the recurrence (Abramowitz and Stegun 1964, 6.1.41, 6.4.6 and 6.4.11). Each
    derivative is evaluated on its own: those of JAX's ``lgamma`` of third and fourth order compile slowly.

    >>> [round(float(gamma_derivative(order, jnp.array(4.0))), 4) for order in range(3)]
    [1.7918, 1.2561, 0.2838]
    """
    x = jnp.asarray(x)
    raised, numbers = x + SHIFT, range(SHIFT)
    if order == 0:
        product = functools.reduce(lambda product, k: product * (x + k), numbers, jnp.ones_like(x))
        main = (raised - 0.5) * jnp.log(raised) - raised + 0.5 * np.log(2.0 * np.pi) + stirling_series(1.0 / raised)
        return main - jnp.log(product)
    series = jnp.zeros_like(x)
    for k, bernoulli in reversed(list(enumerate(BERNOULLI, start=1))):
        # B (2k + order − 2)! / (2k)!, with the sign of odd derivatives
        factor = bernoulli * math.factorial(2 * k + order - 2) / math.factorial(2 * k)
        series = factor + series / raised**2
    below = functools.reduce(lambda total, k: total + 1.0 / (x + k) ** order, numbers, jnp.zeros_like(x))
    sign, last = (-1.0) ** order, float(math.factorial(order - 1))
    first = -jnp.log(raised) if order == 1 else math.factorial(order - 2) / raised ** (order - 1)
    return sign * (first + 0.5 * last / raised**order + series / raised ** (order + 1) + last * below)


@gamma_derivative.defjvp
def _of_gamma(order: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (along,) = primals, tangents
    return gamma_derivative(order, x), gamma_derivative(order + 1, x) * along


def log_gamma(x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``log Γ(x)`` for x > 0."""
    return gamma_derivative(0, x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def stirling_derivative(order: int, x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the derivative of an ``order`` of :func:`stirling`, by its values at x + 10 and the recurrence."""
    x = jnp.asarray(x)
    raised, numbers = x + SHIFT, range(SHIFT)
    if order == 0:
        product = functools.reduce(lambda product, k: product * ((x + k) / raised), numbers, jnp.ones_like(x))
        return (x - 0.5) * jnp.log1p(SHIFT / x) - SHIFT + stirling_series(1.0 / raised) - jnp.log(product)

    def of_logarithms(n: int) -> Float[jax.Array, "*b"]:
        """Return the derivative of log(x + 10) − log x."""
        if n == 0:
            return jnp.log1p(SHIFT / x)
        return (-1.0) ** (n - 1) * math.factorial(n - 1) * (1.0 / raised**n - 1.0 / x**n)

    series = jnp.zeros_like(x)
    for k, bernoulli in reversed(list(enumerate(BERNOULLI, start=1))):
        rising = math.factorial(2 * k + order - 2) / math.factorial(2 * k - 2)
        series = bernoulli / (2 * k * (2 * k - 1)) * rising + series / raised**2
    series = (-1.0) ** order * series / raised ** (order + 1)
    below = functools.reduce(lambda total, k: total + (1.0 / (x + k) ** order - 1.0 / raised**order), numbers, 0.0)
    main = (x - 0.5) * of_logarithms(order) + order * of_logarithms(order - 1)
    return main + series + (-1.0) ** order * math.factorial(order - 1) * below


@stirling_derivative.defjvp
def _of_stirling(order: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (along,) = primals, tangents
    return stirling_derivative(order, x), stirling_derivative(order + 1, x) * along


def stirling(x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``log Γ(x) − (x − ½) log x + x − ½ log 2π``, which tends to 1 / (12 x), for x > 0.

    >>> round(float(stirling(jnp.array(1.0))), 4), round(float(jax.grad(stirling)(1.0)), 4)
    (0.0811, -0.0772)
    """
    return stirling_derivative(0, x)


def stirling_series(inverse: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return Stirling's series of 1 / x, for x of at least 10 (Abramowitz and Stegun 1964, 6.1.41)."""
    square, series = inverse**2, jnp.zeros_like(inverse)
    for k, bernoulli in reversed(list(enumerate(BERNOULLI, start=1))):
        series = bernoulli / (2 * k * (2 * k - 1)) + series * square
    return inverse * series
