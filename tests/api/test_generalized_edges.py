"""Generalized models at their edges: a density without bound, an effect of each row, a start that is impossible."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import jaxlmm as lmm


def test_a_density_without_bound_is_no_optimum():
    """Of counts the Tweedie density grows for ever as its power goes to 1; of these times noise it does not."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=200), "g": np.arange(200) % 20, "y": rng.poisson(1.5, size=200)})
    data["noisy"] = data["y"] * rng.gamma(5.0, 0.2, size=200)
    fit = lmm.fit("y ~ x + (1 | g)", data, family="tweedie")
    assert fit.status == "not_converged"
    assert "grows without bound" in fit.certificate.help
    assert fit.coef()["p_value"].isna().all()
    many = lmm.fit_many("~ x + (1 | g)", data, responses=["y", "noisy"], family="tweedie")
    assert many.status["y"] == "not_converged"
    assert many.status["noisy"] in ("interior", "boundary")
    assert many.glance()["reason"].tolist() == ["unbounded", ""]


def test_effects_of_single_rows_by_quadrature():
    """The integral of each row alone, by 200 nodes over eight standard deviations."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"row": np.arange(60).astype(str), "y": rng.poisson(np.exp(rng.normal(0.5, 0.7, size=60)))})
    fit = lmm.fit("y ~ 1 + (1 | row)", data, family="poisson", quadrature=15)
    sd, mean = fit.variance()["estimate"].iloc[0], fit.fixef().iloc[0]
    z = np.linspace(-8.0, 8.0, 200)
    density = scipy.stats.poisson(np.exp(mean + sd * z)).pmf(data["y"].to_numpy()[:, None]) * scipy.stats.norm.pdf(z)
    assert fit.loglik == pytest.approx(np.log(density.sum(axis=1) * (z[1] - z[0])).sum(), abs=1e-6)


def test_a_rough_predictor_that_is_impossible_is_shortened():
    """Least squares of proportional means cross zero; a start between them and a constant does not."""
    rng = np.random.default_rng(2)
    x = rng.exponential(size=200)
    data = pd.DataFrame({"x": x, "y": rng.gamma(2.0, (0.15 + 2.0 * x) / 2.0), "g": np.arange(200) % 20})
    fit = lmm.fit("y ~ x + (1 | g)", data, family=lmm.families.Gamma(link="identity"))
    assert fit.status in ("interior", "boundary")
    assert fit.fixef().to_numpy() == pytest.approx([0.15, 2.0], abs=0.3)
