"""Parameters of larger terms that are held: one, several and all, against constrained plain optima.

Which parameters are held, and how many, is data of a compiled program: cases of one width and method share two, one for
standard deviations and one for correlations beside free standard deviations. Three columns are fitted by ML, four by
REML.
"""

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm
from jaxlmm.covariance import RESIDUAL_SD, Unstructured, parameters_of
from jaxlmm.engine import Profiler
from jaxlmm.model import Natural
from jaxlmm.solvers import Moments

from plain_effects import (
    EXACT,
    OPTIMUM,
    RESIDUAL,
    SAME,
    check,
    constrained,
    deviance,
    formula,
    matrix,
    parameters,
    simulated,
)  # fmt: skip

CLOSE = 1e-6
"""Estimates of one response in a batch and alone, relative: the searches end at other points of a flat bottom."""

LOWERED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: LOWERED.append(event) if "jaxpr_to_mlir_module" in event else None
)

THREE, FOUR = simulated(3), simulated(4, levels=20)
VALUES = {"sd": 0.7, "corr": 0.25}


def value(name):
    return VALUES[name.split(": ")[1].split("(")[0]]


@pytest.mark.parametrize("name", parameters(3))
def test_each_parameter_of_three_columns(name):
    fit = check(3, THREE, {name: value(name)}, "ML")
    others = [other for other in parameters(3) if other != name]
    assert (fit.variance()["std_error"][others] > 0).all()


@pytest.mark.parametrize("name", parameters(4))
def test_each_parameter_of_four_columns(name):
    check(4, FOUR, {name: value(name)})


@pytest.mark.parametrize(
    "names",
    [
        ("g: sd(Intercept)", "g: sd(a)", "g: sd(b)"),
        ("g: corr(Intercept, a)", "g: corr(Intercept, b)", "g: corr(a, b)"),
        tuple(parameters(3)),
    ],
)
def test_several_together(names):
    check(3, THREE, {name: value(name) for name in names}, "ML")


def test_all_of_four_columns():
    check(4, FOUR, {name: value(name) for name in parameters(4)})


def test_another_number_of_them_compiles_nothing():
    lmm.fit(formula(3), THREE, fixed={"g: sd(a)": 0.7}, method="ML")
    before = len(LOWERED)
    fit = lmm.fit(formula(3), THREE, fixed={"g: sd(Intercept)": 1.0, "g: sd(b)": 0.6}, method="ML")
    assert fit.n_params == 7
    assert len(LOWERED) == before


def test_standard_errors_are_those_of_the_plain_criterion_on_the_surface():
    """By the profile's own curvature: what is held beside a parameter leaves it the variance of the smaller model."""
    held = {"g: sd(a)": 0.7}
    fit = lmm.fit(formula(3), THREE, fixed=held, method="ML")
    for name in ("g: sd(b)", "g: sd(Intercept)"):
        row = fit.variance().loc[name]
        step = 0.02 * row["std_error"]
        sides = [fit.update(fixed=held | {name: row["estimate"] + s}).deviance for s in (-step, step)]
        curvature = (sum(sides) - 2.0 * fit.deviance) / step**2
        assert np.sqrt(2.0 / curvature) == pytest.approx(row["std_error"], rel=2e-3)


# ---- a standard deviation and a correlation beside free ones ---------------------------------------------------------

BOTH = {"g: sd(a)": 0.7, "g: corr(a, b)": 0.2}


def test_units_of_the_response():
    fit = check(3, THREE, BOTH)
    small = lmm.fit(formula(3), THREE.assign(y=1e-5 * THREE["y"]), fixed=BOTH | {"g: sd(a)": 0.7e-5})
    count = len(THREE) - 2
    assert small.deviance - 2.0 * count * np.log(1e-5) == pytest.approx(fit.deviance, abs=1e-7)


def test_a_standard_deviation_far_below_that_of_the_residual():
    """And a response in another unit, at whose scale the start stands nowhere near what is held."""
    check(3, THREE, {"g: sd(a)": 1e-3})
    responses = THREE[["y"]].assign(large=1e4 * THREE["y"])
    many = lmm.fit_many(formula(3).removeprefix("y "), THREE, responses=responses, fixed={"g: sd(a)": 0.7})
    v = matrix(many.variance().query("response == 'large'").set_index("parameter")["estimate"], 3)
    sigma = many.glance()["sigma"][1]
    assert many.glance()["status"].isin(["interior", "boundary"]).all()
    assert many.glance()["deviance"][1] == pytest.approx(
        deviance(THREE.assign(y=responses["large"]), v, sigma), abs=1e-6
    )
    starts = [(v / 1e8, sigma / 1e4), (0.5 * np.eye(3), 1.0)]
    lowest = constrained(THREE, 3, {"g: sd(a)": 0.7e-4}, starts)
    shift = 2.0 * (len(THREE) - 2) * np.log(1e4)
    assert many.glance()["deviance"][1] - shift <= lowest + OPTIMUM


def test_a_start_that_is_impossible_at_the_scale_of_one_response():
    responses = THREE[["y"]].assign(far=1e100 * THREE["y"])
    options = {"fixed": {RESIDUAL: 1.0}, "start": {"g: sd(Intercept)": 1.0, "g: sd(a)": 0.5}}
    many = lmm.fit_many(formula(2).removeprefix("y "), THREE, responses=responses, **options)
    assert many.glance()["status"].tolist() == ["interior", "not_converged"]


def test_many_responses_are_fits_one_by_one():
    """A response of other units, and one whose free standard deviation vanishes, among them."""
    rng = np.random.default_rng(8)
    noise = 0.7 * np.repeat(rng.normal(size=24), 9) * THREE["a"] + rng.normal(size=len(THREE))
    y = np.column_stack([THREE["y"], 3.0 * simulated(3, seed=9)["y"], noise])
    many = lmm.fit_many(formula(3).removeprefix("y "), THREE, responses=y, fixed=BOTH)
    table = many.variance().set_index(["response", "parameter"])
    for name, column in zip(many.glance()["response"], y.T, strict=True):
        alone, glance = lmm.fit(formula(3), THREE.assign(y=column), fixed=BOTH), many.glance().set_index("response")
        assert glance["deviance"][name] == pytest.approx(alone.deviance, abs=SAME)
        assert (glance["status"][name], glance["n_params"][name]) == (alone.status, alone.n_params)
        mine, theirs = table.loc[name], alone.variance()
        assert (mine["fixed"] == theirs["fixed"]).all()
        assert mine["estimate"][list(BOTH)].to_dict() == pytest.approx(BOTH, rel=EXACT)
        for number in ("estimate", "std_error"):
            assert mine[number].to_numpy() == pytest.approx(
                theirs[number].to_numpy(), rel=CLOSE, abs=CLOSE, nan_ok=True
            )
    assert set(many.glance()["status"]) == {"interior", "boundary"}


# ---- profiles --------------------------------------------------------------------------------------------------------


def plain_profile(values):
    """The lowest plain criterion at two columns over what is free: logarithms, and the correlation's Fisher z."""
    free = [name for name in (*parameters(2), RESIDUAL) if name not in values]

    def objective(x):
        own = {name: np.tanh(u) if "corr" in name else np.exp(u) for name, u in zip(free, x, strict=True)}
        return deviance(THREE, matrix(own | values, 2), (own | values)[RESIDUAL])

    starts = [np.zeros(len(free)), np.full(len(free), -0.7)]
    return min(minimize(objective, start, method="L-BFGS-B", bounds=[(-18, 6)] * len(free)).fun for start in starts)


@pytest.mark.parametrize(
    "grid",
    [
        [{"g: corr(Intercept, a)": held} for held in (-0.95, -0.4, 0.1, 0.3, 0.6, 0.9)],
        [{RESIDUAL: held} for held in (0.5, 0.8, 1.0, 1.2, 2.0)],
        [{f"g: sd({name})": held} for name in ("Intercept", "a") for held in (0.2, 0.9, 2.5)]
        + [{"g: sd(Intercept)": 1.2, "g: sd(a)": 0.5}],
    ],
    ids=["correlation", "residual", "standard deviations, one or both"],
)
def test_a_profile_is_the_plain_optimum_at_each_value(grid):
    design = lmm.design(formula(2).removeprefix("y "), THREE)
    blocks = (parameters_of(Unstructured(), "g", ("Intercept", "a")), (RESIDUAL_SD,))
    with jax.enable_x64(True):
        held = [Natural.of(design, blocks, values) for values in grid]
        found = Profiler(design, THREE["y"].to_numpy(), solver=Moments, method="REML").at(held)
    assert found.converged.all()
    lowest = np.array([plain_profile(values) for values in grid])
    assert (found.deviance <= lowest + OPTIMUM).all()
    assert found.deviance == pytest.approx(lowest, abs=1e-4)
