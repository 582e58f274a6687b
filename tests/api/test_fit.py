"""What must hold of any fit: invariances, other minimizers, standard errors, recovery, accessors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import jaxlmm as lmm

import models
from references import fitted, model, records

SLEEP = "Reaction ~ Days + (Days | Subject)"
DATA = models.data(seed=5, levels=20)


@pytest.fixture(scope="module")
def sleep():
    return lmm.fit(SLEEP, lmm.datasets.sleepstudy())


def numbers(fit):
    """Everything that is invariant: deviance, estimates, standard errors, df, modes."""
    table = fit.coef()
    modes = np.concatenate([frame.to_numpy().ravel() for frame in fit.ranef().values()])
    return fit.deviance, table["estimate"].to_numpy(), table["std_error"].to_numpy(), table["df"].to_numpy(), modes


# ---- invariances -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scaling_the_response(sleep, scale):
    data = lmm.datasets.sleepstudy()
    data["Reaction"] *= scale
    fit = lmm.fit(SLEEP, data)
    assert fit.coef()["estimate"].to_numpy() / scale == pytest.approx(sleep.coef()["estimate"].to_numpy(), rel=1e-9)
    assert fit.coef()["df"].to_numpy() == pytest.approx(sleep.coef()["df"].to_numpy(), rel=1e-7)
    assert fit.theta == pytest.approx(sleep.theta, rel=1e-7)
    assert fit.deviance == pytest.approx(sleep.deviance + 2 * (180 - 2) * np.log(scale), abs=1e-8)
    assert fit.status == "interior"


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scaling_a_predictor(sleep, scale):
    data = lmm.datasets.sleepstudy()
    data["Days"] *= scale
    fit = lmm.fit(SLEEP, data)
    units = np.array([1.0, scale])
    assert fit.coef()["estimate"].to_numpy() * units == pytest.approx(sleep.coef()["estimate"].to_numpy(), rel=1e-9)
    sd = fit.variance()["estimate"].to_numpy() * np.array([1.0, scale, 1.0, 1.0])
    assert sd == pytest.approx(sleep.variance()["estimate"].to_numpy(), rel=1e-6)
    assert fit.deviance == pytest.approx(sleep.deviance + 2 * np.log(scale), abs=1e-7)


def test_shifting_a_predictor(sleep):
    """Days 1,000,000 to 1,000,009: the slope and the deviance stay, whatever the intercept is now."""
    data = lmm.datasets.sleepstudy()
    data["Days"] += 1e6
    fit = lmm.fit(SLEEP, data)
    assert fit.deviance == pytest.approx(sleep.deviance, abs=1e-5)
    assert fit.coef().loc["Days", "estimate"] == pytest.approx(sleep.coef().loc["Days", "estimate"], rel=1e-7)
    sd = "Subject: sd(Days)"
    assert fit.variance()["estimate"][sd] == pytest.approx(sleep.variance()["estimate"][sd], rel=1e-4)


def test_shifting_the_response():
    data = DATA.assign(y=DATA["y"] + 1e6)
    one, other = lmm.fit("y ~ x + (1 + z | g)", DATA), lmm.fit("y ~ x + (1 + z | g)", data)
    assert other.deviance == pytest.approx(one.deviance, abs=1e-6)
    assert other.fixef()["x"] == pytest.approx(one.fixef()["x"], rel=1e-7)


@pytest.mark.parametrize("solver", ["moments", "dense"])
def test_permuting_rows_and_relabelling_levels(solver):
    one = lmm.fit("y ~ x + (1 + z | g)", DATA, solver=solver)
    order = np.random.default_rng(0).permutation(len(DATA))
    shuffled = DATA.iloc[order].assign(g=lambda frame: "level " + frame["g"].str[::-1])
    other = lmm.fit("y ~ x + (1 + z | g)", shuffled, solver=solver)
    for mine, theirs in zip(numbers(one)[:4], numbers(other)[:4], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-7, abs=1e-9)
    renamed = one.ranef("g").rename(index=lambda label: "level " + label[::-1])
    assert np.abs(renamed - other.ranef("g").loc[renamed.index]).max().max() < 1e-6
    assert one.fitted().sort_index().to_numpy() == pytest.approx(other.fitted().sort_index().to_numpy(), abs=1e-6)


def test_the_callers_precision_flag_changes_nothing(sleep):
    for flag in (False, True):
        with jax.enable_x64(flag):
            fit = lmm.fit(SLEEP, lmm.datasets.sleepstudy())
            assert jax.config.jax_enable_x64 == flag
        for mine, theirs in zip(numbers(fit), numbers(sleep), strict=True):
            assert np.array_equal(mine, theirs)
            assert np.asarray(mine).dtype == np.float64


@pytest.mark.parametrize("name", ["intercept", "slope", "factor", "weights, offset", "user's structure"])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_fits_of_two_solvers_agree(name, method):
    one, other = (models.fit(name, DATA, solver=solver, method=method) for solver in ("moments", "dense"))
    for mine, theirs in zip(numbers(one), numbers(other), strict=True):  # without an optimum, no errors
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-6, nan_ok=True)
    sds = [fit.ranef_sd("g").to_numpy() for fit in (one, other)]
    assert sds[0] == pytest.approx(sds[1], rel=1e-6, abs=1e-7, nan_ok=True)
    assert one.status == other.status


# ---- other minimizers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sleep_reml", "seed1_twin", "dyestuff_ml"])
@pytest.mark.parametrize("optimizer", [optax.lbfgs(), optax.adam(0.02)], ids=["lbfgs", "adam"])
def test_optax_finds_the_same_optimum(name, optimizer):
    formula, data, options = model(name)
    fit, newton = lmm.fit(formula, data, optimizer=optimizer, **options), fitted(name)
    assert fit.theta == pytest.approx(newton.theta, abs=1e-6)
    assert fit.deviance == pytest.approx(newton.deviance, abs=1e-9)
    assert fit.status == newton.status == "interior"


def test_a_minimiser_that_stops_early_is_found_out():
    fit = lmm.fit(SLEEP, lmm.datasets.sleepstudy(), optimizer=optax.sgd(0.0))
    assert fit.status == "not_converged"


# ---- standard errors -------------------------------------------------------------------------------------------------


def test_standard_errors_of_variances_are_those_of_the_natural_hessian(sleep):
    """Invert a finite-difference Hessian of the plain deviance in (sd, sd, corr, sigma), apart from all our code."""
    data, fit = lmm.datasets.sleepstudy(), sleep
    y, x = data["Reaction"].to_numpy(), np.column_stack([np.ones(180), data["Days"]])
    pair, codes = x, data["Subject"].cat.codes.to_numpy()
    same = codes[:, None] == codes[None, :]

    def deviance(v):
        cross = v[2] * v[0] * v[1]
        covariance = np.array([[v[0] ** 2, cross], [cross, v[1] ** 2]])
        total = (pair @ covariance @ pair.T) * same + v[3] ** 2 * np.eye(len(y))
        inverse = np.linalg.inv(total)
        information = x.T @ inverse @ x
        rest = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        return np.linalg.slogdet(total)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest

    at = fit.variance()["estimate"].to_numpy()
    h = np.diag(1e-3 * np.maximum(at, 0.1))
    hessian = np.array(
        [
            [
                (deviance(at + a + b) - deviance(at + a - b) - deviance(at - a + b) + deviance(at - a - b))
                / (4 * a.max() * b.max())
                for b in h
            ]
            for a in h
        ]
    )
    expected = np.sqrt(np.diag(2.0 * np.linalg.inv(hessian)))
    assert fit.variance()["std_error"].to_numpy() == pytest.approx(expected, rel=1e-4)
    ratio = fit.delta(lambda v: v["Subject: sd(Intercept)"] / v["Residual: sd"])
    gradient = np.array([1 / at[3], 0, 0, -at[0] / at[3] ** 2])
    wald = np.sqrt(gradient @ (2.0 * np.linalg.inv(hessian)) @ gradient)
    assert ratio["std_error"] == pytest.approx(wald, rel=1e-4)


def test_linear_model_without_a_bar():
    fit = lmm.fit("y ~ x + f", DATA)
    x = np.column_stack([np.ones(len(DATA)), DATA["x"], DATA["f"] == "v", DATA["f"] == "w"])
    beta, square, *_ = np.linalg.lstsq(x, DATA["y"], rcond=None)
    assert fit.fixef().to_numpy() == pytest.approx(beta, abs=1e-10)
    assert fit.sigma == pytest.approx(np.sqrt(square[0] / (len(DATA) - 4)))
    assert fit.coef()["df"].to_numpy() == pytest.approx(len(DATA) - 4)
    assert fit.theta.size == 0
    assert "Linear model" in str(fit.summary())
    assert fit.status == "interior"


def test_variance_that_vanishes_is_at_the_boundary():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(30), 5), "x": rng.normal(size=150)})
    data["y"] = data["x"] + rng.normal(size=150)
    level = data.groupby("g")["x"].transform("mean")
    data["y"] -= data.groupby("g")["y"].transform("mean") - level  # less variance between groups than by chance
    fit = lmm.fit("y ~ x + (1 | g)", data)
    assert fit.status == "boundary"
    assert fit.variance()["estimate"]["g: sd(Intercept)"] == 0.0
    assert (fit.certificate.multipliers > 0).all()


# ---- recovery --------------------------------------------------------------------------------------------------------


def test_recovery_by_simulation():
    """200 simulated data sets: unbiased REML variances, intervals that cover, standard errors that are the spread."""
    rng = np.random.default_rng(7)
    levels, rows = 40, 6
    g, x = np.repeat(np.arange(levels), rows), np.tile(np.linspace(-1, 1, rows), levels)
    root = np.linalg.cholesky([[1.0, 0.4], [0.4, 0.8]])
    estimates, errors, covered, variances, variance_errors = [], [], [], [], []
    for _ in range(200):
        effects = rng.normal(size=(levels, 2)) @ root.T
        y = 1.0 + 2.0 * x + effects[g, 0] + effects[g, 1] * x + 0.7 * rng.normal(size=g.size)
        fit = lmm.fit("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
        row = fit.coef().loc["x"]
        estimates.append(row["estimate"])
        errors.append(row["std_error"])
        covered.append(row["conf_low"] < 2.0 < row["conf_high"])
        table = fit.variance("variance")
        variances.append(table["estimate"].to_numpy())
        variance_errors.append(table["std_error"].to_numpy())
    variances, variance_errors = np.array(variances), np.array(variance_errors)
    mean, spread = variances.mean(axis=0), variances.std(axis=0)
    truth = np.array([1.0, 0.8, 0.4 / np.sqrt(0.8), 0.49])
    four = 4.0 / np.sqrt(200)
    assert np.abs(mean - truth)[[0, 1, 3]] == pytest.approx(np.zeros(3), abs=(four * spread[[0, 1, 3]]).max())
    assert abs(mean[2] - truth[2]) < four * spread[2] + 0.02  # a correlation is only asymptotically unbiased
    assert np.mean(estimates) == pytest.approx(2.0, abs=four * np.std(estimates))
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.2)
    assert 0.90 <= np.mean(covered) <= 0.99
    assert np.nanmean(variance_errors, axis=0) == pytest.approx(spread, rel=0.25)


# ---- accessors -------------------------------------------------------------------------------------------------------


def test_tables_hold_together(sleep):
    assert list(sleep.coef().columns) == [
        "estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high",
    ]  # fmt: skip
    assert sleep.coef().index.name == "term"
    assert list(sleep.variance().index) == [
        "Subject: sd(Intercept)", "Subject: sd(Days)", "Subject: corr(Intercept, Days)", "Residual: sd",
    ]  # fmt: skip
    assert list(sleep.variance().columns) == [
        "group", "estimate", "std_error", "conf_low", "conf_high", "at_boundary", "fixed",
    ]  # fmt: skip
    assert (sleep.fitted() + sleep.residuals()).to_numpy() == pytest.approx(sleep.frame.y)
    assert sleep.residuals("pearson").to_numpy() == pytest.approx(sleep.residuals().to_numpy() / sleep.sigma)
    assert sleep.fitted("marginal").to_numpy() == pytest.approx(sleep.frame.x @ sleep.fixef().to_numpy())
    assert list(sleep.glance().columns) == [
        "n", "n_params", "loglik", "deviance", "aic", "bic", "sigma", "df_residual", "method", "solver", "status",
        "reason", "seconds",
    ]  # fmt: skip
    assert sleep.tidy().columns[0] == "term"
    everything = sleep.tidy("all")
    assert everything.groupby("effect").size().to_dict() == {"fixed": 2, "ran_pars": 4, "ran_vals": 36}
    assert set(sleep.ranef()) == {"Subject"}
    assert sleep.ranef_sd("Subject").shape == sleep.ranef("Subject").shape == (18, 2)
    assert sleep.n_groups == {"Subject": 18}
    normal = sleep.coef("normal")
    assert np.isinf(normal["df"]).all()
    assert (normal["p_value"] < sleep.coef()["p_value"]).all()
    assert sleep.df_residual == 174
    with pytest.raises(lmm.OptionError, match="expected one of 'satterthwaite', 'kenward-roger'"):
        sleep.coef("kr")
    with pytest.raises(lmm.OptionError, match="did you mean Subject"):
        sleep.ranef("subject")


def test_shares_of_variance():
    fit = fitted("sleep_int_reml")
    between, within = fit.variance("variance")["estimate"]
    assert fit.ratio("Subject")["estimate"] == pytest.approx(between / (between + within))
    by_delta = fit.delta(
        lambda v: v["Subject: sd(Intercept)"] ** 2 / (v["Subject: sd(Intercept)"] ** 2 + v["Residual: sd"] ** 2)
    )
    assert fit.ratio("Subject")["std_error"] == pytest.approx(by_delta["std_error"])
    x = fit.frame.x @ fit.fixef().to_numpy()
    total = x.var(ddof=1) + between + within
    assert fit.pve().loc["fixed", "estimate"] == pytest.approx(x.var(ddof=1) / total)
    slopes = fitted("sleep_reml")
    table = slopes.variance()["estimate"]
    days = slopes.frame.x[:, 1]
    sd0, sd1, corr, sigma = table
    mean = np.mean(sd0**2 + 2 * corr * sd0 * sd1 * days + sd1**2 * days**2)
    assert slopes.ratio("Subject")["estimate"] == pytest.approx(mean / (mean + sigma**2))


def test_normalized_residuals_are_white():
    fit = fitted("bodyweight_corCAR1_ml")
    data = model("bodyweight_corCAR1_ml")[1]
    raw = fit.residuals("pearson")
    rho = fit.variance().loc["Residual: rho", "estimate"]
    rat = data["Rat"].unique()[0]
    rows = data.index[data["Rat"] == rat]
    times = data.loc[rows, "Time"].to_numpy()
    factor = np.linalg.cholesky(rho ** np.abs(times[:, None] - times[None, :]))
    assert fit.residuals("normalized").loc[rows].to_numpy() == pytest.approx(
        np.linalg.solve(factor, raw.loc[rows].to_numpy())
    )


def test_missing_rows_are_dropped_once_and_counted():
    record, fit = records()["missing_x_ml"], fitted("missing_x_ml")
    assert fit.n == record["n"]
    assert fit.n_dropped == record["n_rows_in_data"] - record["n"]
    assert len(fit.fitted()) == fit.n
    assert f"{fit.n_dropped} dropped" in str(fit.summary())


def test_summary_reads_like_lme4(sleep):
    text = str(sleep.summary())
    for part in (
        "Linear mixed model fit by REML", f"Formula: {SLEEP}", "Rows: 180", "Groups: Subject, 18",
        "Solver: moments (one grouping factor, independent residuals)", "Status: interior", "Scaled residuals:",
        "Random effects:", "Std.Dev.", "Corr", "Fixed effects:", "Pr(>|t|)", "Correlation of fixed effects:",
    ):  # fmt: skip
        assert part in text
    assert "612.0899" in text
    assert "0.07" in text
    assert "<2e-16" in text
    assert str(sleep.summary("normal")).count("z value") == 1


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "dict"])
def test_other_frames_give_the_same_fit(sleep, kind):
    data = lmm.datasets.sleepstudy().astype({"Subject": str})
    if kind == "polars":
        import polars

        data = polars.from_pandas(data)
    elif kind == "pyarrow":
        import pyarrow

        data = pyarrow.Table.from_pandas(data)
    else:
        data = {name: data[name].to_numpy() for name in data}
    assert lmm.fit(SLEEP, data).deviance == pytest.approx(sleep.deviance, abs=1e-12)


# ---- structures and known matrices -----------------------------------------------------------------------------------


def test_custom_function_equals_the_class():
    with jax.enable_x64(True):
        same = lmm.covariance.Custom(lambda theta, coords: jnp.diag(theta**2), 2)
        factor = lmm.covariance.Custom(lambda theta, coords: jnp.diag(theta), 2, returns="factor")
    reference = lmm.fit("y ~ x + diag(1 + z | g)", DATA)
    for structure in (same, factor, lmm.covariance.Diagonal()):
        fit = lmm.fit("y ~ x + (1 + z | g)", DATA, covariance={"1 + z | g": structure})
        assert fit.deviance == pytest.approx(reference.deviance, abs=1e-8)
        assert fit.coef()["std_error"].to_numpy() == pytest.approx(reference.coef()["std_error"].to_numpy(), rel=1e-6)
    with pytest.raises(lmm.OptionError, match="returns"):
        lmm.covariance.Custom(lambda theta, coords: theta, 2, returns="matrix")


def test_identity_relation_changes_nothing():
    ids = sorted(DATA["g"].unique())
    identity = pd.DataFrame(np.eye(len(ids)), index=ids, columns=ids).iloc[::-1]
    known = lmm.fit("y ~ x + (1 + z | g)", DATA, kinship={"g": identity})
    plain = lmm.fit("y ~ x + (1 + z | g)", DATA)
    for mine, theirs in zip(numbers(known), numbers(plain), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-7)
    assert known.ranef_sd("g").to_numpy() == pytest.approx(plain.ranef_sd("g").to_numpy(), rel=1e-6)


def test_weights_are_replications():
    """A row of weight 2 is two equal rows: r'r is the same function of y, and only its degrees of freedom differ."""
    y = DATA["y"].to_numpy()
    with jax.enable_x64(True):
        theta = jnp.array([0.8])
        weighted = lmm.deviance(lmm.design("~ x + (1 | g)", DATA, weights=np.full(len(DATA), 2.0)))
        repeated = lmm.deviance(lmm.design("~ x + (1 | g)", pd.concat([DATA, DATA])))
        one = np.asarray(jax.grad(weighted, argnums=1)(theta, jnp.asarray(y)))
        other = np.asarray(jax.grad(repeated, argnums=1)(theta, jnp.asarray(np.concatenate([y, y]))))
    n, p = len(DATA), 2
    assert other[:n] == pytest.approx(other[n:], rel=1e-9)
    assert (other[:n] + other[n:]) / one == pytest.approx((2 * n - p) / (n - p), rel=1e-6)


def test_a_start_may_be_six_powers_of_ten_apart(sleep):
    start = {"Subject: sd(Intercept)": 1e3, "Subject: sd(Days)": 1e-3}
    found = lmm.fit(SLEEP, lmm.datasets.sleepstudy(), start=start)
    assert found.status == "interior"
    assert found.deviance == pytest.approx(sleep.deviance, abs=1e-8)  # rounding of one optimum
