"""Marginal means, comparisons and moderated tests of many responses: each as of the response alone."""

import json

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.inference import fit_prior, fit_robust_prior

from references import HERE

REFERENCES = json.loads((HERE / "robust_and_moderated.json").read_text())
LIMMA, ROBUST = REFERENCES["limma"], REFERENCES["robust"]
CLOSE = 1e-6
"""Estimates of one response in a batch and alone, relative: the searches end at other points of a flat bottom."""


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame([(g, a, b) for g in range(10) for a in "uvw" for b in "xy"], columns=["g", "a", "b"])
    frame["t"] = rng.normal(size=len(frame))
    return frame


@pytest.fixture(scope="module")
def y(frame):
    rng = np.random.default_rng(5)
    values = rng.normal(size=(len(frame), 6)) * np.sqrt(0.3 * 8 / rng.chisquare(8, 6))
    values += rng.normal(size=(10, 6))[frame["g"]]
    values[:4, 1] = np.nan
    values[:, 5] = 2.0
    return pd.DataFrame(values, columns=[f"y{number}" for number in range(6)])


@pytest.fixture(scope="module")
def many(frame, y):
    return lmm.fit_many("~ a * b + t + (1 | g)", frame, responses=y)


def test_marginal_means_are_those_of_each_response(many):
    means, pairs = many.emmeans("a", by="b", at={"t": 0.3}), {}
    table, pairs = means.to_frame(), means.pairs(adjust="bonferroni")
    for name in ("y0", "y1"):
        single = many[name].emmeans("a", by="b", at={"t": 0.3})
        for ours, theirs in ((table, single.to_frame()), (pairs, single.pairs(adjust="bonferroni"))):
            own = ours[ours["response"] == name].reset_index(drop=True)
            for column in ("estimate", "std_error", "df", "p_value", "conf_low", "conf_high"):
                np.testing.assert_allclose(own[column], theirs[column], rtol=1e-4, atol=CLOSE)
    assert table[table["response"] == "y5"]["estimate"].isna().all()
    assert (table[table["response"] == "y5"]["status"] == "failed").all()
    with pytest.raises(lmm.OptionError, match="df"):
        many.emmeans("a", df="between-within")


def test_marginal_means_hold_the_mean_offset(frame, y):
    many = lmm.fit_many("~ a + offset(t) + (1 | g)", frame, responses=y[["y0", "y2"]])
    one = many[many.responses[1]].emmeans("a", df="normal").to_frame()
    both = many.emmeans("a", df="normal").to_frame()
    own = both[both["response"] == many.responses[1]]
    np.testing.assert_allclose(own["estimate"], one["estimate"], rtol=1e-8)
    with pytest.raises(lmm.OptionError, match="df: expected"):
        many.emmeans("a", df="between-within")


def test_comparisons_are_those_of_each_response(many, frame, y):
    table = many.compare("~ . - a:b").set_index("response")
    for name in ("y0", "y1"):
        fit = many[name]
        single = lmm.compare(fit, fit.update(". ~ . - a:b"))
        assert table.loc[name, "statistic"] == pytest.approx(single["statistic"][1], abs=1e-5)
        assert table.loc[name, "p_value"] == pytest.approx(single["p_value"][1], rel=1e-4)
    assert table.loc["y5", "status"] == "failed"
    assert np.isnan(table.loc["y5", "p_value"])
    without = many.compare("~ a * b + t").set_index("response")
    assert without["null_distribution"].unique().tolist() == ["0.5 chi2(0) + 0.5 chi2(1)"]
    linear = lmm.fit_many("~ a * b + t", frame, responses=y).glance().set_index("response")
    both = many.glance().set_index("response")
    np.testing.assert_allclose(without["statistic"][:5], (linear["deviance"] - both["deviance"])[:5], atol=1e-6)


@pytest.mark.parametrize("case", range(len(LIMMA)))
def test_priors_are_limmas(case):
    record = LIMMA[case]
    variance, df = (np.array(record[key], float) for key in ("variance", "df"))
    df = np.broadcast_to(df, variance.shape)
    prior = fit_prior(variance, df)
    assert prior.df == pytest.approx(float(record["df_prior"][0]), rel=1e-6)
    assert prior.variance == pytest.approx(record["var_prior"][0], rel=1e-6)
    np.testing.assert_allclose(prior.posterior(variance, df), record["var_post"], rtol=1e-6)


@pytest.mark.parametrize("case", range(len(ROBUST)))
def test_robust_priors_are_limmas(case):
    record = ROBUST[case]
    variance, df = (np.array(record[key], float) for key in ("variance", "df"))
    prior = fit_robust_prior(variance, df)
    assert np.unique(record["df_prior"]).size > 1  # there are outliers
    np.testing.assert_allclose(prior.by_response, np.array(record["df_prior"], float), rtol=1e-5)
    assert prior.variance == pytest.approx(record["var_prior"][0], rel=1e-6)
    np.testing.assert_allclose(prior.posterior(variance, df), record["var_post"], rtol=1e-5)


def test_an_outlying_variance_does_not_move_a_robust_prior(frame):
    rng = np.random.default_rng(9)
    y = rng.normal(size=(60, 60)) * np.sqrt(8 / rng.chisquare(8, 60)) + rng.normal(size=(10, 60))[frame["g"]]
    many = lmm.fit_many("~ a + (1 | g)", frame, responses=y)
    y[:, 7] *= 50.0
    wild = lmm.fit_many("~ a + (1 | g)", frame, responses=y)
    plain, robust = (many.moderate(robust=robust).prior for robust in (False, True))
    moved, held = (wild.moderate(robust=robust).prior for robust in (False, True))
    assert abs(held.df - robust.df) < 0.5 * abs(moved.df - plain.df)
    assert held.by_response[7] < 0.5 < held.by_response[8]
    table = wild.moderate(robust=True).tidy()
    own, left = (frame[frame["response"] == "y8"]["std_error"].to_numpy() for frame in (table, wild.tidy()))
    np.testing.assert_allclose(own, left, rtol=0.05)  # the outlier keeps its own variance


def test_equal_variances_are_pooled():
    rng = np.random.default_rng(1)
    variance = 0.5 * rng.chisquare(1000, 50) / 1000
    prior = fit_prior(np.repeat(variance.mean(), 50), np.full(50, 10.0))
    assert np.isinf(prior.df)
    np.testing.assert_allclose(prior.posterior(variance, np.full(50, 10.0)), prior.variance)


def test_moderated_tests(frame):
    """Of a design without groups they are limma's: one residual df, s̃² in place of s²."""
    rng = np.random.default_rng(8)
    y = rng.normal(size=(len(frame), 40)) * np.sqrt(0.5 * 6 / rng.chisquare(6, 40))
    many = lmm.fit_many("~ a + t", frame, responses=y)
    moderated, prior = many.moderate(), many.moderate().prior
    plain, table = many.tidy(), moderated.tidy()
    s2 = many.glance()["sigma"].to_numpy() ** 2
    own = fit_prior(s2, np.full(40, len(frame) - 4.0))
    np.testing.assert_allclose(prior[:2], own[:2], rtol=1e-6)
    post = own.posterior(s2, np.full(40, len(frame) - 4.0))
    rows = plain["term"] == "t"
    expected = plain[rows]["std_error"].to_numpy() * np.sqrt(post / s2)
    np.testing.assert_allclose(table[rows]["std_error"], expected, rtol=1e-6)
    np.testing.assert_allclose(table[rows]["df"], len(frame) - 4 + own.df, rtol=1e-6)
    one = moderated.test("t = 0").set_index("response")
    np.testing.assert_allclose(one["statistic"], table[rows]["statistic"] ** 2, rtol=1e-6)
    np.testing.assert_allclose(one["p_value"], table[rows]["p_value"], rtol=1e-6)
    assert moderated.anova()["term"].unique().tolist() == ["a", "t"]
    with pytest.raises(lmm.DataError, match="expected 3 responses or more"):
        lmm.fit_many("~ a + t", frame, responses=y[:, :2]).moderate()


def test_moderated_tests_of_mixed_models():
    """Within plates the error is residual and moderated in full; the mean's error is of the groups, and stays."""
    data = lmm.datasets.penicillin()
    data["half"] = np.where(data["sample"].isin(["A", "B", "C"]), "x", "y")
    rng = np.random.default_rng(5)
    spread = np.sqrt(0.3 * 8 / rng.chisquare(8, 30))
    plates = data["plate"].astype("category").cat.codes.to_numpy()
    y = rng.normal(size=(len(data), 30)) * spread + 2.0 * rng.normal(size=(24, 30))[plates]
    many = lmm.fit_many("~ half + (1 | plate)", data, responses=y)
    moderated = many.moderate()
    s2 = many.estimates.residual_sd**2
    ratio = np.sqrt(moderated.prior.posterior(s2, np.full(30, 143.0 - 24.0)) / s2)
    plain, table = many.tidy().set_index("term"), moderated.tidy().set_index("term")
    change = (table["std_error"] / plain["std_error"]).groupby(level=0, sort=False).apply(np.asarray)
    within, between = change["half[T.y]"], change["Intercept"]
    np.testing.assert_allclose(within, ratio, rtol=1e-3)
    assert np.all(np.abs(between - 1.0) < 0.2 * np.abs(ratio - 1.0) + 1e-6)
    d = 119.0
    np.testing.assert_allclose(table.loc["half[T.y]", "df"], d + moderated.prior.df, rtol=2e-2)
    np.testing.assert_allclose(table.loc["Intercept", "df"], plain.loc["Intercept", "df"], rtol=5e-2)
    assert np.all(plain.loc["Intercept", "df"] < 30)


@pytest.mark.parametrize("df", ["kenward-roger", "kenward-roger-linear"])
def test_kenward_roger_is_that_of_each_response(many, df):
    table, tests = many.tidy(df=df), many.anova(df=df)
    joint = many.test("a[T.v] = 0, a[T.w] = 0", df=df).set_index("response")
    means = many.emmeans("a", df=df).pairs()
    for name in ("y0", "y1"):  # y1 has missing values
        single = many[name]
        own = table[table["response"] == name].set_index("term")
        for column in ("estimate", "std_error", "df", "p_value"):
            np.testing.assert_allclose(own[column], single.coef(df)[column], rtol=1e-3, atol=CLOSE)
        one = single.test("a[T.v] = 0, a[T.w] = 0", df=df).iloc[0]
        np.testing.assert_allclose(
            joint.loc[name, ["num_df", "den_df", "statistic"]].astype(float),
            one[["num_df", "den_df", "statistic"]].astype(float), rtol=1e-4,
        )  # fmt: skip
        pairs = single.emmeans("a", df=df).pairs(adjust="none")
        np.testing.assert_allclose(means[means["response"] == name]["std_error"], pairs["std_error"], rtol=1e-4)
    assert tests[tests["response"] == "y5"]["p_value"].isna().all()
    assert (tests[tests["response"] == "y0"]["den_df"] > 0).all()
    by_ml = lmm.fit_many("~ a + (1 | g)", many.call.data, responses=many.y[["y0"]], method="ML")
    with pytest.raises(lmm.OptionError, match="is of fits by REML, got one by ML"):
        by_ml.tidy(df=df)


@pytest.fixture(scope="module")
def slopes():
    """Three responses with a slope in each group, one with missing values, one at a boundary, one constant."""
    sleep, rng = lmm.datasets.sleepstudy(), np.random.default_rng(0)
    y = sleep[["Reaction"]].to_numpy() + rng.normal(size=(180, 4)) * 30
    y[:3, 1] = np.nan
    y[:, 2] = rng.normal(size=180)
    y[:, 3] = 1.0
    y[:, 2] -= np.repeat(y[:, 2].reshape(18, 10).mean(axis=1), 10)
    return lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=y)


@pytest.mark.parametrize("method", ["wald", "profile"])
def test_intervals_are_those_of_each_response(slopes, method):
    table = slopes.confint(method=method, level=0.9)
    assert list(table["parameter"][:4]) == ["Intercept", "Days", "Subject: sd(Intercept)", "Residual: sd"]
    for name in slopes.responses[:3]:
        own = table[table["response"] == name].set_index("parameter")
        single = slopes[name].confint(method=method, level=0.9)
        np.testing.assert_allclose(own[["estimate", "conf_low", "conf_high"]], single, rtol=1e-4, atol=1e-5)
    assert slopes["y3"].status == "boundary"
    assert table.loc[table["response"] == "y3", "conf_low"].iloc[2] == (
        0.0 if method == "profile" else pytest.approx(np.nan, nan_ok=True)
    )
    assert table.loc[table["response"] == "y4", ["conf_low", "conf_high"]].isna().all().all()
    chosen = slopes.confint(["Residual: sd"], method, level=0.9)
    np.testing.assert_allclose(
        chosen["conf_high"], table.loc[table["parameter"] == "Residual: sd", "conf_high"], rtol=1e-6
    )


def test_bootstraps_are_those_of_each_response(slopes):
    boot = slopes.bootstrap(50, seed=2)
    table = boot.confint()
    own = boot["y2"]
    np.testing.assert_allclose(table.loc[table["response"] == "y2", "conf_low"], own.confint()["conf_low"], rtol=1e-12)
    assert own.values.shape == (50, 4)
    assert np.isnan(table.loc[table["response"] == "y4", "conf_low"]).all()
    again = slopes.confint("Days", "bootstrap", nsim=50, seed=2)
    np.testing.assert_allclose(again["conf_low"], table.loc[table["parameter"] == "Days", "conf_low"])
    assert not np.allclose(boot["y1"].values["Days"] - 10, boot["y2"].values["Days"] - 10)
    with pytest.raises(lmm.OptionError, match="'y4' has no bootstrap: it has no proven optimum"):
        boot["y4"]


def test_intervals_that_are_not_there(slopes, tmp_path):
    with pytest.raises(lmm.OptionError, match="no parameter is named 'Dys'"):
        slopes.confint("Dys")
    with pytest.raises(lmm.OptionError, match="method"):
        slopes.confint(method="exact")
    slopes.save(tmp_path / "many.jaxlmm")
    loaded = lmm.load(tmp_path / "many.jaxlmm")
    pd.testing.assert_frame_equal(loaded.confint(), slopes.confint())
    for method in ("profile", "bootstrap"):
        with pytest.raises(lmm.DataError, match="loaded"):
            loaded.confint(method=method)


def test_profiles_where_the_rows_of_a_response_drop_a_column(frame):
    """A column that is aliased with the profiled one does not take its place."""
    rng = np.random.default_rng(6)
    y = rng.normal(size=(60, 2)) + rng.normal(size=(10, 2))[frame["g"]]
    y[(frame["a"] == "v") & (frame["b"] == "y"), 1] = np.nan
    many = lmm.fit_many("~ a * b + (1 | g)", frame, responses=y)
    table = many.confint(method="profile")
    single = many["y2"].confint(method="profile")
    own = table[table["response"] == "y2"].set_index("parameter").loc[single.index]
    np.testing.assert_allclose(own[["conf_low", "conf_high"]], single[["conf_low", "conf_high"]], atol=1e-5)
    boot = many.bootstrap(20, seed=1)
    assert set(boot.confint()["parameter"]) == set(table["parameter"])
    assert boot.confint(parameters="b[T.y]")["parameter"].unique().tolist() == ["b[T.y]"]
    with pytest.raises(lmm.OptionError, match="no parameter is named 'b'"):
        boot.confint(parameters="b")
    held = lmm.fit_many("~ a + (1 | g)", frame, responses=y, fixed={"Residual: sd": 1.0})
    with pytest.raises(lmm.OptionError, match="'Residual: sd' is fixed, and has no profile"):
        held.confint("Residual: sd", method="profile")


def test_a_response_that_cannot_be_fitted_alone_does_not_stop_the_bootstrap_of_others():
    """As one that is observed in one level of a factor only: among many it has the columns of all, alone none."""
    data = lmm.datasets.sleepstudy().assign(half=np.tile(["a", "b"], 90))
    y = pd.DataFrame({"whole": data["Reaction"], "part": data["Reaction"].where(data["half"] == "a")})
    many = lmm.fit_many("~ half + (1 | Subject)", data, responses=y)
    assert many.status.isin(["interior", "boundary"]).all()
    boot = many.bootstrap(5, seed=1)
    assert boot["whole"].values.shape[0] == 5
    with pytest.raises(
        lmm.OptionError, match="'part' has no bootstrap: half: expected a factor with at least 2 levels"
    ):
        boot["part"]
    table = boot.confint(parameters="Intercept").set_index("response")
    assert table["conf_low"].notna().tolist() == [True, False]
