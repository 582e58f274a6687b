"""Covariance structures against nlme (``lme``, ``gls``) and glmmTMB at tight optima.

Tolerances are those of ``engine/test_references.py``: the log-likelihood is never more than 1e-6 below the reference's,
fixed effects are within 1e-4 of their standard error, covariances within 1e-4 of the standard deviations. With
``dispformula = ~ 0`` glmmTMB keeps a residual variance of about 1.5e-8, and its log-likelihood is good to 1e-5: it is
compared to 1e-4, and estimates to as many standard errors as a difference of log-likelihoods leaves open.
"""

import numpy as np
import pytest

from references import STRUCTURES, fitted, model, r_names, r_term, records

LOGLIK, LOGLIK_WITH_TINY_RESIDUAL = 1e-6, 1e-4
IN_STANDARD_ERRORS = 1e-4
RELATIVE = 1e-4
MODE_IN_SD = 1e-3

NLME = [name for name in STRUCTURES if records()[name]["engine"] in ("lme", "gls")]
TINY_RESIDUAL = [name for name in STRUCTURES if records()[name].get("dispformula") == "~0"]
SPATIAL = ["tmb_exp_reml", "tmb_gau_ml", "tmb_mat_ml"]
OVER_LEVELS = [
    name for name in STRUCTURES if name not in (*NLME, *SPATIAL, "tmb_diag_reml", "tmb_us_ml", "tmb_us_reml")
]
"""Those of glmmTMB whose term is over the levels of a factor."""


def left_open(name):
    """As many standard errors as a point may be away from ours, given the difference of the log-likelihoods."""
    if name not in TINY_RESIDUAL:
        return 0.0
    return np.sqrt(2.0 * abs(fitted(name).loglik - records()[name]["logLik"]))


@pytest.mark.parametrize("name", STRUCTURES)
def test_loglik(name):
    record, fit = records()[name], fitted(name)
    assert (fit.status, fit.n, fit.n_params) == ("interior", record["n"], record["npar"])
    tolerance = LOGLIK_WITH_TINY_RESIDUAL if name in TINY_RESIDUAL else LOGLIK
    assert fit.loglik == pytest.approx(record["logLik"], abs=tolerance)
    assert fit.aic == pytest.approx(record["AIC"], abs=2 * tolerance)


@pytest.mark.parametrize("name", STRUCTURES)
def test_fixed_effects(name):
    record, fit, data = records()[name], fitted(name), model(name)[1]
    ours = {r_term(term, data): row for term, row in fit.coef().iterrows()}
    assert set(ours) == {r_names(term) for term in record["fixef"]}
    for term, expected in record["fixef"].items():
        row, tolerance = ours[r_names(term)], IN_STANDARD_ERRORS + left_open(name)
        assert row["estimate"] == pytest.approx(expected, abs=tolerance * row["std_error"]), term
        if name in NLME:  # glmmTMB's hold the uncertainty of the variance parameters
            by_gls_and_ml = record["engine"] == "gls" and not record["reml"]  # those of gls are of s² on N − p
            factor = np.sqrt(fit.n / (fit.n - len(record["fixef"]))) if by_gls_and_ml else 1.0
            assert factor * row["std_error"] == pytest.approx(record["se"][term], rel=RELATIVE), term


@pytest.mark.parametrize("name", NLME)
def test_parameters_are_those_of_nlme(name):
    """Standard deviations by position are sigma times varIdent's ratios; correlations stand in the same order."""
    record, table = records()[name], fitted(name).variance()["estimate"]
    of_residual = table.index.str.startswith("Residual: ")
    ratios = np.ravel(record.get("variance_function", {}).get("parameters", 1.0))
    correlation = record["correlation"]["parameters"] if "correlation" in record else []
    expected = [*(record["sigma"] * ratios), *np.ravel(correlation)]
    assert table[of_residual].to_numpy() == pytest.approx(expected, rel=RELATIVE)
    rows = [row for row in record["varcorr"] if row["group"] != "Residual"]
    uncorrelated = "pdDiag" in str(record["structure"])
    expected = [row["sdcor"] for row in rows if not (uncorrelated and row["name2"])]
    assert table[~of_residual].to_numpy() == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.parametrize("name", [name for name in NLME if records()[name]["engine"] == "lme"])
def test_modes_are_those_of_nlme(name):
    for group, expected in records()[name]["ranef"].items():
        modes, sds = (
            part.set_axis(part.index.astype(str)).loc[expected["levels"]].to_numpy()
            for part in (fitted(name).ranef(group), fitted(name).ranef_sd(group))
        )
        assert (np.abs(modes - np.array(expected["condmode"])) <= MODE_IN_SD * sds).all()


def covariance_of_levels(record, data):
    """glmmTMB's covariance matrix of its term, the factor of it, and the grouping factor."""
    rows = [row for row in record["varcorr"] if row["group"] != "Residual"]
    names = [row["name1"] for row in rows if row["name2"] is None]
    factor = next(
        column for column in data if names[0].startswith(column) and names[0][len(column) :] in data[column].unique()
    )
    assert names == [f"{factor}{level}" for level in data[factor].cat.categories]
    matrix = np.zeros((len(names), len(names)))
    for row in rows:
        i, j = names.index(row["name1"]), names.index(row["name2"] or row["name1"])
        matrix[i, j] = matrix[j, i] = row["vcov"]
    return matrix, factor, rows[0]["group"]


@pytest.mark.parametrize("name", OVER_LEVELS)
def test_covariances_are_those_of_glmmtmb(name):
    """Of the rows of one level, whatever the parameters of either program."""
    record, fit, data = records()[name], fitted(name), model(name)[1]
    matrix, factor, group = covariance_of_levels(record, data)
    own = np.flatnonzero(data[group] == data[group].cat.categories[0])
    codes = data[factor].cat.codes.to_numpy()[own]
    assert set(codes) == set(range(len(matrix)))
    residual = 0.0 if name in TINY_RESIDUAL else record["sigma"] ** 2
    expected = matrix[np.ix_(codes, codes)] + residual * np.eye(len(own))
    sds = np.sqrt(np.diag(expected))
    difference = (fit.marginal_cov().to_numpy()[np.ix_(own, own)] - expected) / np.outer(sds, sds)
    # A variance's standard error relative to it is about √(2 / levels).
    levels = data[group].nunique()
    assert np.abs(difference).max() <= RELATIVE + left_open(name) * np.sqrt(2.0 / levels)


@pytest.mark.parametrize("name", SPATIAL)
def test_parameters_of_kernels_are_those_of_glmmtmb(name):
    """Its theta are the logarithms of ours."""
    record, table = records()[name], fitted(name).variance()["estimate"]
    assert np.log(table.to_numpy()[:-1]) == pytest.approx(record["glmmTMB_theta"], abs=RELATIVE)
    assert table["Residual: sd"] == pytest.approx(record["sigma"], rel=RELATIVE)


@pytest.mark.parametrize("name", ["tmb_diag_reml", "tmb_us_ml", "tmb_us_reml"])
def test_variances_of_slopes_are_those_of_glmmtmb(name):
    record, table = records()[name], fitted(name).variance()["estimate"]
    rows = [row for row in record["varcorr"] if row["name2"] is None or "us" in name]
    assert table.to_numpy() == pytest.approx([row["sdcor"] for row in rows], rel=RELATIVE)


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name not in TINY_RESIDUAL])
def test_fitted_and_residuals(name):
    record, fit = records()[name], fitted(name)
    expected = record["fitted_head"]
    assert fit.fitted().to_numpy()[: len(expected)] == pytest.approx(expected, abs=2e-4 * fit.sigma)
    assert fit.residuals().to_numpy()[: len(expected)] == pytest.approx(record["resid_head"], abs=2e-4 * fit.sigma)


def test_one_model_by_two_programs_is_one_model_here():
    for one, other in (("simar1_gls_csh_ml", "tmb_cs_marginal_ml"), ("simrr_gls_un_ml", "tmb_us_rrdata_ml")):
        assert records()[one]["structure"]["same_model_as"] == other
        assert fitted(one).loglik == pytest.approx(fitted(other).loglik, abs=1e-9)


def test_every_structured_reference_is_here():
    assert len(STRUCTURES) == 32
