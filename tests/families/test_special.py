"""Special functions of the densities and their derivatives, against sums of many digits."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxlmm.families.special import log_rising
from jaxlmm.families.special.rising import rising_derivative

pytestmark = pytest.mark.usefixtures("double_precision")

NUMBERS = [0.0, 1.0, 2.0, 3.0, 10.0, 50.0, 3000.0]
STEPS = [0.0, 1e-12, 1e-6, 1e-3, 0.03, 0.3, 1.0, 10.0, 1e4]


def rising_of_many_digits(order, y, a):
    """The derivative of an order of Σ log(1 + a i)."""
    numbers, a = map(mpmath.mpf, range(int(y))), mpmath.mpf(a)
    if order == 0:
        return mpmath.fsum(mpmath.log(1 + a * i) for i in numbers)
    sign = (-1) ** (order - 1)
    return sign * mpmath.factorial(order - 1) * mpmath.fsum((i / (1 + a * i)) ** order for i in numbers)


@pytest.mark.parametrize("order", range(7))
def test_log_rising_and_its_derivatives_are_sums(order):
    """Parts of order n are as large as 20ⁿ (n − 1)!, and each derivative loses a digit of a ratio near 0; the value has
    ``y`` times a number near 1, which is rounded.
    """
    y, a = (part.ravel() for part in np.meshgrid(NUMBERS, STEPS, indexing="ij"))
    with mpmath.workdps(60):
        expected = np.array([float(rising_of_many_digits(order, *pair)) for pair in zip(y, a, strict=True)])
    found = rising_derivative(order, jnp.array(y), jnp.array(a))
    rounding = 4e-15 * 20.0**order * math.factorial(max(order - 1, 0)) + (2e-16 * y.max() if order == 0 else 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-15 * 10.0 ** max(order, 1), atol=rounding)


def test_derivatives_of_log_rising_are_those_of_the_order():
    function, y = log_rising, jnp.array(7.0)
    for order in range(5):
        found = function(y, jnp.array(0.4))
        np.testing.assert_allclose(found, rising_derivative(order, y, jnp.array(0.4)), rtol=1e-13)
        function = jax.grad(function, argnums=1)
