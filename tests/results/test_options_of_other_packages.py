"""Words of other packages, and input that is no number or text: an answer in our words, never a raw exception.

Inputs of this kind that are tried here: lists, sets, dicts and arrays as levels, covariates, responses,
positions, in pandas, polars and new data; options of lme4, statsmodels, pymer4, MixedModels.jl and brms at every
method of a fit, of many fits and of a scan; attributes of the same packages; protocols that ask for attributes that
must not be there (copy, pickle, NumPy, notebooks). Beside them what users of these packages expect of a fit: its scale
named, fixed effects in ``delta``, correlations of the fixed effects on demand, levels named in a picture, a row
without a level.
"""

import copy
import inspect
import math
import pickle
import re

import matplotlib.figure
import numpy as np
import pandas as pd
import polars
import pytest

import jaxlmm as lmm
from jaxlmm.results.foreign import FIT, FIT_MANY, OPTIONS, SCAN

EXACT = 1e-12
"""The same products in another order."""

RNG = np.random.default_rng(4)
N = 60
DATA = pd.DataFrame({"g": np.repeat([f"g{k}" for k in range(12)], 5), "h": np.resize(["u", "v"], N)})
DATA["x"] = RNG.normal(size=N).round(6)
DATA["y"] = (3.0 + DATA["x"] + RNG.normal(size=12)[np.repeat(np.arange(12), 5)] + RNG.normal(size=N)).round(6)
CLASH = "g: sd(Intercept)"


@pytest.fixture(scope="module")
def fit():
    return lmm.fit("y ~ x + (1 | g)", DATA)


@pytest.fixture(scope="module")
def many():
    return lmm.fit_many("~ x + (1 | g)", DATA, responses=["y"])


@pytest.fixture(scope="module")
def hits():
    """What a scan returns, without its tables, which no test here reads."""
    return lmm.Scan(None, None, None)


# ---- one value in each row -------------------------------------------------------------------------------------------

COLLECTIONS = {
    "list": lambda k: [k],
    "set": lambda k: {k},
    "dict": lambda k: {"a": k},
    "ndarray": lambda k: np.array([k, 2]),
}


@pytest.mark.parametrize("kind", COLLECTIONS)
@pytest.mark.parametrize("some", [False, True], ids=["all", "some missing"])
def test_a_collection_is_no_level(kind, some):
    values = pd.Series([COLLECTIONS[kind](k // 5) for k in range(N)], dtype=object)
    data = DATA.assign(c=values.where(np.arange(N) > 9, None) if some else values)
    with pytest.raises(lmm.DataError, match=f"c: expected one value in each row, got {kind} such as"):
        lmm.fit("y ~ x + (1 | c)", data)


@pytest.mark.parametrize(
    "formula", ["y ~ c + (1 | g)", "y ~ x + (c | g)", "y ~ x + (1 | g:c)", "c ~ x + (1 | g)", "y ~ x + (1 | g/c)"]
)
def test_nor_anything_else_of_a_formula(formula):
    with pytest.raises(lmm.DataError, match="c: expected one value in each row, got list such as"):
        lmm.fit(formula, DATA.assign(c=[[k] for k in range(N)]))


def test_nor_in_other_frames_options_and_new_data(fit):
    lists = [[k // 5] for k in range(N)]
    frame = polars.DataFrame({"x": DATA["x"].to_numpy(), "y": DATA["y"].to_numpy(), "c": lists})
    with pytest.raises(lmm.DataError, match="c: expected one value in each row"):
        lmm.fit("y ~ x + (1 | c)", frame)
    with pytest.raises(lmm.DataError, match="c: expected one value in each row"):
        lmm.fit("y ~ x + (1 | g)", DATA.assign(c=lists), residual="ou(x | c)")
    with pytest.raises(lmm.DataError, match="c: expected one value in each row"):
        lmm.fit_many("~ x + (1 | c)", DATA.assign(c=lists), responses=["y"])
    for option in ("weights", "offset"):
        with pytest.raises(lmm.DataError, match=f"{option}: expected one value in each row"):
            lmm.fit("y ~ x + (1 | g)", DATA.assign(c=lists), **{option: "c"})
    with pytest.raises(lmm.DataError, match="g: expected one value in each row"):
        fit.predict({"x": [1.0, 2.0], "g": [["g1"], ["g2"]]})


# ---- options of other packages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "option", "ours"),
    [
        ("predict", "allow_new_levels", "new_levels='zero'"),
        ("predict", "re_formula", "re_form"),
        ("predict", "use_rfx", "re_form"),
        ("predict", "exog", "newdata"),
        ("predict", "new_level", "did you mean new_levels"),
        ("residuals", "scaled", "type='pearson'"),
        ("residuals", "re_form", "level='conditional'"),
        ("fitted", "type", "level='conditional'"),
        ("summary", "corr", "correlation=True"),
        ("summary", "ddf", "df='satterthwaite'"),
        ("summary", "digits", r"coef\(\)"),
        ("coef", "ddf", "df='satterthwaite'"),
        ("coef", "alpha", "level=0.95"),
        ("tidy", "conf_int", "level=0.95"),
        ("vcov", "correlation", "summary"),
        ("variance", "comp", "scale='sd'"),
        ("ranef", "condVar", "ranef_sd"),
        ("refit", "newresp", "y="),
        ("update", "REML", "method='REML'"),
        ("save", "filename", "path="),
        ("fixef", "add_dropped", "there are none"),
        ("fixef", "alpha", "there are none"),
        ("ratio", "groups", "did you mean group"),
        ("marginal_cov", "row", "did you mean rows"),
    ],
)
def test_a_fit_answers_foreign_options(fit, method, option, ours):
    with pytest.raises(lmm.OptionError, match=f"{method} has no option '{option}': .*{ours}"):
        getattr(fit, method)(**{option: True})


@pytest.mark.parametrize(
    ("method", "option", "ours"),
    [
        ("tidy", "ddf", "df="),
        ("tidy", "conf_int", "level="),
        ("anova", "typ", "type=1, 2 or 3"),
        ("test", "L", "h="),
        ("residuals", "scaled", "type='pearson'"),
        ("variance", "comp", "scale="),
        ("ranef", "condVar", "ranef_sd"),
        ("to_csv", "sep", "to_csv"),
        ("glance", "foo", "there are none"),
    ],
)
def test_many_fits_answer_foreign_options(many, method, option, ours):
    with pytest.raises(lmm.OptionError, match=f"{method} has no option '{option}': .*{ours}"):
        getattr(many, method)(**{option: True})


@pytest.mark.parametrize(("method", "option"), [("top", "by"), ("tidy", "n"), ("to_tsv", "sep"), ("lambda_gc", "x")])
def test_scans_answer_foreign_options(hits, method, option):
    with pytest.raises(lmm.OptionError, match=f"{method} has no option '{option}': "):
        getattr(hits, method)(**{option: True})


@pytest.mark.parametrize("cls", [lmm.Fit, lmm.FitMany, lmm.Scan])
def test_every_method_answers(cls):
    """None lets a foreign option through to Python, and none that it has is called foreign."""
    for name, method in vars(cls).items():
        if not inspect.isfunction(method) or name.startswith("_") or name == "update":
            continue
        with pytest.raises(lmm.OptionError, match=f"{name} has no option 'foreign'"):
            method(None, foreign=1)
        assert not set(OPTIONS.get(name, {})) & set(inspect.signature(method).parameters), name


# ---- attributes of other packages ------------------------------------------------------------------------------------

STATSMODELS = (
    "params bse pvalues tvalues cov_params conf_int resid fittedvalues random_effects cov_re llf nobs df_resid"
)
LME4 = "Anova VarCorr logLik AIC BIC getME ngrps isSingular REMLcrit bootMer lsmeans lrtest rand hatvalues"
OF_MANY = "params conf_int coef pvalues vcov predict logLik topTable bse random_effects"
OF_SCANS = "pvalues params results to_csv manhattan qq head"
OF_THE_PACKAGE = "lmer lme mixedlm lmm MixedLM Lmer LinearMixedModel glmer glmmTMB dream kinship"
OTHERS = "coefs coeftable stderror loglikelihood raneftables objective fits coef_ X Z to_csv t_test fit"


@pytest.mark.parametrize("word", f"{STATSMODELS} {LME4} {OTHERS}".split())
def test_a_fit_names_ours(fit, word):
    with pytest.raises(AttributeError, match=rf"^Fit has no '{word}': .*(fit\.|lmm\.)"):
        getattr(fit, word)
    assert not hasattr(fit, word)


@pytest.mark.parametrize("word", OF_MANY.split())
def test_many_fits_name_ours(many, word):
    with pytest.raises(AttributeError, match=rf"^FitMany has no '{word}': .*many"):
        getattr(many, word)
    assert not hasattr(many, word)


@pytest.mark.parametrize("word", OF_SCANS.split())
def test_a_scan_names_ours(hits, word):
    with pytest.raises(AttributeError, match=rf"^Scan has no '{word}': .*(hits|lmm)"):
        getattr(hits, word)
    assert not hasattr(hits, word)


@pytest.mark.parametrize("word", OF_THE_PACKAGE.split())
def test_the_package_names_ours(word):
    with pytest.raises(AttributeError, match=rf"^module 'jaxlmm' has no attribute '{word}': .*lmm\."):
        getattr(lmm, word)
    assert not hasattr(lmm, word)


def test_no_word_is_called_foreign_that_is_ours():
    for cls, words in ((lmm.Fit, FIT), (lmm.FitMany, FIT_MANY), (lmm.Scan, SCAN)):
        assert not [word for word in words if hasattr(cls, word)]
        assert not set(words) & {"estimates", "origin", "header", "table", "null_fits"}


@pytest.mark.parametrize("word", ["foo", "_repr_png_", "_ipython_display_", "__array__", "__len_hint__", "predictt"])
def test_what_is_nowhere_is_not_there(fit, word):
    with pytest.raises(AttributeError, match=f"'Fit' object has no attribute '{word}'"):
        getattr(fit, word)
    with pytest.raises(AttributeError, match=f"module 'jaxlmm' has no attribute '{word}'$"):
        getattr(lmm, word)


def test_protocols_go_on_as_usual(fit, many, tmp_path):
    fit.save(tmp_path / "fit.json")
    loaded = lmm.load(tmp_path / "fit.json")
    for one in (copy.copy(fit), copy.copy(loaded), copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert one.coef().equals(fit.coef())
    assert copy.copy(many).tidy().equals(many.tidy())
    assert np.asarray(fit, dtype=object).shape == ()
    assert inspect.signature(fit.predict).parameters.keys() == {
        "newdata", "type", "re_form", "new_levels", "interval", "level",
    }  # fmt: skip
    assert "Predict the response" in fit.predict.__doc__
    IPython = pytest.importorskip("IPython")
    shown, _ = IPython.core.formatters.DisplayFormatter().format(fit)
    assert shown["text/html"].startswith("<section>")
    assert shown["text/plain"] == repr(fit)


# ---- the scale of variance parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "word"), [("sd", "sd"), ("variance", "var")])
def test_the_scale_is_said(fit, many, scale, word):
    for table in (fit.variance(scale), many.variance(scale)):
        assert table.attrs["scale"] == scale
        assert f"scale: {scale}" in str(table).splitlines()[0]
    assert list(fit.variance(scale).index) == [f"g: {word}(Intercept)", f"Residual: {word}"]
    assert fit.variance().attrs["scale"] == "sd"


# ---- functions of both kinds of parameters ---------------------------------------------------------------------------


def test_delta_takes_fixed_effects(fit):
    """Against matrices, and the rule of a product of two independent estimates."""
    one = fit.delta(lambda v: v["x"])
    assert one["estimate"] == pytest.approx(fit.fixef()["x"], rel=EXACT)
    assert one["std_error"] == pytest.approx(fit.coef()["std_error"]["x"], rel=EXACT)
    share = fit.delta(lambda v: v["Intercept"] / v["x"])
    gradient = np.array([1.0, -fit.fixef()["Intercept"] / fit.fixef()["x"]]) / fit.fixef()["x"]
    assert share["std_error"] == pytest.approx(np.sqrt(gradient @ fit.vcov().to_numpy() @ gradient), rel=EXACT)
    ratio = fit.delta(lambda v: 1.0 / v["Residual: sd"])
    both = fit.delta(lambda v: v["x"] / v["Residual: sd"])
    expected = (one["std_error"] * ratio["estimate"]) ** 2 + (one["estimate"] * ratio["std_error"]) ** 2
    assert both["std_error"] == pytest.approx(np.sqrt(expected), rel=EXACT)
    with pytest.raises(lmm.OptionError, match=r"no parameter or fixed effect is named 'z'.* x"):
        fit.delta(lambda v: v["z"])


@pytest.mark.parametrize(
    ("f", "part"),
    [
        (lambda v: np.log(v["x"] ** 2), "jnp.log"),
        (lambda v: math.sqrt(v["Residual: sd"]), "a function that JAX can differentiate"),
        (lambda v: float(v["x"]), "a function that JAX can differentiate"),
        ("x / Intercept", "a function such as lambda v"),
        (None, "a function such as lambda v"),
    ],
    ids=["NumPy", "math", "float", "text", "None"],
)
def test_delta_of_what_is_no_function_of_jax(fit, f, part):
    with pytest.raises(lmm.OptionError, match=re.escape(part)):
        fit.delta(f)


def test_a_fixed_effect_called_as_a_parameter(fit):
    named = lmm.fit(f"y ~ `{CLASH}` + (1 | g)", DATA.rename(columns={"x": CLASH}))
    assert named.delta(lambda v: v[CLASH])["estimate"] == pytest.approx(fit.variance()["estimate"][CLASH], rel=1e-9)
    effect = named.delta(lambda v: v[f"fixed: {CLASH}"])
    np.testing.assert_allclose(
        effect.iloc[:2], fit.coef().loc["x", ["estimate", "std_error"]].to_numpy(float), rtol=1e-9
    )


# ---- summary, picture, prediction ------------------------------------------------------------------------------------


def wide(count):
    """A linear model with this many coefficients."""
    columns = {f"x{k}": RNG.normal(size=N) for k in range(1, count)}
    return lmm.fit(f"y ~ {' + '.join(columns)}", DATA.assign(**columns))


def test_correlations_of_fixed_effects_are_shown_where_asked_for_or_few(fit):
    title = "Correlation of fixed effects"
    assert [title in str(fit.summary(correlation=c)) for c in (None, True, False)] == [True, True, False]
    twelve, thirteen = wide(12), wide(13)
    assert [title in str(twelve.summary(correlation=c)) for c in (None, True, False)] == [True, True, False]
    assert [title in str(thirteen.summary(correlation=c)) for c in (None, True, False)] == [False, True, False]
    assert "13 fixed effects are not shown; summary(correlation=True)" in str(thirteen.summary())
    assert "not shown" not in f"{thirteen.summary(correlation=False)}{thirteen.summary(correlation=True)}"
    rows = str(thirteen.summary(correlation=True)).split(f"{title}:\n")[1].split("\n\n")[0].splitlines()
    covariance = thirteen.vcov()
    expected = covariance.loc["x12", "x11"] / np.sqrt(covariance.loc["x12", "x12"] * covariance.loc["x11", "x11"])
    assert rows[-1].split()[0] == "x12"
    assert float(rows[-1].split()[-1]) == pytest.approx(expected, abs=5.1e-4)
    with pytest.raises(lmm.OptionError, match="correlation: expected None, True or False, got 'no'"):
        fit.summary(correlation="no")


def test_levels_are_named_where_there_is_room(fit):
    ax = lmm.plot.ranef(fit, "g")
    modes = fit.ranef("g")["Intercept"].sort_values()
    assert [text.get_text() for text in ax.get_xticklabels()] == list(modes.index)
    drawn = ax.get_lines()[0].get_xydata()
    np.testing.assert_allclose(drawn, np.column_stack([np.arange(12), modes]), rtol=EXACT)
    small = matplotlib.figure.Figure(figsize=(1.0, 1.0)).add_subplot()
    lmm.plot.ranef(fit, "g", ax=small)
    assert not {text.get_text() for text in small.get_xticklabels()} & set(modes.index)


NO_LEVEL = {
    "None": {"x": [0.5, 0.5, 0.5], "g": ["g3", None, "new"]},
    "NaN": pd.DataFrame({"x": [0.5, 0.5, 0.5], "g": ["g3", np.nan, "new"]}),
    "NA": pd.DataFrame({"x": [0.5, 0.5, 0.5], "g": pd.array(["g3", pd.NA, "new"], "string")}),
    "categories": pd.DataFrame({"x": [0.5, 0.5, 0.5], "g": pd.Categorical(["g3", None, "new"])}),
    "polars": polars.DataFrame({"x": [0.5, 0.5, 0.5], "g": ["g3", None, "new"]}),
    "all": pd.DataFrame({"x": [0.5, 0.5, 0.5], "g": [np.nan] * 3}),
}


@pytest.mark.parametrize("kind", NO_LEVEL)
def test_a_row_without_a_level_is_one_of_a_new_level(fit, kind):
    mean = fit.fixef()["Intercept"] + 0.5 * fit.fixef()["x"]
    known = mean + (0.0 if kind == "all" else fit.ranef("g")["Intercept"]["g3"])
    found = fit.predict(NO_LEVEL[kind], new_levels="zero")["estimate"]
    np.testing.assert_allclose(found, [known, mean, mean], rtol=EXACT)


def test_a_missing_level_of_an_interaction_and_a_missing_covariate():
    fit = lmm.fit("y ~ x + (1 + x | g:h)", DATA)
    data = pd.DataFrame({"x": [1.0, 1.0, np.nan, 1.0], "g": ["g3", None, None, "g3"], "h": ["u", "u", "u", None]})
    fixed, modes = fit.fixef(), fit.ranef("g:h").loc["g3:u"]
    mean = fixed["Intercept"] + fixed["x"]
    found = fit.predict(data, new_levels="zero")["estimate"]
    np.testing.assert_allclose(found, [mean + modes["Intercept"] + modes["x"], mean, np.nan, mean], rtol=EXACT)
    assert fit.predict(data, new_levels="error")["estimate"].isna().tolist() == [False, True, True, True]
