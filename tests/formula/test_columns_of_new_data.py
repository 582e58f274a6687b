"""The columns of a fit, computed again on other data from what JSON can hold."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

import jaxlmm as lmm
from jaxlmm.formula import Encoding, ModelOptions, build_frame, parse

import references

DATA = references.dataset("model_matrices.csv")
FORMULAS = [
    *references.model_matrices(),
    "cr(x, df=4) + center(k)",
    "cc(x, df=3)",
    "cs(x, df=4, constraints='center') * a",
    "bs(x, df=6, include_intercept=TRUE)",
    "scale(center(x) + poly(z, 2, raw=TRUE)[:, 1])",
    "relevel(factor(k), 3):x",
    "factor(k, levels=c(3, 1, 4, 2), ordered=TRUE)",
    "dummy(a, 'c') + dummy(k, 2)",
    "dummy(a) + dummy(k, c('1', '4')) + dummy(l, 'TRUE')",
    "relevel(factor(l), 'TRUE') + factor(k):C(a, 'contr.sum')",
    "C(a, contr.treatment, base=2)",
    "C(k, contr.helmert) + C(l)",
    "C(a, [[1, 0], [0, 1], [-1, -1]])",
]


def encoding_of(formula, data=DATA):
    return build_frame(parse(f"y ~ {formula}"), data, ModelOptions()).labels.encoding


def through_json(encoding):
    return Encoding.from_plain(json.loads(json.dumps(encoding.to_plain(), allow_nan=False)))


def raw(data):
    """The same values as a file of text and numbers would give them: no levels, no order."""
    return pd.DataFrame({name: data[name].tolist() for name in data})


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_columns_of_the_fit_come_back(formula):
    frame = build_frame(parse(f"y ~ {formula}"), DATA, ModelOptions())
    back = through_json(frame.labels.encoding)
    assert back.names == frame.labels.column_names
    np.testing.assert_array_equal(back.columns(DATA)[:, frame.labels.kept], frame.x)
    np.testing.assert_array_equal(back.columns(raw(DATA))[:, frame.labels.kept], frame.x)
    assert back.to_plain() == frame.labels.encoding.to_plain()


@pytest.mark.parametrize("formula", FORMULAS)
def test_some_rows_have_the_columns_that_they_have_among_all(formula):
    back = through_json(encoding_of(formula))
    whole = back.columns(DATA)
    for rows in ([7], [30, 2, 11], [5, 5]):
        part = back.columns(raw(DATA.iloc[rows]))
        np.testing.assert_allclose(part, whole[rows], rtol=0, atol=1e-14 * np.abs(whole).max())


def test_it_remembers_as_much_for_many_rows_as_for_few():
    many = pd.concat([DATA] * 50, ignore_index=True)
    formula = "poly(x, 2) * a + scale(z):v + bs(x, df=5) + factor(k)"
    few, lots = (len(json.dumps(encoding_of(formula, data).to_plain())) for data in (DATA, many))
    assert abs(few - lots) < 0.1 * few


def test_missing_values_give_undefined_rows():
    data = DATA.astype({"a": object}).copy()
    data.loc[[2, 9], "x"], data.loc[[4], "a"] = np.nan, None
    encoding = encoding_of("poly(x, 2) + a")
    matrix = encoding.columns(data)
    assert np.flatnonzero(np.isnan(matrix).all(axis=1)).tolist() == [2, 4, 9]
    others = np.delete(np.arange(len(DATA)), [2, 4, 9])
    np.testing.assert_array_equal(matrix[others], encoding.columns(DATA)[others])
    assert np.isnan(encoding.columns(data.iloc[[2]])).all()


@pytest.mark.parametrize(
    ("formula", "changes", "parts"),
    [
        ("x + a", {"a": "zz"}, ["a: expected one of the levels of the fit, 'b', 'a', 'c'; got 'zz'"]),
        ("s * x", {"s": "zz"}, ["s: expected one of the levels of the fit, 'k', 'm', 'n'; got 'zz'"]),
        ("C(a, contr.sum)", {"a": "zz"}, ["a: expected one of the levels of the fit"]),
        ("relevel(a, 'c')", {"a": "zz"}, ["a: expected one of the levels of the fit"]),
        ("u", {"u": "u3"}, ["u: expected one of the levels of the fit, 'u1', 'u2', 'u4'; got 'u3'"]),
        ("v", {"v": "v3"}, ["v: expected one of the levels of the fit, 'v1', 'v2', 'v4'; got 'v3'"]),
        ("factor(k)", {"k": 9}, ["factor(k): expected one of the levels of the fit, 1, 2, 3, 4; got 9"]),
        (
            "C(k, contr.sum)",
            {"k": 2.5},
            ["C(k, contr.sum): expected one of the levels of the fit, 1, 2, 3, 4; got 2.5"],
        ),
        ("x", {"x": "one"}, ["x: expected numbers as in the fit, got object such as one"]),
        ("l", {"l": 3.0}, ["l: expected logical values as in the fit, got float64 such as 3.0"]),
        ("x", {"x": 1j}, ["x: expected real numbers"]),
    ],
)
def test_other_data_that_the_fit_says_nothing_about(formula, changes, parts):
    encoding = through_json(encoding_of(formula))
    for data in (DATA.assign(**changes), DATA.iloc[:1].assign(**changes)):
        with pytest.raises(lmm.DataError) as caught:
            encoding.columns(data)
        for part in parts:
            assert part in str(caught.value)


def test_a_variable_that_is_not_there():
    with pytest.raises(lmm.DataError, match=r"expected the variables x, a, got no a; there are: x, z\."):
        encoding_of("x * a").columns(DATA[["x", "z"]])
    with pytest.raises(lmm.DataError, match="expected a data frame"):
        encoding_of("x * a").columns(3)
    with pytest.raises(lmm.DataError, match="columns of one length"):
        encoding_of("x * a").columns({"x": 1.0, "a": "b"})


def test_a_mapping_and_other_libraries_do():
    encoding = encoding_of("x * a")
    expected = encoding.columns(DATA)[:2]
    given = {"x": DATA["x"].tolist()[:2], "a": DATA["a"].tolist()[:2]}
    np.testing.assert_array_equal(encoding.columns(given), expected)
    np.testing.assert_array_equal(encoding.columns(pl.DataFrame(given)), expected)


def test_what_json_cannot_say_is_refused_when_it_is_written():
    q = pd.Categorical([frozenset({name}) for name in DATA["a"]])
    sets = encoding_of("q * x", DATA.assign(q=q))
    assert np.isfinite(sets.columns(DATA.assign(q=q))).all()
    with pytest.raises(lmm.FormulaError, match=r"q: expected numbers, text, .*, which can be saved, got frozenset"):
        sets.to_plain()


def test_numbers_survive_json_exactly():
    state = {"array": np.array([[1.0, 1 / 3], [np.pi, -0.0]]), 3: np.float64(0.1), "bound": -np.inf, "none": None}
    from jaxlmm.formula.columns.plain import from_plain, to_plain

    back = from_plain(json.loads(json.dumps(to_plain(state, "x"), allow_nan=False)))
    assert back[3] == 0.1
    assert back["bound"] == -np.inf
    assert back["none"] is None
    np.testing.assert_array_equal(back["array"], state["array"])


@pytest.mark.parametrize(
    "bar", ["(1 | a)", "(1 + x + v | a)", "(poly(x, 2) || a)", "(0 + relevel(u, 'u2') | a)", "diag(0 + scale(z) | a)"]
)
def test_random_columns_come_back(bar):
    frame = build_frame(parse(f"y ~ x + {bar}"), DATA, ModelOptions(weights="k"))
    root = np.sqrt(DATA["k"].to_numpy(float))[:, None]
    for term, labels in zip(frame.design.terms, frame.labels.terms, strict=True):
        back = through_json(labels.encoding)
        assert len(back.names) == len(labels.columns)
        np.testing.assert_array_equal(back.columns(raw(DATA)) * root, np.asarray(term.z)[: len(DATA)])


@pytest.mark.parametrize("left", ["k", "v", "log(z) + x^2"])
def test_positions_come_back(left):
    frame = build_frame(parse(f"y ~ x + ou({left} | a)"), DATA, ModelOptions())
    places = through_json(frame.labels.terms[0].encoding).columns(raw(DATA))
    level, place = frame.levels["a"].codes, np.asarray(frame.design.terms[0].positions)[: len(DATA)]
    term = frame.design.terms[0]
    np.testing.assert_array_equal(places[:, 0], np.asarray(term.coords)[term.blocks(level), place, 0])
    if left == "v":
        assert sorted(set(places[:, 0])) == [0.0, 1.0, 3.0]


def test_the_order_of_rows_is_no_encoding():
    frame = build_frame(parse("y ~ x"), DATA, ModelOptions(residual="ou(1 | 1)"))
    assert frame.labels.residual.encoding is None


def test_offsets_come_back():
    frame = build_frame(parse("y ~ x + offset(log(z)) + offset(2 * k)"), DATA, ModelOptions())
    again = sum(through_json(encoding).columns(DATA)[:, 0] for encoding in frame.labels.offset.encodings)
    np.testing.assert_array_equal(again, frame.offset)


def test_columns_whose_names_differ_only_in_signs():
    data = DATA.assign(**{"x a": DATA["x"], "x_a": DATA["z"]})
    encoding = encoding_of("`x a` + x_a", data)
    np.testing.assert_array_equal(encoding.columns(data)[:, 1:], data[["x", "z"]])
    scaled = encoding_of("scale(`x a`) + scale(x_a)", data)
    expected = data[["x", "z"]].to_numpy()
    expected = (expected - expected.mean(axis=0)) / expected.std(axis=0, ddof=1)
    np.testing.assert_allclose(scaled.columns(data)[:, 1:], expected, rtol=1e-12, atol=1e-14)
