"""Every reference fit without a covariance structure of its own, against R at a tight optimum.

Tolerances: the log-likelihood is never more than 1e-6 below the reference's; estimates within 1e-4 of their standard
error, which is what R's polished optima are good for; Satterthwaite df within 1e-3 relative, because lmerTest takes
them from numerical derivatives.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from references import STRUCTURES, fitted, model, r_group, r_names, r_term, records

LOGLIK = 1e-6
IN_STANDARD_ERRORS = 1e-4
RELATIVE = 1e-4
VARIANCE_IN_STANDARD_ERRORS = 1e-3
MODE_IN_SD = 1e-3
DF = 1e-3

RIDGES = {
    "seed2_full": "one residual degree of freedom: every point of a curve is an optimum",
    "seed1_twin_unident_corr": "no family has both kinds of twins: their correlation is free",
}
"""Models whose reference is an arbitrary point of a ridge: only what the data determine is compared."""


LMER = [name for name, record in records().items() if record["engine"] == "lmer"]
LME = [name for name, record in records().items() if record["engine"] == "lme" and not record["structure"]]
KNOWN = [name for name, record in records().items() if record["engine"] in ("lmekin", "pedigreemm")]
OTHERS = [name for name in records() if name not in (*LMER, *LME, *STRUCTURES)]
COMPARED = [name for name in (*LMER, *LME, *OTHERS) if name not in RIDGES]


def better(name):
    return fitted(name).loglik > records()[name]["logLik"] + LOGLIK


def compare_only_if_not_better(name):
    if better(name):
        pytest.skip(f"our optimum is better by {fitted(name).loglik - records()[name]['logLik']:.3g}")


@pytest.mark.parametrize("name", [*LMER, *LME, *OTHERS])
def test_loglik_is_not_below_the_reference(name):
    record, fit = records()[name], fitted(name)
    assert fit.loglik >= record["logLik"] - LOGLIK
    assert fit.n == record["n"]
    if "npar" in record:  # not in that of pedigreemm
        assert fit.n_params == record["npar"]
    if not better(name) and "AIC" in record:
        assert fit.aic == pytest.approx(record["AIC"], abs=1e-5)
    if not better(name) and record["engine"] == "lmer":
        assert fit.bic == pytest.approx(record["BIC"], abs=1e-5)


@pytest.mark.parametrize("name", COMPARED)
def test_fixed_effects(name):
    compare_only_if_not_better(name)
    record, fit = records()[name], fitted(name)
    data = model(name)[1]
    table = fit.coef().dropna(subset="estimate")
    ours = {r_term(term, data): row for term, row in table.iterrows()}
    assert set(ours) == {r_names(term) for term in record["fixef"]}
    for term, expected in record["fixef"].items():
        row, std_error = ours[r_names(term)], record["se"][term]
        assert row["estimate"] == pytest.approx(expected, abs=IN_STANDARD_ERRORS * std_error), term
        if (
            record["engine"] != "glmmTMB"
        ):  # its standard errors hold the uncertainty of theta: see the joint Hessian below
            assert row["std_error"] == pytest.approx(std_error, rel=RELATIVE), term
    dropped = fit.coef().index[fit.coef()["estimate"].isna()]
    expected = record.get("fixef_dropped") or []
    assert {r_term(term, data) for term in dropped} == {r_names(term) for term in expected}


def expected_variances(record):
    for row in record["varcorr"]:
        names = frozenset(name.replace('"', "'") for name in (row["name1"], row["name2"]) if name)
        yield (r_group(row["group"]), names), row


def our_variances(fit, data):
    table = fit.variance("variance")
    found = {}
    for term in fit.frame.labels.terms:
        columns = [r_term(column, data) for column in term.columns]
        for place, parameter in enumerate(term.natural):
            if parameter.is_sd:
                names = frozenset(columns[place])
            elif parameter.is_correlation_of_columns:
                pairs = [(i, j) for j in range(len(columns)) for i in range(j + 1, len(columns))]
                names = frozenset().union(*(columns[k] for k in pairs[place - len(columns)]))
            else:
                continue
            names = frozenset(name.replace('"', "'") for name in names)
            found[r_group(term.group), names] = table.iloc[fit.frame.labels.parameters.index(parameter.name)]
    found[frozenset(["Residual"]), frozenset()] = table.loc["Residual: var"]
    return found


@pytest.mark.parametrize("name", [name for name in COMPARED if name in (*LMER, *LME)])
def test_variance_parameters(name):
    compare_only_if_not_better(name)
    record, fit = records()[name], fitted(name)
    ours = our_variances(fit, model(name)[1])
    for key, row in expected_variances(record):
        mine = ours[key]
        is_correlation = row["name2"] is not None
        expected = row["sdcor"] if is_correlation else row["vcov"]
        if expected is None or (is_correlation and np.isnan(mine["estimate"])):
            continue  # a correlation with a variance of zero
        if expected == 0.0 and not is_correlation:
            assert mine["estimate"] == 0.0
            assert mine["at_boundary"]
            continue
        own = 0.0 if np.isnan(mine["std_error"]) else VARIANCE_IN_STANDARD_ERRORS * mine["std_error"]
        assert mine["estimate"] == pytest.approx(expected, abs=max(RELATIVE * abs(expected), own)), key
    assert fit.is_singular == record.get("isSingular", False)


@pytest.mark.parametrize("name", [name for name in COMPARED if records()[name].get("df_satterthwaite")])
def test_satterthwaite(name):
    compare_only_if_not_better(name)
    record, fit = records()[name], fitted(name)
    if record["isSingular"]:
        # lmerTest differentiates through the boundary where the deviance has no two-sided derivative; ours holds the
        # parameters at the boundary. With every variance at zero that is the linear model, with df n - p (n for ML).
        df = fit.coef()["df"].dropna()
        assert np.isfinite(df).all()
        if (fit.variance()["estimate"].iloc[:-1] == 0.0).all():
            count = fit.n - (len(fit.frame.labels.fixed_names) if fit.method == "REML" else 0)
            assert df.to_numpy() == pytest.approx(count)
        return
    data = model(name)[1]
    ours = {r_term(term, data): row["df"] for term, row in fit.coef().iterrows()}
    for term, expected in record["df_satterthwaite"].items():
        assert ours[r_names(term)] == pytest.approx(expected, rel=DF), term


def level_key(group, label):
    """A level of an interaction, whatever the order in which its factors are named."""
    factors = re.sub(r"\.\d+$", "", group).split(":")  # lme4 numbers a factor's second term
    labels = str(label).split(":") if len(factors) > 1 else [str(label)]  # a single factor's labels may hold a colon
    return frozenset(zip(factors, labels, strict=True))


@pytest.mark.parametrize("name", [name for name in COMPARED if name in (*LMER, *LME)])
def test_modes(name):
    compare_only_if_not_better(name)
    record, fit = records()[name], fitted(name)
    data = model(name)[1]
    for group, expected in record["ranef"].items():
        (mine,) = [name for name in fit.n_groups if r_group(name) == r_group(group)]
        modes, sds = fit.ranef(mine), fit.ranef_sd(mine)
        modes.index = [level_key(mine, label) for label in modes.index]
        sds.index = modes.index
        order = [level_key(group, label) for label in expected["levels"]]
        names = {r_term(column, data): column for column in modes}
        for place, column in enumerate(expected["columns"]):
            ours = modes.loc[order, names[r_names(column)]].to_numpy()
            near = sds.loc[order, names[r_names(column)]].to_numpy()
            sd = np.array(expected["condsd"])[:, place] if expected["condsd"] else near  # nlme does not give them
            scale = np.where(sd > 0, sd, np.max(sd, initial=0.0) + 1e-8 * fit.sigma)
            assert np.abs(ours - np.array(expected["condmode"])[:, place]).max() <= MODE_IN_SD * scale.max()
            assert (np.abs(ours - np.array(expected["condmode"])[:, place]) <= MODE_IN_SD * scale).all()
            assert near == pytest.approx(sd, rel=1e-3, abs=1e-4 * fit.sigma)


@pytest.mark.parametrize("name", COMPARED)
def test_fitted_and_residuals(name):
    compare_only_if_not_better(name)
    record, fit = records()[name], fitted(name)
    if "fitted_head" not in record:
        return
    expected = record["fitted_head"]
    assert fit.fitted().to_numpy()[: len(expected)] == pytest.approx(expected, abs=2e-4 * fit.sigma)
    assert fit.residuals().to_numpy()[: len(expected)] == pytest.approx(record["resid_head"], abs=2e-4 * fit.sigma)


def test_ou_parameters_are_those_of_glmmtmb_and_nlme():
    ou = fitted("tmb_ou_reml").variance()["estimate"]
    sd, rate = records()["tmb_ou_reml"]["varcorr"][0]["sdcor"], -np.log(ou["subject: rho"])
    assert ou["subject: sd"] == pytest.approx(sd, rel=1e-4)
    assert rate == pytest.approx(np.exp(records()["tmb_ou_reml"]["glmmTMB_theta"][1]), rel=1e-4)
    record = records()["bodyweight_corCAR1_ml"]
    (phi,) = record["correlation"]["parameters"]
    assert fitted("bodyweight_corCAR1_ml").variance().loc["Residual: rho", "estimate"] == pytest.approx(phi, rel=1e-4)


def test_joint_hessian_of_loglik_gives_glmmtmb_standard_errors():
    """glmmTMB inverts the Hessian in all parameters at once; the unprofiled likelihood does the same."""
    fit, record = fitted("tmb_ou_ml"), records()["tmb_ou_ml"]
    p, k = int(fit.design.n_fixed), fit.theta.size
    with jax.enable_x64(True):
        f = lmm.loglik(fit.design)
        y = jnp.asarray(fit.frame.y)

        def negative(v):
            return -f(v[:p], v[p : p + k], jnp.exp(v[-1]), y)

        at = jnp.concatenate([jnp.asarray(fit.fixef()), jnp.asarray(fit.theta), jnp.log(jnp.asarray([fit.sigma]))])
        covariance = np.linalg.inv(np.asarray(jax.hessian(negative)(at)))
    expected = [record["se"]["(Intercept)"], record["se"]["time"]]
    assert np.sqrt(np.diag(covariance))[:p] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", KNOWN)
def test_known_matrices_give_the_variances_of_lmekin_and_pedigreemm(name):
    expected = [row["vcov"] for row in records()[name]["varcorr"]]
    estimate = fitted(name).variance("variance")["estimate"].to_numpy()
    assert estimate == pytest.approx(expected, rel=1e-4)
    assert (estimate == 0.0).tolist() == [value == 0.0 for value in expected]


@pytest.mark.parametrize("name", KNOWN)
def test_modes_with_known_matrices(name):
    record, fit = records()[name], fitted(name)
    for group, table in record["ranef"].items():
        names = [name for name in fit.n_groups if name.split("[")[0] == group.removesuffix("_first20")]
        for place, ours in enumerate(names):
            modes, sds = (
                part.set_axis(part.index.astype(str)).loc[table["levels"]]
                for part in (fit.ranef(ours), fit.ranef_sd(ours))
            )
            expected = np.array(table["condmode"])[:, place]
            assert (
                np.abs(modes.to_numpy()[:, 0] - expected).max() <= MODE_IN_SD * sds.to_numpy().max() + 1e-8 * fit.sigma
            )
            if "condsd" in table:
                assert sds.to_numpy()[:, 0] == pytest.approx(
                    np.array(table["condsd"])[:, place], rel=1e-3, abs=1e-4 * fit.sigma
                )


def test_compound_symmetry_written_by_a_user_gives_nlme_variances():
    record = records()["oats_pdCompSymm_reml"]
    table = fitted("oats_pdCompSymm_reml").variance("variance")["estimate"]
    assert table.iloc[0] == pytest.approx(record["varcorr"][0]["vcov"], rel=1e-4)
    assert table.iloc[3] == pytest.approx(record["varcorr"][3]["sdcor"], rel=1e-4)


def test_better_optima_are_few_and_listed(capsys):
    names = [name for name in COMPARED if better(name)]
    with capsys.disabled():
        for name in names:
            print(f"\n{name}: our log-likelihood is higher by {fitted(name).loglik - records()[name]['logLik']:.3g}")
    assert len(names) <= 3


@pytest.mark.parametrize("name", sorted(RIDGES))
def test_ridges(name):
    record, fit = records()[name], fitted(name)
    assert fit.status == "not_identified", RIDGES[name]
    assert fit.loglik == pytest.approx(record["logLik"], abs=LOGLIK)
    if name == "seed1_twin_unident_corr":
        assert list(fit.certificate.ridge.index) == ["IndividualFamilyID: corr(MZ, DZ)"]
        expected = [row["vcov"] for row in record["varcorr"] if row["name2"] is None]
        estimate = fit.variance("variance")["estimate"].drop("IndividualFamilyID: corr(MZ, DZ)")
        assert estimate.to_numpy() == pytest.approx(expected, rel=1e-4)
        assert fit.coef()["std_error"].to_numpy() == pytest.approx(list(record["se"].values()), rel=1e-4)
        assert pd.isna(fit.variance().loc["IndividualFamilyID: corr(MZ, DZ)", "std_error"])


def test_every_lmer_reference_is_here():
    assert len(LMER) == 77
