"""Logarithms of ratios of gamma functions, without cancellation where their arguments are large."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.families.special.gamma import BERNOULLI, SHIFT
from jaxlmm.families.special.power_series import Series, composed, log1p, polynomial, product, quotient
from jaxlmm.families.special.ratios import ratio_derivative


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def rising_derivative(order: int, y: Float[Array, "*b"], a: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the derivative in ``a`` of an ``order`` of :func:`log_rising`, evaluated once for all directions.

    The sum over i from 10, whose gamma functions are Stirling's series, as a power series in what is added to ``a``,
    less ``Σ log((1 + a (y + i)) / (1 + a i))`` over i = 0 … 9.
    """
    y = jnp.asarray(y)
    a = jnp.broadcast_to(a, y.shape)
    main = _raised_rising(y, _variable(a, order))[order]
    if order == 0:
        less_one = jnp.zeros_like(a)  # Π (1 + a y / (1 + a i)) − 1, whose sum of logarithms is one
        for number in range(SHIFT):
            factor = a * y / (1.0 + a * number)
            less_one = less_one + factor + less_one * factor
        return main - jnp.log1p(less_one)
    below = jnp.zeros_like(a)
    for number in range(SHIFT):
        upper, lower = (at / (1.0 + a * at) for at in (y + number, float(number)))
        below = below + (upper**order - lower**order)
    return math.factorial(order) * main + (-1.0) ** order * math.factorial(order - 1) * below


@rising_derivative.defjvp
def _of_rising(order: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[jax.Array, jax.Array]:
    y, a = primals
    return rising_derivative(order, y, a), rising_derivative(order + 1, y, a) * tangents[1]


def _raised_rising(y: Float[jax.Array, "*b"], a: Series) -> Series:
    """Return ``log(Γ(y + 1/a + 10) / Γ(1/a + 10)) + y log a``, for a power series ``a``."""
    size = len(a)
    raised = [SHIFT * part for part in a]
    inverse = quotient(a, [1.0 + raised[0], *raised[1:]])  # of the raised 1/a
    ratio = [y * part for part in inverse]
    of_ratio = [ratio_derivative(n, ratio[0]) / math.factorial(n) for n in range(size)]
    less_one = composed([of_ratio[0] - 1.0, *of_ratio[1:]], ratio)
    logs = zip(less_one, log1p(raised), log1p(ratio), strict=True)
    main = [y * (one + shift) + (y - 0.5) * log for one, shift, log in logs]
    upper = quotient(inverse, [1.0 + ratio[0], *ratio[1:]])
    stirling_part = zip(_series_of(upper), _series_of(inverse), strict=True)
    return [part + (above - below) for part, (above, below) in zip(main, stirling_part, strict=True)]


def _series_of(inverse: Series) -> Series:
    """Return :func:`stirling_series` of a power series."""
    factors = tuple(bernoulli / (2 * k * (2 * k - 1)) for k, bernoulli in enumerate(BERNOULLI, start=1))
    return product(inverse, polynomial(factors, product(inverse, inverse)))


def _variable(a: Float[jax.Array, "*b"], order: int) -> Series:
    """Return ``a + t`` up to an order of t."""
    return [a, jnp.ones_like(a), *[jnp.zeros_like(a)] * (order - 1)][: order + 1]


def log_rising(y: Float[Array, "*b"], a: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``Σ log(1 + a i)`` over i = 0 … y − 1, that is ``log(Γ(y + 1/a) / Γ(1/a)) + y log a``, for a ≥ 0.

    Both gamma functions by Stirling's series at arguments raised by 10, so that nothing cancels at a small a. It has no
    derivative in y, of which counts have none.

    >>> round(float(log_rising(jnp.array(3.0), jnp.array(1.0))), 4), float(log_rising(jnp.array(3.0), jnp.array(0.0)))
    (1.7918, 0.0)
    """
    y, a = jnp.broadcast_arrays(jnp.asarray(y), jnp.asarray(a))
    return rising_derivative(0, y, a)


def log_half_step(a: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``log Γ((1/a + 1)/2) − log Γ(1/(2a)) + ½ log 2a``, 0 at a = 0, for a ≥ 0: as :func:`log_rising`."""
    return log_rising(jnp.full_like(jnp.asarray(a), 0.5), 2.0 * jnp.asarray(a))
