"""Minimizers on the surface of a constraint: against eigenvectors, differences along the surface, repeated equations.

Tolerance: Newton's method ends at rounding; second differences of step 1e-4 have five digits.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlmm.optimize import Newton, Objective, Optax, QuasiNewton, along_surface, feasible, minimize

EXACT, DIFFERENCES = 1e-8, 1e-5
MATRIX = np.diag([1.0, 2.0, 4.0, 7.0]) + 0.3
ONE_BLOCK = np.zeros(4, np.int32)
METHODS = {
    "Newton": Newton(ONE_BLOCK, np.float64(10.0)),
    "Newton, last step not evaluated": Newton(ONE_BLOCK, np.float64(10.0), evaluates_last=False),
    "learned Hessian": QuasiNewton(ONE_BLOCK, np.float64(10.0), curvature=lambda size: 4.0 * size),
    "optax": Optax(optax.adam(0.05), tolerance=1e-9),
}


def quadratic(x):
    return x @ (jnp.asarray(MATRIX) @ x)


def sphere(x):
    return (x @ x - 1.0)[None]


def sphere_and_plane(x):
    """The last equation repeats the others."""
    return jnp.stack([x @ x - 1.0, x[0], x @ x - 1.0 + 2.0 * x[0]])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("constraint", [sphere, sphere_and_plane])
def test_a_quadratic_form_on_a_sphere_has_its_minimum_at_an_eigenvector(method, constraint):
    kept = MATRIX if constraint is sphere else MATRIX[1:, 1:]
    values, vectors = np.linalg.eigh(kept)
    with jax.enable_x64(True):
        start = jnp.array([0.5, 0.9, -0.4, 0.3])
        found = minimize(method, Objective(quadratic, constraint), start, jnp.int32(5000))
    assert found.converged
    assert found.value == pytest.approx(values[0], abs=EXACT)
    x = np.asarray(found.x)
    assert x @ x == pytest.approx(1.0, abs=EXACT)
    assert abs(x[-len(kept) :] @ vectors[:, 0]) == pytest.approx(1.0, abs=1e-6)
    assert np.asarray(found.gradient) == pytest.approx(np.zeros(4), abs=1e-4)


def test_derivatives_are_those_of_the_objective_along_the_surface():
    """By differences of the value at the nearest feasible points; with a parameter more, which nothing constrains."""

    def objective(x):
        return quadratic(x[:4]) + jnp.sin(x[0] * x[1]) + x[4] * x[2] + x[4] ** 2

    with jax.enable_x64(True):
        metric = jnp.array([1.0, 2.0, 0.5, 3.0])
        x, holds = feasible(sphere, jnp.array([0.5, 0.9, -0.4, 0.3]), metric)
        assert holds
        whole = jnp.append(x, 0.7)
        gradient, hessian = jax.grad(objective)(whole), jax.hessian(objective)(whole)
        tangent = along_surface(sphere, x, gradient, hessian, jnp.append(metric, 1.5))

        def value(step):
            near, _ = feasible(sphere, x + step[:4], metric)
            return objective(jnp.append(near, whole[4] + step[4]))

        rng, h = np.random.default_rng(3), 1e-4
        for _ in range(4):
            direction = tangent.projection @ rng.normal(size=5)
            assert sphere(x + h * direction[:4])[0] == pytest.approx(0.0, abs=1e-6)
            ahead, behind, here = (float(value(s * direction)) for s in (h, -h, 0.0))
            assert tangent.gradient @ direction == pytest.approx((ahead - behind) / (2 * h), abs=DIFFERENCES)
            curvature = (ahead - 2 * here + behind) / h**2
            assert direction @ tangent.hessian @ direction == pytest.approx(curvature, rel=1e-4, abs=DIFFERENCES)
        across = 2.0 * jnp.append(x, 0.0) / jnp.append(metric, 1.5)
        assert tangent.projection @ across == pytest.approx(np.zeros(5), abs=EXACT)


def test_constraints_that_contradict_each_other_do_not_hold():
    with jax.enable_x64(True):
        _, holds = feasible(lambda x: jnp.stack([x @ x - 1.0, x[0] - 2.0]), jnp.ones(4), jnp.ones(4))
        assert not holds
        found = minimize(
            METHODS["Newton"],
            Objective(quadratic, lambda x: jnp.stack([x @ x - 1.0, x[0] - 2.0])),
            jnp.ones(4),
            jnp.int32(50),
        )
    assert not found.converged


def test_problems_of_a_batch_end_each_at_its_own_time():
    with jax.enable_x64(True):
        radii = jnp.array([0.1, 1.0, 30.0])

        def one(radius):
            objective = Objective(quadratic, lambda x: (x @ x / radius**2 - 1.0)[None])
            return minimize(METHODS["Newton"], objective, jnp.array([0.5, 0.9, -0.4, 0.3]), jnp.int32(200))

        found = jax.vmap(one)(radii)
    assert found.converged.all()
    assert np.asarray(found.value / radii**2) == pytest.approx(np.linalg.eigvalsh(MATRIX)[0], rel=1e-7)
