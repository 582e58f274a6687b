"""Marginal means by other weights, and marginal slopes, against emmeans."""

import json

import numpy as np
import pytest

import jaxlmm as lmm

from references import HERE

R = json.loads((HERE / "emmeans_weights_and_trends.json").read_text())
CAKE = lmm.datasets.cake().iloc[R["rows"]].assign(part=R["part"])
SATTERTHWAITE = 1e-3
"""Relative: lmerTest's derivatives are numerical."""


@pytest.fixture(scope="module")
def fits():
    means = lmm.fit("angle ~ recipe * C(temperature) + part + (1 | recipe:replicate)", CAKE)
    slopes = lmm.fit("angle ~ recipe * poly(temp, 2) + part + (1 | recipe:replicate)", CAKE)
    return means, slopes


def check(table, expected):
    estimate, error, df = (np.array([row[name] for row in expected]) for name in ("estimate", "SE", "df"))
    np.testing.assert_allclose(table["estimate"] / error, estimate / error, atol=1e-5)
    np.testing.assert_allclose(table["std_error"], error, rtol=1e-5)
    np.testing.assert_allclose(table["df"], df, rtol=SATTERTHWAITE)


@pytest.mark.parametrize("weights", R["means"])
def test_weights(fits, weights):
    table = fits[0].emmeans("recipe", weights=weights).to_frame()
    assert list(table["recipe"]) == [row["recipe"] for row in R["means"][weights]]
    check(table, R["means"][weights])


def test_slopes(fits):
    slopes = fits[1].emtrends("recipe", "temp")
    check(slopes.to_frame(), R["trends"]["recipe"])
    check(slopes.pairs(adjust="none"), R["trends"]["pairs"])
    check(fits[1].emtrends("recipe", "temp", at={"temp": 180}).to_frame(), R["trends"]["at"])
    check(fits[1].emtrends("~ 1", "temp", weights="proportional").to_frame(), R["trends"]["all"])
    assert slopes.to_frame().columns[0] == "recipe"


def test_a_straight_slope_is_its_coefficient():
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    slope, own = fit.emtrends("~ 1", "Days").to_frame().iloc[0], fit.coef().loc["Days"]
    np.testing.assert_allclose(
        slope[["estimate", "std_error", "df"]].astype(float), own[["estimate", "std_error", "df"]]
    )
    mean = fit.emmeans("~ 1").to_frame().iloc[0]
    assert mean["estimate"] == pytest.approx(fit.predict({"Days": [4.5]}, re_form="~0")["estimate"].iloc[0])


def test_what_has_no_slope(fits):
    with pytest.raises(lmm.OptionError, match="var: expected a covariate, got recipe"):
        fits[1].emtrends("part", "recipe")
    with pytest.raises(lmm.OptionError, match="var: 'tmp' is no variable"):
        fits[1].emtrends("recipe", "tmp")
    with pytest.raises(lmm.OptionError, match="weights"):
        fits[1].emmeans("recipe", weights="rows")
