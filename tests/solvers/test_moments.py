"""The moments solver as many responses use it: levels pooled by class, padding taken off, inverses entry by entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.likelihood import likelihood_of
from jaxlmm.linalg.solutions import shifted_solutions
from jaxlmm.solvers import SOLVERS
from jaxlmm.solvers.moments.classes import MAX_CLASSES_BY_PRODUCT, Classes, both_ways

import models


def schedules() -> pd.DataFrame:
    """160 subjects, two for each of 80 schedules: more classes than are added up by a product of matrices."""
    rng = np.random.default_rng(1)
    times = [np.sort(rng.uniform(0.0, 5.0, rng.integers(2, 5))) for _ in range(80)]
    rows = [(subject, x) for subject in range(160) for x in times[subject % 80]]
    frame = pd.DataFrame(rows, columns=["subject", "x"])
    return frame.assign(y=rng.normal(size=len(frame)) + rng.normal(size=160)[frame["subject"]])


def pairs() -> pd.DataFrame:
    """Twins of two kinds, each with a variance of its own: no class has both effects."""
    rng = np.random.default_rng(2)
    family = np.repeat(np.arange(30), 2)
    mz = (family < 12).astype(float)
    frame = pd.DataFrame({"family": family, "mz": mz, "dz": 1.0 - mz, "x": rng.normal(size=60)})
    return frame.assign(y=rng.normal(size=60) + rng.normal(size=30)[family])


def visits() -> pd.DataFrame:
    """25 subjects at the same five visits, and some with three: up to four effects each."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"subject": np.repeat(np.arange(25), 5), "x": np.tile(np.arange(5.0), 25)})
    frame = frame[(frame["subject"] % 3 > 0) | (frame["x"] < 3)].reset_index(drop=True)
    frame["late"] = (frame["x"] > 2).astype(float)  # never seen where there are three visits
    frame["w"] = frame["x"] ** 2 % 3
    return frame.assign(y=rng.normal(size=len(frame)) + rng.normal(size=25)[frame["subject"]] * frame["x"])


def rounded() -> pd.DataFrame:
    """Levels whose covariate is zero, and such where a sum of decimals leaves rounding noise of it."""
    rng = np.random.default_rng(4)
    of_level = [(0.0, 0.0, 0.0)] * 20 + [(0.0, 0.0, 0.1 + 0.2 - 0.3)] * 10 + [(0.0, 1.0, 2.0)] * 30
    frame = pd.DataFrame({"g": np.repeat(np.arange(60), 3), "x": np.concatenate(of_level)})
    return frame.assign(y=rng.normal(size=180) + rng.normal(size=60)[frame["g"]])


CASES = {
    "80 classes": ("y ~ x + (x | subject)", schedules, [0.9, 0.3, 0.5]),
    "80 classes, no fixed effects": ("y ~ 0 + (x | subject)", schedules, [0.9, 0.3, 0.5]),
    "rounding noise": ("y ~ x + (x | g)", rounded, [0.9, 0.3, 0.5]),
    "no class has both": ("y ~ x + (0 + mz | family) + (0 + dz | family)", pairs, [0.8, 1.3]),
    "three effects": ("y ~ x + late + (x + late | subject)", visits, [0.9, 0.3, -0.2, 0.5, 0.1, 0.7]),
    "four effects": ("y ~ x + (x | subject) + (0 + late + w | subject)", visits, [0.9, 0.3, 0.5, 0.6, 0.2, 0.4]),
}


@pytest.mark.parametrize("name", CASES)
def test_pooled_levels_give_the_deviance_and_its_derivatives(name):
    formula, data, theta = CASES[name]
    frame = data()
    design = lmm.design(formula, frame)
    y, theta = frame["y"].to_numpy(), np.array(theta)
    found = []
    with jax.enable_x64(True):
        for solver in (SOLVERS["moments"].build(design).unpadded(), SOLVERS["dense"].build(design)):
            likelihood = likelihood_of(design, solver, "REML")

            def deviance(theta, y, likelihood=likelihood):
                response = likelihood.observe(likelihood.padded(y))
                return likelihood.deviance(likelihood.layout.factors(theta), response)

            def all_of(theta, y, deviance=deviance):
                return deviance(theta, y), jax.grad(deviance)(theta, y), jax.hessian(deviance)(theta, y)

            found.append([np.asarray(one) for one in models.quickly(all_of)(theta, jnp.asarray(y))])
    assert SOLVERS["moments"].build(design).pooled
    for mine, theirs in zip(*found, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_many_responses_keep_the_digits_of_second_derivatives():
    """With one standard deviation 3,000 times the residual's, its Hessian in log sd is 3e-5, of parts of size 40."""
    rng = np.random.default_rng(0)
    times = [np.arange(3.0), np.arange(4.0), np.zeros(1), np.arange(2.0)]
    frame = pd.DataFrame({"g": np.repeat(np.arange(40), [len(times[g % 4]) for g in range(40)])})
    frame["t"] = np.concatenate([times[g % 4] for g in range(40)])
    frame["late"] = (frame["t"] > 1.5).astype(float)
    frame["y"] = rng.normal(size=len(frame)) + rng.normal(size=40)[frame["g"]]
    design = lmm.design("y ~ t + (t | g) + (0 + late | g)", frame)
    found = []
    with jax.enable_x64(True):
        for solver in (SOLVERS["moments"].build(design), SOLVERS["moments"].build(design).unpadded()):
            likelihood = likelihood_of(design, solver, "REML")
            response = likelihood.observe(likelihood.padded(frame["y"].to_numpy()))

            def deviance(logarithm, likelihood=likelihood, response=response):
                theta = jnp.concatenate([jnp.array([1.3, -0.4, 0.5]), jnp.exp(logarithm)])
                return likelihood.deviance(likelihood.layout.factors(theta), response)

            found.append(float(jax.jit(jax.hessian(deviance))(jnp.array([8.0]))[0, 0]))
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_classes_in_which_an_effect_vanishes_take_no_part():
    solver = SOLVERS["moments"].build(lmm.design(CASES["no class has both"][0], pairs())).unpadded()
    sizes = [end - start for start, end in solver.spans]
    assert sizes == [1, 0, 1]  # the one class of each kind of twins, and none for the product of both effects


@pytest.mark.parametrize("n", [MAX_CLASSES_BY_PRODUCT, MAX_CLASSES_BY_PRODUCT + 1])
def test_sums_by_class(n):
    rng = np.random.default_rng(n)
    of_level = rng.integers(0, n, 200).astype(np.int32)
    left, right = rng.normal(size=(200, 2)), rng.normal(size=(200, 3))
    span = (2, n - 5)
    with jax.enable_x64(True):
        classes = Classes(of_level, n)
        totals = np.asarray(classes.total(jnp.asarray(left), span))
        outer = np.asarray(classes.total_outer(jnp.asarray(left), jnp.asarray(right), span))
    expected = np.array([left[of_level == c].sum(axis=0) for c in range(*span)])
    assert totals == pytest.approx(expected, abs=1e-12)
    expected = np.array([left[of_level == c].T @ right[of_level == c] for c in range(*span)])
    assert outer == pytest.approx(expected, abs=1e-12)
    assert both_ways(left, right, 0, 1) == pytest.approx(left[:, 0] * right[:, 1] + left[:, 1] * right[:, 0])
    assert both_ways(left, right, 1, 1) == pytest.approx(left[:, 1] * right[:, 1])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_solutions_at_several_shifts(size):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size))
    a, metric, b = root + root.T, rng.uniform(0.5, 2.0, size), rng.normal(size=size)
    shifts = np.array([0.0, 0.1, 1.0, 10.0, 100.0])
    with jax.enable_x64(True):
        x, definite = shifted_solutions(*map(jnp.asarray, (a, metric, shifts, b)))
    shifted = a + shifts[:, None, None] * np.diag(metric)
    assert np.asarray(definite).tolist() == (np.linalg.eigvalsh(shifted)[:, 0] > 0).tolist()
    expected = np.linalg.solve(shifted, np.tile(b, (5, 1))[..., None])[..., 0]
    assert np.stack(x, axis=1) == pytest.approx(expected, rel=1e-9)
