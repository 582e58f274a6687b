"""Whatever a column is called, a formula can name it, and no name is taken for another.

Tried, each in every place where a formula names a column: characters that Python rewrites (µ, x², ﬁ, ſ, fullwidth),
accents as macOS writes them, text written from right to left, emoji, CJK, symbols; spaces, dots, hyphens, percent,
brackets, colons, tildes, bars, quotes, backslashes, backquotes, line breaks, spaces that are not seen, nothing at all;
leading digits and numbers; keywords, values and builtins of Python; names of functions, structures and of what stands
for columns while a formula is evaluated; whole expressions.
"""

import json
import re
import unicodedata

import numpy as np
import pandas as pd
import polars as pl
import pytest

import jaxlmm as lmm
from jaxlmm.formula import Encoding, ModelOptions, build_frame, parse, updated
from jaxlmm.formula.newdata.subset import chosen_columns
from jaxlmm.formula.tokens.tokens import quoted

ROWS = 60
DRAWS = np.random.default_rng(0)
X, Z = DRAWS.normal(size=ROWS) + 4, DRAWS.normal(size=ROWS)
G = np.repeat([f"l{level}" for level in range(12)], 5)
F = np.array(list("abc") * 20)
Y = 2 + X + np.repeat(DRAWS.normal(size=12), 5) + DRAWS.normal(size=ROWS)

BARE = [
    "µg", "e\u0301te\u0301", "été", "x²", "²", "体重", "ａ", "ﬁt", "ﬀ", "ſ", "x\u0302\u0323", "x\u200by", "\ufeffid",
    "😀", "°C", "€", "a.b", "_x0_", "_t0_", "class", "lambda", "print", "log", "C", "I", "poly", "Q", "np", "self",
    "offset", "us", "ou", "factor", "number", "cbind", "dummy", "__numbers__", "__FORMULAIC_STATE__", "NaN", "Ω",
    "\u2126", "س", "‮rtl", "naïve", "α", "ns", "pi",
]  # fmt: skip
"""Names that need no backquotes."""

QUOTED = [
    "f's", "my days", " lead", "trail ", "a-b", "%fat", "%in%", "dose [mg]", "{x}", "(0, 10]", "a:b", "a~b", "a|b",
    "a,b", "a/b", 'say "x"', "back\\slash", "C:\\new", "\\", "ti`ck", "`", "a``b`", "'", '"', "new\nline", "a\tb",
    "2nd", "1.5", "0", ".", "..", "-", "~", "$x$", "#", "@", "name=", "None", "True", "TRUE", "x + z", "(1 | g)",
    "C(x)", "I(x ** 2)", "x[T.b]", "my\xa0days", "f’s", "−", "“x”", "",
]  # fmt: skip
"""Names that do."""


def named(name, values, **others):
    """Data with a column of this name, and others."""
    return pd.DataFrame({"y": Y, "z": Z, "g": G, "f": F, **others, name: values})


def frame_of(formula, data, **options):
    return build_frame(parse(formula), data, ModelOptions(**options))


def columns_again(frame, data):
    """The fixed-effect columns by an encoding that has been written as JSON."""
    encoding = Encoding.from_plain(json.loads(json.dumps(frame.labels.encoding.to_plain())))
    return encoding.columns(data)


@pytest.mark.parametrize("name", [*BARE, *QUOTED])
def test_a_column_may_have_any_name(name):
    q = quoted(name).text
    data = named(name, X)
    frame = frame_of(f"y ~ {q} + log({q}) + I({q}^2):z + relevel(factor(f), 'b'):{q} + poly({q}, 2)", data)
    found = dict(zip(frame.labels.column_names, columns_again(frame, data).T, strict=True))
    expected = {name: X, f"log({name})": np.log(X), f"I({name} ** 2):z": X**2 * Z}
    for column, values in expected.items():
        np.testing.assert_allclose(found[column], values, rtol=1e-14)
    np.testing.assert_array_equal(found[f"{name}:relevel(factor(f), 'b')[T.a]"], np.where(F == "a", X, 0))
    parts = [found[f"poly({name}, 2)[{power}]"] for power in (1, 2)]
    np.testing.assert_allclose(np.array(parts) @ np.c_[np.ones(ROWS), *parts], [[0, 1, 0], [0, 0, 1]], atol=1e-12)

    factor = frame_of(f"y ~ C({q}, Treatment('b')) + z:{q}", named(name, F))
    np.testing.assert_array_equal(factor.x[:, 1:3], np.c_[F == "a", F == "c"])
    assert factor.labels.column_names[1:4] == (
        f"C({name}, Treatment('b'))[T.a]", f"C({name}, Treatment('b'))[T.c]", f"z:{name}[a]",
    )  # fmt: skip

    response = {"z": Z, "g": G, name: Y}
    np.testing.assert_array_equal(frame_of(f"{q} ~ z", pd.DataFrame(response)).y, Y)
    np.testing.assert_allclose(frame_of(f"log({q}^2) ~ z", pd.DataFrame(response)).y, np.log(Y**2), rtol=1e-14)


@pytest.mark.parametrize("name", [*BARE, *QUOTED])
def test_random_terms_may_name_any_column(name):
    q = quoted(name).text
    data = named(name, X)
    terms = frame_of(f"y ~ 1 + ({q} * z || g)", data).labels.terms
    assert [term.columns for term in terms] == [("Intercept",), (name,), ("z",), (f"{name}:z",)]
    frame = frame_of(f"y ~ 1 + (1 + {q} | g)", data, weights=name)
    np.testing.assert_allclose(frame.weights, X)
    assert chosen_columns(frame.labels, f"~ (0 + {q} | g)") == ((1,),)
    assert chosen_columns(frame.labels, f"~ ({q} | g)") == ((0, 1),)
    positions = frame_of(f"y ~ 1 + ou({q} | g)", data, residual=f"ou({q} | g)").labels
    np.testing.assert_array_equal(positions.residual.encoding.columns(data)[:, 0], X)
    np.testing.assert_array_equal(positions.terms[0].encoding.columns(data)[:, 0], X)
    marked = frame_of(f"y ~ 1 + (0 + dummy({q}, 'b') | g)", named(name, F)).labels.terms[0]
    np.testing.assert_array_equal(marked.encoding.columns(named(name, F))[:, 0], F == "b")

    groups = named(name, G).assign(**{"other group": F})
    frame = frame_of(f"y ~ z + (z | {q}) + (1 | {q}:`other group`)", groups)
    assert list(frame.levels) == [name, f"{name}:other group"]
    assert frame.labels.groups[name].labels.tolist() == sorted(set(G))
    assert chosen_columns(frame.labels, f"~ (1 | {q})") == ((0,), ())
    assert chosen_columns(frame.labels, f"~ (1 | `other group`:{q})") == ((), (0,))


@pytest.mark.parametrize("name", BARE)
def test_letters_accents_and_symbols_need_no_backquotes(name):
    data = named(name, X)
    np.testing.assert_allclose(
        columns_again(frame_of(f"y ~ {name} + log({name})", data), data)[:, 1:], np.c_[X, np.log(X)]
    )


@pytest.mark.parametrize("name", [*BARE, *QUOTED])
def test_update_keeps_names(name):
    q = quoted(name).text
    assert updated(f"y ~ z + {q} + (1 | g)", f". ~ . - {q}") == "y ~ z + (1 | g)"
    assert updated("y ~ 1", f"log(.) ~ z * {q} + ({q} || {q})") == f"log(y) ~ z + {q} + ({q} || {q}) + z:{q}"


RENAME = re.compile("rename", re.IGNORECASE)


@pytest.mark.parametrize("name", ["1", "Intercept"])
def test_names_that_have_another_meaning_are_refused(name):
    with pytest.raises(lmm.JaxlmmError, match=RENAME):
        frame_of(f"y ~ z + (1 | `{name}`)" if name == "1" else f"y ~ z + (0 + `{name}` | g)", named(name, X.round()))
    with pytest.raises(lmm.JaxlmmError, match=RENAME):
        frame_of("y ~ z + (1 | g:f) + (1 | `g:f`)", named("g:f", G))
    with pytest.raises(lmm.JaxlmmError, match=RENAME):
        frame_of("y ~ log(x) + `log(x)`", named("log(x)", Z, x=X))


# Pairs that Python takes for one name, or that only look alike; each stays what it is.
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x²", "x2"), ("µ", "μ"), ("é", "e\u0301"), ("ﬁt", "fit"), ("ａ", "a"), ("ſ", "s"), ("Ω", "\u2126"),
        ("x\u200b", "x"), ("a b", "a_b"), ("a b", "a\xa0b"), ("a b", "ab"), ("a-b", "a.b"), ("_x1_", "_x0_"),
        ("ℌ", "H"), ("ª", "a"),
    ],
)  # fmt: skip
def test_names_that_look_alike_are_not_mixed_up(one, other):
    data = pd.DataFrame({"y": Y, "g": G, other: Z, one: X})
    first, second = quoted(one).text, quoted(other).text
    frame = frame_of(f"y ~ {first} + {second} + scale({first}) + I({second}^3) + ({first} + {second} | g)", data)
    expected = np.c_[X, Z, (X - X.mean()) / X.std(ddof=1), Z**3]
    np.testing.assert_allclose(columns_again(frame, data)[:, 1:], expected, rtol=1e-12)
    np.testing.assert_allclose(frame.labels.terms[0].encoding.columns(data)[:, 1:], np.c_[X, Z])
    assert chosen_columns(frame.labels, f"~ (0 + {second} | g)") == ((2,),)
    lost = data.rename(columns={other: "gone"})
    with pytest.raises(lmm.DataError, match="expected the variables"):
        columns_again(frame, lost)


NAMES = {"y": "ré²", "x": "f's [µg]", "g": "fami\u0302lle `1`|"}
FORMULA = '{y} ~ ns({x}, df=2) + relevel(h, "f\'s") + (1 | {g})'


@pytest.fixture(scope="module")
def plain():
    data = pd.DataFrame({"y": Y, "x": X, "z": Z, "g": G, "h": np.where(F == "a", "f's", F)})
    return data, lmm.fit(FORMULA.format(y="y", x="x", g="g"), data)


@pytest.fixture(scope="module")
def odd(plain):
    data = plain[0].rename(columns=NAMES)
    return data, lmm.fit(FORMULA.format(**{key: quoted(name).text for key, name in NAMES.items()}), data)


def test_a_fit_does_not_depend_on_names(plain, odd, tmp_path):
    data, fit = odd
    assert fit.deviance == plain[1].deviance
    assert fit.fixef().index.tolist() == [name.replace("(x,", "(f's [µg],") for name in plain[1].fixef().index]
    assert list(fit.n_groups) == [NAMES["g"]]
    fit.save(tmp_path / "fit.json")
    for again in (fit, lmm.load(tmp_path / "fit.json")):
        for normal in ("NFC", "NFD"):  # what another system makes of the names
            new = data.rename(columns=lambda name, normal=normal: unicodedata.normalize(normal, name))
            for library in (pd.DataFrame, pl.DataFrame):
                predicted = again.predict(library(new))["estimate"].to_numpy()
                np.testing.assert_allclose(predicted, plain[1].fitted().to_numpy(), rtol=1e-12)
        fixed = again.predict(data, re_form="~0")["estimate"]
        np.testing.assert_allclose(fixed, plain[1].predict(re_form="~0")["estimate"], rtol=1e-12)
        assert "f's [µg]" in str(again.summary())
    smaller = fit.update(f'. ~ . - relevel(h, "f\'s") - ns({quoted(NAMES["x"]).text}, df=2) + z')
    np.testing.assert_allclose(smaller.deviance, lmm.fit("y ~ z + (1 | g)", plain[0]).deviance, rtol=1e-12)


def test_many_responses_of_any_name(plain, tmp_path):
    data = plain[0].assign(y2=Y + Z)
    ours = lmm.fit_many("cbind(y, y2) ~ z + (1 | g)", data)
    names = {"y": "ré `1`", "y2": "ré ~ [2]", "g": NAMES["g"]}
    odd, group = data.rename(columns=names), quoted(names["g"]).text
    left = ", ".join(quoted(names[name]).text for name in ("y", "y2"))
    decomposed = [unicodedata.normalize("NFD", names[name]) for name in ("y", "y2")]
    for many in (
        lmm.fit_many(f"cbind({left}) ~ z + (1 | {group})", odd),
        lmm.fit_many(f"~ z + (1 | {group})", odd, responses=decomposed),
        lmm.fit_many(f"~ z + (1 | {group})", odd, responses="ré*"),
        lmm.fit_many(f"~ z + (1 | {group})", odd[["z", names["g"]]], responses=odd[[names["y"], names["y2"]]]),
    ):
        assert many.responses == (names["y"], names["y2"])
        np.testing.assert_array_equal(many.tidy()["estimate"], ours.tidy()["estimate"])
    assert many[names["y2"]].formula == f"{quoted(names['y2']).text} ~ z + (1 | {group})"
    np.testing.assert_allclose(many[names["y2"]].deviance, ours["y2"].deviance, rtol=1e-12)
    many.save(tmp_path / "many.json")
    assert lmm.load(tmp_path / "many.json").responses == many.responses


def test_options_name_columns_in_either_form(plain):
    data = plain[0].rename(columns={"g": "fami\u0302lle"})
    data["e\u0301"] = np.arange(ROWS) + 1.0
    known = pd.DataFrame(np.eye(12) + 0.1, index=sorted(set(G)), columns=sorted(set(G)))
    frame = frame_of("y ~ z + (1 | famîlle)", data, weights="é", offset="é", kinship={"famîlle": known})
    np.testing.assert_allclose(frame.weights, np.arange(ROWS) + 1)
    np.testing.assert_array_equal(frame.offset, np.arange(ROWS) + 1)
    assert list(frame.level_covariances) == ["fami\u0302lle"]
    structure = {"famîlle": lmm.covariance.Diagonal()}
    assert frame_of("y ~ (z | famîlle)", data, covariance=structure).labels.terms[0].group == "fami\u0302lle"


def test_a_file_of_another_system(tmp_path):
    from jaxlmm.cli.ids import read_data

    path = tmp_path / "data.csv"
    path.write_text("fami\u0302lle,y\n001,1.5\n010,2.5\n", encoding="utf-8")
    frame = read_data(path, "y ~ (1 | famîlle)", ["famîlle=K.csv"])
    assert frame["fami\u0302lle"].tolist() == ["001", "010"]


# Texts of a formula reach no reader but ours either: quotes, brackets and stand-ins within them are text.
@pytest.mark.parametrize(
    "level", ["f's", 'say "x"', "both ' and \"", "a)", "]", "_x0_", "_t0_", "`", "back\\slash", "é", "1"]
)
def test_levels_may_be_any_text(level):
    values = np.where(F == "a", level, F)
    data = named("h", values)
    text = json.dumps(level, ensure_ascii=False)
    frame = frame_of(f"y ~ relevel(h, 'b') + I(h == {text}):z + dummy(h, {text}) + C(h, Treatment({text}))", data)
    found = dict(zip(frame.labels.column_names, columns_again(frame, data).T, strict=True))
    np.testing.assert_array_equal(found[f"relevel(h, 'b')[T.{level}]"], F == "a")
    np.testing.assert_array_equal(found[f"dummy(h, {level!r})"], F == "a")
    np.testing.assert_array_equal(found[f"I(h == {level!r})[True]:z"], np.where(F == "a", Z, 0))
    np.testing.assert_array_equal(found[f"C(h, Treatment({level!r}))[T.c]"], F == "c")
