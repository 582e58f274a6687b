"""Pictures of one fit: what is drawn are the numbers of its tables."""

import matplotlib as mpl
import numpy as np
import pytest

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
