"""Designs inside ``jit``, ``vmap`` and loops: the same optima, nothing compiled again, no growth; samplers; errors."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from decaying import Decay

import jaxlmm as lmm
from jaxlmm.covariance import OU, Diagonal

import models

SAME = 1e-8
"""The same optimum by other arithmetic, found to this relative accuracy."""

ROWS, LEVELS = 48, 12
RNG = np.random.default_rng(5)
CODES = np.arange(ROWS) % LEVELS
NAMES = [f"g{code:02d}" for code in range(LEVELS)]
DATA = pd.DataFrame({
    "g": [NAMES[code] for code in CODES], "x": RNG.normal(size=ROWS), "t": np.arange(ROWS) // LEVELS * 1.0,
})  # fmt: skip
DATA["y"] = 2.0 * RNG.normal(size=LEVELS)[CODES] + DATA["x"] + RNG.normal(size=ROWS)
X = np.column_stack([np.ones(ROWS), DATA["x"]])
PLACES = np.arange(LEVELS)[:, None] * 0.7
WEIGHTS = RNG.uniform(0.5, 2.0, (3, ROWS))
Y = DATA["y"].to_numpy()
PLAIN = lmm.design("~ x + (1 | g)", DATA)
PROCESS = lmm.design("~ x + (1 | g)", DATA, kinship={"g": OU(coords=pd.DataFrame(PLACES, index=NAMES))})

LOWERED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: LOWERED.append(event) if "jaxpr_to_mlir_module" in event else None
)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def same(one, other):
    for field in ("theta", "beta", "sigma", "deviance"):
        assert np.asarray(getattr(one, field)) == pytest.approx(np.asarray(getattr(other, field)), rel=SAME)
    assert np.asarray(one.status).tolist() == np.asarray(other.status).tolist()


@pytest.fixture(scope="module")
def by_design():
    """The optimum as a function of the design itself, compiled."""
    return models.quickly(lmm.estimate)


def test_a_design_as_an_argument_compiles_once(by_design):
    by_design(PLAIN, Y)
    designs = [PLAIN.replace(weights=weights) for weights in WEIGHTS]
    expected = [lmm.estimate(design, Y) for design in designs]
    LOWERED.clear()
    found = [by_design(design, Y) for design in designs]
    assert not LOWERED
    for one, other in zip(found, expected, strict=True):
        same(one, other)


def test_designs_and_weights_are_mapped():
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *[
        lmm.estimate(PLAIN.replace(weights=weights), Y) for weights in WEIGHTS
    ])  # fmt: skip
    designs = jax.vmap(lambda weights: PLAIN.replace(weights=weights))(jnp.asarray(WEIGHTS))
    same(models.quickly(jax.vmap(lmm.estimate, in_axes=(0, None)))(designs, Y), expected)


def test_each_response_of_a_map_has_its_status():
    within = Y - DATA.groupby("g")["y"].transform("mean").to_numpy()  # nothing between groups
    columns = np.stack([Y, within, np.ones(ROWS)])
    mapped = models.quickly(jax.vmap(lambda w, y: lmm.estimate(PLAIN.replace(weights=w), y)))
    found = mapped(jnp.asarray(WEIGHTS[[0, 2, 1]]), jnp.asarray(columns))
    assert [lmm.STATUS[code] for code in np.asarray(found.status)] == ["interior", "boundary", "failed"]
    assert float(found.theta[1, 0]) == 0.0


def test_arrays_alone():
    same(lmm.estimate(lmm.design_from_arrays(X, CODES), Y), lmm.estimate(PLAIN, Y))
    built = lmm.design_from_arrays(
        X, {"g": CODES, "t": DATA["t"].to_numpy(int)}, z={"g": X}, covariance={"g": Diagonal()}, weights=WEIGHTS[0]
    )
    formula = lmm.design("~ x + diag(1 + x | g) + (1 | t)", DATA, weights=WEIGHTS[0])
    same(lmm.estimate(built, Y), lmm.estimate(formula, Y))
    process = lmm.design_from_arrays(X, CODES, kinship=OU(coords=PLACES[::-1]), offset=DATA["t"])
    same(lmm.estimate(process.replace(kinship={"group": OU(coords=PLACES)}), Y + DATA["t"].to_numpy()),
         lmm.estimate(PROCESS, Y))  # fmt: skip
    linear = lmm.estimate(lmm.design_from_arrays(X, {}), Y)
    assert np.asarray(linear.beta) == pytest.approx(np.linalg.lstsq(X, Y, rcond=None)[0], rel=1e-10)


def test_changes_follow_one_another():
    """A value that was replaced stays when another one is, in numbers and traced."""
    known = np.eye(LEVELS) + 0.3
    design = lmm.design("~ x + (1 | g)", DATA, kinship={"g": pd.DataFrame(np.eye(LEVELS), NAMES, NAMES)})
    other = X * np.array([1.0, 2.0])

    def changed(weights, offset):
        one = design.replace(X=other, kinship={"g": known})
        return lmm.estimate(one.replace(offset=offset).replace(weights=weights), Y)

    offset = DATA["t"].to_numpy()
    frame = pd.DataFrame(known, NAMES, NAMES)
    expected = lmm.estimate(
        lmm.design("~ I(2 * x) + (1 | g)", DATA, kinship={"g": frame}, weights=WEIGHTS[1], offset=offset), Y
    )
    same(changed(WEIGHTS[1], offset), expected)
    same(models.quickly(changed)(jnp.asarray(WEIGHTS[1]), jnp.asarray(offset)), expected)


def test_likelihoods_of_traced_designs():
    theta, beta = jnp.array([0.8]), jnp.array([0.1, 0.9])
    for f in (lambda w: lmm.deviance(PLAIN.replace(weights=w))(theta, Y),
              lambda w: lmm.loglik(PLAIN.replace(weights=w))(beta, theta, 1.1, Y)):  # fmt: skip
        value, slope = models.quickly(jax.value_and_grad(f))(jnp.asarray(WEIGHTS[0]))
        assert float(value) == pytest.approx(float(f(WEIGHTS[0])), rel=1e-12)
        step = 1e-5 * np.eye(ROWS)[7]
        expected = (f(WEIGHTS[0] + step) - f(WEIGHTS[0] - step)) / 2e-5
        assert float(slope[7]) == pytest.approx(float(expected), rel=1e-6)


def memory():
    """The resident memory in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def test_a_thousand_steps_compile_nothing_and_hold_no_memory():
    """The length-scale of a kernel is learned through the fit, by a user's optimizer."""

    coords = pd.DataFrame(PLACES, index=NAMES)
    design = lmm.design("~ x + (1 | g)", DATA, kinship={"g": Decay(length=1.0, coords=coords)})

    def loss(step):
        return lmm.estimate(design.replace(kinship={"g": Decay(length=jnp.exp(step), coords=coords)}), Y).deviance

    slope, optimizer = jax.jit(jax.value_and_grad(loss)), optax.adam(3e-3)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes types
        update = jax.jit(lambda slope, state, step: optimizer.update(slope, state, step))
        step = jnp.zeros((), jnp.float64)
        state, values = optimizer.init(step), []
        for count in range(1000):
            value, gradient = slope(step)
            change, state = update(gradient, state, step)
            step = step + change
            values.append(float(value))
            if count == 100:
                gc.collect()
                LOWERED.clear()
                arrays, before = len(jax.live_arrays()), memory()
    gc.collect()
    assert not LOWERED
    assert len(jax.live_arrays()) <= arrays
    assert memory() < before + 20.0
    assert values[-1] < values[0]


def test_steps_without_jit_compile_nothing_either():
    def slope(weights):
        return jax.grad(lambda w: lmm.estimate(PLAIN.replace(weights=w), Y).beta[1])(weights)

    slope(jnp.asarray(WEIGHTS[0]))
    LOWERED.clear()
    before = slope(jnp.asarray(WEIGHTS[1]))
    for weights in WEIGHTS:
        slope(jnp.asarray(weights))
    assert not LOWERED
    assert np.array_equal(before, slope(jnp.asarray(WEIGHTS[1])))


def test_a_sampler_of_the_likelihood():
    """Hamiltonian Monte Carlo of the fixed effects, whose posterior given the variances is known: normal around the
    generalized least squares. 4,000 draws, nearly independent: means to 0.1 standard deviations, variances to 15 %."""
    fit = lmm.fit("y ~ x + (1 | g)", DATA, method="ML")
    f, center = lmm.loglik(PLAIN), jnp.asarray(fit.fixef().to_numpy())
    root = jnp.asarray(np.linalg.cholesky(fit.vcov().to_numpy()))

    def density(unit):
        return f(center + root @ unit, jnp.asarray(fit.theta), fit.sigma, jnp.asarray(Y))

    def draw(position, key):
        keys = jax.random.split(key)
        momentum = jax.random.normal(keys[0], position.shape)
        moved, push = position, momentum
        for _ in range(5):  # leapfrog
            push = push + 0.15 * jax.grad(density)(moved)
            moved = moved + 0.3 * push
            push = push + 0.15 * jax.grad(density)(moved)
        energy = density(moved) - density(position) - 0.5 * (push @ push - momentum @ momentum)
        taken = jnp.where(jnp.log(jax.random.uniform(keys[1])) < energy, moved, position)
        return taken, taken

    keys = jax.random.split(jax.random.key(2), 4000)
    _, draws = models.quickly(lambda keys: jax.lax.scan(draw, jnp.ones(2), keys))(keys)
    draws = np.asarray(draws)[200:]
    assert draws.mean(axis=0) == pytest.approx(np.zeros(2), abs=0.1)
    assert np.cov(draws.T) == pytest.approx(np.eye(2), abs=0.15)


def test_what_cannot_be_traced():
    related = lmm.design("~ x + (1 | g)", DATA, kinship={"g": pd.DataFrame(np.eye(LEVELS), NAMES, NAMES)})
    with pytest.raises(lmm.DataError, match="codes of 'group' in numbers, got a traced array"):
        jax.jit(lambda codes: lmm.design_from_arrays(X, codes).n)(CODES)
    with pytest.raises(lmm.DataError, match="Close over the design"):
        jax.jit(lmm.estimate)(PLAIN.unpadded(), Y)
    with pytest.raises(lmm.OptionError, match="'auto' or 'dense' where columns of Z or known matrices are traced"):
        jax.jit(lambda k: lmm.estimate(related.replace(kinship={"g": k}), Y, solver="spectral"))(np.eye(LEVELS))
    with pytest.raises(lmm.OptionError, match="rebuilt by a JAX transformation"):
        jax.jit(lambda design, o: lmm.estimate(design.replace(offset=o), Y))(PLAIN, Y)


@pytest.mark.parametrize(("wrong", "error", "match"), [
    (lambda: PLAIN.replace(X=np.ones((ROWS, 2))), lmm.DataError, "expected 2 independent columns, got 1"),
    (lambda: PLAIN.replace(X=np.ones((ROWS, 3))), lmm.DataError, "a column for each of 2 fixed effects"),
    (lambda: PLAIN.replace(kinship={"g": np.eye(3)}), lmm.KinshipError, "in the order of the levels"),
    (lambda: PLAIN.replace(kinship={"h": np.eye(3)}), lmm.KinshipError, "no random term is grouped by 'h'"),
    (lambda: PLAIN.replace(kinship={"g": np.triu(np.ones((LEVELS, LEVELS)))}), lmm.KinshipError, "symmetric"),
    (lambda: PROCESS.replace(kinship={"g": np.eye(LEVELS)}), lmm.OptionError, "expected a structure"),
    (lambda: PLAIN.replace(kinship={"g": OU(coords=PLACES)}), lmm.OptionError, "expected a matrix"),
    (lambda: PROCESS.replace(kinship={"g": OU(coords=PLACES[1:])}), lmm.DataError, "expected coords of shape"),
    (lambda: lmm.design_from_arrays(np.ones(3), CODES), lmm.DataError, "more rows than columns"),
    (lambda: lmm.design_from_arrays(X[:, [0, 0]], CODES), lmm.DataError, "2 independent columns, got 1"),
    (lambda: lmm.design_from_arrays(X, CODES * 0.5), lmm.DataError, "expected whole numbers"),
    (lambda: lmm.design_from_arrays(X, {"g": CODES}, z={"h": X}), lmm.OptionError, "'h' is no group"),
    (lambda: lmm.design_from_arrays(X, {"g": CODES}, z=X), lmm.OptionError, "expected a dict from group"),
    (lambda: lmm.design_from_arrays(X, CODES, weights=np.zeros(ROWS)), lmm.DataError, "positive finite"),
    (lambda: lmm.design_from_arrays(X, CODES, offset=[1.0]), lmm.DataError, "offset: expected shape"),
    (lambda: lmm.design_from_arrays(X, CODES, kinship=np.eye(3)), lmm.KinshipError, "a level for each code"),
    (lambda: lmm.design_from_arrays(X, CODES, kinship=OU()), lmm.KinshipError, "coords"),
    (lambda: lmm.design_from_arrays(X, CODES, covariance="us"), lmm.OptionError, "jaxlmm.covariance object"),
])  # fmt: skip
def test_wrong_arrays(wrong, error, match):
    with pytest.raises(error, match=match):
        wrong()
