"""The tables of many fits, and the ways in which responses come to their rows.

Tolerances: a table of ours against the same from a single fit, or in closed form, to rounding; lmerTest's degrees of
freedom to 1e-3 relative, because it takes them from numerical derivatives, its F to 1e-4.
"""

import json

import numpy as np
import pandas as pd
import polars
import pytest
from scipy import stats

import jaxlmm as lmm

from references import HERE

EXACT = 1e-9
DF = 1e-3
F = 1e-4

COEF = ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]
GLANCE = ["n", "n_params", "loglik", "deviance", "aic", "bic", "sigma", "df_residual", "method", "solver", "status"]
FORMULA = "~ k + x + (1 | g)"


def anova_data():
    """Four responses on a factor of seven classes and a covariate, groups of three to six rows."""
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(25), rng.integers(3, 7, 25))
    n = g.size
    data = pd.DataFrame({"g": g, "k": np.array(list("abcdefg"))[np.r_[:7, rng.integers(0, 7, n - 7)]]})
    data["x"] = rng.normal(size=n).round(6)
    effect = (data["k"] == "c").to_numpy() * np.array([[0.0], [1.0], [0.5], [0.0]])
    for place in range(4):
        noise = rng.normal(size=25)[g] * (0.8, 1.5, 0.6, 1.0)[place] + rng.normal(size=n)
        data[f"y{place + 1}"] = (effect[place] + 0.3 * data["x"] + noise).round(6)
    return data


DATA = anova_data()
NAMES = [f"y{place}" for place in range(1, 5)]


@pytest.fixture(scope="module")
def many():
    """The four, and one that has no fit."""
    return lmm.fit_many(FORMULA, DATA.assign(flat=1.0), responses=[*NAMES, "flat"])


@pytest.fixture(scope="module")
def single():
    return {name: lmm.fit(f"{name} {FORMULA}", DATA) for name in NAMES}


def rows(table, name):
    return table[table["response"] == name].reset_index(drop=True)


# ---- columns ---------------------------------------------------------------------------------------------------------


def test_columns_are_those_of_the_contract(many):
    share = ["response", "n", "estimate", "std_error", "conf_low", "conf_high", "status", "reason"]
    tests = ["response", "term", "num_df", "den_df", "statistic", "p_value", "q_value", "status", "reason"]
    variance = ["group", "estimate", "std_error", "conf_low", "conf_high", "at_boundary", "fixed"]
    assert list(many.tidy()) == ["response", "n", "term", *COEF, "q_value", "status", "reason"]
    assert list(many.glance()) == ["response", *GLANCE, "reason", "seconds"]
    assert list(many.variance()) == ["response", "n", "parameter", *variance, "status", "reason"]
    assert list(many.anova()) == list(many.test("x = 0")) == tests
    assert list(many.ratio("g")) == share
    assert list(many.pve()) == [*share[:2], "component", *share[2:]]
    assert list(many.failed()) == ["response", "n", "status", "reason"]
    assert many.responses == (*NAMES, "flat")


def test_tables_have_a_row_for_each_response_and_term(many):
    assert len(many.tidy()) == 5 * 8
    assert len(many.anova()) == 5 * 2
    assert many.anova().groupby("response")["num_df"].first()[NAMES].tolist() == [6.0] * 4
    assert list(many.failed()["reason"]) == ["constant"]
    assert (many.glance()["seconds"] > 0).all()


def test_tables_equal_those_of_single_fits(many, single):
    for name, one in single.items():
        for table, theirs in ((many.tidy(), one.coef()), (many.variance("variance"), one.variance("variance"))):
            mine = rows(table, name)
            for column in theirs.select_dtypes(float):
                np.testing.assert_allclose(mine[column], theirs[column], rtol=EXACT)
        mine, theirs = rows(many.glance(), name), one.glance()
        for column in GLANCE:
            expected = theirs[column].iloc[0]
            expected = expected if isinstance(expected, str) else pytest.approx(expected, rel=EXACT)
            assert mine[column][0] == expected, column
        for mine, theirs in ((many.ratio("g"), one.ratio("g")), (many.pve(), one.pve())):
            for column in ("estimate", "std_error", "conf_low", "conf_high"):
                expected = np.ravel(theirs[column])
                np.testing.assert_allclose(rows(mine, name)[column], expected, rtol=EXACT)
    assert list(rows(many.pve(), "y1")["component"]) == list(single["y1"].pve().index)
    np.testing.assert_allclose(many.pve().groupby("response")["estimate"].sum()[NAMES], 1.0)


@pytest.mark.parametrize("df", ["satterthwaite", "normal"])
def test_other_options_of_tidy(many, single, df):
    mine = many.tidy(df=df, level=0.8)
    for name, one in single.items():
        np.testing.assert_allclose(rows(mine, name)["df"], one.coef(df=df)["df"], rtol=EXACT)
        wide, half = rows(mine, name), rows(mine, name)["std_error"]
        quantile = stats.t.ppf(0.9, wide["df"]) if df != "normal" else stats.norm.ppf(0.9)
        np.testing.assert_allclose(wide["conf_high"], wide["estimate"] + quantile * half, rtol=EXACT)
    with pytest.raises(lmm.OptionError, match="satterthwaite"):
        many.tidy(df="kenward")


# ---- tests of hypotheses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["a", "d"])
def test_a_factor_that_lost_a_level_is_tested_by_those_that_are_left(lost):
    """Also where it is the one that the others are compared with."""
    y = DATA["y2"].where(DATA["k"] != lost)
    many = lmm.fit_many(FORMULA, DATA.drop(columns=NAMES), responses=y)
    anova, one = many.anova(), lmm.fit_many(FORMULA, DATA[DATA["k"] != lost], responses="y2").anova()
    assert anova["num_df"].tolist() == [5.0, 1.0]
    for column in ("num_df", "den_df", "statistic", "p_value"):
        np.testing.assert_allclose(anova[column], one[column], rtol=DF)
    assert np.isnan(many.test(f"k[T.{'g' if lost == 'a' else 'd'}] - k[T.c] = 0")["statistic"]).all()


def test_one_degree_of_freedom_is_t_squared(many):
    tidy, anova = many.tidy().query("term == 'x'"), many.anova().query("term == 'x'")
    np.testing.assert_allclose(anova["statistic"], tidy["statistic"] ** 2, rtol=EXACT)
    np.testing.assert_allclose(anova["den_df"], tidy["df"], rtol=EXACT)
    np.testing.assert_allclose(anova["p_value"], tidy["p_value"], rtol=1e-7)


def test_f_tests_are_those_of_lmertest(many):
    reference = json.loads((HERE / "many_anova.json").read_text())["responses"]
    anova, pair = many.anova(), many.test("k[T.b] - k[T.c] = 0")
    for name, expected in reference.items():
        assert not expected["singular"]
        mine = rows(anova, name)
        assert list(mine["term"]) == expected["term"]
        assert list(mine["num_df"]) == expected["num_df"]
        np.testing.assert_allclose(mine["den_df"], expected["den_df"], rtol=DF)
        np.testing.assert_allclose(mine["statistic"], expected["statistic"], rtol=F)
        np.testing.assert_allclose(mine["p_value"], expected["p_value"], rtol=DF)
        mine = rows(pair, name).iloc[0]
        assert mine["den_df"] == pytest.approx(expected["pair"]["DenDF"], rel=DF)
        assert mine["statistic"] == pytest.approx(expected["pair"]["F value"], rel=F)


def test_a_contrast_is_a_coefficient_of_the_factor_with_another_reference(many):
    mine = many.test("k[T.b] - k[T.c] = 0")
    matrix = many.test(np.array([0, 1.0, -1.0, 0, 0, 0, 0, 0]))
    other = lmm.fit_many("~ relevel(k, 'c') + x + (1 | g)", DATA, responses=NAMES).tidy()
    other = other[other["term"].str.endswith("[T.b]")]
    for found in (mine, matrix):
        np.testing.assert_allclose(found["statistic"][:4], other["statistic"] ** 2, rtol=1e-7)
        np.testing.assert_allclose(found["den_df"][:4], other["df"], rtol=1e-6)
    assert np.isnan(mine["p_value"][4])
    joint = many.test(", ".join(f"k[T.{level}] = 0" for level in "bcdefg"))
    expected = many.anova().query("term == 'k'")
    np.testing.assert_allclose(joint["statistic"], expected["statistic"], rtol=EXACT)
    np.testing.assert_allclose(joint["den_df"], expected["den_df"], rtol=EXACT)


def test_a_hypothesis_about_another_value_than_zero(many):
    mine, terms = many.test("x = 1"), many.tidy().query("term == 'x'")
    np.testing.assert_allclose(
        mine["statistic"][:4], ((terms["estimate"] - 1.0) / terms["std_error"])[:4] ** 2, rtol=EXACT
    )
    np.testing.assert_allclose(mine["den_df"][:4], terms["df"][:4], rtol=EXACT)


@pytest.mark.parametrize("h", ["k[T.z] = 0", "x = one", np.eye(3), "x +", ""])
def test_a_hypothesis_that_cannot_be_read(many, h):
    with pytest.raises(lmm.OptionError, match="h: "):
        many.test(h)


def test_q_values_are_benjamini_and_hochbergs_term_by_term(many):
    for table in (many.tidy(), many.anova(), many.test("x = 0")):
        for _, part in table.groupby("term"):
            p = part["p_value"].to_numpy()[:4]
            order = np.argsort(p)
            plain = np.minimum.accumulate((p[order] * 4 / np.arange(1, 5))[::-1])[::-1]
            np.testing.assert_allclose(part["q_value"].to_numpy()[:4][order], np.minimum(plain, 1.0), rtol=1e-12)
            assert np.isnan(part["q_value"].iloc[4])


# ---- files -----------------------------------------------------------------------------------------------------------


def test_files_hold_the_table(many, tmp_path):
    many.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), many.tidy(), check_dtype=False)
    assert polars.read_parquet(tmp_path / "a.parquet").height == 40
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        many.to_csv(tmp_path / name)
        back = pd.read_csv(
            tmp_path / name,
            sep=separator,
            keep_default_na=False,
            na_values={c: [""] for c in COEF},
            float_precision="round_trip",  # the default is off by some 1e-15
        )
        np.testing.assert_allclose(back[COEF], many.tidy()[COEF], rtol=1e-15)
        assert list(back["reason"]) == list(many.tidy()["reason"])


def test_saved_and_loaded_tables_are_the_same_to_the_last_bit(many, tmp_path):
    many.save(tmp_path / "many.json")
    again = lmm.load(tmp_path / "many.json")
    assert str(again) == str(many)
    assert again.responses == many.responses
    for name in ("tidy", "variance", "glance", "anova", "pve", "failed"):
        pd.testing.assert_frame_equal(getattr(again, name)(), getattr(many, name)(), check_exact=True)
    group = next(iter(many.estimates.n_groups))
    pd.testing.assert_frame_equal(again.ratio(group), many.ratio(group), check_exact=True)
    with pytest.raises(lmm.DataError, match="holds no rows"):
        again.fitted()
    with pytest.raises(lmm.DataError, match="holds no rows"):
        again[many.status.index[many.status != "failed"][0]]


def test_an_incomplete_file_of_many_fits_is_refused(many, tmp_path):
    file = tmp_path / "many.json"
    many.save(file)
    record = json.loads(file.read_text())
    record["numbers"]["beta"].pop()
    file.write_text(json.dumps(record))
    with pytest.raises(lmm.DataError, match="the file was changed"):
        lmm.load(file)
