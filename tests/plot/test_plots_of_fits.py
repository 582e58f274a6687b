"""Pictures of one fit: what is drawn are the numbers of its tables."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy

import jaxlmm as lmm

mpl.use("Agg")


@pytest.fixture(scope="module")
def sleep():
    return lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())


def test_residuals_and_quantiles(sleep):
    drawn = lmm.plot.residuals(sleep).lines[0].get_xydata()
    np.testing.assert_allclose(drawn, np.column_stack([sleep.fitted(), sleep.residuals("pearson")]))
    ax = lmm.plot.qq(sleep)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.sort(sleep.residuals("pearson")))
    assert len(lmm.plot.qq(sleep, "Subject").get_legend().get_texts()) == 2


@pytest.fixture(scope="module")
def counts():
    """Counts of a right model, and of one whose variance is a multiple of the mean, in 60 groups of 8."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(60), 8), "x": rng.normal(size=480)})
    mean = np.exp(1.5 + 0.5 * data["x"] + rng.normal(0.0, 0.5, 60)[data["g"]])
    data = data.assign(right=rng.poisson(mean), bent=rng.poisson(np.exp(2.0 - data["x"] ** 2)))
    data["wide"] = rng.negative_binomial(1.0, 1.0 / (1.0 + mean))
    return data


@pytest.fixture(scope="module")
def poisson(counts):
    return lmm.fit("right ~ x + (1 | g)", counts, family="poisson")


def test_quantile_residuals_of_a_family_against_ranks(counts, poisson):
    ax = lmm.plot.residuals(poisson, seed=3)
    points = ax.lines[0].get_xydata()
    order = np.argsort(poisson.fitted("marginal").to_numpy())
    np.testing.assert_allclose(points[:, 1], poisson.residuals("quantile", seed=3).to_numpy()[order])
    np.testing.assert_allclose(points[[0, -1], 0], [0.5 / 480, 479.5 / 480])
    middle = ax.lines[4]  # a window of a fifth of the rows begins at the first
    np.testing.assert_allclose(middle.get_xydata()[0], [0.1, np.median(points[:96, 1])])
    low, high = ax.patches[1].get_y(), ax.patches[1].get_y() + ax.patches[1].get_height()
    np.testing.assert_allclose([low, high], [-0.25, 0.25], atol=0.01)  # ±1.96 √(π/2) / √96, nearly
    assert (np.abs(middle.get_ydata()) < 0.25).mean() > 0.9
    bent = lmm.plot.residuals(poisson.refit(counts["bent"])).lines[4].get_ydata()
    assert max(bent[0], bent[-1]) < -0.25 < 0.25 < bent[25]


def test_quantiles_of_a_family_have_a_band_and_a_test(counts, poisson):
    ax = lmm.plot.qq(poisson, seed=3)
    found = np.sort(poisson.residuals("quantile", seed=3))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), found)
    band = ax.collections[0].get_paths()[0].vertices
    first = band[np.isclose(band[:, 0], ax.lines[0].get_xdata()[0]), 1]  # of the smallest of 480 uniform values
    ends = scipy.special.ndtri(-np.expm1(np.log([0.975, 0.025]) / 480))
    np.testing.assert_allclose([first.min(), first.max()], ends)
    assert ax.get_title() == f"Kolmogorov–Smirnov p = {scipy.stats.kstest(found, 'norm').pvalue:.3g}"
    assert (
        float(ax.get_title().split()[-1])
        > 0.05
        > 1e-6
        > float(lmm.plot.qq(poisson.refit(counts["wide"])).get_title().split()[-1])
    )
    assert lmm.plot.qq(poisson, "g").get_title() == ""


def test_rows_that_separation_makes_certain_are_not_drawn(counts, poisson):
    empty = counts.assign(right=counts["right"].where(counts["x"] < 1.0, 0), far=(counts["x"] >= 1.0).astype(float))
    fit = lmm.fit("right ~ far + (1 | g)", empty, family="poisson")
    assert fit.status == "not_identified"
    assert lmm.plot.qq(fit).lines[0].get_ydata().size == (counts["x"] < 1.0).sum()


def test_lines(sleep):
    ax = lmm.plot.lines(sleep, "Days", "Subject")
    assert len(ax.lines) == 2 * 18
    np.testing.assert_allclose(ax.lines[0].get_ydata(), sleep.fitted().iloc[:10])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), sleep.frame.y[:10])
    assert ax.get_ylabel() == "Reaction"
    with pytest.raises(lmm.OptionError, match="no random term is grouped by 'subject'"):
        lmm.plot.lines(sleep, "Days", "subject")


def test_influence(sleep):
    found = sleep.influence("Subject")
    ax = lmm.plot.influence(found)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), found.cooks_distance())
    named = {text.get_text() for text in ax.texts}
    assert named == set(found.cooks_distance().nlargest(5).index)
    assert ax.get_ylim()[1] > found.cooks_distance().max()
    assert lmm.plot.influence(sleep.influence()).get_xlabel() == "row"


def test_profiles(sleep):
    prof = sleep.profile(["Days", "Residual: sd"])
    ax = lmm.plot.profile(prof, "Residual: sd")
    points = prof.frame[prof.frame["parameter"] == "Residual: sd"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), points[["value", "zeta"]])
    assert [text.get_text() for text in lmm.plot.profile(prof).get_legend().get_texts()] == ["Days", "Residual: sd"]
    with pytest.raises(lmm.OptionError, match="not in this profile"):
        lmm.plot.profile(prof, "Intercept")


def test_marginal_means():
    fit = lmm.fit("angle ~ recipe * temperature + (1 | recipe:replicate)", lmm.datasets.cake())
    means = fit.emmeans("temperature", by="recipe")
    ax = lmm.plot.emmeans(means)
    heights = np.concatenate([container.lines[0].get_ydata().astype(float) for container in ax.containers])
    np.testing.assert_allclose(np.sort(heights), np.sort(means.to_frame()["estimate"]))
    assert ax.get_legend().get_title().get_text() == "recipe"
