"""The blocked solver beyond the registry: exact arithmetic, random designs, large components, learned Hessians."""

import importlib

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.engine.guesses import guess_columns
from jaxlmm.likelihood import likelihood_of
from jaxlmm.linalg.inverse import inverse_logdet
from jaxlmm.model import Layout
from jaxlmm.solvers import SOLVERS, select
from jaxlmm.solvers.blocked import blocked, gram

import models

DATA = models.data()
DIGITS = 60
"""With variance ratios of 1e10 and 1e-10 in one matrix, 60 digits leave more than 30 after all cancellation."""


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def exact_deviance(frame, theta, factors):
    """The REML deviance of crossed random intercepts from the n × n covariance matrix, in 60 digits."""
    with mpmath.workdps(DIGITS):
        n = len(frame)
        v = mpmath.eye(n)
        for value, columns in zip(theta, factors, strict=True):
            same = np.logical_and.reduce([np.equal.outer(frame[c].to_numpy(), frame[c].to_numpy()) for c in columns])
            v += mpmath.mpf(float(value)) ** 2 * mpmath.matrix(same.astype(int).tolist())
        lower = mpmath.cholesky(v)
        a = np.column_stack([np.ones(n), frame["x"], frame["y"]])
        white = mpmath.matrix(n, 3)
        for c in range(3):
            for i in range(n):
                known = mpmath.fsum(lower[i, k] * white[k, c] for k in range(i))
                white[i, c] = (mpmath.mpf(float(a[i, c])) - known) / lower[i, i]
        products = white.T * white
        information, cross = products[:2, :2], products[:2, 2]
        square = products[2, 2] - (mpmath.lu_solve(information, cross).T * cross)[0]
        logdet = 2 * mpmath.fsum(mpmath.log(lower[i, i]) for i in range(n)) + mpmath.log(mpmath.det(information))
        return float(logdet + (n - 2) * (1 + mpmath.log(2 * mpmath.pi * square / (n - 2))))


@pytest.mark.parametrize(
    ("name", "factors"),
    [("crossed", ["g", "h"]), ("three crossed", ["g", "h", "f"]), ("crossed and nested", ["g", "gh", "f"])],
)
def test_no_digit_is_lost_at_any_variance_ratio(name, factors):
    """Also where one variance is 1e10 and another 1e-10 times the residual's."""
    frame = models.data(seed=3, levels=9)
    theta = models.theta_of(name)
    f = models.quickly(models.deviance(models.design(name, frame), "blocked", "REML"))
    k = theta.size
    first, last = np.array([1e5] + [1e-5] * (k - 1)), np.array([1e-5] * (k - 1) + [1e5])
    for scale in (np.ones(k), np.full(k, 1e5), first, last):
        expected = exact_deviance(frame, np.asarray(theta) * scale, factors)
        assert float(f(theta * scale, jnp.asarray(frame["y"].to_numpy()))) == pytest.approx(expected, abs=1e-9)


def random_design(seed, *, levels=(30, 12, 5), n=300):
    """Crossed factors with slopes on two of them, of random sizes, some levels far more frequent than others."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.normal(size=n) for name in ("y", "x", "z")})
    for name, count in zip("abc", levels, strict=True):
        frame[name] = rng.choice(count, n, p=rng.dirichlet(np.full(count, 0.7)))
    frame["b"] = np.where(rng.random(n) < 0.3, frame["a"] % levels[1], frame["b"])  # partly nested
    frame["w"] = rng.uniform(0.3, 3.0, n)
    return lmm.design("y ~ x + (1 + z | a) + (1 + x | b) + (1 | c)", frame, weights="w"), frame["y"].to_numpy()


@models.quickly
def second_order(likelihood, theta, y):
    def f(theta):
        return likelihood.deviance(likelihood.layout.factors(theta), likelihood.observe(likelihood.padded(y)))

    return f(theta), jax.grad(f)(theta), jax.hessian(f)(theta)


@pytest.mark.parametrize(
    ("kind", "pair_cost", "most_pairs"), [("PairGram", 0, 10**9), ("RunGram", 0, 0), ("ColumnGram", 1e9, 0)]
)
def test_random_designs_agree_with_dense(kind, pair_cost, most_pairs, monkeypatch):
    """With products of pairs of entries, of runs of entries over several levels, and of whole columns."""
    monkeypatch.setattr(gram, "MULTIPLICATIONS_PER_SCATTER", pair_cost)
    monkeypatch.setattr(gram, "MAX_PAIRS_WRITTEN_OUT", most_pairs)
    monkeypatch.setattr(gram, "PAIRS_PER_RUN", 4)
    monkeypatch.setattr(gram, "RUNS_AT_ONCE", 64)
    theta = jnp.array([0.9, 0.3, 0.5, 0.4, -0.2, 0.3, 0.6])
    for seed in range(4):
        design, y = random_design(seed)
        solver = blocked.Blocked.build(design)
        assert {type(products).__name__ for products in solver.rest.coupling.grams} == {kind}
        one, other = (
            second_order(likelihood_of(design, built, "REML"), theta, jnp.asarray(y))
            for built in (solver, SOLVERS["dense"].build(design))
        )
        for mine, theirs in zip(one, other, strict=True):
            assert np.asarray(mine) == pytest.approx(np.asarray(theirs), rel=1e-9, abs=1e-9)


def test_several_components_of_different_size():
    """Schools of 1 to 40 classes and a few crossed teachers: nested parts are batched apart from the large one."""
    rng = np.random.default_rng(5)
    classes = np.concatenate([np.full(rng.integers(1, 5), s) for s in range(40)] + [np.full(40, 40)])
    rows = rng.choice(classes.size, 900)
    frame = pd.DataFrame({"y": rng.normal(size=900), "x": rng.normal(size=900), "c": rows, "s": classes[rows]})
    frame["t"] = np.where(frame["s"] == 40, rng.integers(0, 30, 900), 30 + frame["s"])
    design = lmm.design("y ~ x + (1 + x | s) + (1 | c) + (1 | t)", frame)
    solver = blocked.Blocked.build(design)
    assert len(solver.rest.blocks) > 1
    theta = jnp.array([0.5, 0.2, 0.3, 0.7, 0.4])
    y = jnp.asarray(frame["y"].to_numpy())
    one, other = (
        second_order(likelihood_of(design, built, "REML"), theta, y)
        for built in (solver, SOLVERS["dense"].build(design))
    )
    for mine, theirs in zip(one, other, strict=True):
        assert np.asarray(mine) == pytest.approx(np.asarray(theirs), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | a) + (0 + x | b)", "y ~ x + (1 | a) + (1 + x | b)"])
def test_a_covariate_far_from_zero(formula):
    """A year, a position on a chromosome: its mean is a million times its spread."""
    frame = crossed_data()
    frame["y"] = frame["y"] + 0.5 * np.random.default_rng(1).normal(size=15)[frame["b"]] * frame["x"]
    frame["x"] = frame["x"] + 1e6
    one, other = (lmm.fit(formula, frame, solver=solver) for solver in ("blocked", "dense"))
    assert one.status == other.status
    assert one.deviance == pytest.approx(other.deviance, abs=1e-6)


def test_nested_factors_stay_small_blocks():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"school": np.repeat(np.arange(50), 40), "class": np.tile(np.repeat(np.arange(8), 5), 50)})
    frame["y"] = rng.normal(size=len(frame))
    solver = blocked.Blocked.build(lmm.design("y ~ 1 + (1 | school/class)", frame))
    (block,) = solver.rest.blocks
    assert block.size == 1
    assert block.outside is None  # a school's effect is a sum of its classes': nothing lies outside


@pytest.mark.parametrize("formula", ["y ~ x + (1 | a) + (1 | b) + (1 | c)", "y ~ x + (1 + z | a) + (1 | b)"])
def test_a_learned_hessian_leads_to_the_same_optimum(formula, monkeypatch):
    """Where an exact Hessian is dear it is learned from gradients; the optimum and its standard errors are the same."""
    frame = crossed_data()
    exact = lmm.fit(formula, frame)
    monkeypatch.setattr(blocked, "MAX_EFFECTS_FOR_EXACT_HESSIAN", 0)
    learned = lmm.fit(formula, frame)
    assert learned.solution.likelihood.solver.quasi_newton
    assert learned.status == exact.status
    assert learned.deviance == pytest.approx(exact.deviance, abs=1e-9 * abs(exact.deviance))
    assert learned.coef().to_numpy() == pytest.approx(exact.coef().to_numpy(), rel=1e-5)
    for column in ("estimate", "std_error"):
        assert learned.variance()[column].to_numpy() == pytest.approx(
            exact.variance()[column].to_numpy(), rel=1e-4, nan_ok=True
        )
    assert learned.certificate.multipliers.to_numpy() == pytest.approx(
        exact.certificate.multipliers.to_numpy(), rel=1e-3
    )


def test_a_guess_and_a_learned_hessian_beside_what_is_held(monkeypatch):
    """A guess by moments is relative to sigma, theta to the response's scale; what is held it has near it."""
    frame, fixed = crossed_data(), {"Residual: sd": 0.3, "b: sd(Intercept)": 0.2}
    formula = "y ~ x + (1 + z | a) + (1 | b)"
    exact = lmm.fit(formula, frame, fixed=fixed)
    layouts = Layout.of(exact.design), exact.solution.layout
    inverse = [np.linalg.inv(basis) for basis in layouts[0].bases()]
    rough = jnp.array([[2.0, 0.4, 0.0], [0.4, 1.0, 0.0], [0.0, 0.0, 1.5]])
    guesses = [guess_columns(layout, rough, jnp.asarray(layout.start()), inverse) for layout in layouts]
    joint = [layout.factors(theta, layout.bases()).joint() for layout, theta in zip(layouts, guesses, strict=True)]
    assert np.asarray(joint[1] @ joint[1].T) == pytest.approx(np.asarray(joint[0] @ joint[0].T), rel=1e-8)
    monkeypatch.setattr(blocked, "MAX_EFFECTS_FOR_EXACT_HESSIAN", 0)
    learned = lmm.fit(formula, frame, fixed=fixed)
    assert learned.solution.likelihood.solver.quasi_newton
    assert learned.status == exact.status
    assert learned.deviance == pytest.approx(exact.deviance, abs=1e-8 * abs(exact.deviance))


def crossed_data():
    """Two crossed factors with effects, and one, c, without."""
    rng = np.random.default_rng(11)
    n = 600
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n)})
    for name, count in (("a", 40), ("b", 15), ("c", 6)):
        frame[name] = rng.integers(0, count, n)
    slopes = 0.4 * rng.normal(size=40)[frame["a"]] * frame["z"]
    frame["y"] = rng.normal(size=40)[frame["a"]] + slopes + 0.5 * rng.normal(size=15)[frame["b"]] + rng.normal(size=n)
    return frame


def test_one_factor_gives_the_fit_of_moments():
    sleep = lmm.datasets.sleepstudy()
    formula = "Reaction ~ Days + (Days | Subject)"
    one, other = (lmm.fit(formula, sleep, solver=solver) for solver in ("moments", "blocked"))
    assert other.solver == "blocked"
    assert one.coef().to_numpy() == pytest.approx(other.coef().to_numpy(), rel=1e-8)
    assert one.ranef_sd("Subject").to_numpy() == pytest.approx(other.ranef_sd("Subject").to_numpy(), rel=1e-8)


def test_effects_agree_with_dense():
    frame = crossed_data()
    one, other = (
        lmm.fit("y ~ x + (1 + z | a) + (1 | b) + (0 + x | a)", frame, solver=solver) for solver in ("blocked", "dense")
    )
    for group in ("a", "b"):
        assert one.ranef(group).to_numpy() == pytest.approx(other.ranef(group).to_numpy(), abs=1e-6)
        assert one.ranef_sd(group).to_numpy() == pytest.approx(other.ranef_sd(group).to_numpy(), abs=1e-6)


def test_what_blocked_cannot_do_is_said():
    design = models.design("ou", DATA)
    with pytest.raises(lmm.OptionError, match="solver='blocked' cannot do this model: a term over positions"):
        select(design, "blocked")
    with pytest.raises(lmm.OptionError, match="no random effects"):
        select(lmm.design("y ~ x", DATA), "blocked")


def test_a_component_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.import_module("jaxlmm.solvers.blocked.components"), "MAX_EFFECTS_OF_COMPONENT", 3)
    with pytest.raises(lmm.OptionError, match="takes up to 3 connected random effects"):
        lmm.fit("y ~ x + (1 | g) + (1 | h)", DATA)


@pytest.mark.parametrize("size", [1, 3, 7, 32, 50, 161, 333])
def test_inverse_and_logdet_of_all_sizes(size):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(2, size, size + 3))
    a = root @ root.swapaxes(1, 2) / size + 0.1 * np.eye(size)
    inverse, logdet = models.quickly(inverse_logdet)(jnp.asarray(a))
    assert np.asarray(inverse @ a) == pytest.approx(np.broadcast_to(np.eye(size), a.shape), abs=1e-9)
    assert np.asarray(logdet) == pytest.approx(np.linalg.slogdet(a)[1], rel=1e-12)
    assert np.isnan(models.quickly(inverse_logdet)(jnp.asarray(-np.eye(size)))[1])
