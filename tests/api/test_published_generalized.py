"""Published optima of generalized models: those in the tests of MixedModels.jl (``test/pirls.jl``), to their digits.

The data are in R's packages mlmRev and lme4. Deviances are −2 log-likelihood but where they are said to be relative to
the saturated model, whose fitted proportions are the observed ones.
"""

import numpy as np
import pytest
import scipy

import jaxlmm as lmm

import references

CONTRACEPTION = "use ~ age + I(age**2) + urban + livch + (1 | urban:district)"
AT_AN_OPTIMUM = 1e-7
"""How far above ours a deviance may be that is published with all its digits: where its search stopped."""


def digits(number):
    """Half of the last digit of a published number, given as text."""
    return 0.5 * 10.0 ** -len(number.partition(".")[2])


def assert_published(ours, number):
    assert abs(ours - float(number)) <= digits(number), f"expected {number}, got {ours!r}"


@pytest.fixture(scope="module")
def contraception():
    return references.dataset("Contraception.csv.gz")


def test_contraception_by_laplace(contraception):
    fit = lmm.fit(CONTRACEPTION, contraception, family="binomial")
    assert (fit.status, fit.n) == ("interior", 1934)
    assert len(fit.ranef("urban:district")) == 102
    assert_published(fit.deviance, "2361.54575")
    assert_published(fit.loglik, "-1180.77288")
    assert_published(fit.variance()["estimate"].item(), "0.57305")


def test_contraception_by_quadrature_of_seven_nodes(contraception):
    fit = lmm.fit(CONTRACEPTION, contraception, family="binomial", quadrature=7)
    assert fit.status == "interior"
    assert_published(fit.deviance, "2360.8760")


def test_cbpp():
    data = references.dataset("cbpp.csv")
    fit = lmm.fit("cbind(incidence, failure) ~ period + (1 | herd)", data, family="binomial")
    assert fit.status == "interior"
    assert_published(fit.loglik, "-92.02628")
    saturated = scipy.stats.binom.logpmf(data["incidence"], data["size"], data["incidence"] / data["size"]).sum()
    below = 100.09585619892968 - (fit.deviance + 2.0 * saturated)
    assert 0.0 <= below < AT_AN_OPTIMUM  # ours is the lower one
    modes = fit.ranef("herd")["Intercept"] / fit.variance()["estimate"].item()
    np.testing.assert_allclose((modes**2).sum(), 9.723054788538546, atol=1e-4)  # at their theta, which is not printed


def test_verbal_aggression_of_persons_and_items():
    fit = lmm.fit(
        "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        references.dataset("VerbAgg.csv.gz"),
        family="binomial",
    )
    assert (fit.status, fit.n) == ("interior", 7584)
    assert_published(fit.deviance, "8151.40")
