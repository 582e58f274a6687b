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


def test_weights_by_cells_where_a_number_is_one_of_the_factors(fits):
    at = fits[1].emmeans("temp", at={"temp": [180, 192.5]}, weights="cells").to_frame()
    expected = fits[1].emmeans("temp", at={"temp": [180, 192.5]}, weights="proportional").to_frame()
    np.testing.assert_allclose(at["estimate"], expected["estimate"])


def test_levels_that_are_chosen_have_the_weights_of_their_rows(fits):
    chosen = fits[1].emmeans("~ 1", at={"recipe": ["A", "B"]}, weights="proportional").to_frame()["estimate"].iloc[0]
    each = fits[1].emmeans("recipe", weights="proportional", at={"recipe": ["A", "B"]}).to_frame()["estimate"]
    cells = fits[1].emmeans("part:recipe", at={"recipe": ["A", "B"]}).to_frame()
    counts = CAKE.groupby(["part", "recipe"]).size()
    weights = [counts[row["part"], row["recipe"]] for _, row in cells.iterrows()]
    assert chosen == pytest.approx(np.average(cells["estimate"], weights=weights))
    assert len(each) == 2


def test_slopes_of_many_responses_are_those_of_each():
    both = CAKE.assign(log=np.log(CAKE["angle"]))
    many = lmm.fit_many("~ recipe * poly(temp, 2) + part + (1 | recipe:replicate)", both, responses=["angle", "log"])
    table = many.emtrends("recipe", "temp").to_frame()
    for name in many.responses:
        single = many[name].emtrends("recipe", "temp").to_frame()
        np.testing.assert_allclose(table[table["response"] == name]["estimate"], single["estimate"], rtol=1e-5)
