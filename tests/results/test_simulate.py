"""Draws from a model: their moments are the model's, within four Monte Carlo standard errors."""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

import models

DRAWS = 4000
MONTE_CARLO = 5.0
"""Standard errors within which thousands of variances and covariances lie."""


@pytest.mark.parametrize("name", ["slope", "crossed", "kinship", "ou", "ou residual"])
def test_moments(name, frame):
    fit = lmm.fit(models.MODELS[name].formula, frame, **models._options(name, frame))
    draws = fit.simulate(DRAWS, seed=3).to_numpy()
    v, mean = fit.marginal_cov().to_numpy(), fit.fitted("marginal").to_numpy()
    sd = np.sqrt(np.diag(v))
    assert np.abs((draws.mean(axis=1) - mean) / sd * np.sqrt(DRAWS)).max() < MONTE_CARLO
    z = (draws - mean[:, None]) / sd[:, None]
    correlations = v / np.outer(sd, sd)
    errors = np.sqrt((1.0 + correlations**2) / DRAWS)
    assert (np.abs(z @ z.T / DRAWS - correlations) / errors).max() < MONTE_CARLO


def test_modes_that_stay():
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    draws = fit.simulate(DRAWS, seed=1, re_form=None).to_numpy()
    z = (draws - fit.fitted().to_numpy()[:, None]) / fit.sigma
    assert np.abs(z.mean(axis=1) * np.sqrt(DRAWS)).max() < MONTE_CARLO
    assert z.std() == pytest.approx(1.0, abs=0.01)
    pd.testing.assert_frame_equal(fit.simulate(2, seed=7), fit.simulate(2, seed=7))
    assert not fit.simulate(1, seed=7).equals(fit.simulate(1, seed=8))


def test_other_rows():
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    new = pd.DataFrame({"Subject": ["a", "a", "b"], "Days": [0.0, 4.0, 4.0]})
    draws = fit.simulate(DRAWS, seed=1, newdata=new).to_numpy()
    same, other = np.corrcoef(draws)[0, 1], np.corrcoef(draws)[1, 2]
    assert abs(other) < 5 / np.sqrt(DRAWS)
    sd = fit.variance()["estimate"].to_numpy()
    first, second, between = (
        sd[0] ** 2,
        sd[0] ** 2 + 16 * sd[1] ** 2 + 8 * sd[2] * sd[0] * sd[1],
        sd[0] ** 2 + 4 * sd[2] * sd[0] * sd[1],
    )
    assert same == pytest.approx(between / np.sqrt((first + sd[3] ** 2) * (second + sd[3] ** 2)), abs=0.06)


def test_from_parameters():
    """Estimates of draws are the parameters, within their Monte Carlo errors."""
    frame = pd.DataFrame({"g": np.repeat(np.arange(30), 8), "x": np.tile(np.arange(8.0), 30)})
    y = lmm.simulate(
        "~ x + (x | g)", frame, beta={"x": 0.5, "Intercept": 2.0}, theta=[1.0, 0.2, 0.3], sigma=0.7, nsim=200
    )
    many = lmm.fit_many("~ x + (x | g)", frame, responses=y)
    beta = many.tidy().groupby("term")["estimate"].agg(["mean", "std"])
    for term, value in (("Intercept", 2.0), ("x", 0.5)):
        assert abs(beta.loc[term, "mean"] - value) < 4 * beta.loc[term, "std"] / np.sqrt(200)
    sd = many.variance().groupby("parameter")["estimate"].mean()
    assert sd["Residual: sd"] == pytest.approx(0.7, rel=0.02)
    assert sd["g: sd(Intercept)"] == pytest.approx(0.7, rel=0.06)
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    values = {"beta": fit.fixef().to_dict(), "theta": fit.theta, "sigma": fit.sigma}
    again = lmm.simulate("~ Days + (Days | Subject)", lmm.datasets.sleepstudy(), seed=5, **values)
    np.testing.assert_allclose(again.to_numpy(), fit.simulate(1, seed=5).to_numpy(), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nsim": 0}, "nsim: expected a positive whole number, got 0"),
        ({"beta": [1.0]}, "beta: expected 2 numbers, for Intercept, x"),
        ({"beta": {"x": 1.0}}, "beta: expected a number for each of Intercept, x"),
        ({"theta": [1.0, 2.0]}, "theta: expected 1 numbers"),
        ({"sigma": -1.0}, "sigma: expected a positive number"),
        ({"family": "poisson"}, "no option 'family': the responses drawn here are normal; .* by fit.simulate"),
        ({"zero_inflated": "~ 1"}, "those of a family are drawn from a fit"),
        ({"weight": "w"}, "did you mean weights"),
        ({"REML": False}, "no option 'REML'"),
    ],
)
def test_bad_input(options, message):
    frame = pd.DataFrame({"g": [0, 0, 1, 1], "x": [0.0, 1.0, 2.0, 4.0]})
    given = {"beta": [0.0, 1.0], "theta": [1.0], "sigma": 1.0, **options}
    with pytest.raises(lmm.OptionError, match=message):
        lmm.simulate("~ x + (1 | g)", frame, **given)
