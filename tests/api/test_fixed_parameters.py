"""Parameters that are fixed, and where the search starts: against plain normal densities and plain optima."""

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit

import jaxlmm as lmm
from jaxlmm.covariance import OU, RESIDUAL_SD, Diagonal, Unstructured, parameters_of
from jaxlmm.engine.start import start_at
from jaxlmm.model import Layout, Natural, held_layout, point_at

import models
from plain_normal import criterion, crossed, decaying, one, process, related, two
from references import Exchangeable

DATA = models.data(seed=3, levels=20)
SAME = 1e-8
"""The same function by other arithmetic: rounding of a deviance of about 300."""
OPTIMUM = 1e-6
"""A plain optimum by differences is this far from the lowest deviance at most; ours may be lower, not higher."""
CLOSE = 1e-6
"""Estimates at the same optimum by other parameters, relative."""

LOWERED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: LOWERED.append(event) if "jaxpr_to_mlir_module" in event else None
)


KINSHIP = {"kinship": {"g": models.kinship(DATA)}}
SLOPE = "y ~ x + (1 + z | g)"
A, B, R, E = "g: sd(Intercept)", "g: sd(z)", "g: corr(Intercept, z)", "Residual: sd"
CASES = {
    "residual": ("y ~ x + (1 | g)", {}, one, {E: 1.2}),
    "first sd of two": (SLOPE, {}, two, {A: 0.7}),
    "second sd of two": (SLOPE, {}, two, {B: 0.3}),
    "both sds of two": (SLOPE, {}, two, {A: 0.7, B: 0.5}),
    "correlation": (SLOPE, {}, two, {R: 0.4}),
    "no correlation": (SLOPE, {}, two, {R: 0.0}),
    "correlation and residual": (SLOPE, {}, two, {R: -0.3, E: 0.9}),
    "no slope": (SLOPE, {}, two, {B: 0.0}),
    "whole term": (SLOPE, {}, two, {A: 0.7, B: 0.5, R: 0.2}),
    "crossed, weights": ("y ~ x + (1 | g) + (1 | h)", {"weights": "w"}, crossed, {"h: sd(Intercept)": 0.3}),
    "decay of the residual": ("y ~ x + (1 | g)", {"residual": "ou(t | g)"}, decaying, {"Residual: rho": 0.5}),
    "sd of ou": ("y ~ x + ou(t | g)", {}, process, {"g: sd": 0.8}),
    "known matrix": ("y ~ x + (1 | g)", KINSHIP, related, {A: 0.8}),
}


def fit(case, method="REML", **options):
    formula, given, _, fixed = CASES[case]
    return lmm.fit(formula, DATA, method=method, **({"fixed": fixed} | given | options))


def estimates(found):
    return found.variance()["estimate"].to_dict()


def plain_optimum(case, method, near):
    """The lowest plain criterion over what is free, from the estimates ``near`` and from elsewhere, by SciPy."""
    _, _, covariance, fixed = CASES[case]
    free = [name for name in near if name not in fixed and np.isfinite(near[name])]

    def natural(x):
        values = dict(near)
        for name, u in zip(free, x, strict=True):
            kind = name.split(": ")[-1].split("(")[0]
            values[name] = {"sd": np.exp, "corr": np.tanh, "rho": expit}[kind](u)
        return values

    def objective(x):
        return criterion(DATA, covariance(DATA, natural(x)), method)

    starts = [np.zeros(len(free)), np.full(len(free), -0.7)]
    return min(minimize(objective, start, method="L-BFGS-B", bounds=[(-6, 6)] * len(free)).fun for start in starts)


@pytest.fixture(scope="module")
def fits():
    return {case: fit(case) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_the_criterion_and_its_optimum_are_plain_ones(fits, case):
    found = fits[case]
    values, fixed = estimates(found), CASES[case][3]
    assert found.deviance == pytest.approx(criterion(DATA, CASES[case][2](DATA, values), "REML"), abs=SAME)
    lowest = plain_optimum(case, "REML", values)
    assert found.deviance <= lowest + OPTIMUM
    assert found.status in ("interior", "boundary")
    if found.status == "interior":
        assert found.deviance == pytest.approx(lowest, abs=1e3 * OPTIMUM)
    table = found.variance()
    vanished = any(value == 0.0 for value in values.values())  # what is zero has no correlation
    known = {name: value for name, value in fixed.items() if not (vanished and name == R)}
    assert {name: values[name] for name in known} == pytest.approx(known, rel=1e-14)
    assert table["fixed"][list(fixed)].all()
    assert table["std_error"][table["fixed"]].isna().all()
    assert not (table["fixed"] & table["at_boundary"]).any()
    assert found.n_params == found.fixef().size + int((~table["fixed"] & table["estimate"].notna()).sum())
    assert found.aic == pytest.approx(found.deviance + 2 * found.n_params)


@pytest.mark.parametrize("case", ["residual", "both sds of two"])
def test_maximum_likelihood(case):
    found = fit(case, "ML")
    assert found.deviance == pytest.approx(criterion(DATA, CASES[case][2](DATA, estimates(found)), "ML"), abs=SAME)
    assert found.deviance == pytest.approx(plain_optimum(case, "ML", estimates(found)), abs=OPTIMUM)


def test_standard_errors_are_those_of_the_plain_criterion(fits):
    """Half the second derivatives, by differences, in what is free; and the coefficients' covariance there."""
    found, names = fits["crossed, weights"], [A, E]
    values = estimates(found)

    def objective(x):
        return criterion(DATA, crossed(DATA, values | dict(zip(names, x, strict=True))), "REML")

    at, h = np.array([values[name] for name in names]), 1e-3
    steps = h * np.eye(2)
    hessian = np.array(
        [
            [
                objective(at + a + b) - objective(at + a - b) - objective(at - a + b) + objective(at - a - b)
                for b in steps
            ]
            for a in steps
        ]
    ) / (4.0 * h**2)
    expected = np.sqrt(np.diag(np.linalg.inv(0.5 * hessian)))
    assert found.variance()["std_error"][names].to_numpy() == pytest.approx(expected, rel=1e-4)
    x = np.column_stack([np.ones(len(DATA)), DATA["x"]])
    vcov = np.linalg.inv(x.T @ np.linalg.solve(crossed(DATA, values), x))
    assert found.vcov().to_numpy() == pytest.approx(vcov, rel=1e-9)


@pytest.fixture(scope="module")
def free():
    return {name: lmm.fit(name, DATA) for name in ("y ~ x + (1 | g)", SLOPE)}


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", SLOPE])
def test_everything_fixed_at_the_optimum(free, formula):
    best = free[formula]
    found = best.update(fixed={name: value for name, value in estimates(best).items() if np.isfinite(value)})
    assert found.deviance == pytest.approx(best.deviance, abs=SAME)
    assert found.fixef().to_numpy() == pytest.approx(best.fixef().to_numpy(), rel=1e-9)
    assert found.coef()["std_error"].to_numpy() == pytest.approx(best.coef()["std_error"].to_numpy(), rel=1e-9)
    assert found.theta == pytest.approx(best.theta, abs=CLOSE)
    assert found.n_params == 2
    assert np.isinf(found.coef()["df"]).all()  # variances that are known leave a normal distribution
    for group, modes in found.ranef().items():
        assert modes.to_numpy() == pytest.approx(best.ranef(group).to_numpy(), abs=CLOSE)
        assert found.ranef_sd(group).to_numpy() == pytest.approx(best.ranef_sd(group).to_numpy(), abs=CLOSE)
    assert found.fitted().to_numpy() == pytest.approx(best.fitted().to_numpy(), abs=CLOSE)
    assert found.marginal_cov([0, 1]).to_numpy() == pytest.approx(best.marginal_cov([0, 1]).to_numpy(), rel=CLOSE)
    new = DATA.head(3)
    assert found.predict(new).to_numpy() == pytest.approx(best.predict(new).to_numpy(), abs=CLOSE)


def test_one_fixed_at_the_optimum_leaves_the_others(free):
    best = free["y ~ x + (1 | g)"]
    for name in (A, E):
        found = best.update(fixed={name: estimates(best)[name]})
        assert found.deviance == pytest.approx(best.deviance, abs=SAME)
        assert found.theta == pytest.approx(best.theta, rel=CLOSE)
        other = E if name == A else A
        assert estimates(found)[other] == pytest.approx(estimates(best)[other], rel=CLOSE)
        assert np.isnan(found.variance()["std_error"][name])
        assert 0 < found.variance()["std_error"][other] <= best.variance()["std_error"][other]
        assert (found.coef()["df"] >= best.coef()["df"] - 1e-6).all()  # less is estimated


def test_the_profile_has_its_minimum_at_the_optimum(free):
    best = free["y ~ x + (1 | g)"]
    for name in (A, E):
        factors = np.array([0.3, 0.6, 0.9, 1.0, 1.1, 1.5, 3.0])
        profile = [best.update(fixed={name: f * estimates(best)[name]}).deviance for f in factors]
        assert np.argmin(profile) == 3
        assert min(profile) == pytest.approx(best.deviance, abs=SAME)
        assert (np.diff(profile[:4]) < 0).all()
        assert (np.diff(profile[3:]) > 0).all()


@pytest.mark.parametrize(("case", "solver"), [("residual", "blocked"), ("known matrix", "dense")])
def test_all_solvers_agree(fits, case, solver):
    found = fit(case, solver=solver)
    assert {found.solver, fits[case].solver} in ({"moments", "blocked"}, {"spectral", "dense"})
    assert found.deviance == pytest.approx(fits[case].deviance, abs=SAME)
    assert found.theta == pytest.approx(fits[case].theta, rel=CLOSE)


def test_units_do_not_matter(fits):
    """A response a million times smaller, with what is fixed a million times smaller."""
    for case in ("residual", "second sd of two"):
        formula, _, _, fixed = CASES[case]
        found = lmm.fit(formula, DATA.assign(y=1e-6 * DATA["y"]), fixed={n: 1e-6 * v for n, v in fixed.items()})
        count = len(DATA) - 2
        assert found.deviance - 2.0 * count * np.log(1e-6) == pytest.approx(fits[case].deviance, abs=SAME)
        assert found.theta == pytest.approx(fits[case].theta, rel=CLOSE, abs=CLOSE)


# ---- start -----------------------------------------------------------------------------------------------------------

STARTS = [
    {A: 0.05, B: 3.0, R: -0.9, E: 2.0},
    {A: 4.0},
    {A: 0.0, B: 0.0, R: 0.0},
    {A: 1.0, B: 1.0, R: 1.0},
    {E: 0.2},
]


@pytest.mark.parametrize("start", STARTS)
def test_any_start_leads_to_the_optimum(free, start):
    found = free[SLOPE].update(start=start)
    assert found.deviance == pytest.approx(free[SLOPE].deviance, abs=OPTIMUM)
    assert found.status == free[SLOPE].status


def test_the_search_begins_at_the_start():
    """An optimizer that does not move stays there; sigma is the best for the ratios unless it is fixed."""
    still = optax.sgd(0.0)
    start = {A: 1.5, B: 0.6, R: 0.3, E: 1.2}
    found = estimates(lmm.fit(SLOPE, DATA, start=start, optimizer=still))
    for name in (A, B):
        assert found[name] / found[E] == pytest.approx(start[name] / start[E], rel=CLOSE)
    assert found[R] == pytest.approx(start[R], rel=CLOSE)
    found = estimates(lmm.fit("y ~ x + (1 | g)", DATA, start={A: 1.5}, fixed={E: 0.8}, optimizer=still))
    assert found == pytest.approx({A: 1.5, E: 0.8}, rel=CLOSE)


def test_a_decay_can_start_anywhere():
    fixed = {A: 1.3, "g: sd": 0.5, "g: rho": 0.25, E: 0.7}
    layout = Layout.of(lmm.design("y ~ x + (1 | g) + ou(t | g)", DATA))
    structures = (Unstructured(), OU())
    blocks = (*(parameters_of(structure, "g", ["Intercept"]) for structure in structures), (RESIDUAL_SD,))
    assert [parameter.name for block in blocks for parameter in block] == list(fixed)
    given = Natural.split(blocks, np.array(list(fixed.values())))
    with jax.enable_x64(True):
        theta = start_at(layout, given, 1.0)
        factors = layout.factors(jax.numpy.asarray(theta), layout.bases())
        assert np.asarray(layout.report(theta, factors, np.float64(0.7))) == pytest.approx(given.flat, rel=1e-12)


def test_the_optimum_as_a_start_takes_two_evaluations(free):
    found = free["y ~ x + (1 | g)"].update(start=estimates(free["y ~ x + (1 | g)"]))
    assert found.solution.n_evaluations <= 2


def test_structures_of_ones_own():
    """All parameters of any structure can be fixed, and any structure can start at values that it can have."""
    best = lmm.fit(SLOPE, DATA, covariance={"g": Exchangeable()})
    values = {name: value for name, value in estimates(best).items() if name != E}
    found = best.update(fixed=values)
    assert found.deviance == pytest.approx(best.deviance, abs=SAME)
    assert np.abs(found.theta) == pytest.approx(np.abs(best.theta), rel=CLOSE, abs=CLOSE)
    assert found.n_params == best.n_params - 2
    assert best.update(start={A: 3.0, E: 4.0}).deviance == pytest.approx(best.deviance, abs=OPTIMUM)
    with pytest.raises(lmm.OptionError, match="cannot begin"):
        best.update(start=values | {A: 3.0})


def test_three_columns_are_fixed_together():
    design = lmm.design("y ~ x + (0 + f | g)", DATA)
    blocks = (parameters_of(Unstructured(), "g", tuple("uvw")), (RESIDUAL_SD,))
    sd, corr = np.array([0.5, 2.0, 1.0]), np.array([[1.0, 0.3, -0.5], [0.3, 1.0, 0.6], [-0.5, 0.6, 1.0]])
    values = np.append(sd, corr[[0, 0, 1], [1, 2, 2]])
    with jax.enable_x64(True):
        layout = held_layout(design, Natural(blocks, (values, np.array([2.0]))))
        assert layout.n_estimated == 0
        theta, error = point_at(layout.in_unit(4.0), layout.start())
        assert error < 1e-12
        factor = np.asarray(layout.in_unit(4.0).factors(jax.numpy.asarray(theta), layout.bases()).terms[0])
        assert factor @ factor.T == pytest.approx(corr * np.outer(sd, sd) / 4.0, rel=1e-12)  # relative to sigma²
        one_free = np.where(values == 0.6, np.nan, values)
        assert held_layout(design, Natural(blocks, (one_free, np.array([2.0])))).n_estimated == 1


@pytest.mark.parametrize("sigma", [np.nan, 0.9])
def test_a_residual_parameter_with_a_unit_is_held_in_it(sigma):
    """The second of several residual standard deviations, beside a first that is free, or fixed."""
    ou = lmm.design("y ~ x + (1 | g)", DATA, residual="ou(t | g)")
    design = ou.replace(residual=ou.residual.replace(structure=Diagonal()))
    residual = parameters_of(Diagonal(), "Residual", [str(t) for t in range(ou.residual.coords.shape[1])])
    blocks = (parameters_of(Unstructured(), "g", ["Intercept"]), residual)
    values = np.full(len(residual), np.nan)
    values[:2] = sigma, 1.3
    with jax.enable_x64(True):
        layout = held_layout(design, Natural(blocks, (np.full(1, np.nan), values))).in_unit(2.0)
        theta, error = point_at(layout, layout.start())
        report = layout.report(theta, layout.factors(jax.numpy.asarray(theta), layout.bases()), np.float64(2.0))
        assert error < 1e-12
        assert np.asarray(report)[2] == pytest.approx(1.3, rel=CLOSE)
        assert layout.n_estimated == len(residual) - np.isfinite(sigma)


# ---- options, files, many responses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "values", "message"),
    [
        ("fixed", {"g: sd(Intercep)": 1.0}, r"did you mean g: sd\(Intercept\)"),
        ("start", {"h: sd(Intercept)": 1.0}, "no parameter is named"),
        ("fixed", {A: -1.0}, "0 or more"),
        ("fixed", {A: np.nan}, "got nan"),
        ("start", {A: np.inf}, "got inf"),
        ("fixed", {A: "1"}, "got '1'"),
        ("fixed", {A: True}, "got True"),
        ("fixed", {E: 0.0}, "above 0"),
        ("start", {R: 1.2}, "from -1 to 1"),
        ("fixed", [A, 1.0], "expected a dict"),
    ],
)
def test_bad_values(option, values, message):
    with pytest.raises(lmm.OptionError, match=message):
        lmm.fit(SLOPE, DATA, **{option: values})


def test_values_that_no_covariance_has():
    names = ("a", "b", "c")
    data = DATA.assign(**{name: (DATA["f"] == level).astype(float) for name, level in zip(names, "uvw", strict=True)})
    pairs = {"g: corr(a, b)": 0.9, "g: corr(a, c)": 0.9, "g: corr(b, c)": -0.9}
    for option in ("start", "fixed"):
        with pytest.raises(lmm.OptionError, match="eigenvalue"):
            lmm.fit("y ~ x + (0 + a + b + c | g)", data, **{option: pairs | {f"g: sd({name})": 1.0 for name in names}})
    with pytest.raises(lmm.OptionError, match="strictly between"):
        lmm.fit("y ~ x + (1 | g)", DATA, residual="ou(t | g)", fixed={"Residual: rho": 1.0})
    with pytest.raises(lmm.OptionError, match="is in both"):
        lmm.fit("y ~ x + (1 | g)", DATA, start={E: 1.0}, fixed={E: 1.0})


def test_the_summary_and_a_file_say_what_is_fixed(fits, tmp_path):
    found = fits["second sd of two"]
    assert "fixed" in found.summary().text
    assert "Fixed at given values" in found.summary().text
    found.save(tmp_path / "fit.json")
    again = lmm.load(tmp_path / "fit.json")
    pd.testing.assert_frame_equal(again.variance(), found.variance())
    pd.testing.assert_frame_equal(again.coef(), found.coef())
    assert again.summary().text == found.summary().text
    assert (again.n_params, again.bic) == (found.n_params, found.bic)
    share = found.delta(lambda v: v[B] + 0.0 * v[E])
    assert share["estimate"] == pytest.approx(0.3)
    assert share["std_error"] == pytest.approx(0.0, abs=1e-12)  # what is known has none


def test_refit_and_update_keep_them(fits):
    found = fits["residual"]
    y = DATA["y"].to_numpy() + 0.3 * DATA["z"].to_numpy()
    assert found.refit(y).variance()["fixed"].tolist() == [False, True]
    assert found.refit(y).deviance == pytest.approx(
        lmm.fit("y ~ x + (1 | g)", DATA.assign(y=y), fixed={E: 1.2}).deviance, abs=SAME
    )
    assert found.update(method="ML").variance()["estimate"][E] == 1.2
    assert found.update(". ~ . - x").variance()["estimate"][E] == 1.2
    assert not found.update(fixed=None).variance()["fixed"].any()


def test_many_responses_are_fits_one_by_one(tmp_path):
    rng = np.random.default_rng(5)
    y = models.draw(DATA, 5, seed=8) * np.array([1.0, 1.0, 1.0, 1.0, 0.3])
    y[rng.integers(0, len(DATA), 4), 2] = np.nan
    y[:, 3] = 1.0
    many = lmm.fit_many("~ x + (1 | g)", DATA, responses=y, fixed={A: 0.7}, start={E: 0.5})
    assert many.failed()["response"].tolist() == ["y4"]
    table = many.variance().set_index(["response", "parameter"])
    assert table["fixed"].xs(A, level="parameter").all()
    assert not table["fixed"].xs(E, level="parameter").any()
    for name in ("y1", "y3", "y5"):
        alone = many[name]
        for column in ("estimate", "std_error"):
            mine = table.loc[name][column].to_numpy()
            assert mine == pytest.approx(alone.variance()[column].to_numpy(), rel=CLOSE, abs=1e-9, nan_ok=True)
        glance = many.glance().set_index("response").loc[name]
        assert glance["deviance"] == pytest.approx(alone.deviance, abs=SAME)
        assert glance["n_params"] == alone.n_params == 3
        assert many.fitted()[name].dropna().to_numpy() == pytest.approx(alone.fitted().to_numpy(), abs=CLOSE)
    many.save(tmp_path / "many.json")
    again = lmm.load(tmp_path / "many.json")
    pd.testing.assert_frame_equal(again.variance(), many.variance())
    pd.testing.assert_series_equal(again.glance()["aic"], many.glance()["aic"])


def test_other_values_compile_nothing(free):
    """A profile is one set of programs."""
    best = free["y ~ x + (1 | g)"]
    best.update(fixed={E: 1.0}).summary()
    before = len(LOWERED)
    best.update(fixed={E: 1.3}).summary()
    assert len(LOWERED) == before
