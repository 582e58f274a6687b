"""Cluster-robust covariances against clubSandwich, R² against its definition."""

import json

import numpy as np
import pytest

import jaxlmm as lmm
from jaxlmm.results.tables.clustered import Sandwich

from references import HERE

R = json.loads((HERE / "robust_and_moderated.json").read_text())
MODELS = R["clubSandwich"]
OPTIMA = 1e-5
"""Relative: lme4's optimum is good to about 1e-6 in theta."""


def fitted(name):
    data = lmm.datasets.sleepstudy().iloc[R["rows"]]
    return lmm.fit(MODELS[name]["formula"], data)


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2"])
@pytest.mark.parametrize("name", MODELS)
def test_sandwiches_are_clubsandwichs(name, kind):
    record, fit = MODELS[name], fitted(name)
    np.testing.assert_allclose(fit.theta, record["theta"], rtol=1e-3)
    expected = np.array(record[kind]["vcov"]).reshape(fit.vcov().shape)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(fit.vcov(kind).to_numpy() / scale, expected / scale, atol=10 * OPTIMA)
    table = fit.coef(vcov=kind)
    np.testing.assert_allclose(table["df"], record[kind]["df"], rtol=1e-3)
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(expected)), rtol=10 * OPTIMA)


def test_clusters():
    data = lmm.datasets.cake()
    fit = lmm.fit("angle ~ recipe + temp + (1 | replicate) + (1 | recipe:replicate)", data)
    outer = fit.vcov("CR1", "replicate")
    np.testing.assert_allclose(outer, fit.vcov("CR1", data["replicate"].to_numpy()))
    with pytest.raises(lmm.OptionError, match="correlated by replicate"):
        fit.vcov("CR2", "recipe:replicate")
    with pytest.raises(lmm.OptionError, match="cluster: expected one of replicate, recipe:replicate"):
        fit.vcov("CR2")
    with pytest.raises(lmm.OptionError, match="no grouping factor and no column"):
        fit.vcov("CR0", "batch")
    with pytest.raises(lmm.OptionError, match="kind"):
        fit.vcov("HC3")
    np.testing.assert_allclose(
        np.sqrt(np.diag(fit.vcov("kenward-roger"))), fit.coef("kenward-roger")["std_error"], rtol=1e-12
    )


def test_clusters_of_a_marginal_model_are_the_group_of_its_residual():
    data = lmm.datasets.sleepstudy()
    fit = lmm.fit("Reaction ~ Days", data, residual="ar1(Days | Subject)")
    x, e, v = fit.model_matrix().to_numpy(), fit.residuals().to_numpy(), fit.marginal_cov()
    subjects = [data["Subject"] == subject for subject in data["Subject"].cat.categories]
    solved = np.linalg.solve(v, x)
    scores = np.stack([solved[own].T @ e[own] for own in subjects])
    bread = np.linalg.inv(x.T @ solved)
    for cluster in ("Subject", None):
        np.testing.assert_allclose(fit.vcov("CR0", cluster), bread @ scores.T @ scores @ bread, rtol=1e-6)
    assert list(fit.influence(by="Subject").cooks_distance().index) == list(data["Subject"].cat.categories)


def test_without_an_optimum_degrees_of_freedom_are_missing():
    nothing = np.full((2, 2), np.nan)
    assert np.isnan(Sandwich(nothing, [], [], [], nothing).degrees(np.eye(2))).all()


def test_r2_is_of_shares():
    fit = fitted("slope")
    shares, found = fit.pve(), fit.r2()
    assert found.loc["marginal", "estimate"] == pytest.approx(shares.loc["fixed", "estimate"])
    assert found.loc["conditional", "estimate"] == pytest.approx(1 - shares.loc["Residual", "estimate"])
    assert (found["conf_low"] < found["estimate"]).all()


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2"])
@pytest.mark.parametrize("name", MODELS)
def test_robust_tests_of_several_coefficients_are_clubsandwichs(name, kind):
    fit = fitted(name)
    statistic, num_df, den_df, p_value = MODELS[name][kind]["htz"]
    found = fit.test(np.eye(len(fit.fixef()))[1:], vcov=kind).iloc[0]
    assert found["num_df"] == num_df
    assert found["den_df"] == pytest.approx(den_df, rel=1e-3)
    assert found["statistic"] == pytest.approx(statistic, rel=1e-4)
    assert found["p_value"] == pytest.approx(p_value, rel=1e-3)


def test_every_table_takes_a_robust_covariance():
    data = lmm.datasets.cake()
    fit = lmm.fit("angle ~ recipe + temp + (1 | recipe:replicate)", data)
    table = fit.coef(vcov="CR2")
    one = fit.test("temp = 0", vcov="CR2").iloc[0]
    assert one["statistic"] == pytest.approx(table.loc["temp", "statistic"] ** 2)
    assert one["den_df"] == pytest.approx(table.loc["temp", "df"])
    assert fit.anova(vcov="CR2").set_index("term").loc["temp", "statistic"] == pytest.approx(one["statistic"])
    slope = fit.emtrends("~ 1", "temp", vcov="CR2").to_frame().iloc[0]
    assert slope["std_error"] == pytest.approx(table.loc["temp", "std_error"])
    assert slope["df"] == pytest.approx(table.loc["temp", "df"])
    text = fit.summary(vcov="CR2").text
    assert "cluster-robust standard errors (CR2)" in text
    assert f"{table.loc['temp', 'df']:.2f}" in text
    plain = fit.test("temp = 0", vcov="CR0", df="normal").iloc[0]
    assert np.isinf(plain["den_df"])
    with pytest.raises(lmm.OptionError, match="df: beside vcov='CR2' expected"):
        fit.anova(vcov="CR2", df="kenward-roger")
    with pytest.raises(lmm.OptionError, match="cluster: clusters are of"):
        fit.emmeans("recipe", cluster="replicate")


def test_few_clusters():
    data = lmm.datasets.sleepstudy()
    fit = lmm.fit("Reaction ~ C(Days) + (1 | Subject)", data[data["Subject"].isin(["308", "309", "310"])])
    assert fit.anova(vcov="CR1")["statistic"].isna().all()  # nine contrasts of three clusters
    assert np.isfinite(fit.coef(vcov="CR1")["std_error"]).all()
    with pytest.raises(lmm.OptionError, match="expected two or more clusters, got one"):
        fit.coef(vcov="CR2", cluster=np.zeros(30))
