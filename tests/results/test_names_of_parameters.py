"""Names are names: nothing is read out of them, whatever a column, a level, a group or a parameter is called.

Inputs of this kind that are tried here: levels with brackets, colons and commas; columns called by units, by calls, by
parameters (``a: sd(b)``) and operators; groups called ``x: corr(y``; parameters of a user's structure called ``sdlog``,
``rho2``, ``range``, ``corr(a)``; coefficients that are prefixes of each other, numbers, operators, ``e`` beside
``1e-3``, words that stood for coefficients (``b0_``), in backquotes, with accents in both spellings.

The right values are those of the same model under plain names, and rows of a hypothesis by hand. Both models have the
same numbers in the same order, so that their results are the same to the last bit but for sums in another order (1e-9).
"""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.covariance import Parameter, parameters_of
from jaxlmm.formula.columns.columns import model_columns
from jaxlmm.formula.functions.variables import plain_dtypes
from jaxlmm.formula.tokens.tokens import tokenize
from jaxlmm.results.tables.contrasts import hypothesis

SAME = 1e-9

LEVELS = {"p": "(0, 10]", "q": "[0, 10)", "r": "x[1]"}
COLUMNS = {"k": "k: sd(k]", "u": "dose [mg]", "v": "dose [ml]", "b": "b", "w": "a: sd(b)", "h": "x: corr(y"}
PLAIN = "~ k + u + v + k:u + w:v + b + (1 + w | h)"
STRANGE = "~ `k: sd(k]` + `dose [mg]` + `dose [ml]` + `k: sd(k]`:`dose [mg]` + `a: sd(b)`:`dose [ml]` + b"
STRANGE += " + (1 + `a: sd(b)` | `x: corr(y`)"


def numbers():
    """Two responses, a text factor of three levels, four numbers, groups of eight rows."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"h": np.repeat(list("abcdefghijklmnop"), 8), "k": np.resize(list("pqrqp"), 128)})
    for name in "uvwb":
        data[name] = rng.normal(size=128).round(6)
    slopes = rng.normal(size=(16, 2))[np.repeat(np.arange(16), 8)]
    for name in ("y1", "y2"):
        noise = slopes[:, 0] + 0.7 * slopes[:, 1] * data["w"] + rng.normal(size=128)
        data[name] = (noise + 0.5 * data["u"] + (data["k"] == "q")).round(6)
    return data


DATA = numbers()
RENAMED = DATA.assign(k=DATA["k"].map(LEVELS)).rename(columns=COLUMNS)


@pytest.fixture(scope="module")
def plain():
    return lmm.fit_many(PLAIN, DATA, responses=["y1", "y2"])


@pytest.fixture(scope="module")
def strange():
    return lmm.fit_many(STRANGE, RENAMED, responses=["y1", "y2"])


# ---- terms of the fixed effects --------------------------------------------------------------------------------------


def test_terms_are_those_of_the_formula(plain, strange, tmp_path):
    mine, theirs = strange.anova(), plain.anova()
    assert list(mine["term"])[:6] == [
        "k: sd(k]", "dose [mg]", "dose [ml]", "b", "k: sd(k]:dose [mg]", "dose [ml]:a: sd(b)"
    ]  # fmt: skip
    assert list(theirs["term"])[:6] == ["k", "u", "v", "b", "k:u", "v:w"]
    assert list(mine["num_df"]) == list(theirs["num_df"]) == [2.0, 1.0, 1.0, 1.0, 2.0, 1.0] * 2
    for column in ("den_df", "statistic", "p_value"):
        np.testing.assert_allclose(mine[column], theirs[column], rtol=SAME)
    # F of one coefficient is the square of its t, by the table that knows no terms.
    tidy = strange.tidy().query("response == 'y1' and term == 'dose [ml]'").iloc[0]
    assert mine["statistic"][2] == pytest.approx(tidy["statistic"] ** 2, rel=SAME)
    strange.save(tmp_path / "many.json")
    pd.testing.assert_frame_equal(lmm.load(tmp_path / "many.json").anova(), mine, check_exact=True)


TWO, THREE = ["one", "two"], ["(0, 10]", "a:b", "x[1]"]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("f", [((), 1), (("f",), 2)]),
        ("0 + f", [(("f",), 3)]),
        ("f * g", [((), 1), (("f",), 2), (("g",), 1), (("f", "g"), 2)]),
        ("g:f", [((), 1), (("g", "f"), 6)]),
        ("0 + f:x", [(("f", "x"), 3)]),
        ("`a:b` + x:g", [((), 1), (("a:b",), 1), (("x", "g"), 2)]),
        ("`x[1]` + `x[2]`", [((), 1), (("x[1]",), 1), (("x[2]",), 1)]),
        ("`f[T.a]` + f", [((), 1), (("f[T.a]",), 1), (("f",), 2)]),
        ("poly(x, 2) + I(x ** 2):f", [((), 1), (("poly(x, 2)",), 2), (("I(x ** 2)", "f"), 3)]),
        ("C(f, contr.sum) + C(g, Treatment('two'))", [
            ((), 1), (("C(f, contr.sum)",), 2), (("C(g, Treatment('two'))",), 1)
        ]),
        ("lambda:`a:b`", [((), 1), (("lambda", "a:b"), 1)]),
        ("x + 1 + x", [((), 1), (("x",), 1)]),
        ("x + `a:b`", [((), 1), (("x",), 1), (("a:b",), 1)]),
    ],
)  # fmt: skip
def test_every_column_knows_its_term(formula, expected):
    """Also where the columns are sums of variables that need no formula machinery, and after JSON."""
    rng = np.random.default_rng(1)
    numeric = {name: rng.normal(size=12) for name in ("x", "a:b", "x[1]", "x[2]", "f[T.a]", "lambda")}
    data = plain_dtypes(pd.DataFrame({"f": np.resize(THREE, 12), "g": np.repeat(TWO, 6), **numeric}))
    columns = model_columns(tokenize(formula), data)
    again = type(columns.encoding).from_plain(columns.encoding.to_plain())
    assert list(columns.encoding.terms) == list(again.terms) == expected
    assert sum(count for _, count in expected) == len(columns.names)


# ---- kinds of variance parameters ------------------------------------------------------------------------------------


def test_parameters_of_strangely_named_columns_and_groups(plain, strange, tmp_path):
    for scale in ("sd", "variance"):
        mine, theirs = strange.variance(scale), plain.variance(scale)
        for column in ("estimate", "std_error", "conf_low", "conf_high"):
            np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-6)
        assert list(mine["group"])[:4] == ["x: corr(y"] * 3 + ["Residual"]
    word = {"sd": "sd", "variance": "var"}
    for scale in word:
        assert list(strange.variance(scale)["parameter"])[:4] == [
            f"x: corr(y: {word[scale]}(Intercept)", f"x: corr(y: {word[scale]}(a: sd(b))",
            "x: corr(y: corr(Intercept, a: sd(b))", f"Residual: {word[scale]}",
        ]  # fmt: skip
    strange.save(tmp_path / "many.json")
    again = lmm.load(tmp_path / "many.json")
    pd.testing.assert_frame_equal(again.variance("variance"), strange.variance("variance"), check_exact=True)
    assert again.estimates.labels.natural == strange.estimates.labels.natural


def test_a_single_fit_prints_the_same_under_strange_names(tmp_path):
    """The multiplier of a slope that vanishes has the name of its standard deviation."""
    flat = "y ~ x + (1 + `a: sd(b)` | `x: corr(y`)"
    data = RENAMED.assign(x=DATA["u"], y=DATA["y1"] - 0.7 * DATA["w"])
    fit = lmm.fit(flat, data)
    rows = str(fit.summary()).split("Random effects:\n")[1].split("\n\n")[0].splitlines()
    assert rows[1].split()[:3] == ["x:", "corr(y", "Intercept"]
    assert rows[2].split()[:2] == ["a:", "sd(b)"]
    correlation = fit.variance()["estimate"]["x: corr(y: corr(Intercept, a: sd(b))"]
    assert rows[2].split()[-1] == f"{correlation:.2f}"
    assert "Covariance parameters" not in str(fit.summary())
    fit.save(tmp_path / "fit.json")
    assert str(lmm.load(tmp_path / "fit.json").summary()) == str(fit.summary())
    slope = "x: corr(y: sd(a: sd(b))"
    with pytest.raises(lmm.OptionError, match="0 or more"):
        lmm.fit(flat, data, fixed={slope: -1.0})
    with pytest.raises(lmm.OptionError, match="from -1 to 1"):
        lmm.fit(flat, data, start={"x: corr(y: corr(Intercept, a: sd(b))": 2.0})
    diagonal = lmm.fit(flat.replace("|", "||"), data.assign(**{"a: sd(b)": np.resize([-1.0, 1.0], 128)}))
    assert diagonal.variance()["at_boundary"].tolist() == [False, True, False]
    assert list(diagonal.certificate.multipliers.index) == [slope]


class Odd(lmm.covariance.AbstractCovariance):
    """Two standard deviations by their logarithms, called as other things are."""

    def n_params(self, q):
        return 2

    def cholesky(self, theta, coords):
        return jnp.diag(jnp.exp(theta))

    def param_names(self, columns):
        return ("sdlog", "corr(a)")

    def report(self, theta, factor, sigma):
        return theta + jnp.log(sigma)


class Declared(Odd):
    """The same, which says what its parameters are."""

    def parameters(self, columns):
        return Parameter("sdlog", "sd"), Parameter("corr(a)")


class Again(Declared):
    """A report of its own makes numbers of what was declared."""

    def report(self, theta, factor, sigma):
        return theta


class Names(lmm.covariance.OU):
    """Only the names are its own."""

    def param_names(self, columns):
        return ("range", "rho2")


class Wrong(Odd):
    def parameters(self, columns):
        return Parameter("sdlog", "variance"), Parameter("corr(a)")


class Texts(Odd):
    def parameters(self, columns):
        return "sdlog", "corr(a)"


class One(Odd):
    def parameters(self, columns):
        return Parameter("sdlog")


class Numbers(Odd):
    def param_names(self, columns):
        return 1, 2


COLUMNS_OF_TERM = ["sd(a: sd(b))", "sd(rho)", "corr(a: sd(b), rho)"]


@pytest.mark.parametrize(
    ("structure", "kinds", "labels"),
    [
        (lmm.covariance.Unstructured(), ["sd", "sd", "correlation"], COLUMNS_OF_TERM),
        (lmm.covariance.Diagonal(), ["sd", "sd"], COLUMNS_OF_TERM[:2]),
        (lmm.covariance.OU(), ["sd", "proportion"], ["sd", "rho"]),
        (
            lmm.covariance.Custom(lambda theta, coords: jnp.eye(2), 1),
            ["sd", "sd", "correlation"],
            COLUMNS_OF_TERM,
        ),
        (Odd(), ["number", "number"], ["sdlog", "corr(a)"]),
        (Declared(), ["sd", "number"], ["sdlog", "corr(a)"]),
        (Again(), ["number", "number"], ["sdlog", "corr(a)"]),
        (Names(), ["number", "number"], ["range", "rho2"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_structures_say_what_their_parameters_are(structure, kinds, labels):
    found = parameters_of(structure, "g: sd", ["a: sd(b)", "rho"])
    assert [parameter.kind for parameter in found] == kinds
    assert [parameter.name for parameter in found] == [f"g: sd: {label}" for label in labels]


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Wrong(), "kind: expected one of 'sd', 'correlation', .* got 'variance'"),
        (Texts(), "Texts: expected a tuple of lmm.covariance.Parameter from parameters, got 'sdlog'"),
        (
            One(),
            r"expected a tuple of lmm.covariance.Parameter from parameters, got Parameter\('sdlog', 'number'\)",
        ),
        (Numbers(), "Numbers: expected a tuple of texts from param_names, got 1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_declaration_that_does_not_hold(structure, message):
    with pytest.raises(lmm.OptionError, match=message):
        parameters_of(structure, "g", ["a", "b"])
    with pytest.raises(lmm.OptionError, match=message):
        lmm.testing.check_covariance(structure, q=2)


def test_numbers_of_a_users_structure_are_numbers(tmp_path):
    """Against the same model by standard deviations: y's logarithm of a standard deviation may be negative."""
    data = DATA.assign(y=DATA["y1"])
    fit, same = (
        lmm.fit("y ~ u + (1 + w || h)", data),
        lmm.fit("y ~ u + (1 + w | h)", data, covariance={"h": Odd()}),
    )
    assert same.deviance == pytest.approx(fit.deviance, abs=1e-7)
    table, sds = same.variance(), fit.variance()
    expected = np.log(sds["estimate"].to_numpy()[:2])
    np.testing.assert_allclose(table["estimate"].iloc[:2], expected, atol=1e-5)
    half = 1.959963984540054 * table["std_error"].iloc[:2]
    np.testing.assert_allclose(table["conf_high"].iloc[:2], table["estimate"].iloc[:2] + half, rtol=SAME)
    np.testing.assert_allclose(table["std_error"].iloc[:2], (sds["std_error"] / sds["estimate"]).iloc[:2], rtol=1e-3)
    assert list(same.variance("variance").index) == ["h: sdlog", "h: corr(a)", "Residual: var"]
    np.testing.assert_array_equal(same.variance("variance")["estimate"].iloc[:2], table["estimate"].iloc[:2])
    text = str(same.summary()).split("Covariance parameters:")[1]
    assert [line.split()[-3] for line in text.split("\n\n")[0].splitlines()[2:]] == ["sdlog", "corr(a)"]
    same.save(tmp_path / "fit.json")
    pd.testing.assert_frame_equal(lmm.load(tmp_path / "fit.json").variance("variance"), same.variance("variance"))
    with pytest.raises(lmm.OptionError, match="expected a number for 'h: sdlog'"):
        lmm.fit("y ~ u + (1 + w | h)", data, covariance={"h": Odd()}, start={"h: sdlog": np.inf})


# ---- hypotheses ------------------------------------------------------------------------------------------------------


def test_a_hypothesis_about_a_coefficient_called_b(plain, strange):
    names = list(strange.estimates.labels.fixed_names)
    row = np.zeros((1, len(names)))
    row[0, names.index("dose [mg]")], row[0, names.index("b")] = 1.0, -1.0
    found, by_matrix, other = strange.test("dose [mg] - b = 0"), strange.test(row), plain.test("u - b = 0")
    for column in ("num_df", "den_df", "statistic", "p_value"):
        np.testing.assert_array_equal(found[column], by_matrix[column])
        np.testing.assert_allclose(found[column], other[column], rtol=SAME)
    joint = strange.test(["k: sd(k][T.[0, 10)] = 0", "k: sd(k][T.x[1]] = 0"])
    assert joint["term"][0] == "k: sd(k][T.[0, 10)] = 0, k: sd(k][T.x[1]] = 0"
    np.testing.assert_allclose(joint["statistic"], strange.anova().query("term == 'k: sd(k]'")["statistic"], rtol=SAME)


NAMES = [
    "Intercept", "a", "b", "b0_", "b1_", "x1", "x10", "e", "I(x ** 2)", "f[T.b]", "a:b", "a - b", "dose [mg]", "1",
    "1e", "g[T.(0, 10]]:a", "é", "f[T.b]:dose [mg]", "poly(x, 2)[1]", "b = 3", "=", "p`q", "p`q:x1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("h", "expected"),
    [
        ("a = 0", [{"a": 1}]),
        ("a", [{"a": 1}]),
        ("a = b", [{"a": 1, "b": -1}]),
        ("a-b = 0", [{"a": 1, "b": -1}]),
        ("`a` - `b` = 0", [{"a": 1, "b": -1}]),
        ("a - b = 0", [{"a - b": 1}]),
        ("`a - b` = 0", [{"a - b": 1}]),
        ("`b = 3` + b = 0", [{"b = 3": 1, "b": 1}]),
        ("`=` = b", [{"=": 1, "b": -1}]),
        ("b = b0_, b0_ = b1_", [{"b": 1, "b0_": -1}, {"b0_": 1, "b1_": -1}]),
        ("x1 - x10 = 0", [{"x1": 1, "x10": -1}]),
        ("x10=x1", [{"x10": 1, "x1": -1}]),
        ("1e-3*e - a = 0", [{"e": 1e-3, "a": -1}]),
        ("2.5e2 * e + 1 * a = 0", [{"e": 250, "a": 1}]),
        ("1e = 0", [{"1e": 1}]),
        ("`1` = 0", [{"1": 1}]),
        ("I(x ** 2) = e", [{"I(x ** 2)": 1, "e": -1}]),
        ("f[T.b] - a:b = 0", [{"f[T.b]": 1, "a:b": -1}]),
        ("`a`:`b` = 0", [{"a:b": 1}]),
        ("f[T.b]:`dose [mg]` + f[T.b] = 0", [{"f[T.b]:dose [mg]": 1, "f[T.b]": 1}]),
        ("g[T.(0, 10]]:a = 0, poly(x, 2)[1] = 0", [{"g[T.(0, 10]]:a": 1}, {"poly(x, 2)[1]": 1}]),
        ("e\u0301 = 0", [{"é": 1}]),
        ("`p``q` - p`q = b", [{"b": -1}]),
        ("`p``q`:x1 + `p``q:x1` + p`q:`x1` = 0", [{"p`q:x1": 3}]),
        ("2*(b + e)/4 = -e", [{"b": 0.5, "e": 1.5}]),
        ("-(-b) - -1*e == 0", [{"b": 1, "e": 1}]),
        ("b \N{MINUS SIGN} e = 0", [{"b": 1, "e": -1}]),
        ("b = e = a", [{"b": 1, "e": -1}, {"e": 1, "a": -1}]),
        ("2 * (b - e) = 2 * b - a", [{"e": -2, "a": 1}]),
        (["b = 0", "e = 0, a = 0"], [{"b": 1}, {"e": 1}, {"a": 1}]),
        (np.array(["b = 0"]), [{"b": 1}]),
    ],
    ids=str,
)
def test_hypotheses_are_read_in_one_pass(h, expected):
    rows = [[row.get(name, 0.0) for name in NAMES] for row in expected]
    assert hypothesis(h, NAMES).rows.tolist() == rows


@pytest.mark.parametrize(
    ("h", "message"),
    [
        ("x2 = 0", "no coefficient is named 'x2'"),
        ("x100 = 0", "no coefficient is named 'x100'; did you mean x10"),
        ("ab = 0", "no coefficient is named 'ab'"),
        ("`b = 0", "no coefficient is named"),
        ("b0 = 0", "no coefficient is named 'b0'"),
        ("2 b = 0", "expected an operator before 'b'"),
        ("b e = 0", "expected an operator before 'e'"),
        ("e = 2, 2 * e = 5", "equations that can be true together"),
        ("b * e = 0", "multiplied and divided by numbers"),
        ("b / 0 = 0", "multiplied and divided by numbers"),
        ("(b = 0", "a parenthesis is not closed"),
        ("b + = 0", "expected a coefficient or a number before '='"),
        ("b = 0,", "it ends too early"),
        ("", "it ends too early"),
        ("b - b = 0", "expected a combination of coefficients in every row"),
        ("1 = 1", "expected a combination of coefficients in every row"),
        ({"b": 0}, "expected text such as"),
        (["b = 0", 1], "expected text such as"),
        ([], "expected text such as"),
        ([[1.0, 2.0]], "a matrix of finite numbers with 23 columns"),
    ],
    ids=str,
)
def test_what_is_no_hypothesis(h, message):
    with pytest.raises(lmm.OptionError, match=message):
        hypothesis(h, NAMES)
