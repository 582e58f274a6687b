"""Second derivatives of the optimum in the response, and models whose only structure is the residual's.

Along a direction the second derivative is held against differences of the first, and of the optimum itself, at eight
other responses: by each solver, in the interior and at a boundary, forward and reverse in any order, under ``vmap``
and ``jit``. Neighbors: an intercept, a slope, crossed factors, a matrix with one and with three parameters, a residual
structure beside a random term with weights, and alone; no parameter at all.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import jaxlmm as lmm
from jaxlmm.solvers import select

import models

STEPS = 0.16 / 2.0 ** np.arange(4)
"""Lengths of the steps of central differences, extrapolated to none: an error of about the eighth power."""

OF_FIRST, OF_VALUES = 1e-9, 1e-5
"""Relative to the largest: differences of first derivatives lose 1e-14 / step, those of optima, found to about
1e-10, twice that."""

FRAME = models.data()
GROUPS, CROSSED = (np.unique(FRAME[name], return_inverse=True)[1] for name in "gh")
Y = FRAME["y"].to_numpy()
BOTH = Y + np.array([-1.5, 0.5, 2.0, -1.0])[CROSSED]
SINGULAR = np.random.default_rng(5).normal(size=14)[GROUPS] * (1.5 + 0.6 * FRAME["z"].to_numpy())
SINGULAR += np.random.default_rng(2).normal(size=len(FRAME))
ALONG = np.random.default_rng(0).normal(size=len(FRAME))
ALONG /= np.linalg.norm(ALONG)


@pytest.fixture(autouse=True, scope="module")
def _double():
    with jax.enable_x64(True):
        yield


def flat(design):
    """The optimum as one vector: theta, beta, sigma, deviance."""

    def f(y):
        found = lmm.estimate(design, y)
        return jnp.concatenate([found.theta, found.beta, found.sigma[None], found.deviance[None]]), found.status

    return f


def twice(design):
    """Optimum, status, first and second derivative along a direction, for many responses: one program."""
    f = flat(design)

    def first(y, along):
        value, moved, status = jax.jvp(f, (y,), (along,), has_aux=True)
        return moved, (value, status)

    def both(y, along):
        moved, again, (value, status) = jax.jvp(lambda y: first(y, along), (y,), (along,), has_aux=True)
        return value, status, moved, again

    return models.quickly(jax.vmap(both, in_axes=(0, None)))


def around(y):
    """The response itself, then those at which differences are taken."""
    return jnp.asarray(np.stack([y, *(y + sign * step * ALONG for step in STEPS for sign in (1.0, -1.0))]))


def extrapolated(differences):
    """Differences at halved steps, whose errors are series in the square of the step, at none (Richardson 1911)."""
    for order in range(1, len(differences)):
        gain = 4.0**order
        pairs = zip(differences[1:], differences[:-1], strict=True)
        differences = [(gain * finer - coarser) / (gain - 1.0) for finer, coarser in pairs]
    return differences[0]


def check(found, k, held=()):
    """Hold the second derivatives at the first response against differences of first ones, and of values."""
    value, status, first, second = (np.asarray(part) for part in found)
    assert np.all(status == status[0])
    up, down = slice(1, None, 2), slice(2, None, 2)
    of_first = extrapolated(list((first[up] - first[down]) / (2.0 * STEPS[:, None])))
    of_values = extrapolated(list((value[up] + value[down] - 2.0 * value[0]) / STEPS[:, None] ** 2))
    for part in (slice(0, k), slice(k, -2), slice(-2, -1), slice(-1, None)):  # each has a unit of its own
        largest = np.abs(of_first[part]).max(initial=0.0)
        assert second[0, part] == pytest.approx(of_first[part], rel=OF_FIRST, abs=OF_FIRST * largest)
        assert second[0, part] == pytest.approx(of_values[part], rel=OF_VALUES, abs=OF_VALUES * largest)
    free = [place for place in range(k) if place not in held]
    assert np.all(second[0, free] != 0.0)
    assert np.all(value[:, list(held)] == 0.0)
    assert np.all(second[:, list(held)] == 0.0)
    return lmm.STATUS[status[0]]


def test_moments_in_the_interior_and_where_the_covariance_has_rank_one():
    program = twice(models.design("slope", FRAME))
    both = program(jnp.concatenate([around(Y), around(SINGULAR)]), jnp.asarray(ALONG))
    half = len(STEPS) * 2 + 1
    assert check([part[:half] for part in both], 3) == "interior"
    assert check([part[half:] for part in both], 3, held=(2,)) == "boundary"


@pytest.mark.parametrize(
    ("name", "y", "k", "solver"),
    [
        ("crossed", BOTH, 2, "blocked"),
        ("kinship intercept", Y, 1, "spectral"),
        ("ou residual, weights", Y, 2, "dense"),
    ],
)
def test_other_solvers(name, y, k, solver):
    design = models.design(name, FRAME)
    assert select(design).name == solver
    assert check(twice(design)(around(y), jnp.asarray(ALONG)), k) == "interior"


def test_a_matrix_with_three_parameters_of_which_one_is_held():
    found = twice(models.design("kinship", FRAME))(around(Y), jnp.asarray(ALONG))
    assert check(found, 3, held=(2,)) == "boundary"


def test_whatever_the_order_of_forward_and_reverse():
    f, some = flat(models.design("intercept", FRAME)), jnp.asarray([1.0, -2.0, 0.5, 3.0, 0.1])

    def scalar(y):
        value, _ = f(y)
        return some @ value

    def each(y, along):
        hessian = jax.hessian(scalar)(y)
        reverse_forward = jax.grad(lambda y: jax.jvp(scalar, (y,), (along,))[1])(y)
        return hessian, reverse_forward

    hessian, direction = (np.asarray(part) for part in models.quickly(each)(jnp.asarray(Y), jnp.asarray(ALONG)))
    size = np.abs(hessian).max()
    assert hessian == pytest.approx(hessian.T, abs=1e-11 * size)
    assert direction == pytest.approx(hessian @ ALONG, abs=1e-11 * size)


@pytest.fixture(scope="module")
def alone():
    """A model whose only structure is the residual's, and its fit."""
    return lmm.design("~ x", FRAME, residual="ou(t | g)"), lmm.fit("y ~ x", FRAME, residual="ou(t | g)")


def correlation(rate):
    """The n × n matrix of the residuals' correlations, from its definition."""
    distance = np.abs(FRAME["t"].to_numpy()[:, None] - FRAME["t"].to_numpy()[None, :])
    return np.exp(-np.exp(rate) * distance) * (GROUPS[:, None] == GROUPS[None, :])


def plain(rate):
    """Deviance, beta and sigma by NumPy."""
    x, y, matrix = np.column_stack([np.ones(len(FRAME)), FRAME["x"]]), Y, correlation(rate)
    solved = np.linalg.solve(matrix, x)
    beta = np.linalg.solve(x.T @ solved, solved.T @ y)
    square = (y - x @ beta) @ np.linalg.solve(matrix, y - x @ beta)
    count = len(y) - 2
    determinants = np.linalg.slogdet(matrix)[1] + np.linalg.slogdet(x.T @ solved)[1]
    return determinants + count * (1.0 + np.log(2.0 * np.pi * square / count)), beta, np.sqrt(square / count)


def test_a_residual_structure_alone(alone):
    design, fit = alone
    found = twice(design)(around(Y), jnp.asarray(ALONG))
    assert check(found, 1) == fit.status == "interior"
    rate, *beta, sigma, deviance = np.asarray(found[0])[0]
    expected = plain(rate)
    assert deviance == pytest.approx(expected[0], abs=1e-9)
    assert fit.deviance == pytest.approx(deviance, abs=1e-9)
    assert np.array(beta) == pytest.approx(expected[1], rel=1e-10)
    assert sigma == pytest.approx(expected[2], rel=1e-10)
    assert fit.theta == pytest.approx([rate], rel=1e-7)
    assert all(plain(rate + step)[0] > deviance for step in (-0.01, 0.01))
    deviance_at = models.quickly(lmm.deviance(design))
    assert float(deviance_at(jnp.array([rate]), jnp.asarray(Y))) == pytest.approx(deviance, abs=1e-9)


def test_a_residual_structure_alone_elsewhere(alone):
    design, fit = alone
    many = lmm.fit_many("~ x", FRAME, responses=np.stack([Y, 2.0 * Y], axis=1), residual="ou(t | g)")
    assert list(many.status) == ["interior"] * 2
    assert many.glance()["deviance"].iloc[0] == pytest.approx(fit.deviance, abs=1e-8)
    beta, matrix = fit.fixef().to_numpy(), correlation(fit.theta[0])
    point = (jnp.asarray(part) for part in (beta, fit.theta, fit.sigma, Y))
    log = models.quickly(lmm.loglik(design))(*point)
    expected = multivariate_normal(beta[0] + beta[1] * FRAME["x"], fit.sigma**2 * matrix).logpdf(Y)
    assert float(log) == pytest.approx(expected, abs=1e-9)
    rho = fit.variance()["estimate"].iloc[-1]
    held = lmm.fit("y ~ x", FRAME, residual="ou(t | g)", fixed={"Residual: rho": rho})
    assert held.deviance == pytest.approx(fit.deviance, abs=1e-9)


def test_no_parameter_at_all():
    design, along = lmm.design("~ x", FRAME), jnp.asarray(ALONG)
    value, status, first, second = (np.asarray(part)[0] for part in twice(design)(jnp.asarray(Y)[None], along))
    x = np.column_stack([np.ones(len(FRAME)), FRAME["x"]])
    rest = np.eye(len(Y)) - x @ np.linalg.pinv(x)
    count = len(Y) - 2
    sigma, up = np.sqrt(Y @ rest @ Y / count), ALONG @ rest @ Y
    assert lmm.STATUS[status] == "interior"
    assert value[:3] == pytest.approx([*np.linalg.pinv(x) @ Y, sigma], rel=1e-10)
    assert first[2] == pytest.approx(up / (count * sigma), rel=1e-9)
    expected = (ALONG @ rest @ ALONG - (up / sigma) ** 2 / count) / (count * sigma)
    assert second[:3] == pytest.approx([0.0, 0.0, expected], rel=1e-9, abs=1e-13)
