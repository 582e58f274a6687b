"""A solver that is reweighted is the solver built of the design with these weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlmm as lmm
from jaxlmm.model import Layout
from jaxlmm.solvers import SOLVERS
from jaxlmm.solvers.blocked import gram

import models

pytestmark = pytest.mark.usefixtures("double_precision")

VALUE, MODES, GRADIENT, HESSIAN = 1e-10, 1e-8, 1e-8, 1e-6
"""Relative to the largest: rounding of sums in another order, and that of modes and derivatives."""

CASES = [
    (name, solver)
    for name, model in models.MODELS.items()
    for solver in ("moments", "blocked", "dense")
    if (solver in model.solvers or (solver == "dense" and "spectral" in model.solvers)) and "weights" not in name
]
FEW = [("slope", "moments"), ("slopes on both", "blocked"), ("ou residual", "dense"), ("kinship", "dense")]
SPREADS = (0.5, 3.0 * np.log(10.0))
"""Of the logarithms of root weights: usual ones, and weights from 1e-6 to 1e6."""


def designs(name, frame, weights):
    """The design whose solver can be reweighted, and the one with the weights."""
    options = models._options(name, frame)
    formula = models.MODELS[name].formula
    plain = lmm.design(formula, frame, dispersion="~ x", **options)
    return plain, lmm.design(formula, frame, weights=weights, **options)


def log_weights(frame, spread):
    """Logarithms of root weights: up to ``spread`` in both directions, one level far below all others."""
    rng = np.random.default_rng(5)
    values = rng.uniform(-1.0, 1.0, len(frame)) * spread
    return np.where(frame["g"] == "g03", -spread, values)


def padded(values, design, fill=0.0):
    return jnp.asarray(np.concatenate([values, np.full(design.n_padded - values.size, fill)]))


def columns(design, frame):
    x = np.column_stack([frame["x"], frame["y"], np.ones(len(frame))])
    return jnp.asarray(np.concatenate([x, np.zeros((design.n_padded - len(x), 3))]))


def at(solver, layout, theta, weighted):
    """log|H| and the products of ``weighted`` columns."""
    factor = solver.factor(layout.factors(theta, layout.bases()))
    return solver.logdet(factor), solver.inner(factor, solver.cross_products(weighted, weighted))


def without_dispersion(design):
    return Layout.of(design.replace(dispersion=None))


def close(found, expected, tolerance):
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(initial=1e-300))


@pytest.mark.parametrize(("name", "solver"), CASES)
def test_logdet_products_and_modes(name, solver, frame):
    """Of usual and extreme weights at once, by vmap."""
    logs = [log_weights(frame, spread) for spread in SPREADS]
    plain, _ = designs(name, frame, np.ones(len(frame)))
    # padded rows are zero, whatever their weight
    roots = jnp.stack([padded(np.exp(own), plain, 3.0) for own in logs])
    theta, layout, base = models.theta_of(name), without_dispersion(plain), SOLVERS[solver].build(plain)
    factors, rows = layout.factors(theta, layout.bases()), columns(plain, frame)

    def reweighted(root):
        solver, weighted = base.reweighted(root), rows * root[:, None]
        factor = solver.factor(factors)
        products = solver.cross_products(weighted[:, :2], weighted[:, :2])
        augmented = jax.tree.map(lambda leaf: leaf[0], solver.augmented(weighted[:, :2], weighted[:, 2:]))
        forms = solver.quadratic_forms(factor, products, augmented)
        return at(solver, layout, theta, weighted), forms, solver.effects(plain, factors, factor, weighted[:, 1])

    found = models.quickly(jax.vmap(reweighted))(roots)
    for number, own in enumerate(logs):
        (logdet, inner), forms, effects = jax.tree.map(lambda leaf, number=number: leaf[number], found)
        _, weighted = designs(name, frame, np.exp(2.0 * own))
        expected, products = SOLVERS[solver].build(weighted), rows * roots[number][:, None]
        wanted_logdet, wanted = at(expected, layout, theta, products)
        close(logdet, wanted_logdet, VALUE)
        close(inner, wanted, VALUE)
        for form, part in zip(forms, (wanted[:2, :2], wanted[:2, 2], wanted[2, 2]), strict=True):
            close(form, part, VALUE)
        modes = expected.effects(weighted, factors, expected.factor(factors), products[:, 1])
        for term, design in enumerate(plain.terms):
            levels = int(plain.groupings[design.grouping].n_levels)
            for one, other in zip(effects, modes, strict=True):
                close(one[term][:levels], other[term][:levels], MODES)


@pytest.mark.parametrize(("name", "solver"), FEW)
def test_derivatives_in_theta_and_weights_under_vmap(name, solver, frame):
    logs = log_weights(frame, 2.0)
    plain, weighted = designs(name, frame, np.exp(2.0 * logs))
    layout, theta = without_dispersion(plain), models.theta_of(name)
    base, expected = SOLVERS[solver].build(plain), SOLVERS[solver].build(weighted)
    root, rows = padded(np.exp(logs), plain), columns(plain, frame)
    combination = jnp.asarray([0.3, -0.2, 1.0])

    def value(solver, theta, root):
        logdet, inner = at(solver, layout, theta, rows * root[:, None])
        return logdet + jnp.log(combination @ inner @ combination)

    def reweighted(theta, root):
        return value(base.reweighted(root), theta, root)

    def built(theta):
        return value(expected, theta, root)

    both = models.quickly(
        jax.vmap(lambda theta: (jax.grad(reweighted)(theta, root), jax.hessian(reweighted)(theta, root)))
    )
    thetas = jnp.stack([theta, 1.3 * theta])
    gradients, hessians = both(thetas)
    for number in range(2):
        close(gradients[number], models.quickly(jax.grad(built))(thetas[number]), GRADIENT)
        close(hessians[number], models.quickly(jax.hessian(built))(thetas[number]), HESSIAN)

    along = padded(np.random.default_rng(2).normal(size=len(frame)), plain)

    def moved(step):
        return reweighted(theta, root * jnp.exp(step * along))

    first, second = models.quickly(lambda s: (jax.grad(moved)(s), jax.grad(jax.grad(moved))(s)))(0.0)
    h = 1e-4
    low, middle, high = models.quickly(jax.vmap(moved))(jnp.array([-h, 0.0, h]))
    np.testing.assert_allclose(first, (high - low) / (2 * h), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(second, (high - 2 * middle + low) / h**2, rtol=1e-3, atol=1e-3)


def test_dense_on_the_range_of_effects_can_too(frame):
    """Built without a model of dispersion its bases are those of the effects' range."""
    logs = log_weights(frame, 0.5)
    plain, weighted = designs("crossed", frame, np.exp(2.0 * logs))
    plain = plain.replace(dispersion=None)
    layout, theta = Layout.of(plain), models.theta_of("crossed")
    root = padded(np.exp(logs), plain)
    rows = columns(plain, frame) * root[:, None]
    found = at(SOLVERS["dense"].build(plain).reweighted(root), layout, theta, rows)
    expected = at(SOLVERS["dense"].build(weighted), layout, theta, rows)
    for one, other in zip(found, expected, strict=True):
        close(one, other, VALUE)


def test_products_of_runs_of_entries(frame, monkeypatch):
    """The blocked solver forms products of entries anew where their pairs are too many to be kept."""
    for limit in ("MULTIPLICATIONS_PER_SCATTER", "MAX_PAIRS_WRITTEN_OUT"):
        monkeypatch.setattr(gram, limit, 0)
    logs = log_weights(frame, 0.5)
    plain, weighted = designs("slopes on both", frame, np.exp(2.0 * logs))
    base = SOLVERS["blocked"].build(plain)
    assert all(isinstance(products, gram.RunGram) for products in base.rest.coupling.grams)
    root, rows = padded(np.exp(logs), plain), columns(plain, frame)
    layout, theta = without_dispersion(plain), models.theta_of("slopes on both")

    def value(solver, theta):
        logdet, inner = at(solver, layout, theta, rows * root[:, None])
        return logdet + jnp.log(jnp.trace(inner))

    def reweighted(theta):
        return value(base.reweighted(root), theta)

    def built(theta):
        return value(SOLVERS["dense"].build(weighted), theta)

    close(models.quickly(reweighted)(theta), models.quickly(built)(theta), VALUE)
    close(models.quickly(jax.grad(reweighted))(theta), models.quickly(jax.grad(built))(theta), GRADIENT)
