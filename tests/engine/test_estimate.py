"""The optimum as a pure function: equal to ``fit``, mapped, compiled, differentiated as refits say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlmm as lmm

import models

FORMULA = "~ Days + (1 | Subject) + (0 + Days | Subject)"
STEP, RELATIVE = 1e-4, 1e-5
"""Central differences of refits with this step, in units of the direction, agree with derivatives to about STEP²."""


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def sleep():
    frame = lmm.datasets.sleepstudy()
    rng = np.random.default_rng(0)
    frame["null"] = rng.normal(size=len(frame))
    shared = rng.normal(size=18)[frame["Subject"].cat.codes]
    frame["shared"] = 2.0 * shared + 0.1 * frame["Days"] + rng.normal(size=len(frame))
    return frame


@pytest.fixture(scope="module")
def design(sleep):
    return lmm.design(FORMULA, sleep)


@pytest.fixture(scope="module")
def many(design):
    """Optima of a matrix of responses, one compiled program."""
    return models.quickly(jax.vmap(lambda y: lmm.estimate(design, y)))


def differentiable(design):
    return lambda y: lmm.estimate(design, y)._replace(status=None)


@pytest.fixture(scope="module")
def derivatives(design):
    """Reverse and forward derivatives along one direction, in one program."""

    def both(y, direction):
        f = differentiable(design)
        _, forward = jax.jvp(f, (y,), (direction,))
        value, pull = jax.vjp(f, y)
        reverse = [
            jax.tree.map(lambda seed, like: jnp.full(like.shape, seed), jax.tree.unflatten(tree, seeds), value)
            for tree in [jax.tree.structure(value)]
            for seeds in np.eye(4)
        ]
        return forward, jnp.stack([pull(seed)[0] @ direction for seed in reverse])

    return models.quickly(both)


RESPONSES = ["Reaction", "shared", "null"]


def test_equal_to_fit_whatever_the_status(many, sleep):
    found = many(jnp.asarray(sleep[RESPONSES].to_numpy().T))
    statuses = []
    for place, name in enumerate(RESPONSES):
        fit = lmm.fit(f"{name} {FORMULA}", sleep)
        one = jax.tree.map(lambda leaf, place=place: np.asarray(leaf)[place], found)
        assert one.deviance == pytest.approx(fit.deviance, rel=1e-12)
        assert one.theta == pytest.approx(fit.theta, rel=1e-8, abs=1e-12)
        assert one.beta == pytest.approx(fit.fixef().to_numpy(), rel=1e-8)
        assert one.sigma == pytest.approx(fit.sigma, rel=1e-8)
        assert lmm.STATUS[one.status] == fit.status
        statuses.append(fit.status)
    assert set(statuses) == {"interior", "boundary"}


def test_a_covariance_of_rank_one(sleep):
    """An unstructured block at its boundary: the same theta, in lme4's order."""
    frame = sleep.assign(
        y=sleep["shared"] + 0.2 * sleep["Days"] * sleep["shared"].groupby(sleep["Subject"]).transform("mean")
    )
    design = lmm.design("~ Days + (Days | Subject)", frame)
    fit = lmm.fit("y ~ Days + (Days | Subject)", frame)
    found = models.quickly(lambda y: lmm.estimate(design, y))(jnp.asarray(frame["y"].to_numpy()))
    assert lmm.STATUS[int(found.status)] == fit.status
    assert np.asarray(found.theta) == pytest.approx(fit.theta, rel=1e-6, abs=1e-7)
    assert float(found.deviance) == pytest.approx(fit.deviance, rel=1e-12)


@pytest.mark.parametrize("name", RESPONSES)
def test_derivatives_are_those_of_refits(derivatives, sleep, name):
    y = sleep[name].to_numpy()
    direction = np.random.default_rng(4).normal(size=y.size) * y.std() / np.sqrt(y.size)
    above, below = (lmm.fit(f"moved {FORMULA}", sleep.assign(moved=y + s * STEP * direction)) for s in (1.0, -1.0))
    forward, reverse = derivatives(jnp.asarray(y), jnp.asarray(direction))

    def slope(quantity):
        return (np.asarray(quantity(above)) - np.asarray(quantity(below))) / (2.0 * STEP)

    expected = {
        "theta": slope(lambda fit: fit.theta), "beta": slope(lambda fit: fit.fixef().to_numpy()),
        "sigma": slope(lambda fit: fit.sigma), "deviance": slope(lambda fit: fit.deviance),
    }  # fmt: skip
    for place, (field, value) in enumerate(expected.items()):
        mine = np.asarray(getattr(forward, field))
        assert mine == pytest.approx(value, rel=RELATIVE, abs=RELATIVE * np.abs(value).max() + 1e-9)
        assert float(np.sum(mine)) == pytest.approx(float(reverse[place]), rel=1e-9, abs=1e-11)


def test_what_is_held_at_zero_has_derivative_zero(derivatives, many, sleep):
    y = jnp.asarray(sleep["null"].to_numpy())
    theta = np.asarray(many(jnp.stack([y] * 3)).theta)[0]
    assert np.any(theta == 0.0)
    forward, _ = derivatives(y, jnp.asarray(np.random.default_rng(1).normal(size=y.size)))
    assert np.all(np.asarray(forward.theta)[theta == 0.0] == 0.0)
    assert np.any(np.asarray(forward.beta) != 0.0)


def test_a_response_without_spread_has_a_status(many, sleep):
    columns = np.stack([sleep["Reaction"], np.ones(len(sleep)), 2.0 * sleep["Days"]])
    found = many(jnp.asarray(columns))
    words = [lmm.STATUS[code] for code in np.asarray(found.status)]
    assert words[0] == "interior"
    assert words[1:] == ["failed", "failed"]


def test_single_precision_is_refused(design, sleep):
    with pytest.raises(lmm.PrecisionError, match="enable_x64"):
        lmm.estimate(design, np.asarray(sleep["Reaction"], np.float32))
    with pytest.raises(lmm.DataError, match="shape"):
        lmm.estimate(design, jnp.zeros(3))
