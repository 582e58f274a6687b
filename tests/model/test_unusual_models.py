"""Corners of formulas, data types and structures, each held against an independent statement of the same model."""

import re

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm

RNG = np.random.default_rng(11)
LEVELS, ROWS = 15, 6
DATA = pd.DataFrame({"g": np.repeat([f"g{i:02d}" for i in range(LEVELS)], ROWS)})
N = len(DATA)
DATA["x"] = RNG.normal(size=N)
DATA["t"] = np.tile(np.arange(float(ROWS)), LEVELS)
DATA["f"] = RNG.choice(list("abc"), N)
DATA["b"] = RNG.random(N) < 0.5
DATA["pos"] = RNG.uniform(1.0, 2.0, N)
DATA["y"] = 5.0 + DATA["x"] + RNG.normal(size=LEVELS).repeat(ROWS) + RNG.normal(size=N)


def same(one, other, tolerance=1e-8):
    assert one.deviance == pytest.approx(other.deviance, abs=tolerance)


def plain_optimum(covariance, start, x, y):
    """The smallest ML deviance over the parameters of a covariance matrix, by SciPy."""

    def deviance(v):
        total = covariance(v)
        inverse, (sign, logdet) = np.linalg.inv(total), np.linalg.slogdet(total)
        rest = y - x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
        return len(y) * np.log(2 * np.pi) + logdet + rest @ inverse @ rest if sign > 0 else 1e10

    starts = [np.array(start), np.array(start) + 0.5, np.array(start) - 0.5]
    return min(
        minimize(deviance, s, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}).fun
        for s in starts
    )


# ---- the left side, offsets, signs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "value"),
    [
        ("y - x", DATA["y"] - DATA["x"]),
        ("y^2", DATA["y"] ** 2),
        ("-y", -DATA["y"]),
        ("y / 2 + 1", DATA["y"] / 2 + 1),
        ("log(y + 20)", np.log(DATA["y"] + 20)),
        ("y * pos", DATA["y"] * DATA["pos"]),
    ],
)
def test_the_left_side_is_arithmetic(left, value):
    same(lmm.fit(f"{left} ~ t + (1 | g)", DATA), lmm.fit("v ~ t + (1 | g)", DATA.assign(v=value)))


def test_offsets_are_arithmetic_and_are_not_subtracted():
    direct = lmm.fit("v ~ t + (1 | g)", DATA.assign(v=DATA["y"] - DATA["x"] * DATA["pos"]))
    same(lmm.fit("y ~ t + offset(x * pos) + (1 | g)", DATA), direct)
    same(lmm.fit("y ~ t + (1 | g)", DATA, offset=DATA["x"] * DATA["pos"]), direct)
    for formula in ("y ~ t - offset(x) + (1 | g)", "y ~ t + x - (x + (1 | g))"):
        with pytest.raises(lmm.FormulaError, match="cannot be subtracted"):
            lmm.fit(formula, DATA)


@pytest.mark.parametrize(
    ("formula", "part"),
    [
        ("y ~ sqrt(x) + (1 | g)", "sqrt"),
        ("y ~ t + (0 + sqrt(x) | g)", "sqrt"),
        ("y ~ t + ou(sqrt(x) | g)", "sqrt"),
        ("y ~ t + offset(sqrt(x)) + (1 | g)", "offset"),
        ("sqrt(x) ~ t + (1 | g)", "sqrt"),
    ],
)
def test_undefined_expressions_are_refused(formula, part):
    with pytest.raises(lmm.DataError, match=rf"{part}.*undefined"):
        lmm.fit(formula, DATA)


def test_columns_without_variance_are_refused():
    declared = pd.Categorical(DATA["f"], list("abcz"))
    with pytest.raises(lmm.DataError, match="is zero in all 90 rows"):
        lmm.fit("y ~ x + (1 | g) + (0 + dummy(f, 'z') | g)", DATA.assign(f=declared))
    with pytest.raises(lmm.FormulaError, match="has no column"):
        lmm.fit("y ~ x + (0 | g)", DATA)


def test_series_with_another_index_is_refused():
    with pytest.raises(lmm.DataError, match="expected the index of the data"):
        lmm.fit("y ~ x + (1 | g)", DATA, weights=pd.Series(1.0, index=np.arange(N) + 1))


# ---- data types ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["y ~ x + f + (1 | g)", "y ~ x * b + (1 | g)", "y ~ x + (0 + f | g)"])
def test_pandas_types_change_nothing(formula):
    plain = lmm.fit(formula, DATA)
    same(lmm.fit(formula, DATA.convert_dtypes()), plain)
    same(lmm.fit(formula, DATA.astype({"g": "category", "f": object})), plain)
    shuffled = DATA.set_index(np.zeros(N, int))
    same(lmm.fit(formula, shuffled), plain)


@pytest.mark.parametrize("random", ["(1 | g)", "(0 + b | g)", "(b | g)"])
def test_a_logical_column_is_a_factor(random):
    as_factor = DATA.assign(b=pd.Categorical(DATA["b"].map({False: "no", True: "yes"}), ["no", "yes"]))
    for fixed in ("x + b", "0 + b", "b:f"):
        same(lmm.fit(f"y ~ {fixed} + {random}", DATA), lmm.fit(f"y ~ {fixed} + {random}", as_factor), 1e-6)
    assert "b[T.True]" in lmm.fit("y ~ b + (1 | g)", DATA).fixef().index


def test_names_that_need_quotes_and_names_of_functions():
    data = DATA.assign(**{"a b": DATA["x"], "scale": DATA["t"], "a.b": DATA["x"]})
    plain = lmm.fit("y ~ x + (x || g)", DATA)
    same(lmm.fit("y ~ `a b` + (`a b` || g)", data), plain)
    same(lmm.fit("y ~ a.b + (a.b || g)", data), plain)
    same(lmm.fit("y ~ scale(x) + (scale | g)", data), lmm.fit("y ~ scale(x) + (t | g)", DATA))


def test_unobserved_levels_count_as_positions():
    days = DATA["t"].map({0.0: 0, 1.0: 1, 2.0: 2, 3.0: 4, 4.0: 5, 5.0: 7})
    factor = pd.Categorical(days.map(lambda day: f"day {day}"), [f"day {day}" for day in range(8)])
    data = DATA.assign(day=days, visit=factor)
    same(lmm.fit("y ~ x + ou(visit | g)", data), lmm.fit("y ~ x + ou(day | g)", data))


@pytest.mark.parametrize("time", [DATA["t"].astype(str), pd.to_datetime(DATA["t"], unit="D"), DATA["f"]])
def test_positions_are_numbers_or_factors(time):
    for formula, options in (("y ~ x + ou(v | g)", {}), ("y ~ x", {"residual": "ou(v | g)"})):
        with pytest.raises(lmm.DataError, match="expected positions as numbers or as a factor"):
            lmm.fit(formula, DATA.assign(v=time), **options)


# ---- difficult optima ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [1e3, 1e6, 3e6])
def test_slopes_far_from_zero(shift):
    """Moving the origin of an unstructured slope is a change of basis: the deviance stays."""
    data = DATA.assign(y=DATA["y"] + RNG.normal(size=LEVELS).repeat(ROWS) * DATA["x"])
    plain, moved = lmm.fit("y ~ x + (x | g)", data), lmm.fit("y ~ v + (v | g)", data.assign(v=data["x"] + shift))
    assert moved.deviance == pytest.approx(plain.deviance, abs=1e-5)
    assert moved.status == plain.status
    assert moved.variance()["estimate"]["g: sd(v)"] == pytest.approx(plain.variance()["estimate"]["g: sd(x)"], rel=1e-3)


def test_known_matrix_with_a_process_on_unequal_times():
    rng = np.random.default_rng(4)
    levels = 12
    g = np.repeat(np.arange(levels), 4)
    t = np.concatenate([np.sort(rng.choice(np.arange(9.0), 4, replace=False)) for _ in range(levels)])
    root = rng.normal(size=(levels, 20))
    kin = root @ root.T / 20
    ids = [f"i{level}" for level in range(levels)]
    gaps = np.abs(t[:, None] - t[None, :])

    def covariance(v):
        return np.exp(2 * v[0]) * kin[np.ix_(g, g)] * np.exp(-np.exp(v[1]) * gaps) + np.exp(2 * v[2]) * np.eye(g.size)

    y = np.linalg.cholesky(covariance([0.4, -1.0, -0.5])) @ rng.normal(size=g.size)
    data = pd.DataFrame({"y": y, "t": t, "id": [ids[level] for level in g]})
    fit = lmm.fit("y ~ 1 + ou(t | id)", data, kinship={"id": pd.DataFrame(kin, ids, ids)}, method="ML")
    best = plain_optimum(covariance, [0.0, -0.5, 0.0], np.ones((g.size, 1)), y)
    assert fit.deviance == pytest.approx(best, abs=1e-5)
    with pytest.raises(lmm.KinshipError, match="no random term is grouped"):
        lmm.fit("y ~ t", data, residual="ou(t | id)", kinship={"id": pd.DataFrame(kin, ids, ids)})


def test_a_process_that_never_decays_is_at_its_limit():
    fit = lmm.fit("y ~ x + ou(t | g)", DATA)
    intercept = lmm.fit("y ~ x + (1 | g)", DATA)
    assert fit.variance().loc["g: rho", "estimate"] > 1.0 - 1e-6
    assert fit.deviance == pytest.approx(intercept.deviance, abs=1e-5)
    assert fit.status == "boundary"
    assert fit.variance().loc["g: rho", "at_boundary"]
    assert np.isnan(fit.variance().loc["g: rho", "std_error"])
    assert fit.variance().loc["g: sd", "std_error"] == pytest.approx(
        intercept.variance().loc["g: sd(Intercept)", "std_error"], rel=1e-3
    )


def null_data(seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=N)
    y = y - pd.Series(y).groupby(DATA["g"].to_numpy()).transform("mean").to_numpy() * 0.9
    return DATA.assign(y=y)


def test_a_vanishing_process_has_no_correlation():
    table = lmm.fit("y ~ x + (1 | g) + ou(t | g)", null_data(11)).variance()
    assert table.loc["g: sd", "estimate"] == 0.0
    assert np.isnan(table.loc["g: rho", "estimate"])
    assert np.isnan(table.loc["g: rho", "std_error"])
    assert table.loc[["g: sd", "g: rho"], "at_boundary"].all()


def test_a_custom_structure_reaches_the_boundary():
    data = null_data(2)
    shared = lmm.covariance.Custom(lambda theta, coords: theta[0] ** 2 * np.ones((coords.shape[0],) * 2), 1)
    fit = lmm.fit("y ~ x + (0 + f | g)", data, covariance={"g": shared})
    same(fit, lmm.fit("y ~ x + (1 | g)", data), 1e-7)
    assert fit.status == "boundary"
    assert (fit.variance()["estimate"].iloc[:3] == 0.0).all()
    assert fit.variance()["at_boundary"].iloc[:3].all()
    assert (fit.certificate.multipliers > 0).all()


def test_structures_act_within_columns():
    with pytest.raises(lmm.OptionError, match="acts within the columns"):
        lmm.fit("y ~ x + ou(t | g)", DATA, covariance={"g": lmm.covariance.Unstructured()})
    same(
        lmm.fit("y ~ x + (t | g)", DATA, covariance={"1 + t | g": lmm.covariance.Diagonal()}),
        lmm.fit("y ~ x + diag(t | g)", DATA),
    )


@pytest.mark.parametrize("formula", ["y ~ factor(g) + (1 | g)", "y ~ factor(g) + x + (1 | g)"])
def test_a_group_that_is_also_fixed_is_not_identified(formula):
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=N)
        assert lmm.fit(formula, DATA.assign(y=DATA["y"] + noise)).status == "not_identified"


def test_many_directions_in_which_the_deviance_is_constant():
    """Five copies of the intercept: both sides of every direction are walked along from one response."""
    copies = DATA.assign(**dict.fromkeys("abcde", 1.0))
    fit = lmm.fit("y ~ 1 + (1 | g)" + "".join(f" + (0 + {name} | g)" for name in "abcde"), copies)
    assert fit.status == "not_identified"
    assert fit.deviance == pytest.approx(lmm.fit("y ~ 1 + (1 | g)", DATA).deviance, abs=1e-6)


@pytest.mark.parametrize("random", ["(0 + factor(Days) | Subject)", "(factor(Days) | Subject)"])
@pytest.mark.parametrize("days", [3, 4])
def test_as_many_effects_as_rows_is_not_identified(random, days):
    """One row per subject and column: what is residual and what is random cannot be told apart, in any basis."""
    sleep = lmm.datasets.sleepstudy().query(f"Days < {days}")
    fit = lmm.fit(f"Reaction ~ Days + {random}", sleep)
    assert fit.status == "not_identified"
    assert np.isnan(fit.variance().loc["Residual: sd", "std_error"])


def test_structures_that_are_not_what_they_say():
    def exchangeable(theta, coords):
        q = coords.shape[0]
        return theta[0] ** 2 * jnp.ones((q, q)) + theta[1] ** 2 * jnp.eye(q)

    def lopsided(theta, coords):
        return jnp.eye(3).at[0, 1].set(theta[0])

    custom, formula = lmm.covariance.Custom, "y ~ x + (0 + f | g)"
    for structure, part in (
        (custom(exchangeable, 1), "declares 1 parameters and reads more"),
        (custom(lopsided, 1), "expected a symmetric covariance matrix"),
        (custom(lambda theta, coords: theta[0] * jnp.eye(2), 1), "expected a finite factor of shape"),
        (lmm.covariance.Diagonal, "make an object of it, Diagonal()"),
    ):
        with pytest.raises(lmm.OptionError, match=re.escape(part)):
            lmm.fit(formula, DATA, covariance={"g": structure})
    with pytest.raises(lmm.OptionError, match="expected text such as"):
        lmm.fit("y ~ x", DATA, residual=custom(exchangeable, 2))


def test_functions_of_parameters_that_do_not_exist():
    fit = lmm.fit("y ~ x + (1 | g)", DATA)
    with pytest.raises(lmm.OptionError, match="did you mean g: sd"):
        fit.delta(lambda v: v["g: var(Intercept)"])
    with pytest.raises(lmm.OptionError, match="expected one number"):
        fit.delta(lambda v: jnp.array([v["g: sd(Intercept)"], 1.0]))


def test_summary_says_what_the_formula_does_not():
    ids = sorted(DATA["g"].unique())
    identity = pd.DataFrame(np.eye(len(ids)), ids, ids)
    data = DATA.assign(treatment_arm=DATA["f"])
    text = str(
        lmm.fit("y ~ treatment_arm * x + (1 | g)", data, weights="pos", offset="t", kinship={"g": identity}).summary()
    )
    for part in ("Weights: from", "Offset: from 0 to 5", "Known matrix across: g", "[6] treatment_arm[T.c]:x"):
        assert part in text
    assert "Residual: ou(t | g)" in str(lmm.fit("y ~ x", DATA, residual="ou(t | g)").summary())
    singular = str(lmm.fit("y ~ x + diag(1 + x | g)", null_data(5)).summary())
    assert "nan" not in singular
    assert "Corr\n" not in singular


@pytest.mark.parametrize(("random", "known"), [("(1 | g)", False), ("(1 | g)", True), ("(1 | g) + (1 | f)", False)])
def test_no_fixed_effects(random, known):
    """Each solver does without a column of X, also where a response has values missing."""
    codes = {name: pd.factorize(DATA[name], sort=True)[0] for name in "gf"}
    matrices = {"g": 0.3 + 0.7 * np.eye(LEVELS) if known else np.eye(LEVELS), "f": np.eye(3)}
    ids = sorted(DATA["g"].unique())
    kinship = {"g": pd.DataFrame(matrices["g"], ids, ids)} if known else None
    y = DATA[["y"]].assign(part=DATA["y"].mask(DATA.index == 4))
    many = lmm.fit_many(f"~ 0 + {random}", DATA, responses=y, kinship=kinship, method="ML")
    variance = many.variance("variance").pivot_table(index="response", columns="group", values="estimate")
    for name, deviance in many.glance().set_index("response")["deviance"].items():
        v = variance.loc[name, "Residual"] * np.eye(N)
        for group in variance.columns.drop("Residual"):
            v += variance.loc[name, group] * matrices[group][np.ix_(codes[group], codes[group])]
        there = np.isfinite(y[name])
        v, rest = v[np.ix_(there, there)], y.loc[there, name]
        plain = rest @ np.linalg.solve(v, rest) + np.linalg.slogdet(2 * np.pi * v)[1]
        assert deviance == pytest.approx(plain, rel=1e-9)


def test_a_response_without_residual_has_no_log_likelihood():
    level = pd.Series(RNG.normal(size=LEVELS)).repeat(ROWS).to_numpy()
    fit = lmm.fit("c ~ 1 + (1 | g)", DATA.assign(c=level))
    assert (fit.status, fit.loglik) == ("boundary", np.inf)


def test_no_warning_leaves_a_fit(recwarn):
    lmm.fit("y ~ x + (x | g)", DATA.assign(y=1e150 * DATA["y"]))
    lmm.fit("y ~ x + (x | g)", null_data(3)).summary()
    lmm.fit("height ~ variant1 + (1 | family)", lmm.datasets.variants5()).pve()
    assert not [warning for warning in recwarn if "jaxlmm" in str(warning.filename)]
