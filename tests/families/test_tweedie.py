"""Tweedie's density against the whole series in 40 digits, its derivatives, and its distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

from jaxlmm.families import Tweedie
from jaxlmm.families.tweedie import relative_series

mpmath = pytest.importorskip("mpmath")

ACCURACY = 1e-10
"""What the documents say of the log-density, between the powers 1.02 and 1.98."""

POWERS = [1.02, 1.1, 1.5, 1.9, 1.98]
DISPERSIONS = [1e-4, 0.05, 1.0, 40.0]
OBSERVATIONS = [1e-3, 0.4, 3.0, 250.0]


def log_series(y, phi, power):
    """The factor of the density that the mean does not enter, with the part that the package takes off it."""
    return y ** (2.0 - power) / (phi * (2.0 - power) * (power - 1.0)) + relative_series(y, phi, power)


def whole_series(y, phi, power):
    """The logarithm of Dunn and Smyth's series with every term that is above 1e-25 of the largest."""
    y, phi, power = mpmath.mpf(y), mpmath.mpf(phi), mpmath.mpf(power)
    a = (2 - power) / (power - 1)
    log_z = a * (mpmath.log(y) - mpmath.log(power - 1)) - (1 + a) * mpmath.log(phi) - mpmath.log(2 - power)

    def term(j):
        return j * log_z - mpmath.loggamma(j + 1) - mpmath.loggamma(j * a)

    middle = max(int(y ** (2 - power) / (phi * (2 - power))), 1)
    largest, total = term(middle), mpmath.mpf(1)
    for step in (1, -1):
        j = middle + step
        while j >= 1 and (own := term(j) - largest) > -60:
            total += mpmath.exp(own)
            j += step
    return largest + mpmath.log(total) - mpmath.log(y)


@pytest.mark.parametrize("power", POWERS)
def test_series_has_ten_digits(power):
    with mpmath.workdps(40), jax.enable_x64(True):
        for phi in DISPERSIONS:
            ys = [y for y in OBSERVATIONS if y ** (2 - power) / (phi * (2 - power)) < 3e4]
            expected = [float(whole_series(y, phi, power)) for y in ys]
            found = log_series(jnp.array(ys), jnp.array(phi), jnp.array(power))
            size = 1.0 + np.abs([y ** (2 - power) / (phi * (2 - power) * (power - 1)) for y in ys])
            # The factor of the mean cancels most of a large one; of that, double precision leaves 1e-16.
            apart = np.abs(found - np.array(expected))
            assert np.all(apart < ACCURACY + 4e-15 * size), (phi, apart)


@pytest.mark.parametrize("power", [power for power in POWERS if power < 1.98])
def test_density_integrates_to_one(power):
    """In the logarithm of y; near the power of 2 much of it is below the smallest number in double precision."""
    with jax.enable_x64(True):
        family, mean, dispersion = Tweedie(link="identity"), 1.3, jnp.array([0.9, power])
        at_zero = float(jnp.exp(family.log_density(jnp.array(0.0), jnp.array(mean), dispersion)))
        log_y = jnp.linspace(-690.0, np.log(200.0), 200_001)
        of_log = jax.jit(lambda x: jnp.exp(family.log_density(jnp.exp(x), jnp.full_like(x, mean), dispersion) + x))
        total = float(jnp.sum(of_log(log_y))) * float(log_y[1] - log_y[0])
        np.testing.assert_allclose(at_zero + total, 1.0, atol=1e-8)


def test_derivatives_in_power_and_dispersion_are_those_of_the_whole_series():
    with mpmath.workdps(40), jax.enable_x64(True):
        slope, curvature = (jax.jit(of(lambda d, y: log_series(y, d[0], d[1]))) for of in (jax.grad, jax.hessian))
        for y, phi, power in ((0.4, 1.0, 1.5), (3.0, 0.02, 1.9), (3.0, 0.3, 1.08)):
            gradient, hessian = (of(jnp.array([phi, power]), jnp.array(y)) for of in (slope, curvature))
            step = mpmath.mpf("1e-9")
            for k in range(2):
                up, down = ([mpmath.mpf(phi), mpmath.mpf(power)] for _ in range(2))
                up[k] += step
                down[k] -= step
                above, here, below = whole_series(y, *up), whole_series(y, phi, power), whole_series(y, *down)
                np.testing.assert_allclose(gradient[k], float((above - below) / (2 * step)), rtol=1e-8)
                np.testing.assert_allclose(hessian[k, k], float((above - 2 * here + below) / step**2), rtol=1e-6)


def test_probabilities_are_integrals_of_the_density():
    with jax.enable_x64(True):
        family, dispersion = Tweedie(link="identity"), np.array([0.9, 1.4])
        distribution = family.distribution(np.array([1.3]), dispersion)
        density = jax.jit(lambda y: jnp.exp(family.log_density(y, jnp.array(1.3), jnp.array(dispersion))))
        at_zero = float(jnp.exp(family.log_density(jnp.array(0.0), jnp.array(1.3), jnp.array(dispersion))))
        for x in (0.5, 2.0, 6.0):
            total, _ = scipy.integrate.quad(lambda y: float(density(y)), 0.0, x, limit=200)
            np.testing.assert_allclose(distribution.cdf(x), at_zero + total, rtol=1e-7)
        np.testing.assert_allclose(distribution.cdf(-1.0), 0.0)
        np.testing.assert_allclose(distribution.var(), 0.9 * 1.3**1.4)


@pytest.mark.parametrize("power", POWERS)
def test_terms_that_are_left_out_do_not_count(power):
    with jax.enable_x64(True):
        a = (2 - power) / (power - 1)
        for largest in np.geomspace(0.1, 2e4, 80):
            phi = 1.0 / (largest * (2 - power))
            log_z = -a * np.log(power - 1) - (1 + a) * np.log(phi) - np.log(2 - power)
            j = np.arange(1.0, 2 * largest + 40 * np.sqrt(largest) + 60)
            every = scipy.special.logsumexp(j * log_z - scipy.special.gammaln(j + 1) - scipy.special.gammaln(j * a))
            found = float(log_series(jnp.array(1.0), jnp.array(phi), jnp.array(power)))
            assert abs(found - every) < ACCURACY + 4e-15 * largest / (power - 1), largest
