"""Tests of fixed effects, and marginal means, against lmerTest, pbkrtest and emmeans.

Denominator degrees of freedom, F and p agree with the references within 1e-3 relative, which numerical derivatives in
lmerTest allow; Kenward and Roger's, which have none, within 1e-6.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from references import HERE, dataset, fitted, model, r_names, r_term, records

SATTERTHWAITE, KENWARD_ROGER = 1e-3, 1e-6

KR = [name for name, record in records().items() if "df_kenward_roger" in record]
TYPE_3 = [
    (name, df)
    for name, record in records().items()
    for df in ("satterthwaite", "kenward-roger")
    if f"anova_type3_{df.replace('-', '_')}" in record
]
MEANS = sorted(path.stem for path in (HERE / "tables").glob("emmeans_*.json"))


def table_of(name):
    return json.loads((HERE / "tables" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", KR)
def test_kenward_roger_agrees_with_pbkrtest(name):
    record, fit, data = records()[name], fitted(name), model(name)[1]
    table = fit.coef("kenward-roger").dropna(subset="estimate")
    ours = {r_term(term, data): row for term, row in table.iterrows()}
    for term, df in record["df_kenward_roger"].items():
        row = ours[r_names(term)]
        assert row["df"] == pytest.approx(df, rel=KENWARD_ROGER)
        assert row["std_error"] == pytest.approx(record["se_kenward_roger"][term], rel=KENWARD_ROGER)
        assert row["p_value"] == pytest.approx(record["p_kenward_roger"][term], rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(("name", "df"), TYPE_3)
def test_type_3_agrees_with_lmertest(name, df):
    expected = records()[name][f"anova_type3_{df.replace('-', '_')}"]
    table = fitted(name).anova(df=df)
    ours = {frozenset(re.sub(r"C\((\w+), [\w.]+\)", r"\1", term).split(":")): row for term, row in
            table.set_index("term").iterrows()}  # fmt: skip
    assert len(ours) == len(expected)
    tolerance = SATTERTHWAITE if df == "satterthwaite" else KENWARD_ROGER
    for term, row in expected.items():
        found = ours[frozenset(term.split(":"))]
        assert found["num_df"] == row["NumDF"]
        assert found["den_df"] == pytest.approx(row["DenDF"], rel=tolerance)
        assert found["statistic"] == pytest.approx(row["F value"], rel=tolerance)
        assert found["p_value"] == pytest.approx(row["Pr(>F)"], rel=SATTERTHWAITE, abs=1e-12)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("name", MEANS)
def test_marginal_means_agree_with_emmeans(name, df):
    record = table_of(name)
    fit = lmm.fit(record["formula"], dataset(record["dataset"]))
    spec, _, by = (part.strip(" ~") for part in record["spec"].partition("|"))
    means = fit.emmeans(spec, by or None, df=df)
    compare(means.to_frame(), record[df]["means"], [name for name in (spec, by) if name], "emmean")
    for adjust in ("tukey", "none"):
        expected = record[df].get(f"pairs_{adjust}")
        if expected is not None:
            ours = means.pairs(adjust=adjust)
            compare(ours, expected, ["contrast", *([by] if by else [])], "estimate")


def compare(ours, expected, keys, estimate):
    found = ours.assign(**{key: ours[key].astype(str).map(plain) for key in keys}).set_index(keys)
    assert len(found) == len(expected)
    for row in expected:
        own = found.loc[tuple(plain(str(row[key])) for key in keys) if keys[1:] else plain(str(row[keys[0]]))]
        assert own["estimate"] == pytest.approx(row[estimate], rel=1e-6, abs=1e-6)
        assert own["std_error"] == pytest.approx(row["SE"], rel=1e-5)
        assert own["df"] == pytest.approx(row["df"], rel=SATTERTHWAITE)
        assert own["p_value"] == pytest.approx(row["p.value"], rel=2e-3, abs=1e-6)


def plain(text):
    """A contrast without the parentheses and the factor's name that emmeans puts before numbers."""
    return re.sub(r"[()]|nitroF", "", text)


def balanced():
    """Two crossed factors and a covariate, balanced, within groups."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame([(g, a, b) for g in range(8) for a in "uvw" for b in "xy"], columns=["g", "a", "b"])
    frame["t"] = rng.normal(size=len(frame))
    frame["y"] = rng.normal(size=len(frame)) + rng.normal(size=8)[frame["g"]] + (frame["a"] == "v")
    return frame


def test_types_agree_where_the_design_is_balanced():
    fit = lmm.fit("y ~ a * b + (1 | g)", balanced())
    first, second, third = (fit.anova(type=kind).set_index("term") for kind in (1, 2, 3))
    pd.testing.assert_frame_equal(first, second)
    np.testing.assert_allclose(first, third, rtol=1e-8)


@pytest.mark.parametrize("coding", ["a", "C(a, contr.sum)", "C(a, contr.helmert)", "C(a, Treatment('w'))"])
def test_type_3_does_not_depend_on_the_coding(coding):
    frame = balanced().iloc[3:]
    plain, other = (lmm.fit(f"y ~ {name} * b + t:{name} + (1 | g)", frame) for name in ("a", coding))
    np.testing.assert_allclose(plain.anova().iloc[:, 1:], other.anova().iloc[:, 1:], rtol=1e-6)


def test_types_1_and_2_are_of_projected_columns():
    """A term's numerator is that of its columns less their projection on those of the terms before it."""
    frame = balanced().iloc[3:]
    fit = lmm.fit("y ~ a * b + t + (1 | g)", frame)
    x, names = fit.model_matrix().to_numpy(), list(fit.fixef().index)
    a, b = ([names.index(name) for name in names if name.startswith(own) and ":" not in name] for own in ("a", "b"))
    for kind, before in ((1, [0]), (2, [0, *b, names.index("t")])):
        off = x[:, a] - x[:, before] @ np.linalg.lstsq(x[:, before], x[:, a], rcond=None)[0]
        found = fit.anova(type=kind).set_index("term").loc["a"]
        expected = fit.test(np.where(abs(off.T @ x) > 1e-9, off.T @ x, 0.0) if kind == 1 else h2(x, a, before))
        assert found["statistic"] == pytest.approx(float(expected["statistic"][0]), rel=1e-8)


def h2(x, own, before):
    """Off the columns before, the normal equations of the remaining ones: rows of the hypothesis."""
    rest = [column for column in range(x.shape[1]) if column not in before]
    off = x[:, rest] - x[:, before] @ np.linalg.lstsq(x[:, before], x[:, rest], rcond=None)[0]
    first = [rest.index(column) for column in own]
    rows = np.zeros((len(own), x.shape[1]))
    rows[:, rest] = off[:, first].T @ off
    return rows


def test_between_within_is_nlmes():
    """Of nested groups, by the degrees of freedom that nlme prints."""
    compared = 0
    for name, record in records().items():
        if record["engine"] != "lme" or record["structure"] or "nlme_tTable" not in record:
            continue
        fit, data = fitted(name), model(name)[1]
        ours = {r_term(term, data): df for term, df in fit.coef("between-within")["df"].items()}
        table = record["nlme_tTable"]
        for term, row in zip(table["rows"], table["values"], strict=True):
            assert ours[r_names(term)] == row[table["columns"].index("DF")], name
            compared += 1
    assert compared > 20


def test_type_3_with_an_empty_cell_agrees_with_lmertest():
    cake = lmm.datasets.cake()
    lowest = cake["temperature"].astype(float).min()
    cake = cake[(cake["recipe"] != "A") | (cake["temperature"].astype(float) != lowest)]
    table = lmm.fit("angle ~ recipe * temperature + (1 | recipe:replicate)", cake).anova().set_index("term")
    expected = pd.DataFrame(table_of("empty_cells_cake")).T
    assert table.index.tolist() == expected.index.tolist()
    np.testing.assert_allclose(table[expected.columns], expected, rtol=SATTERTHWAITE, atol=1e-12)


def test_a_cell_without_rows_has_no_mean():
    frame = balanced()
    fit = lmm.fit("y ~ a * b + (1 | g)", frame[(frame["a"] != "w") | (frame["b"] != "y")])
    means = fit.emmeans("a:b").to_frame().set_index(["a", "b"])
    assert np.isnan(means.loc[("w", "y"), "estimate"])
    assert means["estimate"].notna().sum() == 5
    assert np.isnan(fit.emmeans("a").to_frame().set_index("a").loc["w", "estimate"])
    pairs = fit.emmeans("a", at={"b": "x"}).pairs()
    assert pairs["estimate"].notna().all()


def test_means_are_averages_of_predictions():
    frame = balanced()
    fit = lmm.fit("y ~ a * b + t + (1 | g)", frame)
    means = fit.emmeans("a", at={"t": 0.5}).to_frame().set_index("a")["estimate"]
    for level in "uvw":
        grid = pd.DataFrame({"a": level, "b": ["x", "y"], "t": 0.5})
        assert means[level] == pytest.approx(fit.predict(grid, re_form="~0")["estimate"].mean())
    counts = frame.iloc[5:]
    unequal = lmm.fit("y ~ a + b + (1 | g)", counts)
    weighted = unequal.emmeans("a", weights="proportional").to_frame().set_index("a")["estimate"]
    grid = pd.DataFrame({"a": "u", "b": counts["b"]})
    assert weighted["u"] == pytest.approx(unequal.predict(grid, re_form="~0")["estimate"].mean())


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger", "between-within", "normal"])
def test_hypotheses_about_other_values_are_those_of_a_shifted_response(df):
    frame = balanced().iloc[3:]
    fit = lmm.fit("y ~ a + t + (1 | g)", frame)
    shifted = fit.refit(frame["y"].to_numpy() - 2.0 * frame["t"].to_numpy())
    one, other = fit.test("t = 2, a[T.w] = 0", df=df), shifted.test("t = 0, a[T.w] = 0", df=df)
    np.testing.assert_allclose(one.iloc[:, 1:].to_numpy(float), other.iloc[:, 1:].to_numpy(float), rtol=1e-5)
    assert one["p_value"][0] != pytest.approx(fit.test("t = 0", df=df)["p_value"][0])
    if df == "satterthwaite":
        many = lmm.fit_many("~ a + t + (1 | g)", frame, responses=frame[["y"]])
        np.testing.assert_allclose(many.test("t = 2")["statistic"], fit.test("t - 2 = 0")["statistic"], rtol=1e-5)


def test_adjusted_p_values():
    means = lmm.fit("y ~ a + (1 | g)", balanced()).emmeans("a")
    plain = means.pairs(adjust="none")["p_value"].to_numpy()
    np.testing.assert_allclose(means.pairs(adjust="bonferroni")["p_value"], np.minimum(3 * plain, 1))
    order = np.argsort(plain)
    holm = np.maximum.accumulate(plain[order] * [3, 2, 1])
    np.testing.assert_allclose(means.pairs(adjust="holm")["p_value"].to_numpy()[order], np.minimum(holm, 1))
    custom = means.contrast({"u - v": [1, -1, 0]})
    assert custom["estimate"][0] == pytest.approx(means.pairs()["estimate"][0])
    assert custom["p_value"][0] == pytest.approx(plain[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: fit.anova(type=4), "type: expected 1, 2 or 3, got 4"),
        (lambda fit: fit.emmeans("c"), "spec: 'c' is no variable of the fixed effects"),
        (lambda fit: fit.emmeans("t"), "t is a number, of which there are no levels"),
        (lambda fit: fit.emmeans("a", at={"b": "z"}), "at: expected values of b among 'x', 'y', got 'z'"),
        (lambda fit: fit.emmeans("a", weights="rows"), "weights"),
        (lambda fit: fit.emmeans("a").pairs(adjust="sidak"), "adjust"),
        (lambda fit: fit.emmeans("a").contrast([1, -1]), "expected 3 numbers, one for each of u, v, w, got 2"),
        (lambda fit: fit.test("a[T.q] = 0"), "a"),
        (lambda fit: fit.update(method="ML").coef("kenward-roger"), "is of fits by REML, got one by ML"),
        (
            lambda fit: fit.update(residual="ou(t | g)", dispersion="~ t").coef("kenward-roger"),
            "linear in variances and covariances",
        ),
        (lambda fit: fit.update(". ~ . - a + (1 | a)").coef("between-within"), "crossed"),
    ],
)
def test_what_is_not_there_is_said(call, message):
    fit = lmm.fit("y ~ a + b + t + (1 | g)", balanced())
    with pytest.raises(lmm.OptionError, match=re.escape(message)):
        call(fit)


def test_kenward_roger_of_held_parameters_and_at_a_boundary():
    """A held residual leaves one variance parameter less; a variance at zero drops out."""
    frame = balanced()
    free = lmm.fit("y ~ a + (1 | g)", frame)
    held = lmm.fit("y ~ a + (1 | g)", frame, fixed={"g: sd(Intercept)": float(free.variance()["estimate"].iloc[0])})
    known = lmm.fit("y ~ a + (1 | g)", frame, fixed=dict(free.variance()["estimate"]))
    np.testing.assert_allclose(known.coef("kenward-roger")["std_error"], known.coef("normal")["std_error"], rtol=1e-9)
    assert np.isinf(known.coef("kenward-roger")["df"]).all()
    assert (held.coef("kenward-roger")["df"] >= free.coef("kenward-roger")["df"] - 1e-6).all()
    flat = frame.assign(y=np.random.default_rng(0).normal(size=len(frame)))
    flat["y"] -= flat.groupby("g")["y"].transform("mean")
    zero = lmm.fit("y ~ a + (1 | g)", flat)
    assert zero.status == "boundary"
    linear = lmm.fit("y ~ a", flat)
    np.testing.assert_allclose(zero.coef("kenward-roger"), linear.coef("kenward-roger"), rtol=1e-6)
    assert linear.coef("kenward-roger")["df"].to_numpy() == pytest.approx(len(frame) - 3)


@pytest.mark.parametrize("name", sorted(path.stem for path in (HERE / "tables").glob("lrt_*.json")))
def test_likelihood_ratios_agree_with_lme4(name):
    """lme4 takes the chi-squared distribution of all parameters, also where a variance is at zero."""
    record, data = table_of(name), None
    data = dataset(record["dataset"])
    fits = [lmm.fit(formula, data, method="ML") for formula in record["formulas"]]
    table = lmm.compare(*reversed(fits))
    for (_, ours), row in zip(table.iterrows(), record["table"], strict=True):
        assert ours["n_params"] == row["npar"]
        assert ours["loglik"] == pytest.approx(row["logLik"], abs=1e-6)
        assert (ours["aic"], ours["bic"]) == pytest.approx((row["AIC"], row["BIC"]), abs=1e-5)
        if row["Chisq"] is None:
            continue
        assert ours["statistic"] == pytest.approx(row["Chisq"], abs=1e-5)
        assert ours["df"] == row["Df"]
        if ours["null_distribution"] == f"chi2({row['Df']})":
            assert ours["p_value"] == pytest.approx(row["Pr(>Chisq)"], rel=1e-5)
        elif row["Df"] == 1:
            assert ours["p_value"] == pytest.approx(row["Pr(>Chisq)"] / 2, rel=1e-5)


def test_reml_fits_are_compared_as_they_are_or_by_ml():
    frame = balanced()
    one, other = (lmm.fit(f"y ~ {fixed} + (1 | g)", frame) for fixed in ("a", "a + b"))
    table = lmm.compare(one, other)
    assert table["model"].str.endswith("[by ML]").all()
    by_ml = lmm.compare(one.update(method="ML"), other.update(method="ML"))
    pd.testing.assert_frame_equal(table.drop(columns="model"), by_ml.drop(columns="model"))
    with pytest.raises(lmm.OptionError, match="cannot be compared"):
        lmm.compare(one, other, refit=False)
    slope = lmm.fit("y ~ a + (t | g)", frame)
    same = lmm.compare(slope, one)
    assert same["deviance"].tolist() == [one.deviance, slope.deviance]
    assert same["null_distribution"][1] == "0.5 chi2(1) + 0.5 chi2(2)"
    both = lmm.compare(lmm.fit("y ~ a", frame), lmm.fit("y ~ a + (1 | g) + (1 | b)", frame))
    assert both["null_distribution"][1] == "chi2(2), conservative"
    assert lmm.compare(one, lmm.fit("y ~ b + t + (1 | g)", frame))["null_distribution"][1] == "not nested"


def test_comparisons_of_other_data_are_refused():
    frame = balanced()
    fit = lmm.fit("y ~ a + (1 | g)", frame)
    with pytest.raises(lmm.DataError, match="same rows"):
        lmm.compare(fit, lmm.fit("y ~ a + b + (1 | g)", frame.iloc[1:]))
    with pytest.raises(lmm.DataError, match="same response"):
        lmm.compare(fit, lmm.fit("y ~ a + b + (1 | g)", frame.assign(y=frame["y"] + frame["t"])))
    with pytest.raises(lmm.DataError, match="weights and offset"):
        lmm.compare(fit, lmm.fit("y ~ a + b + offset(t) + (1 | g)", frame))
    with pytest.raises(lmm.OptionError, match="two or more fits"):
        lmm.compare(fit)
    with pytest.raises(lmm.OptionError, match=r"two or more fits.*a list"):
        lmm.compare([fit, fit])


def test_restricted_likelihoods_of_other_columns_are_not_compared():
    """The restricted likelihood depends on the columns of X, not on their span alone."""
    frame = balanced()
    one, other = lmm.fit("y ~ a + (1 | g)", frame), lmm.fit("y ~ 0 + a + (t | g)", frame)
    assert lmm.compare(one, other)["model"].str.endswith("[by ML]").all()


def test_a_variance_held_inside_its_range_is_no_boundary():
    frame = balanced()
    free = lmm.fit("y ~ a + (1 | g)", frame, method="ML")
    held = {value: free.update(fixed={"g: sd(Intercept)": value}) for value in (0.0, 0.5)}
    assert lmm.compare(held[0.5], free)["null_distribution"][1] == "chi2(1)"
    assert lmm.compare(held[0.0], free)["null_distribution"][1] == "0.5 chi2(0) + 0.5 chi2(1)"


def test_terms_that_are_left_out():
    frame = balanced()
    frame["h"] = np.arange(len(frame)) % 6
    fit = lmm.fit("y ~ a * b + t + (1 + t | g) + (1 | h)", frame)
    dropped = fit.drop1()
    assert dropped["term"].tolist() == ["<none>", "t", "a:b"]
    without = lmm.compare(fit, fit.update(". ~ . - t"))
    assert dropped.set_index("term").loc["t", "p_value"] == pytest.approx(without["p_value"][1])
    random = fit.ranova()
    assert random["term"].tolist() == ["<none>", "t in (1 + t | g)", "(1 | h)"]
    assert random["df"].tolist()[1:] == [2.0, 1.0]
    smaller = lmm.fit("y ~ a * b + t + (1 | g) + (1 | h)", frame)
    assert random["deviance"][1] == pytest.approx(smaller.deviance, abs=1e-6)


def test_a_bootstrap_of_the_likelihood_ratio():
    sleep = lmm.datasets.sleepstudy()
    noise = sleep.assign(y=np.random.default_rng(3).normal(size=180))
    flat, random = (lmm.fit(f"y ~ Days{term}", noise, method="ML") for term in ("", " + (1 | Subject)"))
    mixture, drawn = (lmm.compare(flat, random, nsim=nsim, seed=1).iloc[1] for nsim in (0, 2000))
    assert drawn["null_distribution"] == "bootstrap(2000)"
    assert drawn["statistic"] == mixture["statistic"]
    error = np.sqrt(mixture["p_value"] * (1 - mixture["p_value"]) / 2000)
    assert drawn["p_value"] == pytest.approx(mixture["p_value"], abs=4 * error + 0.03)
    models = [lmm.fit(f"Reaction ~ {columns} + (1 | Subject)", sleep) for columns in ("1", "Days")]
    fixed = lmm.compare(*models, nsim=99)
    assert fixed["p_value"].iloc[1] == pytest.approx(0.01)
    with pytest.raises(lmm.OptionError, match="nsim"):
        lmm.compare(flat, random, nsim=-1)
