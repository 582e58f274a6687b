"""Laplace's approximation and quadrature: against glmmTMB, lme4, integrals and difference quotients."""

import functools
import json
import re

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.special
import scipy.stats
from laplace_model import Model

import jaxlmm as lmm
from jaxlmm.families import family_of
from jaxlmm.likelihood.laplace import (
    EffectsByElimination,
    EffectsByLevel,
    EffectsBySolver,
    EffectsWithRows,
    effects_of,
)
from jaxlmm.model import Dispersion
from jaxlmm.solvers import select

import references

pytestmark = pytest.mark.usefixtures("double_precision")

ROUNDING = 1e-10
"""Of a deviance, relative: sums of hundreds of rows, at modes that are exact to rounding."""

REFERENCE = 1e-9
"""glmmTMB's criterion at the optimum that it prints, relative: its links and densities are its own."""

AT_OPTIMUM = 1e-3
"""How far a Newton step leads away from the reference's optimum, in standard errors; lme4's are not polished."""

STANDARD_ERROR = 1e-3
"""Relative: those of the reference are from a Hessian by differences, ours are exact (and checked by differences)."""

DIFFERENCES = 1e-6
"""Central differences of the gradient, steps of 1e-5, relative to the largest entry."""

REFERENCES = {
    path.stem: json.loads(path.read_text()) for path in sorted((references.HERE / "generalized").glob("*.json"))
}
NO_OPTIMUM = 1e-4
"""glmmTMB's gradient above which it has no optimum."""


@functools.cache
def of_reference(name):
    """The model of a reference, and its optimum."""
    record = REFERENCES[name]
    data = references.dataset(record["dataset"])
    left, right = (side.strip() for side in record["formula"].split("~"))
    family = family_of({"Gamma": "gamma"}.get(record["family"], record["family"])).replace(link=record["link"])
    groups = re.findall(r"\| (\w+)\)", right)
    if any(data[group].nunique() == len(data) for group in groups):  # which no Gaussian model has
        fixed = lmm.design("~ " + right.split(" + (")[0], data)
        codes = {group: pd.factorize(data[group])[0] for group in groups}
        design = lmm.design_from_arrays(np.asarray(fixed.basis @ fixed.triangle)[: len(data)], codes)
    else:
        design = lmm.design(f"~ {right}", data)
    if left.startswith("cbind"):
        y = data[["incidence", "size"]].to_numpy(float)
    else:
        y = data[left]
        y = (y.cat.codes if isinstance(y.dtype, pd.CategoricalDtype) else y).to_numpy(float)
        y = np.stack([y, np.ones_like(y)], axis=1) if family.has_trials else y
    model = Model(design, family, y, n_nodes=record.get("nAGQ"))
    beta = record["fixef"]
    return model, np.concatenate([theta_of(record, model), family.searched(dispersion_of(record)), beta])


def theta_of(record, model):
    """Theta at the reference's parameters: each factor is linear in theta."""
    if "theta" in record:
        return np.array(record["theta"])
    given, parts = np.array(record["theta_glmmTMB"]), []
    for structure, coords in zip(model.layout.structures, model.layout.coords, strict=True):
        q, count = coords.shape[0], structure.n_params(coords.shape[0])
        own, given = given[:count], given[count:]
        rows = np.eye(q)
        rows[np.tril_indices(q, -1)] = own[q:]  # of glmmTMB's correlations, to be scaled to length 1
        factor = np.exp(own[:q, None]) * rows / np.linalg.norm(rows, axis=1, keepdims=True)
        basis = [np.asarray(structure.cholesky(jnp.eye(count)[k], jnp.asarray(coords))).ravel() for k in range(count)]
        parts.append(np.linalg.lstsq(np.stack(basis, axis=1), factor.ravel(), rcond=None)[0])
    return np.concatenate(parts)


def dispersion_of(record):
    """Our parameters of dispersion, from glmmTMB's ``sigma()`` and its power."""
    if record["family"] in ("binomial", "poisson"):
        return np.zeros(0)
    (sigma,) = record["dispersion_sigma"]
    first = {"nbinom2": 1.0 / sigma, "Gamma": sigma**2}.get(record["family"], sigma)
    return np.array([first] if record["psi_tweedie_power"] is None else [first, record["psi_tweedie_power"]])


def of_saturated(model):
    """The log-likelihood of proportions that are those observed, to which lme4's is relative with quadrature."""
    y = np.asarray(model.observed.y)[: int(model.design.n)]
    return float(scipy.stats.binom.logpmf(y[:, 0], y[:, 1], y[:, 0] / y[:, 1]).sum())


@pytest.mark.parametrize("name", list(REFERENCES))
def test_criterion_optimum_and_standard_errors_are_those_of_the_reference(name):
    record, (model, optimum) = REFERENCES[name], of_reference(name)
    value, gradient, hessian = (np.asarray(part) for part in model.second_order(optimum))
    expected = record["logLik"] if "logLik" in record else of_saturated(model) - 0.5 * record["deviance_devfun"]
    np.testing.assert_allclose(-0.5 * value, expected, rtol=REFERENCE)
    if record.get("gradient_max", 0.0) > NO_OPTIMUM:
        return
    covariance = 2.0 * np.linalg.inv(hessian)
    errors = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(0.5 * covariance @ gradient) < AT_OPTIMUM * errors)
    if "se" in record:
        np.testing.assert_allclose(errors[-len(record["se"]) :], record["se"], rtol=STANDARD_ERROR)


SMALL = pd.DataFrame({"g": np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6]), "x": np.linspace(-1.0, 1.0, 21)})
"""Levels of one to six rows."""

DISPERSION = {"nbinom2": [0.4], "nbinom1": [0.4], "gamma": [0.5], "beta": [5.0], "tweedie": [0.8, 1.4]}
DISPERSION |= {"inverse_gaussian": [0.3], "student_t": [0.8, 0.2], "gaussian": [0.8]}


@functools.cache
def small(word, formula="~ x + (1 | g)", *, link=None, seed=0, **options):
    """A model of few rows, and a point."""
    family = family_of(word)
    family = family if link is None else family.replace(link=link)
    design = lmm.design(formula, SMALL)
    rng = np.random.default_rng(seed)
    eta = 0.3 + 0.5 * SMALL["x"].to_numpy() + rng.normal(0.0, 0.8, 6)[SMALL["g"]]
    dispersion = np.array(DISPERSION.get(word, []), float)
    trials = np.arange(21) % 4 + 1.0
    y = family.distribution(eta, dispersion, trials).rvs(random_state=rng).astype(float)
    y = np.stack([y, trials], axis=1) if family.has_trials else y
    y = np.clip(y, 1e-3, 1.0 - 1e-3) if word == "beta" else y
    model = Model(design, family, y, **options)
    theta = {1: [0.9], 3: [0.9, 0.2, 0.5]}[model.layout.n_theta]
    return model, np.concatenate([theta, family.searched(dispersion), [0.2, 0.4]])


def by_integration(model, psi, n_nodes=200):
    """The log-likelihood with one intercept for each level, by sums over a fine grid of twelve standard deviations."""
    family, d = model.family, model.family.n_dispersion
    sd, dispersion, beta = psi[0], family.natural(jnp.asarray(psi[1 : 1 + d])), psi[1 + d :]
    y, fixed = np.asarray(model.observed.y)[:21], beta[0] + beta[1] * SMALL["x"].to_numpy()
    u, widths = np.linspace(-12.0, 12.0, n_nodes * 24 + 1), 1.0 / n_nodes
    eta = fixed[:, None] + sd * u[None, :]
    repeated = np.repeat(y[:, None], u.size, axis=1)
    rows = np.asarray(family.log_density(jnp.asarray(repeated), jnp.asarray(eta), dispersion))
    levels = np.stack([rows[SMALL["g"] == g].sum(axis=0) for g in range(6)])
    logs = levels - 0.5 * u**2 - 0.5 * np.log(2.0 * np.pi) + np.log(widths)
    return float(np.sum(scipy.special.logsumexp(logs, axis=1)))


@pytest.mark.parametrize("word", ["binomial", "nbinom2", "beta", "tweedie", "student_t"])
def test_quadrature_tends_to_the_integral_and_laplace_is_its_one_node(word):
    model, psi = small(word)
    exact = by_integration(model, psi)
    one, several, many = (abs(-0.5 * float(small(word, n_nodes=k)[0].deviance(psi)) - exact) for k in (1, 5, 35))
    np.testing.assert_allclose(abs(-0.5 * float(model.deviance(psi)) - exact), one, atol=1e-9)
    assert 1e-4 < one < 1.0
    assert several < 0.3 * one
    assert many < 1e-3 * one


def test_laplace_is_exact_for_the_normal_density():
    model, psi = small("gaussian")
    np.testing.assert_allclose(-0.5 * float(model.deviance(psi)), by_integration(model, psi), rtol=ROUNDING)


@pytest.mark.parametrize(
    ("word", "formula", "link"),
    [
        ("gamma", "~ x + (1 | g)", None),
        ("inverse_gaussian", "~ x + (1 | g)", None),
        ("student_t", "~ x + (1 | g)", None),
        ("binomial", "~ x + (1 | g)", "cauchit"),
        ("poisson", "~ x + (1 + x | g)", None),
    ],
)
def test_derivatives_of_laplace_are_those_of_differences(word, formula, link):
    check_derivatives(*small(word, formula, link=link))


@pytest.mark.parametrize(("formula", "n_nodes"), [("~ x + (1 | g)", 7), ("~ x + (1 + x | g)", 3)])
def test_derivatives_of_quadrature_are_those_of_differences(formula, n_nodes):
    check_derivatives(*small("poisson", formula, n_nodes=n_nodes))


def check_derivatives(model, psi):
    step = 1e-5
    _, gradient, hessian = (np.asarray(part) for part in model.second_order(psi))
    aside = step * np.eye(psi.size)
    pairs = [(model.second_order(psi + one), model.second_order(psi - one)) for one in aside]
    slopes, curvatures = ([(ahead[k] - behind[k]) / (2 * step) for ahead, behind in pairs] for k in (0, 1))
    np.testing.assert_allclose(gradient, slopes, atol=DIFFERENCES * np.abs(gradient).max())
    np.testing.assert_allclose(hessian, curvatures, atol=DIFFERENCES * np.abs(hessian).max())


def test_two_effects_by_quadrature_tend_to_the_integral():
    psi = small("poisson", "~ x + (1 + x | g)")[1]
    one, several, many = (float(small("poisson", "~ x + (1 + x | g)", n_nodes=k)[0].deviance(psi)) for k in (1, 7, 15))
    assert abs(one - many) > 1e-4
    assert abs(several - many) < 1e-3 * abs(one - many)


def crossed(way):
    """Two crossed groups, with a slope on one of them, by one of the ways to the mode."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"a": rng.integers(0, 9, 120), "b": rng.integers(0, 5, 120), "x": rng.normal(size=120)})
    design = lmm.design("~ x + (1 + x | a) + (1 | b)", data)
    y = rng.poisson(np.exp(0.3 + rng.normal(0.0, 0.5, 9)[data["a"]])).astype(float)
    return Model(design, family_of("nbinom2"), y, effects=way(design)), np.array([0.6, 0.1, 0.3, 0.4, 0.5, 0.2, 0.3])


def by_solver(design):
    varied = design.replace(dispersion=Dispersion.by_row(int(design.n), design.n_padded))
    return EffectsBySolver.of(design, select(varied).solver.build(varied))


def assert_same_to_first_order(model, other, psi):
    (value, gradient), (other_value, other_gradient) = model.first_order(psi), other.first_order(psi)
    np.testing.assert_allclose(value, other_value, rtol=ROUNDING)
    np.testing.assert_allclose(gradient, other_gradient, atol=1e-8 * np.abs(gradient).max())


def test_all_ways_to_the_mode_agree():
    (model, psi), (other, _) = crossed(EffectsByElimination.of), crossed(by_solver)
    assert_same_to_first_order(model, other, psi)
    one, point = small("binomial", "~ x + (1 + x | g)")
    again, _ = small("binomial", "~ x + (1 + x | g)", effects=by_solver(one.design))
    np.testing.assert_allclose(one.deviance(point), again.deviance(point), rtol=ROUNDING)


def with_rows(way):
    """A group, and an effect of each row of its own, by one of the ways to the mode."""
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"a": rng.integers(0, 9, 60), "row": rng.permutation(60), "x": rng.normal(size=60)})
    design = lmm.design("~ x + (1 + x | a) + (1 | row)", data, family="poisson").replace(distribution=None)
    y = rng.poisson(np.exp(0.3 + rng.normal(0.0, 0.5, 9)[data["a"]])).astype(float)
    model = Model(design, family_of("poisson"), y, effects=way(design))
    return model, np.array([0.6, 0.1, 0.3, 0.7, 0.2, 0.3])


def test_an_effect_of_each_row_is_eliminated_exactly():
    (model, psi), (other, _) = with_rows(effects_of), with_rows(EffectsByElimination.of)
    assert isinstance(model.effects, EffectsWithRows)
    assert_same_to_first_order(model, other, psi)
    found, expected = (one.conditional_effects(psi) for one in (model, other))
    for part in ("modes", "sds"):
        for size, one, another in zip((9, 60), getattr(found, part), getattr(expected, part), strict=True):
            np.testing.assert_allclose(one[:size], another[:size], atol=1e-8)


def test_derivatives_with_several_groups_are_those_of_differences():
    check_derivatives(*crossed(EffectsByElimination.of))


def test_variances_of_zero_leave_the_model_without_random_effects():
    model, psi = small("poisson", "~ x + (1 + x | g)")
    psi = np.concatenate([np.zeros(3), psi[3:]])
    fixed = psi[3] + psi[4] * SMALL["x"].to_numpy()
    y = np.asarray(model.observed.y)[:21]
    plain = np.sum(y * fixed - np.exp(fixed) - scipy.special.gammaln(y + 1.0))
    value, gradient = model.first_order(psi)
    np.testing.assert_allclose(-0.5 * value, plain, rtol=ROUNDING)
    np.testing.assert_allclose(gradient[:3], 0.0, atol=1e-12)


@pytest.mark.parametrize(("eta", "sd"), [(-8.0, 20.0), (8.0, 20.0), (-3.0, 0.01), (0.0, 300.0)])
@pytest.mark.parametrize("word", ["poisson", "binomial", "nbinom2", "gamma", "beta", "tweedie", "student_t"])
def test_modes_are_found_far_from_the_start(word, eta, sd):
    model, psi = small(word)
    psi = psi.copy()
    psi[0], psi[-2] = sd, eta
    score, dual = (np.asarray(part) for part in model.modes(psi))
    np.testing.assert_allclose(dual, score, rtol=1e-7, atol=1e-7 * (1.0 + np.abs(score).max()))
    value, gradient = model.first_order(psi)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_modes_of_counts_of_a_million_are_found_from_one_in_a_thousand_million():
    design = lmm.design("~ 1 + (1 | g)", SMALL)
    model = Model(design, family_of("poisson"), np.full(21, 1e6))
    score, dual = (np.asarray(part) for part in model.modes(np.array([300.0, -20.0])))
    np.testing.assert_allclose(dual, score, atol=1e-3)
    assert np.isfinite(model.deviance(np.array([300.0, -20.0])))


@pytest.mark.parametrize(
    ("word", "link", "at", "sd"),
    [
        ("poisson", "identity", 3.5, 0.3),
        ("poisson", "sqrt", 1.8, 0.1),
        ("gamma", "inverse", 0.4, 0.02),
        ("inverse_gaussian", "identity", 1.5, 0.1),
        ("binomial", "log", -0.9, 0.1),
        ("binomial", "identity", 0.5, 0.05),
        ("beta", "log", -0.9, 0.1),
    ],
)
def test_means_stay_within_their_range_with_every_link(word, link, at, sd):
    family = family_of(word).replace(link=link)
    dispersion, trials = np.array(DISPERSION.get(word, []), float), np.full(21, 3.0)
    y = (
        family.distribution(np.full(21, at), dispersion, trials)
        .rvs(random_state=np.random.default_rng(5))
        .astype(float)
    )
    y = np.stack([y, trials], axis=1) if family.has_trials else y
    psi = np.concatenate([[sd], family.searched(dispersion), [at, 0.0]])
    design = lmm.design("~ x + (1 | g)", SMALL)
    laplace, by_nodes = (Model(design, family, y, n_nodes=k) for k in (None, 25))
    exact = by_integration(laplace, psi)
    value, gradient = laplace.first_order(psi)
    assert abs(-0.5 * float(value) - exact) < 0.02
    np.testing.assert_allclose(-0.5 * float(by_nodes.deviance(psi)), exact, rtol=1e-6)
    assert np.isfinite(gradient).all()
    outside = {"poisson": -3.0, "gamma": -2.0, "inverse_gaussian": -1.0, "binomial": 2.0, "beta": 0.5}[word]
    if link != "sqrt":
        psi[-2] = outside
        assert not np.isfinite(laplace.first_order(psi)[0])


def test_a_weight_of_zero_is_no_row():
    model, psi = small("poisson")
    y, weights = np.asarray(model.observed.y)[:21].copy(), np.ones(21)
    weights[7], y[7] = 0.0, 55.0
    for way in (EffectsByLevel.of, by_solver):
        weighted = Model(model.design, model.family, y, weight=weights, effects=way(model.design))
        without = Model(lmm.design("~ x + (1 | g)", SMALL.drop(index=7)), model.family, np.delete(y, 7))
        np.testing.assert_allclose(weighted.deviance(psi), without.deviance(psi), rtol=ROUNDING)


def test_a_weight_of_two_is_a_row_twice():
    model, psi = small("poisson")
    weights = np.ones(21)
    weights[4] = 2.0
    y = np.asarray(model.observed.y)[:21]
    weighted = Model(model.design, model.family, y, weight=weights)
    twice = pd.concat([SMALL, SMALL.iloc[[4]]])
    repeated = Model(lmm.design("~ x + (1 | g)", twice), model.family, np.append(y, y[4]))
    np.testing.assert_allclose(weighted.deviance(psi), repeated.deviance(psi), rtol=ROUNDING)


def test_order_of_rows_does_not_matter():
    model, psi = small("gamma")
    order = np.random.default_rng(3).permutation(21)
    shuffled = Model(
        lmm.design("~ x + (1 | g)", SMALL.iloc[order]), model.family, np.asarray(model.observed.y)[:21][order]
    )
    np.testing.assert_allclose(model.deviance(psi), shuffled.deviance(psi), rtol=ROUNDING)
