"""What a formula means as in R, and in which words it is refused.

Tried: ``.`` alone, subtracted, multiplied, raised, beside its columns, in update, for many responses; unknown names in
every place, one and several; names that lack backquotes; patsy's ``Q``; bars without parentheses; signs of word
processors, spaces and digits of other scripts; calls of R, mgcv and NumPy; columns with several names.
"""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest

import jaxlmm as lmm

from sleep import DATA, ODD, frame_of


# The columns that R's model.matrix has for '.', where it stands for z and k; lme4 would take Subject too.
@pytest.mark.parametrize(
    ("formula", "meant"),
    [
        ("Reaction ~ . + (Days | Subject)", "Days + z + k"),
        ("Reaction ~ . - Days + (1 | Subject)", "z + k"),
        ("Reaction ~ . - 1 + (1 | Subject)", "Days + z + k - 1"),
        ("Reaction ~ 0 + . + (1 | Subject)", "0 + Days + z + k"),
        ("Reaction ~ (1 | Subject) + .", "Days + z + k"),
        ("Reaction ~ k + . + (1 | Subject)", "k + Days + z"),
        ("Reaction ~ I(z^2) + . + (1 | Subject)", "I(z^2) + Days + z + k"),
        ("Reaction ~ .:z + (1 | Subject)", "(Days + z + k):z"),
        ("Reaction ~ z:. + (1 | Subject)", "z:(Days + z + k)"),
        ("Reaction ~ . * z + (1 | Subject)", "(Days + z + k) * z"),
        ("Reaction ~ .^2 + (1 | Subject)", "(Days + z + k)^2"),
        ("Reaction ~ (.)^2 - Days:z + (1 | Subject)", "(Days + z + k)^2 - Days:z"),
        ("Reaction ~ (. - k)^2 + (1 | Subject)", "(Days + z)^2"),
        ("log(Reaction) ~ . + (1 | Subject) + offset(log(k))", "Days + z"),
        ("Reaction / k ~ . + (1 | Subject)", "Days + z"),
        ("Reaction ~ . + ou(Days | Subject)", "Days + z + k"),
        ("~ .", "Reaction + Days + Subject + z + k"),
    ],
)
def test_dot_stands_for_all_other_columns(formula, meant):
    frame, expected = frame_of(formula, weights="w", offset="o"), frame_of(f"~ {meant}", weights="w")
    assert frame.labels.column_names == expected.labels.column_names
    np.testing.assert_array_equal(frame.x, expected.x)
    assert "." not in frame.labels.formula.replace("0.", "")


def test_dot_leaves_out_the_residuals_groups_and_names_columns_as_they_are():
    frame = frame_of("Reaction ~ .", ODD.drop(columns="a|b"), residual="ou(Days | Subject)")
    names = ["Days", "my days", "Days (d)", "2nd dose", "f's", "body-weight", "%fat", "dose [mg]", "x²"]
    assert list(frame.labels.column_names) == ["Intercept", *names]
    for library in (pl.DataFrame, dict):
        again = frame_of("Reaction ~ .", library(ODD[["Reaction", *names]]))
        assert list(again.labels.column_names) == ["Intercept", *names]


def test_dot_in_update():
    data = DATA[["Reaction", "Days", "Subject", "z", "k"]].copy()
    fit = lmm.fit("Reaction ~ . + (1 | Subject)", data)
    assert fit.formula == "Reaction ~ Days + z + k + (1 | Subject)"
    data["w"] = DATA["w"]  # '.' was written out when the model was fitted
    changed = fit.update(". ~ . - z + w")
    assert changed.formula == "Reaction ~ Days + k + (1 | Subject) + w"
    expected = lmm.fit("Reaction ~ Days + k + w + (1 | Subject)", data)
    np.testing.assert_allclose(changed.deviance, expected.deviance, rtol=1e-12)


def test_dot_leaves_out_all_responses():
    wide = DATA[["Days", "Subject", "z"]].assign(r1=np.exp(DATA["o"]), r2=DATA["k"] + DATA["z"], id=np.arange(180) % 7)
    named = lmm.fit_many("~ Days + z + id + (1 | Subject)", wide, responses=["r1", "r2"])
    for many in (
        lmm.fit_many("~ . + (1 | Subject)", wide, responses="r?"),
        lmm.fit_many("cbind(r1, r2) ~ . + (1 | Subject)", wide),
        lmm.fit_many("~ . + (1 | Subject)", wide, responses=wide[["r1", "r2"]]),
        lmm.fit_many("cbind(exp(log(r1)), r2) ~ . + (1 | Subject)", wide),
    ):
        assert many.tidy()["term"].tolist() == named.tidy()["term"].tolist()
        np.testing.assert_allclose(many.tidy()["estimate"], named.tidy()["estimate"], rtol=1e-9)
    by_id = lmm.fit_many("~ . + (1 | Subject)", wide.assign(key=range(180)), responses=wide[["r1", "r2"]], id="key")
    np.testing.assert_allclose(by_id.tidy()["estimate"], named.tidy()["estimate"], rtol=1e-9)


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        ("Reaction ~ log(.)", ["no place in a call", "log(.)"]),
        ("Reaction ~ ns(., df=3) + z", ["no place in a call"]),
        ("Reaction ~ z + (. | Subject)", ["among the fixed effects alone"]),
        (". ~ z", ["among the fixed effects alone"]),
        ("Reaction ~ z + offset(.)", ["among the fixed effects alone"]),
        ("Reaction + Days + z + k + w + o ~ . + (1 | Subject)", ["the data have none"]),
    ],
)
def test_dot_where_it_means_nothing(formula, parts):
    with pytest.raises(lmm.FormulaError) as caught:
        lmm.fit(formula, DATA)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_q_of_patsy_is_a_name_in_backquotes():
    frame = frame_of("Reaction ~ Q('my days') + I(Q(\"f's\")^2) + (Q('my days') | Q('a|b'))", ODD)
    np.testing.assert_allclose(frame.x[:, 1:], np.c_[ODD["my days"], ODD["f's"] ** 2])
    assert list(frame.levels) == ["a|b"]
    assert frame.labels.column_names == ("Intercept", "my days", "I(f's ** 2)")


# A column that stands in a formula without backquotes is named, with what to write.
@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("Reaction ~ my days + (1 | Subject)", "my days"),
        ("Reaction ~ log(my  days + 9)", "my days"),
        ("my days ~ Days", "my days"),
        ("Reaction ~ Days (d)", "Days (d)"),
        ("Reaction ~ Days(d) * Days", "Days (d)"),
        ("Reaction ~ body-weight", "body-weight"),
        ("Reaction ~ 2nd dose", "2nd dose"),
        ("Reaction ~ %fat", "%fat"),
        ("Reaction ~ f's", "f's"),
        ("Reaction ~ f's + relevel(Subject, '309')", "f's"),
        ("Reaction ~ dose [mg]", "dose [mg]"),
        ("Reaction ~ (1 | a|b)", "a|b"),
        ("Reaction ~ (my days | Subject)", "my days"),
        ("Reaction ~ (my days || Subject)", "my days"),
        ("Reaction ~ ou(Days (d) | Subject)", "Days (d)"),
        ("Reaction ~ offset(2nd dose)", "2nd dose"),
    ],
)
def test_a_name_without_backquotes(formula, name):
    with pytest.raises(lmm.FormulaError) as caught:
        lmm.fit(formula, ODD)
    assert f"{name!r} needs backquotes" in str(caught.value)
    assert f"write `{name}`" in str(caught.value)
    with pytest.raises(lmm.FormulaError, match="needs backquotes"):
        lmm.fit_many(formula, ODD)


@pytest.mark.parametrize(
    ("formula", "options", "parts"),
    [
        ("Reaction ~ dayz", {}, ["unknown variable 'dayz'", "did you mean Days?"]),
        (
            "Reaktion ~ dayz + log(kk) + (1 + zz | Subjekt) + offset(qq)", {"residual": "ou(tt | Subj)"},
            ["unknown variables 'Reaktion', 'dayz', 'kk', 'qq', 'zz', 'tt', 'Subjekt' and 'Subj': they"],
        ),
        ("Reaktion ~ DAYZ", {}, ["did you mean Reaction for 'Reaktion', Days for 'DAYZ'?", "There are: Reaction,"]),
        ("Reaction ~ dayz", {"weights": "ww"}, ["'dayz' and weights='ww'"]),
        ("Reaction ~ Days", {"weights": "ww", "offset": "oo"}, ["weights='ww' and offset='oo'"]),
        ("Reaction ~ Days", {"weights": "ww"}, ["weights: 'ww' is no column"]),
        ("Reaction ~ foo(Days) + dayz", {}, ["unknown function 'foo'", "Also unknown variable 'dayz'"]),
        ("Reaction ~ `no such` + nor + (1 | Subject)", {}, ["'no such' and 'nor'"]),
        ("Reaction ~ z²", {}, ["U+00B2 SUPERSCRIPT TWO", "write I(z^2)"]),
        ("Reaction ~ z\u200b", {}, ["U+200B ZERO WIDTH SPACE", "write z"]),
        ("Reaction ~ z +\u200b k", {}, ["U+200B ZERO WIDTH SPACE", "remove it"]),
        ("Reaction ~ ｚ", {}, ["FULLWIDTH LATIN SMALL LETTER Z", "write z"]),
        ("Reaction ~ z^２", {}, ["FULLWIDTH DIGIT TWO", "write 2"]),
        ("Reaction ~ √z", {}, ["U+221A SQUARE ROOT"]),
    ],
)  # fmt: skip
def test_all_unknown_names_are_said_at_once(formula, options, parts):
    with pytest.raises(lmm.JaxlmmError) as caught:
        lmm.fit(formula, DATA, **options)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_unknown_names_beside_many_responses():
    for formula, responses in (("cbind(Reactoin, zz) ~ dayz", None), ("~ dayz + zz + Reactoin", ["z"])):
        with pytest.raises(lmm.FormulaError, match="Reactoin") as caught:
            lmm.fit_many(formula, DATA, responses=responses)
        assert all(name in str(caught.value) for name in ("dayz", "zz", "Days for 'dayz'"))
    with pytest.raises(lmm.DataError, match="did you mean Reaction"):
        lmm.fit_many("~ Days", DATA, responses=["Reactoin"])


@pytest.mark.parametrize(
    ("formula", "sign", "typed"),
    [
        ("Reaction ~ z − 1", "U+2212 MINUS SIGN", "-"),
        ("Reaction ~ z – 1", "U+2013 EN DASH", "-"),
        ("Reaction ∼ z", "U+223C TILDE OPERATOR", "~"),
        ("Reaction ˜ z", "U+02DC SMALL TILDE", "~"),
        ("Reaction ～ z", "U+FF5E FULLWIDTH TILDE", "~"),
        ("Reaction ~ (1 ¦ Subject)", "U+00A6 BROKEN BAR", "|"),
        ("Reaction ~ (1 ｜ Subject)", "U+FF5C FULLWIDTH VERTICAL LINE", "|"),
        ("Reaction ~ (z ‖ Subject)", "U+2016 DOUBLE VERTICAL LINE", "||"),
        ("Reaction ~ z×k", "U+00D7 MULTIPLICATION SIGN", "*"),
        ("Reaction ~ z ∗ k", "U+2217 ASTERISK OPERATOR", "*"),
        ("Reaction ~ z＋k", "U+FF0B FULLWIDTH PLUS SIGN", "+"),
        ("Reaction ~ I(z ÷ 2)", "U+00F7 DIVISION SIGN", "/"),
        ("Reaction ~ I(z ≥ 2)", "U+2265 GREATER-THAN OR EQUAL TO", ">="),
        ("Reaction ~ z + （1 | Subject)", "U+FF08 FULLWIDTH LEFT PARENTHESIS", "("),
        ("Reaction ~ poly(z， 2)", "U+FF0C FULLWIDTH COMMA", ","),
        ("Reaction ~ relevel(Subject, “309”)", "U+201C LEFT DOUBLE QUOTATION MARK", '"'),
        ("Reaction ~ relevel(Subject, ‘309’)", "U+2018 LEFT SINGLE QUOTATION MARK", "'"),
        ("Reaction ~ I(zˆ2)", "U+02C6 MODIFIER LETTER CIRCUMFLEX ACCENT", "^"),
        ("Reaction ~ z∶k", "U+2236 RATIO", ":"),
    ],
)
def test_signs_of_word_processors_are_named(formula, sign, typed):
    with pytest.raises(lmm.FormulaError) as caught:
        lmm.fit(formula, DATA)
    assert sign in str(caught.value)
    assert f"write {typed!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("formula", "written"),
    [
        ("Reaction ~ 'my days' + (1 | Subject)", "write `my days` for a column"),
        ('Reaction ~ z + "Days":z', "write Days for a column"),
        ("Reaction ~ z + ('a`b' | Subject)", "write `a``b` for a column"),
        ("'Reaction' ~ Days", "write Reaction for a column"),
    ],
)
def test_a_column_in_quotes(formula, written):
    with pytest.raises(lmm.FormulaError, match=re.escape(written)):
        frame_of(formula)


@pytest.mark.parametrize(
    ("formula", "written"),
    [
        ("Reaction ~ z + Days^0.5 + k", "write I(Days ^ 0.5) for the power"),
        ("Reaction ~ Days**z + (1 | Subject)", "write I(Days ** z) for the power"),
        ("Reaction ~ Days^-1 + (1 | Subject)", "write I(Days ^ -1) for the power"),
        ("Reaction ~ z - Days ** 0", "write I(Days ** 0) for the power"),
        ("Reaction ~ z + (Days^2.0 | Subject)", "write I(Days ^ 2.0) for the power"),
        ("Reaction ~ (Days + z)^(1/2)", "write I((Days + z) ^ (1 / 2)) for the quotient"),
    ],
)
def test_powers_that_cross_no_terms(formula, written):
    with pytest.raises(lmm.FormulaError, match=re.escape(written)):
        frame_of(formula)


@pytest.mark.parametrize("space", ["\xa0", "\u2009", "\u202f", "\u3000", "\n", "\t"])
def test_any_space_is_a_space(space):
    expected = frame_of("Reaction ~ z + poly(k, 2) + (1 | Subject)")
    frame = frame_of(f"Reaction{space}~{space}z +{space}poly(k,{space}2){space}+ (1{space}|{space}Subject)")
    np.testing.assert_array_equal(frame.x, expected.x)
    assert frame.labels.terms[0].text == expected.labels.terms[0].text


@pytest.mark.parametrize(
    ("formula", "written"),
    [
        ("Reaction ~ 1|Subject", "(1 | Subject)"),
        ("Reaction ~ z + 1 | Subject", "(1 | Subject)"),
        ("Reaction ~ (1 | Subject) + z | Subject", "(z | Subject)"),
        ("Reaction ~ z || Subject", "(z || Subject)"),
        ("Reaction ~ z + 1 | Subject / k", "(1 | Subject / k)"),
        ("Reaction ~ 0 + z | Subject", "(z | Subject)"),
        ("Reaction ~ z * k | Subject:k", "(z * k | Subject:k)"),
    ],
)
def test_a_bar_without_parentheses(formula, written):
    with pytest.raises(lmm.FormulaError, match="needs its own parentheses") as caught:
        lmm.fit(formula, DATA)
    assert f"write '{written}'" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        ("s(z)", ["'s' is no function", "not available", "ns(x, df=4)"]),
        ("te(z, k)", ["not available"]),
        ("t2(z, k)", ["not available"]),
        ("rcs(z, 4)", ["ns(x, df=4)"]),
        ("lag(z)", ["its value in a row depends on the other rows"]),
        ("cut(z, 3)", ["pandas.cut"]),
        ("interaction(Subject, k)", ["a:b"]),
        ("as.factor(k)", ["write factor(x)"]),
        ("as.numeric(k)", ["I(1 * b)"]),
        ("ifelse(z > 0, 1, 0)", ["np.where"]),
        ("tanh(z)", ["write np.tanh(x)"]),
        ("floor(z)", ["write np.floor(x)"]),
        ("logg(z)", ["did you mean log"]),
        ("facter(k)", ["did you mean factor"]),
        ("foo(z)", ["unknown function 'foo'", "beforehand"]),
        ("z(k)", ["unknown function 'z'", "a column of the data"]),
        ("I(z %in% k)", ["'%in%' joins factors"]),
        ("d$z", ["write the column's name alone"]),
        ("z # all", ["no comments"]),
        ("`z", ["no second one closes"]),
        ("'z", ["no second one closes"]),
    ],
)
def test_calls_that_are_not_there(call, parts):
    with pytest.raises(lmm.FormulaError) as caught:
        lmm.fit(f"Reaction ~ {call}", DATA)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_that_are_there():
    np.testing.assert_allclose(frame_of("Reaction ~ log1p(w)").x[:, 1], np.log1p(DATA["w"]))
    np.testing.assert_array_equal(frame_of("Reaction ~ k + Subject %in% k").x, frame_of("Reaction ~ k + Subject:k").x)
    with pytest.raises(lmm.FormulaError, match="fit_many"):
        lmm.fit("cbind(Reaction, z) ~ Days", DATA)


@pytest.mark.parametrize("names", [[("a", "y"), ("a", "x")], [("y", "", 1), ("x", "b", 2)]])
def test_columns_with_several_names(names):
    data = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=pd.MultiIndex.from_tuples(names))
    for ask in (
        lambda: lmm.fit("y ~ x", data),
        lambda: lmm.fit_many("~ x", data, responses=["y"]),
        lambda: lmm.fit_many("~ z", DATA, responses=data),
        lambda: lmm.design("y ~ x", data),
    ):
        with pytest.raises(lmm.DataError, match="flatten them") as caught:
            ask()
        assert " / ".join(map(str, names[0])) in str(caught.value)
    data.columns = ["_".join(map(str, name)) for name in data.columns]
    assert frame_of(f"{data.columns[0]} ~ 1", data).x.shape == (3, 1)
