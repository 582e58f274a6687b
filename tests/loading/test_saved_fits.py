"""A fit saved and loaded: the same numbers to the last bit, the same print, and clear words for what needs the rows."""

import functools
import json
import math

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.results.serialize import VERSION

import models
import references

DATA = models.data(seed=5, levels=20)
FIVE = "height ~ variant1 + variant2 + variant3 + (1 | family)"
OTHERS = {
    "linear": lambda: lmm.fit("y ~ x * f", DATA),
    "one fixed effect": lambda: lmm.fit("y ~ 1 + (1 | g)", DATA, method="ML"),
    "no fixed effect": lambda: lmm.fit("y ~ 0 + (1 | g)", DATA),
    "dropped column": lambda: lmm.fit("y ~ x + twice + (1 | g)", DATA.assign(twice=2 * DATA["x"])),
    "boundary": lambda: lmm.fit("height ~ variant1 + (1 | family)", lmm.datasets.variants5()),
    "ridge": lambda: lmm.fit(FIVE, lmm.datasets.variants5()),
    "far from the optimum": lambda: lmm.fit("y ~ x + (1 + z | g)", DATA, optimizer=__import__("optax").sgd(0.0)),
    "everything in the formula": lambda: lmm.fit(
        "log(y + 20) ~ poly(x, 2) * f + scale(z):f + C(h, contr.sum) + offset(log(w)) + (1 + poly(z, 2) | g)", DATA
    ),
    "all fixed": lambda: lmm.fit("y ~ x + (1 | g)", DATA, fixed={"g: sd(Intercept)": 1.0, "Residual: sd": 2.0}),
    "offset by rows": lambda: lmm.fit("y ~ x + (1 | g)", DATA, offset=DATA["o"].to_numpy(), weights="w"),
    "relatives": lambda: lmm.fit(
        "y ~ x + (1 + z | g) + (1 | h)", DATA[DATA["g"] > "g01"], kinship={"g": models.kinship(DATA)}
    ),
    "numbers group": lambda: lmm.fit(
        "y ~ x + (1 | k:h) + (0 + z | k) + (1 | b)",
        DATA.assign(k=DATA["g"].str[1:].astype("int8"), b=DATA["x"] > 2.0),
    ),
    "missing rows": lambda: lmm.fit("y ~ x + (1 | g)", DATA.assign(x=DATA["x"].mask(DATA.index < 4))),
    "cake": lambda: lmm.fit("angle ~ recipe * temperature + (1 | replicate/recipe)", lmm.datasets.cake()),
}
KINDS = [*models.MODELS, *OTHERS]
SCALARS = [
    "n", "n_groups", "n_dropped", "n_params", "df_residual", "sigma", "loglik", "deviance", "aic", "bic", "method",
    "formula", "solver", "solver_reason", "is_singular", "status", "device", "seconds",
]  # fmt: skip


@functools.cache
def fit_of(kind):
    return OTHERS[kind]() if kind in OTHERS else models.fit(kind, DATA)


@pytest.fixture(params=KINDS)
def pair(request, tmp_path):
    """A fit, what was loaded of it, and the file."""
    fit, path = fit_of(request.param), tmp_path / "fit.json"
    fit.save(path)
    return fit, lmm.load(path), path


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "fit.json"
    fit_of("slope").save(path)
    return path


def same(one, other):
    """The same bits, labels and types; frames, series, and dicts of frames."""
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True)
    else:
        pd.testing.assert_frame_equal(one, other, check_exact=True)


# ---- what needs no row -----------------------------------------------------------------------------------------------


def test_it_prints_as_the_fit(pair):
    fit, back, _ = pair
    assert type(back) is type(fit)
    assert str(back.summary()) == str(fit.summary())
    assert str(back.summary("normal")) == str(fit.summary("normal"))
    assert back._repr_html_() == fit._repr_html_()
    assert repr(back) == repr(fit)


def test_its_numbers_are_those_of_the_fit(pair):
    fit, back, _ = pair
    for name in SCALARS:
        mine, theirs = getattr(fit, name), getattr(back, name)
        assert type(mine) is type(theirs), name
        assert mine == theirs, name
    assert fit.theta.tobytes() == back.theta.tobytes()
    for one, other in zip(fit.certificate, back.certificate, strict=True):
        if isinstance(one, pd.Series):
            same(one, other)
        else:
            assert one == other or (math.isnan(one) and math.isnan(other))


def test_its_tables_are_those_of_the_fit(pair):
    fit, back, _ = pair
    for table in (
        lambda f: f.fixef(),
        lambda f: f.vcov(),
        lambda f: f.coef(),
        lambda f: f.coef("normal", level=0.9),
        lambda f: f.variance(),
        lambda f: f.variance("variance"),
        lambda f: f.ranef(),
        lambda f: f.ranef_sd(),
        lambda f: {group: f.coef_by(group) for group in f.ranef()},
        lambda f: f.tidy("all", df="normal", level=0.8),
        lambda f: f.tidy("ran_vals"),
        lambda f: f.glance(),
        lambda f: f.pve(),
        lambda f: {group: f.ratio(group) for group in f.ranef()},
        lambda f: f.delta(lambda v: v["Residual: sd"] ** 2),
    ):
        same(table(fit), table(back))


def test_it_saves_the_same_file(pair, tmp_path):
    _, back, path = pair
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("boundary", "ridge", "cake")])
def test_it_predicts_as_the_fit(kind, tmp_path):
    fit = fit_of(kind)
    fit.save(tmp_path / "fit.json")
    back = lmm.load(tmp_path / "fit.json")
    data = DATA.drop(columns="y").assign(
        k=DATA["g"].str[1:].astype(float), b=DATA["x"] > 2.0, twice=DATA["x"], g=DATA["g"].mask(DATA.index == 7)
    )
    for re_form in (None, "~0"):
        if kind == "offset by rows":
            with pytest.raises(lmm.DataError, match="one number for each of its rows"):
                back.predict(data, re_form=re_form)
            continue
        mine, theirs = (f.predict(data, re_form=re_form, new_levels="zero") for f in (fit, back))
        assert mine["estimate"].notna().sum() > len(data) - 10
        same(mine[["estimate"]], theirs[["estimate"]])
        if re_form == "~0":  # errors of modes need the rows
            same(mine, theirs)
    if kind == "relatives":
        assert not set(fit.estimates.labels.groups["g"].unobserved).isdisjoint(data["g"])
        some = data[data["g"] == "g01"]
        assert (back.predict(some, re_form="~ (1 | g)") != back.predict(some, re_form="~0")).all(axis=None)


def test_a_picture_of_it(saved):
    assert lmm.plot.ranef(lmm.load(saved), "g").get_ylabel() == "conditional mode"


# ---- what needs rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda fit: fit.fitted(),
        lambda fit: fit.residuals(),
        lambda fit: fit.predict(),
        lambda fit: fit.predict(re_form="~ (1 | g)"),
        lambda fit: fit.model_matrix(),
        lambda fit: fit.random_matrix("g"),
        lambda fit: fit.marginal_cov(),
        lambda fit: fit.design,
        lambda fit: fit.frame,
        lambda fit: fit.refit(DATA["y"]),
        lambda fit: fit.update(". ~ . - x", data=DATA),
    ],
)
def test_what_needs_rows_says_so(saved, ask):
    with pytest.raises(lmm.DataError, match=r"no rows; .* need the data\. Fit again .* lmm\.fit\('y ~ x \+ \(1 \+ z"):
        ask(lmm.load(saved))


def test_wrong_options_are_still_answered(saved):
    back = lmm.load(saved)
    with pytest.raises(lmm.OptionError, match="no random term is grouped by 'h'"):
        back.ranef("h")
    with pytest.raises(lmm.OptionError, match="type: expected one of"):
        back.residuals("working")


# ---- the file --------------------------------------------------------------------------------------------------------


def test_other_programs_read_the_tables(saved):
    fit, record = fit_of("slope"), json.loads(saved.read_text())
    coef = pd.DataFrame(record["coef"]).set_index("term")
    pd.testing.assert_frame_equal(coef, fit.coef(), check_exact=True)
    variance = pd.DataFrame(record["variance"]).set_index("parameter")
    assert variance["estimate"].tolist() == fit.variance()["estimate"].tolist()
    modes = record["ranef"]["g"]
    table = pd.DataFrame(modes["columns"], index=modes["levels"])
    assert table.index.tolist() == fit.ranef("g").index.tolist()
    pd.testing.assert_frame_equal(table.reset_index(drop=True), fit.ranef("g").reset_index(drop=True), check_exact=True)
    assert pd.DataFrame(record["vcov"], index=list(record["vcov"])).equals(fit.vcov())
    assert record["deviance"] == fit.deviance


def test_no_word_of_the_file_is_outside_json(tmp_path):
    """A strict reader takes it: what is not a number is null, an infinity is text."""

    def refuse(text):
        raise AssertionError(text)

    fit_of("ridge").save(tmp_path / "fit.json")
    text = (tmp_path / "fit.json").read_text()
    record = json.loads(text, parse_constant=refuse)
    assert record["coef"]["std_error"] == [None] * 4
    fit_of("linear").save(tmp_path / "linear.json")
    linear = json.loads((tmp_path / "linear.json").read_text(), parse_constant=refuse)
    assert linear["certificate"]["min_eigenvalue"] == "Infinity"
    assert lmm.load(tmp_path / "linear.json").certificate.min_eigenvalue == math.inf


def test_no_row_is_in_the_file(tmp_path):
    """As many numbers for fifty times the rows of the same levels."""
    many = pd.concat([DATA] * 50, ignore_index=True)
    many["y"] += np.random.default_rng(0).normal(size=len(many))
    sizes = []
    for data in (DATA, many):
        lmm.fit("y ~ poly(x, 2) + (1 | g)", data).save(tmp_path / "fit.json")
        sizes.append((tmp_path / "fit.json").stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 0.1 * sizes[0]


def test_a_path_as_text(saved):
    assert lmm.load(str(saved)).formula == lmm.load(saved).formula
    with pytest.raises(FileNotFoundError):
        lmm.load(saved.parent / "none.json")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "got no JSON"),
        (b"a,b\n1,2\n", "got no JSON"),
        (b'{"kind": nothing}', "got no JSON"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "got a binary file"),
        (b"[1, 2]", "got JSON without kind 'jaxlmm.fit'"),
        (b'{"coef": {}}', "got JSON without kind 'jaxlmm.fit'"),
        (b'{"kind": "jaxlmm.scan", "version": 2}', "got one of kind 'jaxlmm.scan'"),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, part):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(lmm.DataError, match=r"other\.json: expected a fit saved by fit\.save\(path\), " + part):
        lmm.load(path)


def test_a_truncated_file(saved):
    """Wherever it ends: between fields, in a number, in a text, after a bracket."""
    content = saved.read_bytes().rstrip()
    for end in [*range(1, len(content), 37), len(content) - 2, len(content) - 1]:
        saved.write_bytes(content[:end])
        with pytest.raises(
            lmm.DataError, match=r"got JSON that ends too early \(a truncated file\).*Save the fit again"
        ):
            lmm.load(saved)


@pytest.mark.parametrize(
    ("version", "part"),
    [
        (VERSION + 1, f"got version {VERSION + 1}; install a newer"),
        (1, "got version 1; fit and save"),
        (None, "got version None"),
    ],
)
def test_another_version(saved, version, part):
    record = json.loads(saved.read_text())
    saved.write_text(json.dumps({**record, "version": version}))
    with pytest.raises(lmm.DataError, match=f"expected a fit .* with layout version {VERSION}, {part}"):
        lmm.load(saved)


@pytest.mark.parametrize(
    ("place", "value", "part"),
    [
        (("inference", "psi_cov"), [[1.0, 2.0]], "cannot reshape"),
        (("inference", "beta"), [1.0], "1 numbers in beta for 2 columns"),
        (("inference", "report"), ["a"] * 4, "could not convert"),
        (("ranef", "g", "columns", "z"), [1.0], "must have the same shape"),
        (("model", "terms", 0, "group"), "h", "no field 'h'"),
        (("model", "encoding"), None, "NoneType"),
    ],
)
def test_a_file_that_was_changed(saved, place, value, part):
    record = json.loads(saved.read_text())
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    saved.write_text(json.dumps(record))
    with pytest.raises(lmm.DataError, match=f"expected the fields of a fit .*{part}.* changed after it was saved"):
        lmm.load(saved)


@pytest.mark.parametrize("field", ["model", "inference", "ranef", "sigma", "certificate", "n_groups"])
def test_a_file_without_a_field(saved, field):
    record = json.loads(saved.read_text())
    del record[field]
    saved.write_text(json.dumps(record))
    with pytest.raises(lmm.DataError, match=f"got no field '{field}'"):
        lmm.load(saved)


def test_levels_that_json_cannot_say(tmp_path):
    data = DATA.assign(c=[frozenset({level}) for level in DATA["f"]])
    with pytest.raises(lmm.FormulaError, match=r"c: expected numbers, text, .* which can be saved, got frozenset"):
        lmm.fit("y ~ x + (1 | c)", data).save(tmp_path / "fit.json")
    assert not (tmp_path / "fit.json").exists()


def test_a_reference_fit_comes_back(tmp_path):
    fit = references.fitted("tmb_ou_reml")
    fit.save(tmp_path / "fit.json")
    assert str(lmm.load(tmp_path / "fit.json").summary()) == str(fit.summary())
