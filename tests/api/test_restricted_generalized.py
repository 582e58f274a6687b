"""Generalized models by restricted maximum likelihood: against glmmTMB, linear models, and integrals."""

import json

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

import references

LOGLIK, IN_STANDARD_ERRORS, RELATIVE = 1e-6, 1e-4, 1e-3
"""How much the log-likelihood may be below the reference's; of coefficients; of standard errors and parameters."""

MODELS = json.loads((references.HERE / "generalized_restricted.json").read_text())["models"]


def data_of(record):
    return pd.read_csv(references.HERE / "data" / f"{record['file']}.csv", dtype=dict.fromkeys(record["factors"], str))


@pytest.fixture(scope="module")
def fits():
    return {
        name: lmm.fit(record["formula"], data_of(record), family=record["family"], method="REML")
        for name, record in MODELS.items()
    }


@pytest.mark.parametrize("name", MODELS)
def test_optimum_is_that_of_the_reference(fits, name):
    fit, record = fits[name], MODELS[name]
    assert (fit.method, fit.status) == ("REML", "interior")
    assert abs(fit.loglik - record["logLik"]) < LOGLIK
    coef = fit.coef()
    assert (np.abs(coef["estimate"] - record["fixef"]) / coef["std_error"]).max() < IN_STANDARD_ERRORS
    np.testing.assert_allclose(coef["std_error"], record["se"], rtol=RELATIVE)
    report = fit.variance()["estimate"].to_numpy()
    sds = np.atleast_1d(record["sd"])
    np.testing.assert_allclose(report[: sds.size], sds, rtol=RELATIVE)
    if record["family"] == "nbinom2":
        np.testing.assert_allclose(report[-1], 1.0 / record["sigma"], rtol=RELATIVE)


def test_print_and_comparisons(fits):
    fit = fits["cbpp"]
    printed = str(fit.summary())
    assert "fit by REML (Laplace approximation)" in printed
    assert "REML criterion: 186.3981" in printed
    smaller = fit.update("~ . - period")
    table = lmm.compare(smaller, fit)  # other fixed effects: both are fitted again by maximum likelihood
    by_ml = [lmm.fit(f.formula, data_of(MODELS["cbpp"]), family="binomial") for f in (smaller, fit)]
    np.testing.assert_allclose(table["statistic"].iloc[1], by_ml[0].deviance - by_ml[1].deviance, rtol=1e-8)
    assert fit.variance()["estimate"].iloc[0] > by_ml[1].variance()["estimate"].iloc[0]


def test_student_t_without_heavy_tails_is_the_linear_mixed_model():
    # Balanced data: the coefficients do not depend on theta, nor do their standard errors on its uncertainty.
    data, formula = lmm.datasets.sleepstudy(), "Reaction ~ Days + (1 | Subject)"
    linear = lmm.fit(formula, data)
    fit = lmm.fit(formula, data, family="student_t", method="REML", fixed={"1/df": 0.0})
    np.testing.assert_allclose(fit.loglik, linear.loglik, rtol=1e-10)
    np.testing.assert_allclose(fit.fixef(), linear.fixef(), rtol=1e-8)
    np.testing.assert_allclose(fit.coef()["std_error"], linear.coef()["std_error"], rtol=1e-6)
    np.testing.assert_allclose(
        fit.variance().loc[linear.variance().index[:1], "estimate"], linear.variance()["estimate"].iloc[:1], rtol=1e-5
    )
    np.testing.assert_allclose(fit.ranef("Subject"), linear.ranef("Subject"), rtol=1e-6, atol=1e-6)


def test_units_change_the_likelihood_by_a_constant_alone():
    # Far from 0, where the joint search for coefficients and effects must not begin.
    data = lmm.datasets.sleepstudy().assign(large=lambda d: 100.0 * d["Reaction"])
    fits = [
        lmm.fit(f"{y} ~ Days + (1 | Subject)", data, family="student_t", method="REML") for y in ("Reaction", "large")
    ]
    assert {fit.status for fit in fits} <= {"interior", "boundary"}
    change = (len(data) - 2) * np.log(100.0)
    np.testing.assert_allclose(fits[0].loglik - change, fits[1].loglik, rtol=1e-9)
    np.testing.assert_allclose(100.0 * fits[0].fixef(), fits[1].fixef(), rtol=1e-5)


def test_links_of_which_zero_is_no_predictor():
    data = data_of(MODELS["salamanders"])
    fit = lmm.fit("count ~ mined + (1 | site)", data, family=lmm.families.Poisson(link="sqrt"), method="REML")
    by_ml = lmm.fit("count ~ mined + (1 | site)", data, family=lmm.families.Poisson(link="sqrt"))
    assert (fit.status, by_ml.status) == ("interior", "interior")
    assert fit.variance()["estimate"].iloc[0] > by_ml.variance()["estimate"].iloc[0]


def test_many_are_as_one_by_one_with_columns_that_depend_on_each_other(fits):
    data = data_of(MODELS["salamanders"])
    data["twice"] = 2.0 * (data["mined"] == "no")
    own = data[["count"]].assign(permuted=np.random.default_rng(0).permutation(data["count"]))
    many = lmm.fit_many("~ mined + twice + (1 | site)", data, responses=own, family="nbinom2", method="REML")
    np.testing.assert_allclose(many["count"].loglik, fits["salamanders"].loglik, rtol=1e-8)
    kept = many["count"].coef()["estimate"].dropna()
    np.testing.assert_allclose(kept, fits["salamanders"].coef()["estimate"], rtol=1e-5)
    assert many.status["permuted"] in ("interior", "boundary")


def test_quadrature_is_refused():
    with pytest.raises(lmm.OptionError, match="expected quadrature=1 with 'REML', got 5"):
        lmm.fit(
            "y ~ 1 + (1 | g)",
            pd.DataFrame({"y": [0, 1], "g": ["a", "b"]}),
            family="binomial",
            method="REML",
            quadrature=5,
        )
