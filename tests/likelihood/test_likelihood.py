"""The deviance on a registry of designs and solvers: values against plain NumPy, derivatives against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlmm as lmm
from jaxlmm.solvers import select

import models

DATA = models.data()
Y = DATA["y"].to_numpy()
STEP = 1e-5
"""Central differences of a function with relative rounding 1e-14 are good to about 1e-9 at this step."""

STRESS_CALLS = 200


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def second_order(design, solver):
    """Value, gradient and Hessian as one program."""
    f = models.deviance(design, solver, "REML")
    return models.quickly(lambda theta, y: (f(theta, y), jax.grad(f)(theta, y), jax.hessian(f)(theta, y)))


def check_values(name, method, value):
    for factor in (1.0, 0.1, 3.0):
        theta = factor * np.array(models.MODELS[name].theta)
        assert float(value(theta)) == pytest.approx(models.plain_deviance(name, DATA, theta, method), abs=1e-9)


@pytest.mark.parametrize(("name", "solver"), models.CASES)
def test_value_is_the_plain_deviance_by_ml(name, solver):
    f, y = models.quickly(models.deviance(models.design(name, DATA), solver, "ML")), jnp.asarray(Y)
    check_values(name, "ML", lambda theta: f(theta, y))


@pytest.mark.parametrize(("name", "solver"), models.CASES)
def test_value_is_the_plain_deviance_by_reml_and_has_its_derivatives(name, solver):
    of_second_order, y = second_order(models.design(name, DATA), solver), jnp.asarray(Y)
    check_values(name, "REML", lambda theta: of_second_order(theta, y)[0])
    theta = models.theta_of(name)
    _, gradient, hessian = (np.asarray(part) for part in of_second_order(theta, y))
    steps = STEP * np.eye(theta.size)
    pairs = [[of_second_order(theta + sign * s, y) for sign in (1.0, -1.0)] for s in steps]
    by_value = [(float(ahead[0]) - float(behind[0])) / (2 * STEP) for ahead, behind in pairs]
    assert gradient == pytest.approx(by_value, abs=1e-7, rel=1e-7)
    by_gradient = np.array([(ahead[1] - behind[1]) / (2 * STEP) for ahead, behind in pairs])
    assert hessian == pytest.approx(by_gradient, abs=1e-6, rel=1e-6)
    assert np.abs(hessian - hessian.T).max() < 1e-8


@pytest.mark.parametrize("name", [name for name, model in models.MODELS.items() if len(model.solvers) > 1])
def test_solvers_agree(name):
    design, theta, y = models.design(name, DATA), models.theta_of(name), jnp.asarray(Y)
    first, *others = (second_order(design, solver)(theta, y) for solver in models.MODELS[name].solvers)
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            assert np.asarray(mine) == pytest.approx(np.asarray(theirs), rel=1e-9, abs=1e-9)


EXTREME = [
    (name, ratio)
    for name in (
        "intercept", "slope", "uncorrelated", "factor", "weights, offset", "crossed", "nested", "three crossed",
        "crossed and nested", "kinship intercept", "kinship slope, weights",
    )
    for ratio in (1e-10, 1e10)
]  # fmt: skip


SLOPES = "slopes on both"
"""Blocked loses here as many of 15 digits as the ratio has, and four more in second derivatives: a triangular factor
mixes correlated columns, of which one is singular outside the eliminated levels."""


@pytest.mark.parametrize(("name", "ratio"), [*EXTREME, (SLOPES, 1e-10), (SLOPES, 1e6)])
def test_solvers_agree_at_extreme_variance_ratios(name, ratio):
    design, theta = models.design(name, DATA), models.theta_of(name) * np.sqrt(ratio)
    scale = np.asarray(theta)  # derivatives in relative changes of theta
    tolerance = 1e-9 if name != SLOPES else max(1e-9, 1e-11 * ratio)
    results = []
    for solver in models.MODELS[name].solvers:
        value, gradient, hessian = second_order(design, solver)(theta, jnp.asarray(Y))
        results.append((float(value), np.asarray(gradient) * scale, np.asarray(hessian) * np.outer(scale, scale)))
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            assert mine == pytest.approx(theirs, abs=tolerance, rel=tolerance)


def test_moments_does_not_cancel():
    """With one level per scalar variance the deviance is known in closed form: no digit is lost at any ratio."""
    design, y = models.design("intercept", DATA), jnp.asarray(Y)
    f = models.deviance(design, "moments", "ML")
    codes = DATA["g"].astype("category").cat.codes.to_numpy()
    counts = np.bincount(codes)
    x = np.column_stack([np.ones(len(DATA)), DATA["x"]])
    for ratio in (1e-10, 1.0, 1e6, 1e10):
        # Each level's mean has relative variance 1/n_j + ratio; deviations from it have variance 1.
        shrink = 1.0 - 1.0 / np.sqrt(1.0 + ratio * counts)
        white = [v - shrink[codes] * (np.bincount(codes, v) / counts)[codes] for v in (*x.T, Y)]
        design_white, y_white = np.column_stack(white[:-1]), white[-1]
        rest = y_white - design_white @ np.linalg.lstsq(design_white, y_white, rcond=None)[0]
        expected = np.log1p(ratio * counts).sum() + len(Y) * (1 + np.log(2 * np.pi * (rest @ rest) / len(Y)))
        assert float(f(jnp.array([np.sqrt(ratio)]), y)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("name", "solver"), [("slope", "moments"), ("crossed", "blocked"), ("ou residual", "dense")])
def test_public_functions_compile_map_and_differentiate(name, solver):
    assert select(models.design(name, DATA)).name == solver
    f = lmm.deviance(models.design(name, DATA))
    theta, y = models.theta_of(name), jnp.asarray(Y)
    many = jnp.stack([y, 2.0 * y, y + DATA["x"].to_numpy()], axis=1)
    mapped = models.quickly(jax.vmap(f, in_axes=(None, 1)))(theta, many)
    assert np.asarray(mapped) == pytest.approx([float(f(theta, many[:, j])) for j in range(3)], rel=1e-12)
    by_y = jax.grad(f, argnums=1)(theta, y)
    step = jnp.zeros_like(y).at[3].set(STEP)
    assert float(by_y[3]) == pytest.approx(float((f(theta, y + step) - f(theta, y - step)) / (2 * STEP)), abs=1e-6)
    with pytest.raises(lmm.DataError, match="expected shape"):
        f(theta, y[:-1])


def test_deviance_follows_the_callers_precision():
    with jax.enable_x64(False):
        value = lmm.deviance(models.design("slope", DATA))(jnp.array(models.MODELS["slope"].theta), jnp.asarray(Y))
    assert value.dtype == jnp.float32
    exact = models.plain_deviance("slope", DATA, np.array(models.MODELS["slope"].theta), "REML")
    assert float(value) == pytest.approx(exact, rel=1e-4)


def test_loglik_profiles_to_the_deviance():
    fit = models.fit("weights, offset", DATA, method="ML")
    f = lmm.loglik(fit.design)
    beta, y = jnp.asarray(fit.fixef().to_numpy()), jnp.asarray(Y)
    assert float(f(beta, fit.theta, fit.sigma, y)) == pytest.approx(fit.loglik, abs=1e-9)
    slope = jax.grad(f, argnums=(0, 2))(beta, jnp.asarray(fit.theta), jnp.asarray(fit.sigma), y)
    assert np.abs(np.asarray(slope[0])).max() < 1e-6
    assert abs(float(slope[1])) < 1e-6


@pytest.mark.parametrize(("name", "solver"), [("factor", "moments"), ("slope", "dense"), ("crossed", "blocked")])
def test_batched_hessian_program_never_hangs(name, solver):
    """Batched LAPACK inside such a program can deadlock on two cores; ours has none. Default threads, 200 calls."""
    f = models.deviance(models.design(name, DATA), solver, "REML")
    program = models.quickly(jax.vmap(jax.hessian(f), in_axes=(0, 1)))
    rng = np.random.default_rng(0)
    thetas = jnp.asarray(np.array(models.MODELS[name].theta) * rng.uniform(0.5, 2.0, (16, 1)))
    many = jnp.asarray(Y[:, None] + rng.normal(size=(len(Y), 16)))
    for _ in range(STRESS_CALLS):
        result = jax.block_until_ready(program(thetas, many))
    assert bool(jnp.all(jnp.isfinite(result)))
