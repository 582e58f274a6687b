"""Predictions on other rows, held against lme4's and against the definition."""

import functools
import json

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

import models
import references

R = json.loads((references.HERE / "predict.json").read_text())["cases"]
LME4 = 2e-7
"""BOBYQA compares deviances, which tell theta to about the root of their 16 digits; in SDs of the response."""
SAME = 1e-11
"""The same products summed in another order; in SDs of the response."""
DATA = models.data(seed=5, levels=20)
SLEEP = lmm.datasets.sleepstudy()
SLOPE = "Reaction ~ Days + (Days | Subject)"


@functools.cache
def of_case(name):
    return lmm.fit(R[name]["formula"], references.dataset(R[name]["file"]))


@pytest.fixture(scope="module")
def sleep():
    return lmm.fit(SLOPE, SLEEP)


def close(ours, theirs, spread, tolerance=SAME):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=0, atol=tolerance * spread)


def estimates(fit, newdata, **options):
    return fit.predict(newdata, **options)["estimate"]


# ---- lme4 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form"), [(name, form) for name in R for form in R[name]["predicted"]])
def test_predictions_are_lme4s(name, form):
    case, fit = R[name], of_case(name)
    assert fit.deviance == pytest.approx(case["REMLcrit"], abs=1e-8)
    theirs = np.array(case["predicted"][form], float)
    newdata = pd.DataFrame(case["newdata"], index=[f"row {i}" for i in range(len(theirs))])
    found = fit.predict(newdata, re_form=None if form == "all" else form, new_levels="zero")
    assert found.index.equals(newdata.index)
    assert found.columns.tolist() == ["estimate", "std_error"]
    # what lies far out of the data multiplies the difference of the estimates
    close(found["estimate"], theirs, max(fit.frame.y.std(), np.nanmax(np.abs(theirs)) / 10), LME4)


def test_predictions_are_those_of_the_records():
    """New rows of records that were made before these predictions."""
    rows = {
        "predict_newlevel_reml": {"Subject": ["308", "308", "372", "999"], "Days": [0, 12, 4.5, 3]},
        "predict_newlevel_crossed_reml": {"plate": ["a", "zz", "b", "zz"], "sample": ["A", "B", "QQ", "QQ"]},
    }
    for name, newdata in rows.items():
        fit, theirs = references.fitted(name), references.records()[name]["prediction"]
        spread = fit.frame.y.std()
        close(estimates(fit, newdata, new_levels="zero"), theirs["re_form_NULL_allow_new_levels"], spread, LME4)
        close(estimates(fit, newdata, re_form="~0"), theirs["re_form_NA"], spread, LME4)


def test_one_intercept_out_of_the_slopes_of_a_factor():
    """What lme4 says it does and stops at: the intercept by its name, whose column is one."""
    fit, newdata = of_case("factor_slope"), pd.DataFrame(R["factor_slope"]["newdata"])
    part = estimates(fit, newdata, re_form="~ (1 | replicate)") - estimates(fit, newdata, re_form="~0")
    close(part, fit.ranef("replicate").loc[newdata["replicate"], "Intercept"], 1.0)


# ---- the definition --------------------------------------------------------------------------------------------------


KINDS = [*models.MODELS, "formula offset", "by position", "text and numbers"]


@functools.cache
def of_kind(kind):
    if kind == "formula offset":
        return lmm.fit("y ~ poly(x, 2) * f + offset(2 * o) + offset(log(w)) + (1 + poly(z, 2) | g)", DATA, offset="z")
    if kind == "by position":
        return lmm.fit("y ~ x + ou(t | g) + (1 | h)", DATA, kinship={"g": models.kinship(DATA)})
    if kind == "text and numbers":
        data = DATA.assign(k=DATA["g"].str[1:].astype(float))
        return lmm.fit("y ~ x + (1 | k:h) + (0 + z | k)", data)
    return models.fit(kind, DATA)


def rows_of(kind):
    """The data as a file would give them: no response, no index, other columns beside, integers for whole numbers."""
    data = DATA.drop(columns="y").assign(other="?")
    return data.assign(k=data["g"].str[1:].astype(int)) if kind == "text and numbers" else data


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_the_fit_have_their_fitted_values(kind):
    fit, spread = of_kind(kind), DATA["y"].std()
    assert (fit.predict()["estimate"] == fit.fitted()).all()
    assert fit.predict().index.equals(DATA.index)
    close(estimates(fit, None, re_form="~0"), fit.fitted("marginal"), spread)
    data = rows_of(kind)
    close(estimates(fit, data), fit.fitted(), spread)
    close(estimates(fit, data, re_form="~0"), fit.fitted("marginal"), spread)
    order = np.random.default_rng(0).permutation(len(data))[:7]
    some = fit.predict(data.iloc[order])
    assert some.index.equals(data.index[order])
    close(some["estimate"], fit.fitted().iloc[order], spread)


@pytest.mark.parametrize("kind", KINDS)
def test_terms_add_up(kind):
    """Each term alone, on the rows of the fit and on the same rows given as new ones."""
    fit, spread, data = of_kind(kind), DATA["y"].std(), rows_of(kind)
    total = fit.fitted("marginal").to_numpy()
    for term in fit.estimates.labels.terms:
        part = estimates(fit, None, re_form=f"~ {term.text}") - fit.fitted("marginal")
        close(estimates(fit, data, re_form=f"~ {term.text}") - fit.fitted("marginal").to_numpy(), part, spread)
        assert part.abs().max() > 0.0 or (fit.ranef(term.group)[list(term.columns)] == 0.0).all(axis=None)
        total = total + part.to_numpy()
    close(total, fit.fitted(), spread)


def test_known_matrix_says_what_relatives_have():
    """Levels without a row: the conditional mean Cov(new, y) V⁻¹ (y - Xβ) of the normal model, in NumPy."""
    matrix = models.kinship(DATA)
    absent = ["g01", "g07", "g19"]
    data = DATA[~DATA["g"].isin(absent)]
    fit = lmm.fit("y ~ x + (1 + z | g)", data, kinship={"g": matrix})
    new = pd.DataFrame({"g": [*absent, "g02", "g01"], "x": 0.3, "z": [1.0, -2.0, 0.5, 1.0, 4.0]})
    sd0, sd1, corr, _ = fit.variance()["estimate"]
    cross = corr * sd0 * sd1
    within = np.array([[sd0**2, cross], [cross, sd1**2]])
    z_new, z_old = (np.column_stack([np.ones(len(frame)), frame["z"]]) for frame in (new, data))
    covariance = (z_new @ within @ z_old.T) * matrix.loc[new["g"], data["g"]].to_numpy()
    mean = fit.fixef()["Intercept"] + 0.3 * fit.fixef()["x"]
    expected = mean + covariance @ np.linalg.solve(fit.marginal_cov(), data["y"] - fit.fitted("marginal"))
    assert np.abs(expected - mean).min() > 1e-3
    for new_levels in ("error", "zero"):
        close(estimates(fit, new, new_levels=new_levels), expected, data["y"].std(), 1e-8)
    with pytest.raises(lmm.DataError, match="got 'g99'"):
        fit.predict(new.assign(g="g99"))
    close(estimates(fit, new.assign(g="g99"), new_levels="zero"), [mean] * 5, 1.0)


def test_relatives_of_a_singular_matrix():
    """Twins: the second of a pair without a row has the effect of the first."""
    ids = sorted(DATA["g"].unique())
    twins = [f"{level}'" for level in ids]
    pair = np.kron(np.ones((2, 2)), np.eye(len(ids)))
    matrix = pd.DataFrame(pair, index=[*ids, *twins], columns=[*ids, *twins])
    both = DATA.assign(g=np.where(np.arange(len(DATA)) % 5 == 0, DATA["g"] + "'", DATA["g"]))
    fit = lmm.fit("y ~ x + (1 | g)", both, kinship={"g": matrix})
    modes = fit.ranef("g")["Intercept"]
    absent = matrix.index.difference(both["g"])
    assert len(absent)
    assert list(modes.index[-len(absent) :]) == [label for label in matrix.index if label in absent]
    found = estimates(fit, {"g": absent, "x": np.zeros(len(absent))}) - fit.fixef()["Intercept"]
    close(found, [modes[label.strip("'") if "'" in label else f"{label}'"] for label in absent], 1.0, 1e-8)


def test_a_relative_without_numbers_is_a_new_level():
    matrix = models.kinship(DATA)
    matrix.loc["g01"] = np.nan
    matrix["g01"] = np.nan
    fit = lmm.fit("y ~ x + (1 | g)", DATA[DATA["g"] != "g01"], kinship={"g": matrix})
    with pytest.raises(lmm.DataError, match="got 'g01'"):
        fit.predict({"g": ["g01"], "x": [0.0]})


# ---- positions -------------------------------------------------------------------------------------------------------


def test_positions():
    fit = of_kind("ou")
    row = DATA.iloc[[5]]
    close(estimates(fit, row), fit.fitted().iloc[[5]], 1.0)
    aside = row.assign(t=row["t"] + 0.1)
    with pytest.raises(lmm.DataError, match=r"positions that the fit has seen in ou\(t \| g\), got .* \(1 such rows\)"):
        fit.predict(aside)
    close(estimates(fit, aside, re_form="~0"), fit.fitted("marginal").iloc[[5]], 1.0)
    close(estimates(fit, aside.assign(g="new"), new_levels="zero"), fit.fitted("marginal").iloc[[5]], 1.0)
    missing = estimates(fit, pd.concat([row, row.assign(t=np.nan), row.assign(g=None)]))
    assert missing.isna().tolist() == [False, True, True]
    for longer in DATA["g"].value_counts().index[:1]:  # a position that only other levels have
        with pytest.raises(lmm.DataError, match=f"level {longer}, which has"):
            fit.predict(row.assign(g=longer))


def test_positions_of_relatives():
    """Along one process of all levels, the conditional mean of a level without a row, in NumPy."""
    matrix = models.kinship(DATA)
    data = DATA[DATA["g"] != "g01"]
    fit = lmm.fit("y ~ x + ou(t | g)", data, kinship={"g": matrix})
    sd, rho, _ = fit.variance()["estimate"]
    row = data.iloc[[3]].assign(g="g01", x=0.0)
    lag = np.abs(row["t"].to_numpy()[:, None] - data["t"].to_numpy())
    covariance = sd**2 * rho**lag * matrix.loc[row["g"], data["g"]].to_numpy()
    part = covariance @ np.linalg.solve(fit.marginal_cov(), data["y"] - fit.fitted("marginal"))
    assert np.abs(part).min() > 1e-4
    close(estimates(fit, row), fit.fixef()["Intercept"] + part, data["y"].std(), 1e-7)


def test_the_order_of_rows_is_no_position_of_new_ones():
    fit = lmm.fit("y ~ x + ou(1 | g)", DATA)
    close(estimates(fit, DATA, re_form="~0"), fit.fitted("marginal"), 1.0)
    with pytest.raises(lmm.DataError, match="the order of the fit's rows, which newdata do not have"):
        fit.predict(DATA)


# ---- offsets, missing values, other frames ---------------------------------------------------------------------------


def test_offsets():
    by_column = lmm.fit("y ~ x + (1 | g)", DATA, offset="o")
    by_array = lmm.fit("y ~ x + (1 | g)", DATA, offset=DATA["o"].to_numpy())
    shifted = estimates(by_column, DATA.assign(o=DATA["o"] + 3.0))
    close(shifted, by_column.fitted() + 3.0, 1.0)
    assert by_array.predict()["estimate"].to_numpy() == pytest.approx(by_column.fitted().to_numpy())
    with pytest.raises(lmm.DataError, match=r"one number for each of its rows.*offset='o'"):
        by_array.predict(DATA)
    with pytest.raises(lmm.DataError, match="offset: 'o' is no column of the data"):
        by_column.predict(DATA.drop(columns="o"))
    holes = DATA.assign(o=DATA["o"].mask(DATA.index == 2))
    assert np.flatnonzero(estimates(by_column, holes).isna()).tolist() == [2]


def test_missing_values_give_undefined_rows():
    fit = lmm.fit("y ~ x + log(w) + (1 + z | g) + (1 | h)", DATA)
    data = DATA.copy()
    for row, name in enumerate(["x", "z", "g", "h", "w", "y", "t", "f"]):
        data[name] = data[name].mask(data.index == row)
    data.loc[9, "w"] = -1.0
    found = estimates(fit, data)
    assert np.flatnonzero(found.isna()).tolist() == [0, 1, 2, 3, 4, 9]
    kept = found.notna()
    close(found[kept], fit.fitted()[kept], 1.0)
    assert np.flatnonzero(estimates(fit, data, re_form="~ (1 | h)").isna()).tolist() == [0, 3, 4, 9]
    assert estimates(fit, data.iloc[[2]]).isna().all()


def test_only_what_is_used_is_needed(sleep):
    assert estimates(sleep, {"Days": [0.0, 1.0]}, re_form="~0").tolist() == pytest.approx(
        [sleep.fixef()["Intercept"], sleep.fixef().sum()]
    )
    with pytest.raises(lmm.DataError, match="expected the variables Subject, got no Subject; there are: Days"):
        sleep.predict({"Days": [0.0]})
    with pytest.raises(lmm.DataError, match="expected the variables Days"):
        sleep.predict({"Subject": ["308"]}, re_form="~0")
    with pytest.raises(lmm.DataError, match="expected a data frame"):
        sleep.predict(3)
    empty = lmm.fit("Reaction ~ 1 + (1 | Subject)", SLEEP).predict(SLEEP[["Subject"]], re_form="~0")
    assert empty.index.equals(SLEEP.index)


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "dict"])
def test_other_frames(sleep, kind):
    data = SLEEP.iloc[[3, 77, 120]].astype({"Subject": str})
    if kind == "polars":
        given = __import__("polars").from_pandas(data)
    elif kind == "pyarrow":
        given = __import__("pyarrow").Table.from_pandas(data, preserve_index=False)
    else:
        given = {name: data[name].tolist() for name in data}
    found = sleep.predict(given)
    assert found.index.tolist() == [0, 1, 2]
    assert found["estimate"].tolist() == sleep.predict(data)["estimate"].tolist()


# ---- levels and re_form ----------------------------------------------------------------------------------------------


def test_new_levels(sleep):
    new = {"Subject": ["308", "400", "401", "400"], "Days": [1, 1, 1, 2]}
    with pytest.raises(lmm.DataError, match=r"such as '308', '309', '310'; got '400', '401'.*new_levels='zero'"):
        sleep.predict(new)
    with pytest.raises(lmm.OptionError, match="new_levels: expected one of 'error', 'zero', got True"):
        sleep.predict(new, new_levels=True)
    with pytest.raises(lmm.DataError, match="got 308"):  # a number is no text
        sleep.predict({"Subject": [308], "Days": [1]})
    marginal = estimates(sleep, new, re_form="~0")
    zero = estimates(sleep, new, new_levels="zero")
    assert (zero[1:] == marginal[1:]).all()
    assert zero[0] != marginal[0]
    nested = lmm.fit("y ~ x + (1 | g:h)", DATA)
    seen = set(zip(DATA["g"], DATA["h"], strict=True))
    other = next((g, h) for g in sorted(set(DATA["g"])) for h in "abcd" if (g, h) not in seen)
    with pytest.raises(lmm.DataError, match=f"levels of g:h .* got '{other[0]}:{other[1]}'"):
        nested.predict({"g": [other[0]], "h": [other[1]], "x": [0.0]})


def test_labels_that_look_alike_are_told_apart():
    """The levels a:b of g with c of h, and a of g with b:c of h, have one label and two effects."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": ["a:b", "a", "a:b", "a"] * 20, "h": ["c", "b:c", "d", "d"] * 20})
    data["y"] = rng.normal(size=80) + 3.0 * (data["h"] == "c")
    fit = lmm.fit("y ~ 1 + (1 | g:h)", data)
    close(estimates(fit, data), fit.fitted(), 1.0)
    assert fit.fitted()[0] - fit.fitted()[1] > 1.0


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ("~ (1 | h)", r"got us\(1 \| h\)\. There are: us\(Days \| Subject\) with columns Intercept, Days"),
        ("~ (x | Subject)", r"got us\(x \| Subject\)"),
        ("~ (Days - x | Subject)", "expected random terms of the fit"),
        ("~ ou(Days | Subject)", "expected random terms of the fit"),
        ("~ 1", "expected '~0' or random terms alone"),
        ("~ Days + (1 | Subject)", "expected '~0' or random terms alone"),
        ("y ~ (1 | Subject)", "expected '~0' or random terms alone"),
        (False, "expected None, '~0' or random terms"),
    ],
)
def test_random_terms_that_are_not_there(sleep, form, part):
    with pytest.raises(lmm.OptionError, match=part):
        sleep.predict(SLEEP, re_form=form)
    with pytest.raises(lmm.OptionError, match=part):
        sleep.predict(re_form=form)


def test_the_same_terms_in_other_words(sleep):
    whole = estimates(sleep, SLEEP)
    for form in ("~(1+Days|Subject)", "~ 0 + (Days + 1 | Subject)", "~ (1 | Subject) + (0 + Days | Subject)"):
        close(estimates(sleep, SLEEP, re_form=form), whole, 1.0)
    nested = of_kind("nested")
    turned = estimates(nested, DATA, re_form="~ (1 | h:g)")
    assert (turned == estimates(nested, DATA, re_form="~ (1 | g:h)")).all()
    assert (turned != nested.fitted("marginal")).any()
    squares = lmm.fit("y ~ x + (1 + I(x^2) + poly(z, 2) | g)", DATA)
    part = estimates(squares, DATA, re_form="~ (0 + I(x ^ 2) | g)") - squares.fitted("marginal")
    close(part, squares.ranef("g").loc[DATA["g"], "I(x ** 2)"].to_numpy() * DATA["x"] ** 2, 1.0)
    twice = lmm.fit("y ~ x + (1 | g) + (0 + z | g)", DATA)
    close(estimates(twice, DATA, re_form="~ (z | g)"), twice.fitted(), 1.0)


def test_a_linear_model_predicts():
    fit = lmm.fit("y ~ x * f", DATA)
    close(estimates(fit, DATA), fit.fitted(), 1.0)
    with pytest.raises(lmm.OptionError, match="There are: no random terms"):
        fit.predict(DATA, re_form="~ (1 | g)")


def test_a_dropped_column_adds_nothing():
    fit = lmm.fit("y ~ x + twice + z + (1 | g)", DATA.assign(twice=2 * DATA["x"]))
    close(estimates(fit, DATA.assign(twice=2 * DATA["x"])), fit.fitted(), 1.0)
