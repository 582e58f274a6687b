"""What fits of generalized models hold: against lme4, and against one another."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.special
import scipy.stats

import jaxlmm as lmm

import references

FORMULA = "cbind(incidence, failure) ~ period + (1 | herd)"

LME4 = 2e-3
"""lme4's optimum is not polished: its parameters are good to three digits or four."""

PROFILE = 1e-3
"""lme4's profiles are interpolated by splines."""


@pytest.fixture(scope="module")
def data():
    return references.dataset("cbpp.csv")


@pytest.fixture(scope="module")
def fit(data):
    return lmm.fit(FORMULA, data, family="binomial")


@pytest.fixture(scope="module")
def expected():
    return json.loads((references.HERE / "generalized_results" / "cbpp.json").read_text())


def test_residuals_and_fitted_values_are_lme4_s(fit, expected):
    np.testing.assert_allclose(fit.fitted(), expected["fitted"], rtol=LME4)
    for kind in ("response", "pearson", "deviance"):
        size = np.abs(expected[kind]).max()
        np.testing.assert_allclose(fit.residuals(kind), expected[kind], atol=LME4 * size)
    np.testing.assert_allclose(fit.predict(type="link")["estimate"], expected["link"], atol=LME4)
    np.testing.assert_allclose(fit.predict(re_form="~0")["estimate"], expected["population"], rtol=LME4)


def test_modes_and_conditional_standard_deviations_are_lme4_s(fit, expected):
    order = [str(level) for level in expected["herds"]]
    np.testing.assert_allclose(fit.ranef("herd").loc[order, "Intercept"], expected["modes"], atol=LME4)
    np.testing.assert_allclose(fit.ranef_sd("herd").loc[order, "Intercept"], expected["mode_sds"], rtol=LME4)


def test_profiles_are_lme4_s(fit, expected):
    names = ["herd: sd(Intercept)", "Intercept"]
    found = fit.confint(names, method="profile")
    rows = {row["name"]: row for row in expected["profile"]}
    for name, row in zip(names, (rows[".sig01"], rows["(Intercept)"]), strict=True):
        np.testing.assert_allclose(found.loc[name, ["conf_low", "conf_high"]], row["limits"], rtol=PROFILE)


def test_standard_errors_of_predictions_are_those_of_the_joint_precision(fit, data):
    """The mixed-model equations at the modes, with working weights p (1 − p) n."""
    sd = fit.variance()["estimate"].iloc[0]
    x, p, n = fit.model_matrix().to_numpy(), fit.fitted().to_numpy(), data["size"].to_numpy()
    z, weight = np.asarray(fit.random_matrix("herd").matrix.todense()), p * (1.0 - p) * n
    inner = z.T @ (weight[:, None] * z) + np.eye(z.shape[1]) / sd**2
    moved = x - z @ np.linalg.solve(inner, z.T @ (weight[:, None] * x))
    variance = np.sum((z @ np.linalg.inv(inner)) * z, axis=1)
    variance += np.sum((moved @ fit.vcov().to_numpy()) * moved, axis=1)
    link = fit.predict(type="link", interval="confidence")
    np.testing.assert_allclose(link["std_error"], np.sqrt(variance), rtol=1e-8)
    response = fit.predict(interval="confidence")
    np.testing.assert_allclose(response["std_error"], np.sqrt(variance) * p * (1.0 - p), rtol=1e-8)
    np.testing.assert_allclose(response["conf_low"], scipy.special.expit(link["conf_low"]), rtol=1e-10)
    rows = data.head(7)
    np.testing.assert_allclose(fit.predict(rows), fit.predict().head(7), rtol=1e-8)


def test_quantile_residuals_are_uniform_probabilities(fit, data):
    p, n, y = fit.fitted().to_numpy(), data["size"].to_numpy(), data["incidence"].to_numpy()
    found = scipy.special.ndtr(fit.residuals("quantile", seed=2))
    law = scipy.stats.binom(n, p)
    assert np.all((law.cdf(y - 1) <= found) & (found <= law.cdf(y)))
    assert not np.array_equal(found, scipy.special.ndtr(fit.residuals("quantile", seed=3)))
    draws = fit.simulate(200, seed=1, re_form=None)
    own = scipy.stats.binom.cdf(draws, n[:, None], p[:, None])
    assert abs(own.mean() - 0.5 - 0.5 * scipy.stats.binom.pmf(draws, n[:, None], p[:, None]).mean()) < 0.01


def test_draws_have_the_model_s_mean_and_variance(fit, data):
    draws = fit.simulate(4000, seed=4).to_numpy() / data["size"].to_numpy()[:, None]
    sd = fit.variance()["estimate"].iloc[0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    eta = fit.predict(type="link", re_form="~0")["estimate"].to_numpy()
    mean = scipy.special.expit(eta[:, None] + sd * nodes) @ weights / weights.sum()
    error = draws.std(axis=1) / np.sqrt(draws.shape[1])
    assert np.abs((draws.mean(axis=1) - mean) / error).max() < 5.0
    assert set(np.unique(fit.simulate(20, newdata=data.head(3), re_form=None))) <= {0.0, 1.0}
    refits = fit.bootstrap(20, seed=1)
    assert (refits.status != "failed").all()
    np.testing.assert_allclose(refits.estimates["Intercept"], fit.fixef()["Intercept"])


def test_marginal_means_on_both_scales(fit):
    link, response = (fit.emmeans("period", type=one) for one in ("link", "response"))
    eta = link.to_frame()
    np.testing.assert_allclose(response.to_frame()["estimate"], scipy.special.expit(eta["estimate"]), rtol=1e-10)
    np.testing.assert_allclose(response.to_frame()["conf_high"], scipy.special.expit(eta["conf_high"]), rtol=1e-10)
    differences, odds = link.pairs(), response.pairs()
    assert odds["contrast"].iloc[0] == "1 / 2"
    np.testing.assert_allclose(odds["estimate"], np.exp(differences["estimate"]), rtol=1e-10)
    np.testing.assert_allclose(odds["p_value"], differences["p_value"], rtol=1e-10)
    table = fit.anova()
    assert np.isinf(table["den_df"]).all()
    coefficients, vcov = fit.fixef()[1:], fit.vcov().iloc[1:, 1:]
    wald = coefficients @ np.linalg.solve(vcov, coefficients)
    np.testing.assert_allclose(table["statistic"] * table["num_df"], wald, rtol=1e-8)


def test_a_saved_fit_prints_and_predicts(fit, data, tmp_path):
    fit.save(tmp_path / "fit.json")
    loaded = lmm.load(tmp_path / "fit.json")
    assert loaded.summary().text == fit.summary().text
    population = {"re_form": "~0", "interval": "confidence"}
    np.testing.assert_allclose(loaded.predict(data, **population), fit.predict(data, **population), rtol=1e-12)
    assert np.isnan(loaded.sigma)
    pd.testing.assert_frame_equal(loaded.variance(), fit.variance())


def test_models_are_compared(fit, data):
    smaller = fit.update(". ~ . - period")
    table = lmm.compare(smaller, fit)
    np.testing.assert_allclose(table["statistic"].iloc[1], smaller.deviance - fit.deviance)
    assert table["null_distribution"].iloc[1] == "chi2(3)"
    by_nodes = fit.update(quadrature=9)
    assert "9 nodes" in str(by_nodes.summary())
    assert lmm.compare(smaller, by_nodes)["null_distribution"].iloc[1] == "not nested"
    others = lmm.fit(FORMULA, data.assign(failure=data["failure"] + 1), family="binomial")
    with pytest.raises(lmm.DataError, match="trials, got others"):
        lmm.compare(smaller, others)


@pytest.mark.parametrize(
    "asked",
    [
        lambda fit: fit.pve(),
        lambda fit: fit.r2(),
        lambda fit: fit.leverage(),
        lambda fit: fit.influence(),
        lambda fit: fit.marginal_cov(),
        lambda fit: fit.vcov("CR2"),
        lambda fit: fit.coef("kenward-roger"),
        lambda fit: fit.coef("between-within"),
        lambda fit: fit.residuals("studentized"),
        lambda fit: fit.predict(interval="prediction"),
    ],
)
def test_what_only_linear_mixed_models_have_is_refused_by_name(fit, asked):
    with pytest.raises(lmm.OptionError, match="expected a linear mixed model, got one of the family binomial"):
        asked(fit)
