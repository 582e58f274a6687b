"""What stands in a call means what it means in R, and what a formula cannot hold is refused in words."""

import keyword

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.formula import ModelOptions, build_frame, parse

X = np.array([-2.0, -1, 0, 1, 2, 3, 0.5, 1.5])
Z = np.array([1.0, -1, 2, -2, 0.5, 3, 0.3, -0.7])
K = np.arange(1.0, 9)
B = np.array([True, False, True, False, False, True, True, False])
H = np.array([False, False, True, True, False, True, False, True])
F = np.array(list("abcabcab"))
DATA = pd.DataFrame(
    {"x": X, "z": Z, "k": K, "b": B, "h": H, "f": F, "odd name": X + 1, "y": np.sin(K), "g": list("aabbccdd")}
)


def frame_of(formula, data=DATA):
    return build_frame(parse(f"y ~ {formula}"), data, ModelOptions())


def column(formula, data=DATA):
    return frame_of(formula, data).labels.encoding.columns(data)[:, 1]


# R's operators from the loosest: | & ! comparisons + - * / %% %/% sign ^. Each row was compared with R.
@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("I(z > 1 & b)", (Z > 1) & B),
        ("I(x > 0 & z < 0)", (X > 0) & (Z < 0)),
        ("I(x>0|z<0&b)", (X > 0) | ((Z < 0) & B)),
        ("I((x > 0 | z < 0) & b)", ((X > 0) | (Z < 0)) & B),
        ("I(b | h)", B | H),
        ("I(!b)", ~B),
        ("I(!x > 0)", X <= 0),
        ("I(!b & h)", ~B & H),
        ("I(!(b & h))", ~(B & H)),
        ("I(!b & !h | x > 0)", (~B & ~H) | (X > 0)),
        ("I(b == !h & x > 0)", (B == ~H) & (X > 0)),
        ("I(b != h & x > 0)", (B != H) & (X > 0)),
        ("I(!b != h)", B == H),
        ("I(!(x > 0) == FALSE)", X > 0),
        ("I(b == TRUE & x > 0)", B & (X > 0)),
        ("I(f == 'a&b' | !h)", ~H),
        ('I(f != "a" & b)', (F != "a") & B),
        ("I(`odd name` > 1 & b)", (X > 0) & B),
        ("I(x > z + 1 & k >= 3)", (X > Z + 1) & (K >= 3)),
        ("I(-x^2 > -1 & b)", (-(X**2) > -1) & B),
        ("I(k %% 2 == 0 & x > 0)", (K % 2 == 0) & (X > 0)),
        ("I(2 * k %% 3)", 2 * (K % 3)),
        ("I(-k %% 3)", -K % 3),
        ("I(k %/% 2 + 1)", K // 2 + 1),
        ("I(2^x^2)", 2 ** (X**2)),
        ("I((2^x)^2)", (2**X) ** 2),
        ("I(2^-x)", 2**-X),
        ("I(x - (z - k) - 1)", X - (Z - K) - 1),
        ("log(k + 1)", np.log(K + 1)),
        ("I((x > 0) * z)", (X > 0) * Z),
        ("I(I(x > 0) & b)", (X > 0) & B),
        ("I(b + h)", B.astype(float) + H),
        ("I(I(x > 0) + (z > 0) - b)", 1.0 * (X > 0) + (Z > 0) - B),
        ("I(-b)", -1.0 * B),
        ("I(`odd name` * b)", (X + 1) * B),
        ("exp(b)", np.exp(1.0 * B)),
        ("np.exp(h & b)", np.exp(1.0 * (H & B))),
        ("{x > 0 & b}", (X > 0) & B),
    ],
)
def test_operators_bind_as_in_r(formula, expected):
    np.testing.assert_allclose(column(formula), expected.astype(float), rtol=1e-14)


def test_a_bar_within_i_is_no_random_term():
    frame = frame_of("I(b | h):x + (I(b | h) | g)")
    assert [term.columns for term in frame.labels.terms] == [("Intercept", "I(b | h)[T.True]")]
    np.testing.assert_array_equal(frame.x[:, 1], np.where(B | H, 0, X))


@pytest.mark.parametrize("name", [*keyword.kwlist, "log", "poly", "np", "I", "c", "factor", "scale", "TRUE", "pi"])
def test_columns_may_have_any_name(name):
    data = DATA.assign(**{name: K})
    quoted = f"`{name}`" if name in ("TRUE", "True", "False", "None") else name
    assert frame_of(quoted, data).labels.column_names == ("Intercept", name)
    np.testing.assert_allclose(column(f"log({quoted} + 1)", data), np.log(K + 1))
    frame = frame_of(f"relevel(factor(f), 'b'):x + I({quoted}^2) + (0 + {quoted} | g)", data)
    assert f"I({name} ** 2)" in frame.labels.column_names
    np.testing.assert_array_equal(frame.x[:, list(frame.labels.column_names).index(f"I({name} ** 2)")], K**2)
    assert frame.labels.terms[0].columns == (name,)


def test_an_error_names_columns_as_the_data_do():
    with pytest.raises(lmm.FormulaError, match=r"'log\(lambda\)'.*log\(lambda\)") as caught:
        frame_of("log(lambda)", DATA.assign(**dict.fromkeys(["lambda"], F)))
    assert "__column" not in str(caught.value)


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        ("I(b && h)", ["write '&' and '|' once"]),
        ("I(b || h)", ["'||' joins no columns; write '|'"]),
        ("I(0 < x < 1)", ["comparisons do not chain", "0 < x & x < 1"]),
        ("I(x > )", ["expected a value before ')'"]),
        ("I(x z)", ["expected an operator or a comma before 'z'"]),
        ("I(x:z)", ["':' joins terms"]),
        ("I(!TRUE)", ["'!' needs a column"]),
        ("x > 2", ["'>' is no operator of formulas; write I(x > 2)"]),
        ("z + (x > 2)", ["write I(x > 2)"]),
        ("x + !b", ["write I(!b)"]),
        ("x = 2", ["write I(x == 2)"]),
        ("z + 1/x", ["'/' nests factors", "write I(1 / x) for the quotient"]),
        ("x / 2", ["write I(x / 2)"]),
        ("(1/x | g)", ["write I(1 / x)"]),
        ("x z", ["expected an operator before 'z'"]),
        ("x +* z", ["cannot evaluate 'x +  * z'", "`+*`"]),
        ("(x *+ z || g)", ["left of a bar"]),
        ("TRUE", ["write `TRUE` for a column"]),
        ("mean(x)", ["write center(x) or scale(x, scale=FALSE)"]),
        ("as.factor(k)", ["write factor(x)"]),
        ("ifelse(x > 0, 1, 0)", ["np.where(x > 0, 1, 0)"]),
        ("s(x)", ["ns(x, df=4)", "bs(x, df=4)"]),
        ("`5`", ["a column 5 whose name is no text but int"]),
    ],
)
def test_what_no_formula_can_hold(formula, parts):
    with pytest.raises(lmm.FormulaError) as caught:
        frame_of(formula, DATA.assign(xz=X).rename(columns={"odd name": 5}))
    for part in parts:
        assert part in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def indicators(*values):
    return np.column_stack([value.astype(float) for value in values])


IS_A, IS_B, IS_C = F == "a", F == "b", F == "c"
SUM = indicators(IS_A, IS_B) - IS_C[:, None]


# lme4's dummy, R's factor, relevel and C; the columns are those that R gives.
@pytest.mark.parametrize(
    ("formula", "names", "expected"),
    [
        ("dummy(f)", ["dummy(f)[b]", "dummy(f)[c]"], indicators(IS_B, IS_C)),
        ("dummy(f, c('a', 'c'))", ["dummy(f, c('a', 'c'))[a]", "dummy(f, c('a', 'c'))[c]"], indicators(IS_A, IS_C)),
        ("dummy(b, 'TRUE')", ["dummy(b, 'TRUE')"], indicators(B)),
        ("dummy(b)", ["dummy(b)"], indicators(B)),
        ("dummy(k, 2)", ["dummy(k, 2)"], indicators(K == 2)),
        ("relevel(factor(b), 'TRUE')", ["relevel(factor(b), 'TRUE')[T.False]"], indicators(~B)),
        ("factor(b, levels=c('TRUE', 'FALSE'))", ["factor(b, levels=c('TRUE', 'FALSE'))[T.False]"], indicators(~B)),
        ("C(f, 'contr.sum')", ["C(f, 'contr.sum')[S.a]", "C(f, 'contr.sum')[S.b]"], SUM),
        ("C(f, contr.sum(3))", ["C(f, contr.sum(3))[S.a]", "C(f, contr.sum(3))[S.b]"], SUM),
        ("C(f, contr.treatment, base=2)", None, indicators(IS_A, IS_C)),
        ("C(f, contr.treatment(3, base=2))", None, indicators(IS_A, IS_C)),
        ("C(f, contr.treatment(c('a', 'b', 'c'), 2))", None, indicators(IS_A, IS_C)),
        ("C(f, contr.treatment('b'))", None, indicators(IS_A, IS_C)),
        ("C(f, contr.SAS(3))", None, indicators(IS_A, IS_B)),
        ("C(f, contr.helmert(3))", None, indicators(IS_B, 2 * IS_C) - indicators(IS_A, IS_A | IS_B)),
        (
            "C(f, contr.poly(3))",
            None,
            indicators(IS_C, IS_A | IS_C) * [0.5**0.5, 6**-0.5] - indicators(IS_A, IS_B) * [0.5**0.5, 2 * 6**-0.5],
        ),
    ],
)
def test_factors_are_coded_as_in_r(formula, names, expected):
    encoding = frame_of(formula).labels.encoding
    assert names is None or list(encoding.names[1:]) == names
    np.testing.assert_allclose(encoding.columns(DATA)[:, 1:], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("formula", "kind", "message"),
    [
        ("dummy(f, 'zz')", lmm.DataError, "expected one of the levels 'a', 'b', 'c', got 'zz'"),
        ("factor(b, levels=c('TRUE', 'no'))", lmm.DataError, "expected one of the levels False, True, got 'no'"),
        ("C(f, 'contr.zum')", lmm.DataError, r"expected contr.treatment, .* Treatment\('a'\).* got 'contr.zum'"),
        ("C(f, Treatment)", lmm.DataError, r"Treatment\('a'\)"),
        ("C(f, contr.sum(4))", lmm.DataError, r"the 3 levels 'a', 'b', 'c', got contr.sum\(4\)"),
        ("C(f, contr.sum, base=2)", lmm.DataError, "contr.sum does not take base="),
        ("C(f, contr.treatment, base=4)", lmm.DataError, r"from 1 to 3, got 4; Treatment\('a'\)"),
        ("C(f, c(1, 2))", lmm.FormulaError, r"C\(f, c\(1, 2\)\).: no columns can be made"),
    ],
)
def test_codings_that_there_are_not(formula, kind, message):
    with pytest.raises(kind, match=message):
        frame_of(formula)


@pytest.mark.parametrize(
    "formula",
    [
        "I(x - np.mean(x))",
        "I(k / np.max(k))",
        "np.cumsum(x)",
        "np.add.accumulate(x)",
        "lag(x)",
        "scale(np.sort(x))",
        "(I(x - np.mean(x)) | g)",
    ],
)
def test_values_that_depend_on_other_rows_are_refused(formula):
    with pytest.raises(lmm.FormulaError, match=r"depends on the other rows.*write center\(x\)"):
        frame_of(formula)


@pytest.mark.parametrize(("formula", "got"), [("np.mean(x)", 1), ("np.diff(x)", 7), ("x[1]", 1)])
def test_a_column_has_a_value_in_each_row(formula, got):
    with pytest.raises(lmm.DataError, match=f"expected a value in each of 8 rows, got {got} in all"):
        frame_of(f"z + {formula}")


@pytest.mark.parametrize(
    ("formula", "expected"),
    [("np.where(x > 0, x, 0)", np.maximum(X, 0)), ("np.clip(x, 0, 1)", X.clip(0, 1)), ("np.exp(x)", np.exp(X))],
)
def test_functions_of_numpy_that_go_row_by_row(formula, expected):
    np.testing.assert_array_equal(column(formula), expected)


def test_a_response_may_depend_on_all_rows():
    """It is never evaluated on other data."""
    centered = lmm.fit("y - np.mean(y) ~ x", DATA)
    assert centered.coef()["estimate"]["x"] == pytest.approx(lmm.fit("y ~ x", DATA).coef()["estimate"]["x"], rel=1e-9)
    assert centered.frame.y.mean() == pytest.approx(0.0, abs=1e-12)
