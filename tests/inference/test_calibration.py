"""Thousands of responses: whatever their size, each has a status; under the null, p-values are uniform.

10,000 uniform p-values have ten below 1e-3, plus or minus three: the bounds are two standard deviations wide, and the
seeds are fixed. Where a variance between groups is estimated as zero, a test between the groups has no exact
distribution (Satterthwaite's degrees of freedom are then those of the rows); the null is asked where tests are exact.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxlmm as lmm

from models import balanced, draw

FORMULA = "~ b + c + (1 | g)"
SMALL = balanced()
M = 10_000
KNOWN = {"interior", "boundary", "not_identified", "not_converged", "failed"}


def check_every_status(many):
    glance, tidy = many.glance(), many.tidy()
    fine = glance["status"] != "failed"
    assert set(glance["status"]) <= KNOWN
    assert np.isfinite(glance.loc[fine, ["deviance", "sigma", "loglik"]]).all().all()
    assert (glance["reason"] == "").eq(fine).all()
    proven = tidy["status"].isin(["interior", "boundary"])
    assert np.isfinite(tidy.loc[proven, ["estimate", "std_error", "df", "p_value"]]).all().all()
    assert tidy.loc[proven, "p_value"].between(0.0, 1.0).all()
    return glance["status"].value_counts()


def test_random_responses_of_any_scale_have_a_status():
    rng = np.random.default_rng(1)
    ratio, signal, scale = 10 ** rng.uniform(-4, 4, M), 10 ** rng.uniform(-4, 8, M), 10 ** rng.uniform(-8, 8, M)
    slopes = signal * rng.normal(size=(2, M))
    y = (draw(SMALL, M, 2, ratio) + slopes[0] + SMALL["b"].to_numpy()[:, None] * slopes[1]) * scale
    counts = check_every_status(lmm.fit_many(FORMULA, SMALL, responses=y))
    assert set(counts.index) <= {"interior", "boundary"}


@pytest.mark.parametrize("kind", ["heavy tails", "counts", "spikes"])
def test_odd_responses_have_a_status(kind):
    rng, shape = np.random.default_rng(2), (len(SMALL), 1000)
    y = {
        "heavy tails": rng.standard_cauchy(shape),
        "counts": rng.poisson(10 ** rng.uniform(-2, 1, shape[1]), shape).astype(float),
        "spikes": (rng.random(shape) < 0.05) * 1e8,
    }[kind]
    many = lmm.fit_many(FORMULA, SMALL, responses=y)
    counts = check_every_status(many)
    assert counts.get("not_converged", 0) == 0
    assert set(many.failed()["reason"]) <= {"constant"}
    assert counts.get("failed", 0) == (np.ptp(y, axis=0) == 0).sum()


def test_a_variance_that_is_almost_zero_is_no_ridge():
    """Standard deviations of 0.002 to 0.01 of sigma, where the optimum's mirror image is near."""
    theta = np.linspace(2e-3, 1e-2, 200)
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(48), SMALL["b"], SMALL["c"]])
    q, _ = np.linalg.qr(np.column_stack([x, np.eye(8)[SMALL["g"]][:, 2:]]))
    between, within = q[:, 3:] @ rng.normal(size=(6, 200)), rng.normal(size=(48, 200))
    within -= q @ (q.T @ within)
    unit = [part / np.sqrt((part**2).sum(axis=0) / df) for part, df in ((between, 6), (within, 39))]
    many = lmm.fit_many(FORMULA, SMALL, responses=unit[0] * np.sqrt(1.0 + 6.0 * theta**2) + unit[1])
    check_every_status(many)
    found, zero = many.estimates.theta[:, 0], many.estimates.theta[:, 0] == 0.0
    assert (many.status[zero] == "boundary").all()
    assert (many.status[~zero] == "interior").all()
    assert np.isfinite(many.tidy()["df"]).all()
    np.testing.assert_allclose(np.abs(found[~zero]), theta[~zero], rtol=0.1)  # the deviance is flat: theta**4 around it
    assert zero.mean() < 0.5


@pytest.mark.parametrize(
    ("groups", "sd", "term"),
    [(100, 1.0, "b"), (100, 1.0, "c"), (8, 1.0, "c"), (8, 3.0, "b")],
    ids=["100 groups, between", "100 groups, within", "8 groups, within", "8 groups, between"],
)
def test_p_values_are_uniform_under_the_null(groups, sd, term):
    data = balanced(groups, 4 if groups > 8 else 6)
    many = lmm.fit_many(FORMULA, data, responses=draw(data, M, groups, sd))
    assert not (many.status == "not_converged").any()
    assert set(check_every_status(many).index) <= {"interior", "boundary"}
    p = many.tidy().query("term == @term")["p_value"]
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert 0.0004 <= (p < 1e-3).mean() <= 0.0017


def test_between_groups_the_test_is_that_of_their_means():
    """Balanced and inside the parameter space, the t-test of two samples of group means, exactly."""
    y = draw(SMALL, 2000, 9, 2.0)
    many = lmm.fit_many(FORMULA, SMALL, responses=y)
    means = y.reshape(8, 6, -1).mean(axis=1)
    inside = many.estimates.theta[:, 0] > 0.1
    p = many.tidy().query("term == 'b'")["p_value"].to_numpy()
    expected = stats.ttest_ind(means[0::2], means[1::2]).pvalue
    np.testing.assert_allclose(p[inside], expected[inside], rtol=1e-6)
    assert inside.mean() > 0.99


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
def test_intervals_of_coefficients_hold_the_truth_in_a_small_unbalanced_design(df):
    """10 groups of two to seven rows: 95 % of 10,000 intervals, within four Monte Carlo standard errors."""
    size = 2 + np.arange(10) % 6
    rng, group = np.random.default_rng(1), np.repeat(np.arange(10), size)
    frame = pd.DataFrame({"g": group, "within": rng.normal(size=group.size)})
    frame["between"] = np.repeat(rng.normal(size=10), size)
    y = lmm.simulate("~ within + between + (1 | g)", frame, beta=[0, 0, 0], theta=[1.0], sigma=1.0, nsim=M, seed=1)
    table = lmm.fit_many("~ within + between + (1 | g)", frame, responses=y).tidy(df=df)
    for term in ("within", "between"):
        own = table[table["term"] == term]
        inside = np.mean((own["conf_low"] <= 0.0) & (own["conf_high"] >= 0.0))
        assert abs(inside - 0.95) < 4.0 * np.sqrt(0.95 * 0.05 / M)
