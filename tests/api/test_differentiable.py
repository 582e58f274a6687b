"""Derivatives of an optimum in all that a design consists of, against refits; designs that are traced.

Tolerance: central differences of refits with a step of 1e-4 of the values' size have a relative error of about its
square, and one of the refits' own convergence over the step; they agree with derivatives to 1e-5.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from decaying import Decay

import jaxlmm as lmm
from jaxlmm.linalg import semidefinite_cholesky

import models

STEP, RELATIVE = 1e-4, 1e-5
ROWS, SITES = 48, 12
RNG = np.random.default_rng(3)
CODES = np.arange(ROWS) % SITES
NAMES = [f"site{code:02d}" for code in range(SITES)]
PLACES = RNG.uniform(size=(SITES, 2))
COORDS = pd.DataFrame(PLACES, index=NAMES, columns=["u", "v"])
KNOWN = np.exp(-np.linalg.norm(PLACES[:, None] - PLACES[None], axis=-1) / 0.4)
DATA = pd.DataFrame({
    "site": [NAMES[code] for code in CODES], "x": RNG.normal(size=ROWS), "t": np.arange(ROWS) // SITES * 1.0,
})  # fmt: skip
EFFECTS = np.linalg.cholesky(KNOWN) @ RNG.normal(size=SITES) * 1.5
DATA["y"] = 1.0 + 0.5 * DATA["x"] + EFFECTS[CODES] * (1.0 + 0.4 * DATA["t"]) + RNG.normal(size=ROWS)
X = np.column_stack([np.ones(ROWS), DATA["x"]])
WEIGHTS = RNG.uniform(0.5, 2.0, ROWS)
Y = DATA["y"].to_numpy()


class Shared(lmm.covariance.AbstractCovariance):
    """Columns with one standard deviation, and a correlation that is a field."""

    correlation: float

    def n_params(self, q):
        return 1

    def cholesky(self, theta, coords):
        q = len(coords)
        return theta[0] * semidefinite_cholesky(
            (1.0 - self.correlation) * jnp.eye(q) + self.correlation * jnp.ones((q, q))
        )


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def flat(found):
    return jnp.concatenate([found.theta, found.beta, found.sigma[None], found.deviance[None]])


PLAIN = lmm.design("~ x + offset(t) + (1 | site)", DATA)
SLOPES = lmm.design("~ x + (1 + t | site)", DATA)
RELATED = lmm.design("~ x + (1 | site)", DATA, kinship={"site": pd.DataFrame(KNOWN, index=NAMES, columns=NAMES)})
KERNEL = lmm.design("~ x + (1 | site)", DATA, kinship={"site": Decay(length=0.4, coords=COORDS)})
COLUMNS = lmm.design("~ x + (1 + t | site)", DATA, covariance={"site": Shared(correlation=0.3)})
FACTORS = lmm.design("~ x + (1 | site) + (1 | t)", DATA)


def network(parameters):
    """Features of x that are learned."""
    hidden = jnp.tanh(jnp.asarray(DATA["x"].to_numpy())[:, None] * parameters[None, :2] + parameters[None, 2:])
    return jnp.concatenate([jnp.ones((ROWS, 1)), hidden], axis=1)


VALUES = {
    "y": (lambda y: lmm.estimate(SLOPES, y), Y),
    "weights": (lambda w: lmm.estimate(SLOPES.replace(weights=w), Y), WEIGHTS),
    "weights of a solver": (lambda w: lmm.estimate(PLAIN.replace(weights=w), Y, solver="moments"), WEIGHTS),
    "weights, crossed factors": (lambda w: lmm.estimate(FACTORS.replace(weights=w), Y, method="ML"), WEIGHTS),
    "weights, known matrix": (lambda w: lmm.estimate(RELATED.replace(weights=w), Y), WEIGHTS),
    "X": (lambda x: lmm.estimate(SLOPES.replace(X=x), Y), X),
    "offset": (lambda o: lmm.estimate(PLAIN.replace(offset=o), Y), 0.1 * X[:, 1] ** 2),
    "K": (lambda k: lmm.estimate(RELATED.replace(kinship={"site": k}), Y), KNOWN),
    "length": (lambda s: lmm.estimate(KERNEL.replace(kinship={"site": Decay(length=s, coords=COORDS)}), Y), 0.4),
    "coords": (lambda c: lmm.estimate(KERNEL.replace(kinship={"site": Decay(length=0.4, coords=c)}), Y), PLACES),
    "field": (lambda r: lmm.estimate(COLUMNS.replace(covariance={"site": Shared(correlation=r)}), Y), 0.3),
    "network": (lambda p: lmm.estimate(lmm.design_from_arrays(network(p), CODES), Y), np.array([0.5, 1.0, 0.3, -0.2])),
    "columns of Z": (
        lambda t: lmm.estimate(lmm.design_from_arrays(X, CODES, z=jnp.stack([jnp.ones(ROWS), t], axis=1)), Y),
        DATA["t"].to_numpy(),
    ),
}  # fmt: skip


def direction_at(value):
    """Return a direction as long as the value, symmetric where that is."""
    direction = np.random.default_rng(1).normal(size=np.shape(value))
    if np.ndim(value) == 2 and direction.shape[0] == direction.shape[1]:
        direction = direction + direction.T
    return jnp.asarray(direction * np.linalg.norm(value) / np.linalg.norm(direction))


@pytest.mark.parametrize("name", VALUES)
def test_derivatives_are_those_of_refits(name):
    """Forward and reverse; along one direction each entry of theta, beta, sigma and the deviance."""
    function, value = VALUES[name]
    value, direction = jnp.asarray(value), direction_at(value)

    def both(value, direction):
        out, push = jax.linearize(lambda v: flat(function(v)), value)
        pull = jax.linear_transpose(push, value)  # as jax.vjp does, which would search once more
        reverse = jax.vmap(lambda row: jnp.sum(pull(row)[0] * direction))(jnp.eye(out.size))
        return out, push(direction), reverse

    here, forward, reverse = models.quickly(both)(value, direction)
    above, below = (np.asarray(flat(function(value + sign * STEP * direction))) for sign in (1.0, -1.0))
    expected = (above - below) / (2.0 * STEP)
    assert np.asarray(here) == pytest.approx(np.asarray(flat(function(value))), rel=1e-8)
    assert np.asarray(forward) == pytest.approx(expected, rel=RELATIVE, abs=1e-8)
    assert np.asarray(reverse) == pytest.approx(np.asarray(forward), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["weights", "K", "length"])
def test_second_derivatives_are_those_of_first_ones(name):
    function, value = VALUES[name]
    value, direction = jnp.asarray(value), direction_at(value)
    scales = jnp.arange(1.0, 1.0 + flat(function(value)).size)

    def along(step):
        return jnp.sum(scales * flat(function(value + step * direction)))

    slope = models.quickly(jax.grad(along))
    expected = (slope(STEP) - slope(-STEP)) / (2.0 * STEP)
    assert float(models.quickly(jax.hessian(along))(0.0)) == pytest.approx(float(expected), rel=RELATIVE)


def test_a_variance_at_zero_stays_there():
    """Its derivative is exactly zero, those of the others are of refits."""
    noise = jnp.asarray(np.random.default_rng(8).normal(size=ROWS))
    design = lmm.design("~ x + (1 | site) + (0 + t | site)", DATA.assign(y=noise))

    def function(weights):
        return flat(lmm.estimate(design.replace(weights=weights), noise))

    value, direction = jnp.asarray(WEIGHTS), direction_at(WEIGHTS)
    here, slope = models.quickly(lambda v, d: jax.jvp(function, (v,), (d,)))(value, direction)
    at_zero = np.asarray(here)[:2] == 0.0
    assert at_zero.tolist() == np.asarray(function(value) == 0.0)[:2].tolist()
    assert at_zero.any()
    expected = np.asarray(function(value + STEP * direction) - function(value - STEP * direction)) / (2.0 * STEP)
    assert np.all(np.asarray(slope)[:2][at_zero] == 0.0)
    assert np.asarray(slope)[2:] == pytest.approx(expected[2:], rel=RELATIVE)
