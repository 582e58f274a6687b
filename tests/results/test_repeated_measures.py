"""Marginal models of repeated measures: contrasts between arms by visit, by Kenward and Roger.

Where nothing is missing and each arm has its own means, the tests are t tests of two samples at each visit. With
missing visits they are those of dense matrices, in covariances, of which V is a linear function.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxlmm as lmm

from references import dataset

OPTIMUM = 1e-6
"""Relative: estimates move by less than this within the tolerance of an optimum."""

UNSTRUCTURED = np.tril_indices(4)


def by_visit(fit, arm, visit):
    """The difference of the arms at each visit."""
    return fit.emmeans(arm, by=visit, df="kenward-roger").pairs(adjust="none")


def test_complete_data_give_t_tests_at_each_visit():
    data = dataset("Orthodont_fage.csv")
    fit = lmm.fit("distance ~ Sex * fage", data, residual="us(fage | Subject)")
    found = by_visit(fit, "Sex", "fage")
    for (_, row), age in zip(found.iterrows(), data["fage"].cat.categories, strict=True):
        own = data[data["fage"] == age]
        boys, girls = (own.loc[own["Sex"] == sex, "distance"] for sex in ("Male", "Female"))
        expected = stats.ttest_ind(boys, girls)
        assert row["df"] == pytest.approx(expected.df, rel=OPTIMUM)
        assert abs(row["statistic"]) == pytest.approx(abs(expected.statistic), rel=OPTIMUM)
        assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-4)


@pytest.fixture(scope="module")
def trial():
    """Four visits of 120 patients in two arms, a fifth of the values missing."""
    rng = np.random.default_rng(20)
    sds = np.array([10.0, 6.5, 5.0, 12.5])
    correlation = 0.6 ** np.abs(np.arange(4)[:, None] - np.arange(4)[None, :])
    root = sds[:, None] * np.linalg.cholesky(correlation)
    patients = pd.DataFrame({
        "id": [f"p{k:03}" for k in range(120)], "arm": rng.choice(["placebo", "active"], 120),
        "sex": rng.choice(["f", "m"], 120), "base": rng.normal(40, 9, 120),
    })  # fmt: skip
    data = patients.loc[np.repeat(patients.index, 4)].reset_index(drop=True)
    visit = np.tile(np.arange(4), 120)
    data["visit"] = pd.Categorical([f"v{k + 1}" for k in visit])
    error = (rng.normal(size=(120, 4)) @ root.T).reshape(-1)
    data["y"] = 30 + 0.2 * data["base"] + 2.0 * visit + (data["arm"] == "active") * (1.0 + visit) + error
    data.loc[rng.random(480) < 0.2, "y"] = np.nan
    return data


def plain_tests(fit, data, contrasts):
    """Standard errors and degrees of freedom of ``contrasts`` (c, p): Kenward and Roger with observed information."""
    used = data.dropna(subset="y")
    codes = used["visit"].cat.codes.to_numpy()
    same = (used["id"].to_numpy()[:, None] == used["id"].to_numpy()[None, :]).astype(float)
    x, y = fit.model_matrix().to_numpy(), used["y"].to_numpy()
    complete = data.groupby("id")["y"].transform("count").eq(4)[used.index].to_numpy()
    first = np.flatnonzero(complete)[:4]
    at = jnp.asarray(fit.marginal_cov().to_numpy()[np.ix_(first, first)][UNSTRUCTURED])

    def v_of(p):
        lower = jnp.zeros((4, 4)).at[UNSTRUCTURED].set(p)
        return (lower + jnp.tril(lower, -1).T)[codes[:, None], codes[None, :]] * same

    def criterion(p):
        v = v_of(p)
        half = jnp.linalg.solve(v, x)
        error = y - x @ jnp.linalg.solve(x.T @ half, half.T @ y)
        logdets = jnp.linalg.slogdet(v)[1] + jnp.linalg.slogdet(x.T @ half)[1]
        return logdets + error @ jnp.linalg.solve(v, error)

    w = 2.0 * np.linalg.inv(np.asarray(jax.hessian(criterion)(at)))
    inverse = np.linalg.inv(np.asarray(v_of(at)))
    directions = [np.asarray(v_of(unit)) for unit in jnp.eye(10)]
    half = inverse @ x
    phi = np.linalg.inv(x.T @ half)
    p_of = [-half.T @ one @ half for one in directions]
    adjusted = phi.copy()
    for k, one in enumerate(directions):
        for j, other in enumerate(directions):
            bent = half.T @ one @ inverse @ other @ half - p_of[k] @ phi @ p_of[j]
            adjusted += 2.0 * w[k, j] * phi @ bent @ phi
    variances = np.einsum("ca,ab,cb->c", contrasts, phi, contrasts)
    slopes = np.array([np.einsum("ca,ab,cb->c", contrasts, phi @ one @ phi, contrasts) for one in p_of])
    df = 2.0 * variances**2 / np.einsum("kc,kl,lc->c", slopes, w, slopes)
    return np.sqrt(np.einsum("ca,ab,cb->c", contrasts, adjusted, contrasts)), df


def test_contrasts_by_visit_are_those_of_dense_matrices(trial, double_precision):
    fit = lmm.fit("y ~ base + sex + arm * visit", trial, residual="us(visit | id)")
    assert (fit.status, fit.n_dropped) == ("interior", int(trial["y"].isna().sum()))
    found = by_visit(fit, "arm", "visit")
    terms = list(fit.fixef().index)
    contrasts = np.zeros((4, len(terms)))
    contrasts[:, terms.index("arm[T.placebo]")] = -1.0  # active less placebo
    for visit in (2, 3, 4):
        contrasts[visit - 1, terms.index(f"arm[T.placebo]:visit[T.v{visit}]")] = -1.0
    std_error, df = plain_tests(fit, trial, contrasts)
    np.testing.assert_allclose(found["estimate"], contrasts @ fit.fixef().to_numpy(), rtol=1e-10)
    np.testing.assert_allclose(found["std_error"], std_error, rtol=OPTIMUM)
    np.testing.assert_allclose(found["df"], df, rtol=OPTIMUM)


def test_parameters_of_each_arm_are_those_of_the_arms_alone(trial):
    """With all effects by arm, the two halves of the data are two models."""
    both = lmm.fit("y ~ arm * visit", trial, residual="us(visit | id, by=arm)")
    alone = {
        arm: lmm.fit("y ~ visit", trial[trial["arm"] == arm], residual="us(visit | id)")
        for arm in ("active", "placebo")
    }
    assert both.loglik == pytest.approx(sum(fit.loglik for fit in alone.values()), abs=1e-6)
    table = both.variance()
    for arm, fit in alone.items():
        own = table[table.index.str.contains(f"[{arm}]", regex=False)]
        assert [name.replace(f"[{arm}]", "") for name in own.index] == list(fit.variance().index)
        np.testing.assert_allclose(own["estimate"], fit.variance()["estimate"], rtol=1e-4)
        np.testing.assert_allclose(own["std_error"], fit.variance()["std_error"], rtol=1e-4)


def test_what_differs_by_visit_is_that_of_each_row(trial):
    """Pearson and normalized residuals, prediction intervals and shares of variance, with a model of each arm's own."""
    plain = lmm.fit("y ~ arm * visit", trial, residual="us(visit | id)")
    by_arm = lmm.fit("y ~ arm * visit", trial, residual="ar1(visit | id, hom=False, by=arm)")
    used = trial.dropna(subset="y")
    for fit, label in ((plain, "sd({visit})"), (by_arm, "sd({visit}[{arm}])")):
        sds = fit.variance()["estimate"]
        own = np.array([sds["Residual: " + label.format(**row)] for row in used[["visit", "arm"]].to_dict("records")])
        raw = fit.residuals("response", level="marginal").to_numpy()
        np.testing.assert_allclose(fit.residuals("pearson", level="marginal"), raw / own, rtol=1e-10)
        v = fit.marginal_cov().to_numpy()
        np.testing.assert_allclose(np.sqrt(np.diagonal(v)), own, rtol=1e-10)
        rows = np.flatnonzero((used["id"] == used["id"].iloc[0]).to_numpy())
        white = np.linalg.solve(np.linalg.cholesky(v[np.ix_(rows, rows)]), raw[rows])
        np.testing.assert_allclose(fit.residuals("normalized", level="marginal").to_numpy()[rows], white, rtol=1e-8)
        for given in (None, used):
            table = fit.predict(given, interval="prediction", re_form="~0")
            half = 0.5 * (table["conf_high"] - table["conf_low"]) / stats.norm.ppf(0.975)
            np.testing.assert_allclose(half**2, own**2 + table["std_error"] ** 2, rtol=1e-8)
    with pytest.raises(lmm.DataError, match="expected one of the levels of the fit"):
        plain.predict(used.assign(visit=used["visit"].cat.add_categories(["v0"]).where(used.index > 0, "v0")),
                      interval="prediction")  # fmt: skip


def test_the_residual_component_is_the_mean_over_the_rows(trial):
    fit = lmm.fit("y ~ arm * visit + (1 | id)", trial, residual="diag(visit | id)")
    sds, used = fit.variance()["estimate"], trial.dropna(subset="y")
    residual = np.mean([sds[f"Residual: sd({visit})"] ** 2 for visit in used["visit"]])
    between = sds["id: sd(Intercept)"] ** 2
    assert fit.ratio("id")["estimate"] == pytest.approx(between / (between + residual), rel=1e-8)
