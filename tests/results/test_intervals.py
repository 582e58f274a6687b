"""Intervals by profile and bootstrap: against root finding in R, and against each other.

Limits agree within 1e-3 of the distance to the estimate, the accuracy of the references.
"""

import re

import numpy as np
import pandas as pd
import pytest
import scipy

import jaxlmm as lmm

from references import fitted, model, r_names, r_term, records

LIMIT = 1e-3

PROFILED = [name for name, record in records().items() if "profile_ci_exact" in record]


def of_r(name, fit, data):
    """Our name of a parameter of lme4's profile, by column and group."""
    if name == "sigma":
        return "Residual: sd"
    kind, rest = name.split("_", 1) if re.match(r"(sd|cor)_", name) else ("", name)
    if not kind:
        terms = {r_term(term, data): term for term in fit.fixef().index}
        return terms[r_names(name)]
    columns, group = rest.rsplit("|", 1)
    columns = columns.replace("(Intercept)", "Intercept")
    if kind == "sd":
        factors = sorted(group.split(":"))
        own = [p for p in fit.variance().index if sorted(p.split(": ")[0].split(":")) == factors and ": sd(" in p]
        return next(p for p in own if len(own) == 1 or same(p[p.index("sd(") + 3 : -1], columns))
    return next(p for p in fit.variance().index if p.startswith(f"{group}: corr("))


def same(ours, theirs):
    plain = [re.sub(r"\[T?\.?|\]|['\"` ]", "", text) for text in (ours, theirs)]
    return plain[0] == plain[1]


@pytest.mark.parametrize("name", PROFILED)
def test_profiles_agree_with_root_finding_in_r(name):
    """All parameters of every third model, and of the others the first variance parameter and the last coefficient."""
    record, fit, data = records()[name], fitted(name), model(name)[1]
    limits = {of_r(term, fit, data): pair for term, pair in record["profile_ci_exact"].items()}
    assert set(limits) == {*fit.variance().index, *fit.fixef().index}
    if PROFILED.index(name) % 3:
        limits = {term: limits[term] for term in (fit.variance().index[0], fit.fixef().index[-1])}
    table = fit.confint(list(limits), method="profile")
    for term, (low, high) in limits.items():
        ours = table.loc[term]
        size = LIMIT * (high - low)
        assert ours["conf_low"] == pytest.approx(low, abs=size), term
        assert ours["conf_high"] == pytest.approx(high, abs=size), term


@pytest.fixture(scope="module")
def sleep():
    return lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())


def test_points_of_a_profile(sleep):
    """ζ is monotone, its square the deviance above the minimum, which refits with the parameter fixed have too."""
    frame = sleep.profile().frame
    assert set(frame["parameter"]) == {*sleep.fixef().index, *sleep.variance().index}
    best = sleep.update(method="ML")
    for _, points in frame.groupby("parameter"):
        assert (np.diff(points["value"]) > 0).all()
        assert (np.diff(points["zeta"]) > 0).all()
        np.testing.assert_allclose(points["zeta"] ** 2, points["deviance"] - best.deviance, atol=1e-6)
    some = frame[frame["parameter"] == "Subject: sd(Days)"].iloc[1]
    held = best.update(fixed={"Subject: sd(Days)": float(some["value"])})
    assert some["deviance"] == pytest.approx(held.deviance, abs=1e-6)
    some = frame[frame["parameter"] == "Days"].iloc[1]
    y = best.frame.y - some["value"] * best.frame.x[:, 1]
    without = lmm.fit("y ~ 1 + (Days | Subject)", lmm.datasets.sleepstudy().assign(y=y), method="ML")
    assert some["deviance"] == pytest.approx(without.deviance, abs=1e-6)


def test_profiles_by_reml(sleep):
    table = sleep.profile("Residual: sd", criterion="REML").confint()
    for limit in table[["conf_low", "conf_high"]].to_numpy()[0]:
        held = sleep.update(fixed={"Residual: sd": float(limit)})
        assert held.deviance - sleep.deviance == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), abs=1e-3)


def test_one_sided_at_a_boundary():
    """The lower limit of a variance that is zero is zero; that of the fixed effects is as without the term."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(8), 6), "x": rng.normal(size=48)})
    frame["y"] = rng.normal(size=48)
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    fit = lmm.fit("y ~ x + (1 | g)", frame, method="ML")
    assert fit.status == "boundary"
    table = fit.confint(method="profile")
    assert table.loc["g: sd(Intercept)", "conf_low"] == 0.0
    held = fit.update(fixed={"g: sd(Intercept)": float(table.loc["g: sd(Intercept)", "conf_high"])})
    assert held.deviance - fit.deviance == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), abs=1e-3)


def test_parameters_that_are_fixed_stay(sleep):
    fit = sleep.update(fixed={"Subject: corr(Intercept, Days)": 0.0})
    table = fit.confint(method="profile")
    assert "Subject: corr(Intercept, Days)" not in table.index
    bars = lmm.fit("Reaction ~ Days + (Days || Subject)", lmm.datasets.sleepstudy()).confint(method="profile")
    np.testing.assert_allclose(table.to_numpy(), bars.to_numpy(), rtol=1e-4)
    with pytest.raises(lmm.OptionError, match="is fixed, and has no profile"):
        fit.profile("Subject: corr(Intercept, Days)")


def test_bootstrap_refits_draws(sleep):
    """Statistics of refits are those of fits of the same draws; intervals are their quantiles."""
    boot = sleep.bootstrap(50, seed=3)
    draws = sleep.simulate(50, seed=3)
    one = sleep.refit(draws[7])
    np.testing.assert_allclose(boot.values.loc[7, one.fixef().index], one.fixef(), rtol=1e-6)
    np.testing.assert_allclose(boot.values.loc[7, one.variance().index], one.variance()["estimate"], rtol=1e-4)
    table = boot.confint(level=0.9)
    np.testing.assert_allclose(table.loc["Days", ["conf_low", "conf_high"]], boot.values["Days"].quantile([0.05, 0.95]))
    basic = boot.confint("basic", level=0.9).loc["Days"]
    assert basic["conf_low"] == pytest.approx(2 * sleep.fixef()["Days"] - table.loc["Days", "conf_high"])
    by_function = sleep.bootstrap(5, seed=3, statistic=lambda fit: fit.ratio("Subject")["estimate"])
    by_name = sleep.bootstrap(5, seed=3, statistic="ratio")
    np.testing.assert_allclose(by_function.values, by_name.values, rtol=1e-4)
    shares = sleep.bootstrap(5, seed=3, statistic="pve").values
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert boot.tidy()["n"].eq(50).all()


def test_accelerated_intervals(sleep):
    """Where draws are symmetric and without skewness they are percentiles; else the formula of Efron."""
    boot = sleep.bootstrap(400, seed=1)
    found, plain = boot.confint("bca"), boot.confint()
    spread = boot.values.std()
    fixed = list(sleep.fixef().index)
    assert ((found.loc[fixed] - plain.loc[fixed]).abs().max(axis=1) < 0.5 * spread[fixed]).all()
    assert found.loc["Residual: sd", "conf_low"] > plain.loc["Residual: sd", "conf_low"]


def test_draws_have_the_estimates_covariance(sleep):
    draws = sleep.draws(20_000, seed=2)
    vcov = sleep.vcov().to_numpy()
    errors = np.sqrt((vcov**2 + np.outer(np.diag(vcov), np.diag(vcov))) / 20_000)
    assert (np.abs(draws[["Intercept", "Days"]].cov() - vcov) < 4 * errors).all(axis=None)
    z = np.log(draws["Residual: sd"])
    row = sleep.variance().loc["Residual: sd"]
    assert z.mean() == pytest.approx(np.log(row["estimate"]), abs=0.002)
    assert z.std() == pytest.approx(row["std_error"] / row["estimate"], rel=0.03)
    assert draws["Subject: corr(Intercept, Days)"].between(-1, 1).all()


def test_wald_is_that_of_the_tables(sleep):
    table = sleep.confint(level=0.9)
    np.testing.assert_allclose(table.loc["Days", "conf_low"], sleep.coef(level=0.9).loc["Days", "conf_low"])
    np.testing.assert_allclose(
        sleep.confint().loc["Residual: sd", "conf_low"], sleep.variance().loc["Residual: sd", "conf_low"]
    )
    assert sleep.confint("Days").index.tolist() == ["Days"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: fit.confint(method="boot"), "method"),
        (lambda fit: fit.confint("Day"), "no parameter is named 'Day'"),
        (lambda fit: fit.confint(level=95), "level"),
        (lambda fit: fit.profile("Days", criterion="REML"), "take criterion='ML'"),
        (lambda fit: fit.bootstrap(0), "nsim: expected a positive whole number, got 0"),
        (lambda fit: fit.bootstrap(5, statistic="aic"), "statistic"),
        (lambda fit: fit.draws(-1), "n: expected a positive whole number"),
    ],
)
def test_bad_input(sleep, call, message):
    with pytest.raises(lmm.OptionError, match=re.escape(message)):
        call(sleep)


def test_a_profile_ends_at_a_bound_that_cannot_be_attained():
    """A correlation over time that is nearly zero: its deviance stays low all the way down."""
    sleep = lmm.datasets.sleepstudy()
    noise = sleep.assign(y=np.random.default_rng(4).normal(size=180))
    fit = lmm.fit("y ~ Days", noise, residual="ou(Days | Subject)", start={"Residual: rho": 0.05})
    found = fit.confint("Residual: rho", method="profile")
    assert found["conf_low"].iloc[0] == 0.0
    assert 0.0 < found["conf_high"].iloc[0] < 0.5
