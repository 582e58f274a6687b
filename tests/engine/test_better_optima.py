"""Where lme4 with its defaults stops short: the criterion is the same, and our point is an optimum of it.

Digits are those of R's printed results: theta has fifteen, the deviance at it ten.
"""

import json

import jax
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from references import HERE

SAME = 1e-6
"""Of a deviance of about 760, by two programs."""


@pytest.fixture(scope="module")
def spruce():
    record = json.loads((HERE / "better.json").read_text())
    data = pd.read_csv(HERE / "data" / record["data"], dtype={"Tree": str, "plot": str})
    return record, lmm.fit(record["formula"], data)


def test_the_criterion_at_lme4s_theta_is_lme4s(spruce):
    record, fit = spruce
    with jax.enable_x64(True):
        deviance = float(lmm.deviance(fit.design)(np.array(record["theta"]), fit.frame.y))
    assert deviance == pytest.approx(-2.0 * record["logLik"], abs=SAME)


def test_ours_is_higher_and_an_optimum(spruce):
    record, fit = spruce
    assert fit.loglik == pytest.approx(-378.6924, abs=5e-5)
    assert record["logLik"] == pytest.approx(-379.1538, abs=5e-5)
    assert record["messages"]
    assert fit.status == "interior"
    with jax.enable_x64(True):
        deviance = lmm.deviance(fit.design)
        gradient = np.asarray(jax.grad(deviance)(fit.theta, fit.frame.y))
        curvature = np.asarray(jax.hessian(deviance)(fit.theta, fit.frame.y))
    assert float(gradient @ np.linalg.solve(curvature, gradient)) < 1e-9
    assert (np.linalg.eigvalsh(curvature) > 0.0).all()
