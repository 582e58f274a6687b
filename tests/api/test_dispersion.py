"""``dispersion=``: what does not change, what it comes to, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

import models
import plain_normal

FORMULA, DISPERSION = "y ~ x + (1 | g)", "~ x + f"
COEFFICIENTS = ["Residual: log sd(x)", "Residual: log sd(f[T.v])", "Residual: log sd(f[T.w])"]
ESTIMATE, DEVIANCE = 1e-6, 1e-8
"""Relative to standard errors, and absolute: two searches that end within 1e-9 of the optimal deviance."""


def drawn(seed=3, levels=60, per=6, gamma=(0.5, 0.8)):
    """Random intercepts, and residuals of log standard deviation 0.5 x + 0.8 (f is v)."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), per)
    x, f = rng.normal(2.0, 1.0, g.size), rng.choice(["u", "v"], g.size)
    sd = np.exp(gamma[0] * x + gamma[1] * (f == "v"))
    y = 1.0 + 0.5 * x + rng.normal(size=levels)[g] * 2.0 + rng.normal(size=g.size) * sd
    return pd.DataFrame(
        {"g": g, "x": x, "f": f, "y": y, "w": rng.uniform(0.5, 2.0, g.size), "t": np.tile(np.arange(per), levels)}
    )


@pytest.fixture(scope="module")
def frame():
    return drawn()


@pytest.fixture(scope="module")
def fit(frame):
    return lmm.fit(FORMULA, frame, dispersion=DISPERSION)


def same(one, other, *, scale=1.0, df=True):
    """Whether two fits have the same optimum; the second's response is ``scale`` times the first's."""
    a, b = one.coef(), other.coef()
    np.testing.assert_allclose(b["estimate"], scale * a["estimate"], atol=scale * ESTIMATE * a["std_error"].max())
    np.testing.assert_allclose(b["std_error"], scale * a["std_error"], rtol=1e-5)
    if df:
        np.testing.assert_allclose(b["df"], a["df"], rtol=1e-4)
    assert other.status == one.status == "interior"


def test_coefficients_of_a_simulation_are_recovered(fit):
    table = fit.variance().loc[["Residual: sd", *COEFFICIENTS[:2], "g: sd(Intercept)"]]
    truth = np.array([1.0, 0.5, 0.8, 2.0])
    assert (np.abs(table["estimate"] - truth) < 3.0 * table["std_error"]).all()
    assert ((table["conf_low"] < table["estimate"]) & (table["estimate"] < table["conf_high"])).all()
    half = 1.959964 * table["std_error"].iloc[1]
    assert table["conf_high"].iloc[1] == pytest.approx(table["estimate"].iloc[1] + half)  # Wald's, on its own scale
    assert fit.n_params == 2 + 1 + 1 + 2
    assert fit.aic == pytest.approx(fit.deviance + 2.0 * fit.n_params)


def test_standard_errors_and_df_are_those_of_the_plain_likelihood():
    """Of all variance parameters together, by differences of the REML criterion and of vcov(beta) in NumPy."""
    frame = drawn(levels=30)
    fit = lmm.fit(FORMULA, frame, dispersion=DISPERSION)
    x, groups = np.column_stack([np.ones(len(frame)), frame["x"]]), plain_normal.same(frame, "g")

    def covariance(values):
        sd, sigma, *gamma = values
        log_sd = frame["x"] * gamma[0] + (frame["f"] == "v") * gamma[1]
        return sd**2 * groups + np.diag(sigma**2 * np.exp(2.0 * log_sd))

    def plain(values):
        return plain_normal.criterion(frame, covariance(values), "REML")

    def variances(values):
        return np.diag(np.linalg.inv(x.T @ np.linalg.solve(covariance(values), x)))

    at = fit.variance()["estimate"].to_numpy()
    assert plain(at) == pytest.approx(fit.deviance, abs=1e-7)
    h, unit = 1e-3, np.eye(at.size)
    corners = [(a, b) for a in unit for b in unit]
    second = [
        plain(at + h * (a + b)) - plain(at + h * (a - b)) - plain(at - h * (a - b)) + plain(at - h * (a + b))
        for a, b in corners
    ]
    hessian = np.reshape(second, (at.size, at.size)) / (4.0 * h**2)
    uncertainty = 2.0 * np.linalg.inv(hessian)
    assert fit.variance()["std_error"].to_numpy() == pytest.approx(np.sqrt(np.diag(uncertainty)), rel=1e-4)
    slope = np.array([variances(at + h * a) - variances(at - h * a) for a in unit]) / (2.0 * h)
    spread = np.einsum("ki,kl,li->i", slope, uncertainty, slope)
    assert fit.coef()["df"].to_numpy() == pytest.approx(2.0 * variances(at) ** 2 / spread, rel=1e-4)


def test_units_do_not_matter(frame, fit):
    scaled = lmm.fit(FORMULA, frame.assign(y=1e6 * frame["y"]), dispersion=DISPERSION)
    same(fit, scaled, scale=1e6)
    assert scaled.variance()["estimate"].to_numpy()[2:] == pytest.approx(
        fit.variance()["estimate"].to_numpy()[2:], rel=1e-5
    )
    for unit, shift in ((1e5, 0.0), (1e-4, 0.0), (1.0, 300.0)):
        moved = lmm.fit(FORMULA, frame.assign(s=unit * frame["x"] + shift), dispersion="~ s + f")
        same(fit, moved)
        assert moved.deviance == pytest.approx(fit.deviance, abs=DEVIANCE)
        slope = moved.variance().loc["Residual: log sd(s)", "estimate"]
        assert slope * unit == pytest.approx(fit.variance()["estimate"][COEFFICIENTS[0]], rel=1e-5)
        assert np.log(moved.sigma) == pytest.approx(np.log(fit.sigma) - slope * shift, abs=1e-4)
        assert moved.theta[0] == pytest.approx(fit.theta[0], rel=1e-5)  # relative to the geometric mean


def test_order_of_rows_and_reference_level(frame, fit):
    same(fit, lmm.fit(FORMULA, frame.sample(frac=1.0, random_state=1), dispersion=DISPERSION))
    other = lmm.fit(FORMULA, frame, dispersion="~ x + C(f, Treatment('v'))")
    same(fit, other)
    ours, theirs = fit.variance()["estimate"], other.variance()["estimate"]
    assert theirs.iloc[3] == pytest.approx(-ours.iloc[3], rel=1e-5)
    assert other.sigma == pytest.approx(fit.sigma * np.exp(ours.iloc[3]), rel=1e-5)


def test_zero_coefficients_are_the_model_without(frame):
    plain = lmm.fit(FORMULA, frame)
    held = lmm.fit(FORMULA, frame, dispersion="~ x", fixed={COEFFICIENTS[0]: 0.0})
    assert held.deviance == pytest.approx(plain.deviance, abs=DEVIANCE)
    assert held.n_params == plain.n_params
    same(plain, held)
    assert held.theta == pytest.approx([*plain.theta, 0.0], rel=1e-5)
    with jax.enable_x64(True):
        y, theta = jnp.asarray(frame["y"].to_numpy()), jnp.asarray(plain.theta)
        at_zero = lmm.deviance(held.design)(jnp.append(theta, 0.0), y)
        assert float(at_zero) == pytest.approx(plain.deviance, abs=DEVIANCE)


@pytest.mark.parametrize("weights", [None, "w"])
def test_fixed_coefficients_are_prior_weights(frame, weights):
    own = 1.0 if weights is None else frame["w"]
    known = own * np.exp(-2.0 * 0.4 * frame["x"])
    expected = lmm.fit(FORMULA, frame, weights=known)
    held = lmm.fit(FORMULA, frame, dispersion="~ x", weights=weights, fixed={COEFFICIENTS[0]: 0.4})
    assert held.deviance == pytest.approx(expected.deviance, abs=DEVIANCE)
    same(expected, held)
    assert held.variance()["estimate"].to_numpy()[:2] == pytest.approx(
        expected.variance()["estimate"].to_numpy(), rel=1e-5
    )
    assert held.fitted().to_numpy() == pytest.approx(expected.fitted().to_numpy(), rel=1e-6)
    assert held.residuals("pearson").to_numpy() == pytest.approx(
        expected.residuals("pearson").to_numpy(), rel=1e-4, abs=1e-6
    )
    pd.testing.assert_frame_equal(held.marginal_cov(), expected.marginal_cov(), rtol=1e-5, atol=1e-8)
    assert held.ranef("g").to_numpy() == pytest.approx(expected.ranef("g").to_numpy(), rel=1e-5, abs=1e-6)
    assert held.ranef_sd("g").to_numpy() == pytest.approx(expected.ranef_sd("g").to_numpy(), rel=1e-5)
    given = held.variance().loc[COEFFICIENTS[0]]
    assert given["fixed"]
    assert np.isnan(given["std_error"])
    sigma = lmm.fit(
        FORMULA, frame, dispersion="~ x", fixed={COEFFICIENTS[0]: 0.4, "Residual: sd": 1.2}, weights=weights
    )
    wanted = lmm.fit(FORMULA, frame, weights=known, fixed={"Residual: sd": 1.2})
    assert sigma.deviance == pytest.approx(wanted.deviance, abs=DEVIANCE)
    assert sigma.sigma == pytest.approx(1.2)


def test_a_fixed_sigma_beside_free_coefficients(frame, fit):
    """It is sigma where the columns are zero; at its estimate it changes nothing."""
    held = lmm.fit(FORMULA, frame, dispersion=DISPERSION, fixed={"Residual: sd": fit.sigma})
    same(fit, held, df=False)  # what is known has no uncertainty
    assert held.deviance == pytest.approx(fit.deviance, abs=1e-7)
    assert held.variance()["estimate"].to_numpy() == pytest.approx(fit.variance()["estimate"].to_numpy(), rel=1e-5)
    assert held.n_params == fit.n_params - 1


def test_a_start_leads_to_the_same_optimum(frame, fit):
    begun = lmm.fit(
        FORMULA,
        frame,
        dispersion=DISPERSION,
        start={COEFFICIENTS[0]: 0.3, "Residual: sd": 2.0, "g: sd(Intercept)": 1.0},
    )
    same(fit, begun)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_solvers_agree(frame, method):
    fits = [
        lmm.fit(FORMULA, frame, dispersion=DISPERSION, method=method, solver=name)
        for name in ("moments", "blocked", "dense")
    ]
    for other in fits[1:]:
        assert other.deviance == pytest.approx(fits[0].deviance, abs=DEVIANCE)
        same(fits[0], other)


def test_crossed_factors_and_residual_structures(frame):
    rng = np.random.default_rng(4)
    frame = frame.head(180)
    crossed = frame.assign(h=rng.integers(0, 7, len(frame)))
    model = "y ~ x + (1 | g) + (1 | h)"
    fits = [lmm.fit(model, crossed, dispersion="~ x", solver=name) for name in ("blocked", "dense")]
    assert fits[0].deviance == pytest.approx(fits[1].deviance, abs=DEVIANCE)
    decaying = lmm.fit("y ~ x + (1 | g)", frame, residual="ou(t | g)", dispersion=DISPERSION)
    assert decaying.solver == "dense"
    values = decaying.variance()["estimate"]
    log_sd = frame["x"] * values[COEFFICIENTS[0]] + (frame["f"] == "v") * values[COEFFICIENTS[1]]
    sd = values["Residual: sd"] * np.exp(log_sd.to_numpy())
    gap = np.abs(frame["t"].to_numpy()[:, None] - frame["t"].to_numpy()[None, :])
    same_group = plain_normal.same(frame, "g")
    v = values["g: sd(Intercept)"] ** 2 * same_group + np.outer(sd, sd) * values["Residual: rho"] ** gap * same_group
    assert plain_normal.criterion(frame, v, "REML") == pytest.approx(decaying.deviance, abs=1e-7)
    np.testing.assert_allclose(decaying.marginal_cov(), v, rtol=1e-8, atol=1e-8)
    white = decaying.residuals("normalized", "marginal")
    assert np.isfinite(white).all()


def test_shares_and_rows(frame, fit):
    table = fit.variance()["estimate"]
    sd = fit.sigma * np.exp(frame["x"] * table[COEFFICIENTS[0]] + (frame["f"] == "v") * table[COEFFICIENTS[1]])
    assert (fit.residuals() / fit.residuals("pearson")).to_numpy() == pytest.approx(sd.to_numpy())
    own = table["g: sd(Intercept)"] ** 2
    assert fit.ratio("g")["estimate"] == pytest.approx(own / (own + (sd**2).mean()))
    assert fit.pve()["estimate"].sum() == pytest.approx(1.0)
    assert fit.predict(frame.head(3))["estimate"].to_numpy() == pytest.approx(fit.fitted().to_numpy()[:3])


def test_estimate_is_the_fit(frame, fit):
    with jax.enable_x64(True):
        y = jnp.asarray(frame["y"].to_numpy())
        found = jax.jit(lambda y: lmm.estimate(fit.design, y))(y)
        slope = jax.jvp(lambda y: lmm.estimate(fit.design, y).theta, (y,), (y,))[1]
    assert np.asarray(found.theta) == pytest.approx(fit.theta, rel=1e-5)
    assert float(found.sigma) == pytest.approx(fit.sigma, rel=1e-5)
    assert float(found.deviance) == pytest.approx(fit.deviance, abs=DEVIANCE)
    assert np.asarray(slope) == pytest.approx(np.zeros(3), abs=1e-5)  # the scale of y changes sigma alone


def test_saved_refitted_updated_and_printed(frame, fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    loaded = lmm.load(tmp_path / "fit.json")
    pd.testing.assert_frame_equal(loaded.variance(), fit.variance())
    assert str(loaded.summary()) == str(fit.summary())
    assert "Dispersion: ~ x + f" in str(fit.summary())
    _, table = str(fit.summary()).split("Dispersion (log residual standard deviation):\n")
    assert [line.split()[0] for line in table.splitlines()[1:3]] == ["x", "f[T.v]"]
    assert json.loads((tmp_path / "fit.json").read_text())["model"]["dispersion"]["columns"] == ["x", "f[T.v]"]
    assert COEFFICIENTS[0] in fit.tidy("ran_pars")["term"].to_list()
    same_slope(fit, fit.refit(frame["y"] + 1.0))
    smaller = fit.update(dispersion="~ x")
    assert smaller.n_params == fit.n_params - 1
    assert fit.update(dispersion=None).deviance == pytest.approx(lmm.fit(FORMULA, frame).deviance, abs=DEVIANCE)
    assert fit.certificate.status == "interior"


def same_slope(one, other):
    assert other.fixef()["x"] == pytest.approx(one.fixef()["x"], abs=1e-6)
    assert other.deviance == pytest.approx(one.deviance, abs=DEVIANCE)


def test_many_responses_are_single_fits(frame):
    rng = np.random.default_rng(8)
    y = frame["y"].to_numpy()[:, None] + 0.3 * rng.normal(size=(len(frame), 4))
    y[:7, 2], y[3:9, 3] = np.nan, np.nan
    many = lmm.fit_many("~ x + (1 | g)", frame, responses=y, dispersion=DISPERSION)
    variance, tidy = many.variance().set_index(["response", "parameter"]), many.tidy()
    pearson = many.residuals("pearson")
    for number, name in enumerate(many.responses):
        seen = np.isfinite(y[:, number])
        single = lmm.fit(FORMULA, frame.assign(y=y[:, number])[seen], dispersion=DISPERSION)
        own = variance.loc[name]
        np.testing.assert_allclose(own["estimate"], single.variance()["estimate"], rtol=1e-4)
        np.testing.assert_allclose(own["std_error"], single.variance()["std_error"], rtol=1e-3)
        table = tidy[tidy["response"] == name]
        np.testing.assert_allclose(table["std_error"], single.coef()["std_error"], rtol=1e-5)
        np.testing.assert_allclose(table["df"], single.coef()["df"], rtol=1e-3)
        np.testing.assert_allclose(pearson[name].to_numpy()[seen], single.residuals("pearson"), rtol=1e-3, atol=1e-5)


def test_missing_values_and_known_matrices():
    holes = models.data()
    holes.loc[[3, 7], "z"] = np.nan
    fit = lmm.fit("y ~ x + (1 | g)", holes, dispersion="~ z", kinship={"g": models.kinship(holes)})
    assert (fit.n, fit.n_dropped, fit.solver) == (len(holes) - 2, 2, "dense")


def test_a_level_without_rows_is_not_identified():
    """A response whose rows leave a column of the dispersion constant has a status."""
    frame = drawn(levels=30)
    y = np.column_stack([frame["y"], np.where(frame["f"] == "v", np.nan, frame["y"])])
    many = lmm.fit_many("~ x + (1 | g)", frame, responses=y, dispersion="~ f")
    assert many.glance()["status"].to_list() == ["interior", "not_identified"]


def with_exact_level(rows):
    """Three levels of f, the last with these rows, which have the same response."""
    frame = drawn(levels=8)
    frame["f"] = np.where(np.arange(len(frame)) < rows, "last", frame["f"])
    return frame.assign(y=frame["y"].where(frame["f"] != "last", 2.0))


@pytest.mark.parametrize(("rows", "words"), [(1, "whose only row they"), (5, "whose 5 rows they")])
@pytest.mark.parametrize("formula", ["y ~ f", "y ~ f + x:f", "y ~ 0 + f + (1 | g)"])
@pytest.mark.parametrize("reference", ["u", "last"])
def test_a_level_that_the_fixed_effects_fit_exactly(rows, words, formula, reference):
    """Before any computing, whether or not it is the level that the others are compared with."""
    dispersion = f"~ C(f, Treatment('{reference}')) + t"
    with pytest.raises(lmm.DataError, match=f"expected levels in which .* got f = 'last', {words} fit exactly"):
        lmm.fit(formula, with_exact_level(rows), dispersion=dispersion)


def test_an_exact_level_of_some_responses():
    """One that its missing values leave a single row, one that is the same in all rows, and one that is constant."""
    frame, fine = with_exact_level(5), drawn(levels=8)["y"]
    single = fine.where((frame["f"] != "last") | (np.arange(len(frame)) == 2))
    y = np.column_stack([frame["y"], fine, single, np.ones(len(frame))])
    many = lmm.fit_many("~ f", frame, responses=y, dispersion="~ f")
    exact = "perfect_fit in f = 'last'"
    assert many.glance()["reason"].to_list() == [exact, "", exact, "constant"]
    assert many.status.tolist() == ["failed", "interior", "failed", "failed"]
    alone = lmm.fit("y ~ f", frame.assign(y=fine), dispersion="~ f")
    assert many.glance()["deviance"][1] == pytest.approx(alone.deviance, abs=DEVIANCE)
    with pytest.raises(lmm.DataError, match="f = 'last'"):
        alone.refit(frame["y"])


def test_an_exact_level_whose_coefficient_is_fixed():
    """It has no standard deviation of its own; fixing that of another level leaves it one."""
    frame = with_exact_level(1).assign(f=lambda data: data["f"].replace("last", "z"))
    fit = lmm.fit("y ~ f", frame, dispersion="~ f", fixed={"Residual: log sd(f[T.z])": 0.0})
    without = lmm.fit("y ~ f", frame[frame["f"] != "z"], dispersion="~ f")
    assert fit.deviance == pytest.approx(without.deviance, abs=DEVIANCE)  # by REML it says nothing
    with pytest.raises(lmm.DataError, match="f = 'z'"):
        lmm.fit("y ~ f", frame, dispersion="~ f", fixed={"Residual: log sd(f[T.v])": 0.0})


@pytest.mark.parametrize(
    ("dispersion", "error", "message"),
    [
        (3, lmm.errors.OptionError, "expected text"),
        ("x", lmm.errors.FormulaError, "no '~'"),
        ("y ~ x", lmm.errors.FormulaError, "nothing left"),
        ("~ 1", lmm.errors.FormulaError, "intercept alone"),
        ("~", lmm.errors.FormulaError, "right of '~'"),
        ("~ 0 + x", lmm.errors.FormulaError, "its intercept"),
        ("~ x - 1", lmm.errors.FormulaError, "its intercept"),
        ("~ x + (1 | g)", lmm.errors.FormulaError, "fixed effects alone"),
        ("~ x + offset(x)", lmm.errors.FormulaError, "no offset"),
        ("~ .", lmm.errors.FormulaError, "stands for"),
        ("~ nothing", lmm.errors.FormulaError, "nothing"),
        ("~ one", lmm.errors.DataError, "that vary"),
        ("~ x + I(2 * x)", lmm.errors.DataError, "determine"),
        ("~ log(one - 1)", lmm.errors.DataError, "finite"),
        ("~ y", lmm.errors.FormulaError, "explain itself"),
    ],
)
def test_bad_formulas(frame, dispersion, error, message):
    with pytest.raises(error, match=message):
        lmm.fit(FORMULA, frame.assign(one=1.0), dispersion=dispersion)


def test_what_cannot_be_done_is_said(frame):
    ids = frame["g"].unique()
    known = pd.DataFrame(np.eye(ids.size), index=ids, columns=ids)
    with pytest.raises(lmm.errors.OptionError, match="model of dispersion"):
        lmm.fit(FORMULA, frame, dispersion="~ x", kinship={"g": known}, solver="spectral")
    with pytest.raises(lmm.errors.OptionError, match="dispersion"):
        lmm.scan(FORMULA, frame, genotypes=np.zeros((len(frame), 1)), dispersion="~ x")
