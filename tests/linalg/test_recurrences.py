"""Recurrences by blocks: against loops in NumPy, at lengths in one loop and in blocks, with derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlmm.linalg import backward_recurrence, linear_recurrence, riccati_recurrence

pytestmark = pytest.mark.usefixtures("double_precision")

ROUNDING = 1e-13
"""Sums of positive numbers that decay: errors of a few units in the last place."""

DIFFERENCES = 1e-6
"""Central differences with steps of 1e-5 of functions of size one."""

LENGTHS = (1, 2, 255, 257, 1000, 4099)


def plain_linear(a, b):
    x, found = np.zeros(b.shape[1]), []
    for one, constant in zip(a, b, strict=True):
        x = one * x + constant
        found.append(x)
    return np.array(found)


def plain_riccati(kept, added, precision):
    variance, found = 0.0, []
    for r, q, h in zip(kept, added, precision, strict=True):
        variance = r * variance / (1.0 + h * variance) + q
        found.append(variance)
    return np.array(found)


def arguments(n, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1.0, 1.0, n)
    a[rng.uniform(size=n) < 0.1] = 0.0
    a[rng.uniform(size=n) < 0.3] = 1.0
    return a, rng.normal(size=(n, 3))


@pytest.mark.parametrize("n", LENGTHS)
def test_linear(n):
    a, b = arguments(n)
    found = linear_recurrence(jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(found, plain_linear(a, b), rtol=0.0, atol=ROUNDING * n)
    back = backward_recurrence(jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(back, plain_linear(a[::-1], b[::-1])[::-1], rtol=0.0, atol=ROUNDING * n)


@pytest.mark.parametrize("size", [1e-10, 1.0, 1e10])
@pytest.mark.parametrize("n", LENGTHS)
def test_riccati(n, size):
    rng = np.random.default_rng(1)
    rho = np.exp(-rng.exponential(0.1, n))
    kept, added, precision = rho**2, -np.expm1(2.0 * np.log(rho)), size * rng.exponential(1.0, n)
    kept[:: max(n // 3, 1)], added[:: max(n // 3, 1)] = 0.0, 1.0
    found = riccati_recurrence(*map(jnp.asarray, (kept, added, precision)))
    np.testing.assert_allclose(found, plain_riccati(kept, added, precision), rtol=ROUNDING, atol=0.0)


@pytest.mark.parametrize("n", [40, 300])
def test_derivatives(n):
    """Forward and reverse, first and second, under ``vmap``."""
    a, b = (jnp.asarray(part) for part in arguments(n, 2))
    weights = jnp.asarray(np.random.default_rng(3).normal(size=n)) / n

    @jax.jit
    def f(point):
        rate = jnp.exp(point[0])
        x = linear_recurrence(a * jnp.exp(-rate), b * point[1])
        p = riccati_recurrence(
            jnp.exp(-2.0 * rate) * a**2, 1.1 - a**2 * point[1] ** 2, jnp.exp(point[1]) + b[:, 0] ** 2
        )
        return weights @ (jnp.sum(x**2, axis=1) + jnp.log(p))

    points = jnp.array([[-1.0, 0.4], [0.2, 0.7]])
    forward, reverse = (jax.jit(jax.vmap(derivative(f)))(points) for derivative in (jax.jacfwd, jax.grad))
    np.testing.assert_allclose(forward, reverse, rtol=1e-11)
    second = jax.jit(jax.vmap(jax.jacfwd(jax.grad(f))))(points)
    np.testing.assert_allclose(second, jax.jit(jax.vmap(jax.jacrev(jax.grad(f))))(points), rtol=1e-10)
    np.testing.assert_allclose(second, np.swapaxes(second, 1, 2), rtol=1e-10)
    step = 1e-5
    for k in range(2):
        along = step * jnp.eye(2)[k][None]
        change = (jax.vmap(f)(points + along) - jax.vmap(f)(points - along)) / (2.0 * step)
        np.testing.assert_allclose(forward[:, k], change, atol=DIFFERENCES)
        slopes = (jax.vmap(jax.grad(f))(points + along) - jax.vmap(jax.grad(f))(points - along)) / (2.0 * step)
        np.testing.assert_allclose(second[:, k], slopes, atol=DIFFERENCES * 10.0)
