"""Generalized models from data to certificate in the engine, against glmmTMB and lme4."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.covariance.parameters import declared
from jaxlmm.engine.single import solve_likelihood
from jaxlmm.families import family_of
from jaxlmm.inference import STATUS
from jaxlmm.likelihood import Generalized

import references

pytestmark = pytest.mark.usefixtures("double_precision")

LOGLIK = 1e-6
"""How much the log-likelihood may be below the reference's."""

IN_STANDARD_ERRORS, RELATIVE = 1e-4, 1e-3
"""Of coefficients, and of standard errors, standard deviations and dispersion, as the reference is polished."""

NAMES = [
    "g_bacteria_agq25",
    "g_cbpp_olre",
    "g_cbpp_period_herd",
    "g_salamanders_nb2",
    "g_sim_tweedie",
]
"""One of each kind; the criterion of all is compared in ``likelihood/test_laplace.py``."""


def problem(record):
    data = references.dataset(record["dataset"])
    left, right = (side.strip() for side in record["formula"].split("~"))
    family = family_of({"Gamma": "gamma"}.get(record["family"], record["family"])).replace(link=record["link"])
    groups = re.findall(r"\| (\w+)\)", right)
    if any(data[group].nunique() == len(data) for group in groups):
        fixed = lmm.design("~ " + right.split(" + (")[0], data)
        codes = {group: pd.factorize(data[group])[0] for group in groups}
        design = lmm.design_from_arrays(np.asarray(fixed.basis @ fixed.triangle)[: len(data)], codes)
    else:
        design = lmm.design(f"~ {right}", data)
    if left.startswith("cbind"):
        return design, family, data["incidence"].to_numpy(float), data["size"].to_numpy(float)
    y = data[left]
    return design, family, (y.cat.codes if isinstance(y.dtype, pd.CategoricalDtype) else y).to_numpy(float), None


def fitted(design, family, y, trials=None, **options):
    padded = design.with_padded_columns()
    likelihood = Generalized.of(padded, family, trials=trials, **options)
    own = [declared(term.structure, [str(k) for k in range(term.size)]) for term in design.terms]
    parameters = [parameter for block in own for parameter in block] + list(family.parameters)
    with np.errstate(all="ignore"):
        return solve_likelihood(likelihood, padded, y).certified(parameters, None)


@pytest.mark.parametrize("name", NAMES)
def test_optimum_is_that_of_the_reference_or_better(name):
    record = json.loads((references.HERE / "generalized" / f"{name}.json").read_text())
    design, family, y, trials = problem(record)
    _, found, _ = fitted(design, family, y, trials, n_nodes=record.get("nAGQ", 1))
    assert STATUS[found.verdicts.status[0]] in ("interior", "boundary")
    loglik = -0.5 * found.examination.deviance[0]
    if "logLik" in record:
        assert loglik > record["logLik"] - LOGLIK
    if record.get("gradient_max", 0.0) > 1e-4:  # glmmTMB has no optimum, and ours is better
        assert loglik > record["logLik"] + 1e-3
        return
    errors = found.uncertainty.std_error[0]
    apart = np.abs(found.examination.beta[0] - record["fixef"]) / errors
    assert apart.max() < IN_STANDARD_ERRORS
    if "se" in record:
        np.testing.assert_allclose(errors, record["se"], rtol=RELATIVE)
    report = found.examination.values.report[0]
    if all(term.size == 1 for term in design.terms):
        # Of glmmTMB by its theta: what its VarCorr() printed is smaller by exp(0.001), from a point of its differences.
        sds = record["theta"] if "theta" in record else np.exp(record["theta_glmmTMB"])
        np.testing.assert_allclose(report[: len(sds)], sds, rtol=RELATIVE)
    if family.n_dispersion:
        (sigma,) = record["dispersion_sigma"]
        first = {"nbinom2": 1.0 / sigma, "Gamma": sigma**2}.get(record["family"], sigma)
        np.testing.assert_allclose(report[-family.n_dispersion], first, rtol=RELATIVE)
    if record.get("psi_tweedie_power"):
        np.testing.assert_allclose(report[-1], record["psi_tweedie_power"], rtol=RELATIVE)


def test_overdispersion_of_poisson_data_is_zero_with_the_limit_s_numbers():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 5), "x": rng.normal(size=100)})
    design = lmm.design("~ x + (1 | g)", data)
    mean = np.exp(1.0 + 0.3 * data["x"] + rng.normal(0.0, 0.5, 20)[data["g"]])
    y = np.floor(mean + 0.5).to_numpy()  # less than Poisson's variance
    _, general, _ = fitted(design, family_of("nbinom2"), y)
    _, poisson, _ = fitted(design, family_of("poisson"), y)
    assert STATUS[general.verdicts.status[0]] == "boundary"
    assert general.examination.values.report[0, -1] == 0.0
    np.testing.assert_allclose(general.examination.deviance, poisson.examination.deviance, rtol=1e-10)
    np.testing.assert_allclose(general.examination.beta, poisson.examination.beta, rtol=1e-6)
    np.testing.assert_allclose(general.uncertainty.std_error, poisson.uncertainty.std_error, rtol=1e-6)


def test_modes_and_their_standard_deviations_agree_between_one_factor_and_elimination():
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 6), "h": np.tile(np.arange(6), 12)})
    design = lmm.design("~ 1 + (1 | g)", data)
    y = rng.poisson(np.exp(0.5 + rng.normal(0.0, 0.6, 12)[data["g"]])).astype(float)
    alone, found, rows = fitted(design, family_of("poisson"), y)
    _, other, others = fitted(lmm.design("~ 1 + (1 | g) + (1 | h)", data), family_of("poisson"), y)
    sd = float(found.examination.values.report[0, 0])
    u = np.asarray(rows.modes[0]).ravel()[:12] / sd
    eta = np.asarray(rows.conditional)[:72]
    totals = np.bincount(data["g"], y - np.exp(eta))
    np.testing.assert_allclose(u, sd * totals, atol=1e-8)  # at the mode u is the score
    weights = np.bincount(data["g"], np.exp(eta))
    np.testing.assert_allclose(
        np.asarray(rows.mode_sds[0]).ravel()[:12], sd / np.sqrt(1.0 + sd**2 * weights), rtol=1e-8
    )
    if float(other.examination.values.report[0, 1]) == 0.0:  # without variance of h it is the same model
        np.testing.assert_allclose(others.modes[0][:12], rows.modes[0][:12], atol=1e-6)
        np.testing.assert_allclose(others.mode_sds[0][:12], rows.mode_sds[0][:12], rtol=1e-6)
    assert alone.n_evaluations < 12
