"""Logarithms of gamma functions and of their ratios, without cancellation where their arguments are large."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array

SHIFT = 10
"""By how much arguments are raised for Stirling's series, so that it is exact in seven terms."""

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
"""Bernoulli's numbers of even index, from the second."""

EXPONENTIAL_SERIES_BELOW = 1.0
"""Arguments below which ``(exp(x) − 1) / x`` and its derivatives are series."""

SERIES_BELOW, N_TERMS = 0.1, 18
"""Arguments below which ``log(1 + x) / x`` and its derivatives are series of so many terms; just above, the fourth one
loses five digits to cancellation."""


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
        main = (raised - 0.5) * jnp.log(raised) - raised + 0.5 * np.log(2.0 * np.pi) + _series(1.0 / raised)
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


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def stirling_derivative(order: int, x: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the derivative of an ``order`` of :func:`stirling`, by its values at x + 10 and the recurrence."""
    x = jnp.asarray(x)
    raised, numbers = x + SHIFT, range(SHIFT)
    if order == 0:
        product = functools.reduce(lambda product, k: product * ((x + k) / raised), numbers, jnp.ones_like(x))
        return (x - 0.5) * jnp.log1p(SHIFT / x) - SHIFT + _series(1.0 / raised) - jnp.log(product)

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


def _series(inverse: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return Stirling's series of 1 / x, for x of at least 10 (Abramowitz and Stegun 1964, 6.1.41)."""
    square, series = inverse**2, jnp.zeros_like(inverse)
    for k, bernoulli in reversed(list(enumerate(BERNOULLI, start=1))):
        series = bernoulli / (2 * k * (2 * k - 1)) + series * square
    return inverse * series


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def rising_derivative(order: int, y: Float[Array, "*b"], a: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the derivative in ``a`` of an ``order`` of :func:`_log_rising`, evaluated once for all directions."""
    function = functools.partial(_log_rising, y)
    for _ in range(order):
        function = functools.partial(_along_ones, function)
    return function(jnp.broadcast_to(a, jnp.shape(y)))


@rising_derivative.defjvp
def _of_rising(order: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[jax.Array, jax.Array]:
    y, a = primals
    return rising_derivative(order, y, a), rising_derivative(order + 1, y, a) * tangents[1]


def _along_ones(function: Callable[[jax.Array], jax.Array], a: jax.Array) -> jax.Array:
    """Return the derivative of an elementwise function."""
    return jax.jvp(function, (a,), (jnp.ones_like(a),))[1]


def log_rising(y: Float[Array, "*b"], a: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``Σ log(1 + a i)`` over i = 0 … y − 1, that is ``log(Γ(y + 1/a) / Γ(1/a)) + y log a``, for a ≥ 0.

    Both gamma functions by Stirling's series at arguments raised by 10, so that nothing cancels at a small a. It has no
    derivative in y, of which counts have none.

    >>> round(float(log_rising(jnp.array(3.0), jnp.array(1.0))), 4), float(log_rising(jnp.array(3.0), jnp.array(0.0)))
    (1.7918, 0.0)
    """
    y, a = jnp.broadcast_arrays(jnp.asarray(y), jnp.asarray(a))
    return rising_derivative(0, y, a)


def _log_rising(y: Float[jax.Array, "*b"], a: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    inverse = a / (1.0 + SHIFT * a)  # of the raised 1/a
    product, less_one = a * y, jnp.zeros_like(a)  # Π (1 + a y / (1 + a i)) − 1, whose sum of logarithms is one
    for number in range(SHIFT):
        factor = product / (1.0 + a * number)
        less_one = less_one + factor + less_one * factor
    ratio = y * inverse
    main = y * (log1p_ratio(ratio) - 1.0 + jnp.log1p(SHIFT * a)) + (y - 0.5) * jnp.log1p(ratio)
    return main + _series(inverse / (1.0 + ratio)) - _series(inverse) - jnp.log1p(less_one)


def log_half_step(a: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``log Γ((1/a + 1)/2) − log Γ(1/(2a)) + ½ log 2a``, 0 at a = 0, for a ≥ 0: as :func:`log_rising`."""
    return log_rising(jnp.full_like(jnp.asarray(a), 0.5), 2.0 * jnp.asarray(a))


def log_times(y: Float[Array, "*b"], log: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``y · log``, 0 where y is 0 whatever the logarithm, its derivatives too."""
    zero = jnp.asarray(y) == 0.0
    return jnp.where(zero, 0.0, y * jnp.where(zero, 0.0, log))
