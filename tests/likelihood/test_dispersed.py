"""The deviance with a model of dispersion, against plain normal densities, by every solver."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlmm as lmm
from jaxlmm.likelihood import likelihood_of
from jaxlmm.solvers import SOLVERS

import models
import plain_normal

pytestmark = pytest.mark.usefixtures("double_precision")

GAMMA = np.array([0.3, -0.6, 0.4])
"""Coefficients of x and of the levels v and w of f."""

CASES = {
    "linear": ("y ~ x", {}, (), ("moments", "dense")),
    "intercept": ("y ~ x + (1 | g)", {}, (0.8,), ("moments", "blocked", "dense")),
    "slope, weights": ("y ~ x + (1 + z | g)", {"weights": "w"}, (0.9, 0.3, 0.5), ("moments", "blocked", "dense")),
    "crossed": ("y ~ x + (1 | g) + (1 | h)", {}, (0.8, 0.5), ("blocked", "dense")),
    "kinship": ("y ~ x + (1 | g)", {"kinship": models.kinship}, (0.8,), ("dense",)),
    "ou residual, weights": ("y ~ x + (1 | g)", {"residual": "ou(t | g)", "weights": "w"}, (0.8, -0.5), ("dense",)),
}
BOTH = [(name, solver) for name, case in CASES.items() for solver in case[3]]
VALUE, GRADIENT, HESSIAN = 1e-11, 1e-9, 1e-8
"""Relative to the largest: rounding of sums in another order, and that of derivatives."""


@functools.cache
def design(name):
    frame = models.data()
    formula, options, _, _ = CASES[name]
    options = {**options}
    if "kinship" in options:
        options["kinship"] = {"g": options["kinship"](frame)}
    return lmm.design(formula, frame, dispersion="~ x + f", **options)


def theta_of(name):
    return np.concatenate([CASES[name][2], GAMMA])


def deviance_of(name, solver, method):
    likelihood = likelihood_of(design(name), SOLVERS[solver].build(design(name)), method)
    response = likelihood.observe(likelihood.padded(jnp.asarray(models.data()["y"].to_numpy())))
    return lambda theta: likelihood.deviance(likelihood.layout.factors(theta), response)


def plain(name, frame, theta, method):
    """The deviance from the n × n covariance, profiled over sigma in closed form, in NumPy alone."""
    own, gamma = theta[:-3], theta[-3:]
    x = np.column_stack([frame["x"], frame["f"] == "v", frame["f"] == "w"]).astype(float)
    log_sd = x @ gamma
    log_sd = log_sd - log_sd.mean()  # theta is relative to the geometric mean of the standard deviations
    weight = frame["w"].to_numpy() if "weights" in name else np.ones(len(frame))
    sd = np.exp(log_sd) / np.sqrt(weight)
    g, h = plain_normal.same(frame, "g"), plain_normal.same(frame, "h")
    gap = np.abs(frame["t"].to_numpy()[:, None] - frame["t"].to_numpy()[None, :])
    correlation = np.exp(-np.exp(own[1]) * gap) * g if "ou" in name else np.eye(len(frame))
    random = np.zeros(gap.shape)
    if name.startswith("slope"):
        lower = np.array([[own[0], 0.0], [own[1], own[2]]])
        z = np.column_stack([np.ones(len(frame)), frame["z"]])
        random = (z @ lower @ lower.T @ z.T) * g
    elif name == "kinship":
        random = own[0] ** 2 * models.kinship(frame).loc[frame["g"], frame["g"]].to_numpy()
    elif name != "linear":
        random = own[0] ** 2 * g + (own[1] ** 2 * h if name == "crossed" else 0.0)
    relative = random + np.outer(sd, sd) * correlation
    x = np.column_stack([np.ones(len(frame)), frame["x"]])
    y = frame["y"].to_numpy()
    solved = np.linalg.solve(relative, x)
    rest = y - x @ np.linalg.solve(x.T @ solved, solved.T @ y)
    count = len(y) - (2 if method == "REML" else 0)
    sigma2 = rest @ np.linalg.solve(relative, rest) / count
    return plain_normal.criterion(frame, sigma2 * relative, method), sigma2


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize(("name", "solver"), BOTH)
def test_deviance_is_that_of_the_normal_density(name, solver, method, frame):
    theta = theta_of(name)
    found = float(deviance_of(name, solver, method)(jnp.asarray(theta)))
    assert found == pytest.approx(plain(name, frame, theta, method)[0], rel=VALUE)


@pytest.mark.parametrize("name", [name for name in CASES if name != "linear"])
def test_derivatives_are_those_of_differences_and_of_every_solver(name, frame):
    theta, h = theta_of(name), 1e-5
    steps = h * np.eye(theta.size)
    differences = [(plain(name, frame, theta + s, "REML")[0] - plain(name, frame, theta - s, "REML")[0]) for s in steps]
    found = []
    for solver in CASES[name][3]:
        f = deviance_of(name, solver, "REML")
        both = models.quickly(lambda theta, f=f: (jax.grad(f)(theta), jax.hessian(f)(theta)))
        found.append([np.asarray(part) for part in both(jnp.asarray(theta))])
    for gradient, hessian in found:
        np.testing.assert_allclose(gradient, np.array(differences) / (2 * h), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(hessian, hessian.T, atol=HESSIAN * np.abs(hessian).max())
        np.testing.assert_allclose(gradient, found[0][0], atol=GRADIENT * np.abs(gradient).max())
        np.testing.assert_allclose(hessian, found[0][1], atol=HESSIAN * np.abs(hessian).max())


@pytest.mark.parametrize("name", ["slope, weights", "ou residual, weights"])
def test_public_functions_take_coefficients_of_the_data(name, frame):
    """``deviance`` and ``loglik`` at the profiled beta and sigma, which is that where the columns are zero."""
    theta, y = theta_of(name), jnp.asarray(frame["y"].to_numpy())
    expected, sigma2 = plain(name, frame, theta, "ML")
    assert float(lmm.deviance(design(name), "ML")(jnp.asarray(theta), y)) == pytest.approx(expected, rel=VALUE)
    x = np.column_stack([frame["x"], frame["f"] == "v", frame["f"] == "w"]).astype(float)
    sigma = np.sqrt(sigma2) * np.exp(-(x @ GAMMA).mean())
    loglik = lmm.loglik(design(name))
    beta = jnp.zeros(2)
    for _ in range(2):  # Newton's method on a quadratic
        gradient, hessian = (
            derivative(loglik)(beta, jnp.asarray(theta), sigma, y) for derivative in (jax.grad, jax.hessian)
        )
        beta = beta - jnp.asarray(np.linalg.solve(hessian, gradient))
    assert -2.0 * float(loglik(beta, jnp.asarray(theta), sigma, y)) == pytest.approx(expected, rel=1e-10)
