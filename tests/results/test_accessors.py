"""What is read off a fit beside its tables: coefficients by level, the matrices X, Z and V, and the printed account."""

import html.parser
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import jaxlmm as lmm
from jaxlmm.results.rows import matrices

import models
from references import HERE

DATA = models.data(seed=5, levels=20)
LME4 = 2e-7
"""BOBYQA compares deviances, which tell theta to about the root of their 16 digits; in SDs of the response."""

COEF_BY = json.loads((HERE / "coef_by.json").read_text())["models"]
RELATED = "ou, known matrix"  # positions that covary across levels: in no other test of matrices
KINDS = [*models.MODELS, RELATED]
WRITTEN_OUT = [
    "intercept", "slope", "uncorrelated", "diag", "factor", "two dummies", "weights, offset", "user's structure",
    "no intercept", "crossed", "nested", "ou", "ou residual", "ou residual, weights", "kinship", RELATED,
]  # fmt: skip
"""The kinds whose covariance stands below in NumPy."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def ml(kind):
    if kind == RELATED:
        return lmm.fit("y ~ x + ou(t | g)", DATA, kinship={"g": models.kinship(DATA)}, method="ML")
    return models.fit(kind, DATA, method="ML")


# ---- coefficients by level -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(COEF_BY))
def test_coef_by_is_lme4s(name):
    record = COEF_BY[name]
    data = {"sleepstudy": lmm.datasets.sleepstudy, "cake": lmm.datasets.cake, "Penicillin": lmm.datasets.penicillin}
    data = data[record["data"]]()
    if record["data"] == "cake":
        data["temp"] -= 200
    fit = lmm.fit(record["formula"], data)
    assert fit.deviance == pytest.approx(record["REMLcrit"], abs=1e-9)
    response = record["formula"].split(" ~ ")[0]
    for group, theirs in record["coef"].items():
        ours = fit.coef_by(group)
        columns = [re.sub(r"^recipe(.)$", r"recipe[T.\1]", name).strip("()") for name in theirs["columns"]]
        assert ours.index.tolist() == theirs["levels"]
        assert ours.index.name == group
        assert ours.columns.tolist() == columns
        assert ours.to_numpy() == pytest.approx(np.array(theirs["values"]), abs=LME4 * data[response].std())


def test_coef_by_adds_modes_where_names_meet():
    fit = lmm.fit("y ~ x + f + (0 + x | g) + (1 | h)", DATA)
    table = fit.coef_by("g")
    assert table.columns.tolist() == ["Intercept", "x", "f[T.v]", "f[T.w]"]
    assert (table["x"] == fit.ranef("g")["x"] + fit.fixef()["x"]).all()
    assert (table["f[T.v]"] == fit.fixef()["f[T.v]"]).all()
    apart = lmm.fit("y ~ f + (0 + f | g)", DATA)  # f[v] is a mean, f[T.v] a difference
    assert apart.coef_by("g").columns.tolist() == ["f[u]", "f[v]", "f[w]", "Intercept", "f[T.v]", "f[T.w]"]
    assert (apart.coef_by("g")["f[v]"] == apart.ranef("g")["f[v]"]).all()
    with pytest.raises(lmm.OptionError, match="no random term is grouped by 'k'; there are: g, h"):
        fit.coef_by("k")


def test_a_dropped_column_has_no_coefficient_by_level():
    fit = lmm.fit("y ~ x + twice + (1 | g)", DATA.assign(twice=2 * DATA["x"]))
    assert fit.coef_by("g").columns.tolist() == fit.model_matrix().columns.tolist() == ["Intercept", "x"]


# ---- matrices --------------------------------------------------------------------------------------------------------


def plain_covariance(kind, fit):
    """V from the definition and the reported parameters, in NumPy alone."""
    v, g = fit.variance()["estimate"].to_numpy(), DATA["g"].to_numpy()
    same, n = (g[:, None] == g[None, :]).astype(float), len(DATA)
    h = (DATA["h"].to_numpy()[:, None] == DATA["h"].to_numpy()[None, :]).astype(float)
    lag = np.abs(DATA["t"].to_numpy()[:, None] - DATA["t"].to_numpy()[None, :])
    known = models.kinship(DATA).loc[g, g].to_numpy()
    one, z = np.ones(n), DATA["z"].to_numpy()
    dummies = np.column_stack([(DATA["f"] == level).to_numpy(float) for level in "uvw"])

    def full(columns, values):
        """Covariance of columns from standard deviations, then correlations column by column (NaN beside a 0)."""
        q = columns.shape[1]
        corr = np.eye(q)
        corr[np.triu_indices(q, 1)] = np.nan_to_num(values[q:]) if len(values) > q else 0.0
        corr = np.triu(corr) + np.triu(corr, 1).T
        return columns @ (corr * np.outer(values[:q], values[:q])) @ columns.T

    pair = np.column_stack([one, z])
    weight = DATA["w"].to_numpy() if "weights" in kind else one
    residual = v[-1] ** 2 * np.diag(1.0 / weight)
    if kind == "intercept":
        random = v[0] ** 2 * same
    elif kind in ("slope", "weights, offset"):
        random = full(pair, v[:3]) * same
    elif kind in ("uncorrelated", "diag"):
        random = full(pair, v[:2]) * same
    elif kind in ("factor", "user's structure"):
        random = full(dummies, v[:6]) * same
    elif kind == "two dummies":
        random = full(dummies[:, :2], v[:2]) * same
    elif kind == "no intercept":
        random = full(z[:, None], v[:1]) * same
    elif kind == "crossed":
        random = v[0] ** 2 * same + v[1] ** 2 * h
    elif kind == "nested":
        random = v[0] ** 2 * same + v[1] ** 2 * same * h
    elif kind in ("ou", RELATED):
        random = v[0] ** 2 * v[1] ** lag * (same if kind == "ou" else known)
    elif kind.startswith("ou residual"):
        random = v[0] ** 2 * same
        residual = v[1] ** 2 * v[2] ** lag * same / np.sqrt(np.outer(weight, weight))
    else:
        assert kind == "kinship"
        random = full(pair, v[:3]) * known
    return random + residual


@pytest.mark.parametrize("kind", WRITTEN_OUT, indirect=True)
def test_marginal_covariance_is_that_of_the_definition(kind, ml):
    covariance = ml.marginal_cov()
    assert covariance.index.equals(DATA.index)
    assert covariance.columns.equals(DATA.index)
    expected = plain_covariance(kind, ml)
    assert covariance.to_numpy() == pytest.approx(expected, rel=1e-9, abs=1e-9 * expected.max())


def test_likelihood_from_x_and_v(ml):
    """The fit's log-likelihood is that of a normal distribution with mean Xβ and covariance V, by scipy."""
    mean = ml.model_matrix().to_numpy() @ ml.fixef().to_numpy() + ml.frame.offset
    value = multivariate_normal(mean, ml.marginal_cov().to_numpy()).logpdf(DATA["y"])
    assert value == pytest.approx(ml.loglik, abs=1e-8)


def test_fitted_values_are_x_beta_plus_z_b(ml):
    total = ml.model_matrix() @ ml.fixef() + ml.frame.offset
    assert total.to_numpy() == pytest.approx(ml.fitted("marginal").to_numpy(), abs=1e-9)
    for group, modes in ml.ranef().items():
        z = ml.random_matrix(group)
        assert z.rows.equals(DATA.index)
        expected = [(level, column) for level in modes.index for column in modes.columns]
        assert z.columns.tolist() == expected
        assert z.columns.names == [group, "column"]
        total = total + z.matrix @ modes.to_numpy().ravel()
    assert total.to_numpy() == pytest.approx(ml.fitted().to_numpy(), abs=1e-9)


def test_random_matrix_by_hand():
    fit = lmm.fit("y ~ x + (1 + z | g) + (0 + x | g) + (1 | h)", DATA, weights="w")
    dense = fit.random_matrix("g").to_frame()
    for level in fit.ranef("g").index:
        here = (DATA["g"] == level).to_numpy(float)
        assert (dense[level]["Intercept"] == here).all()
        for column in "zx":
            assert dense[level][column].to_numpy() == pytest.approx(here * DATA[column].to_numpy(), rel=1e-15)
    assert dense.shape == (len(DATA), 60)
    assert fit.random_matrix("h").matrix.shape == (len(DATA), 4)
    with pytest.raises(lmm.OptionError, match="no random term is grouped by 'f'"):
        fit.random_matrix("f")


def test_random_matrix_is_sparse():
    """40,000 rows × 20,000 levels would be 6.4 GB as a dense matrix."""
    rng = np.random.default_rng(0)
    levels, n = 20_000, 40_000
    data = pd.DataFrame({"g": np.arange(n) % levels, "y": rng.normal(size=n)})
    data["y"] += rng.normal(size=levels)[data["g"]]
    z = lmm.fit("y ~ 1 + (1 | g)", data).random_matrix("g")
    assert z.matrix.format == "csr"
    assert z.matrix.shape == (n, levels)
    assert z.matrix.nnz == n


def test_model_matrix_is_a_copy():
    fit = lmm.fit("y ~ x + f + (1 | g)", DATA)
    matrix = fit.model_matrix()
    assert matrix.columns.tolist() == ["Intercept", "x", "f[T.v]", "f[T.w]"]
    assert matrix["x"].tolist() == DATA["x"].tolist()
    matrix.loc[:, "x"] = 0.0
    assert fit.model_matrix()["x"].tolist() == DATA["x"].tolist()


@pytest.mark.parametrize("kind", ["weights, offset", "nested", "ou residual, weights", "kinship"], indirect=True)
def test_marginal_covariance_of_some_rows(ml):
    every = ml.marginal_cov()
    rows = DATA.index[DATA["g"].isin(["g03", "g01", "g10"])][::-1]
    some = ml.marginal_cov(rows)
    assert some.index.equals(rows)
    assert np.array_equal(some.to_numpy(), every.loc[rows, rows].to_numpy())
    assert ml.marginal_cov(list(rows[:1])).shape == (1, 1)


def test_rows_by_label():
    data = DATA.assign(y=DATA["y"].mask(DATA.index == 3)).set_index("g", drop=False).rename_axis(index="id")
    fit = lmm.fit("y ~ x + (1 | g)", data)
    count = int((data["g"] == "g04").sum() - data["y"].isna()[data["g"] == "g04"].sum())
    assert fit.marginal_cov(["g04"]).shape == (count, count)
    numbered = lmm.fit("y ~ x + (1 | g)", DATA.assign(y=DATA["y"].mask(DATA.index == 3)))
    for rows, part in (
        ([3], "got 3, which is not among them"),
        (["a"], "got a, which is not among them"),
        ([], "an empty list"),
        (5, r"write \[5\]"),
        (DATA["x"] > 2, r"write data.index\[mask\]"),
    ):
        with pytest.raises(lmm.DataError, match=part):
            numbered.marginal_cov(rows)


def test_a_covariance_too_large_is_refused(monkeypatch):
    fit = lmm.fit("y ~ x + (1 | g)", DATA)
    monkeypatch.setattr(matrices, "MAX_COVARIANCE_BYTES", 8 * 30**2)
    assert fit.marginal_cov(DATA.index[:30]).shape == (30, 30)
    with pytest.raises(lmm.DataError, match=r"at most 30 rows .* got 31 .* Pass rows="):
        fit.marginal_cov(DATA.index[:31])


# ---- tests of the fixed effects, and the printed account -------------------------------------------------------------


def test_normal_tests_are_z():
    from scipy.stats import norm

    fit = lmm.fit("y ~ x + (1 | g)", DATA)
    table, t = fit.coef("normal"), fit.coef()
    assert table["p_value"].to_numpy() == pytest.approx(2 * norm.sf(np.abs(table["statistic"])), rel=1e-12)
    half = norm.ppf(0.975) * table["std_error"]
    assert (table["conf_high"] - table["estimate"]).to_numpy() == pytest.approx(half.to_numpy(), rel=1e-12)
    assert (table["statistic"] == t["statistic"]).all()
    text = str(fit.summary("normal"))
    assert "z value" in text
    assert "Pr(>|z|)" in text
    assert "t value" not in text
    assert "|t|" not in text
    assert " df " not in text
    assert "t value Pr(>|t|)" in str(fit.summary())


@pytest.mark.parametrize("verb", ["coef", "summary", "tidy"])
def test_df_that_is_not_there(verb):
    fit = lmm.fit("y ~ x + (1 | g)", DATA)
    with pytest.raises(lmm.OptionError, match=r"df: expected one of 'satterthwaite', 'kenward-roger', .*, got 'kr'"):
        getattr(fit, verb)(df="kr")


def block(text, title):
    """The lines of one table of a summary."""
    return text.split(f"{title}:\n")[1].split("\n\n")[0].splitlines()


def test_parameters_that_are_no_standard_deviations_have_their_own_table():
    fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy(), residual="ou(Days | Subject)")
    text, table = str(fit.summary()), fit.variance()["estimate"]
    assert "rho" not in "".join(block(text, "Random effects"))
    header, row = block(text, "Covariance parameters")
    assert header.split() == ["Groups", "Parameter", "Estimate", "Std.", "Error"]
    assert row.split()[:3] == ["Residual", "rho", f"{table['Residual: rho']:.4f}"]
    plain = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    assert "Covariance parameters" not in str(plain.summary())


def test_every_parameter_of_a_structure_is_printed():
    """One standard deviation for three columns, a correlation of no two of them, and a name of its own."""

    class Odd(lmm.covariance.Diagonal):
        def n_params(self, q):
            return 3

        def parameters(self, columns):
            return tuple(lmm.covariance.Parameter(*words) for words in [("sd", "sd"), ("corr",), ("slope",)])

    fit = lmm.fit("y ~ x + (0 + f | g)", DATA, covariance={"g": Odd()})
    text = str(fit.summary())
    assert [line.split()[0] for line in block(text, "Random effects")[1:]] == ["g", "Residual"]
    names = [line.split()[-3 - ("boundary" in line)] for line in block(text, "Covariance parameters")[1:]]
    assert names == ["corr", "slope"]


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects captions and cells."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"scope"}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


def read(markup):
    reader = Reader()
    reader.feed(markup)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("name", ["slope", "ou residual, weights", "kinship", "user's structure"])
def test_html_says_what_the_text_says(name):
    fit = models.fit(name, DATA)
    reader = read(fit._repr_html_())
    assert reader.tags <= {"section", "table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    number = r"-?\d+\.?\d*(?:e[+-]\d+)?"
    text = str(fit.summary())
    assert len(re.findall(number, text)) > 20
    assert sorted(re.findall(number, " ".join(reader.texts))) == sorted(re.findall(number, text))
    words = " ".join(reader.texts).split()
    assert {word.strip(":") for word in text.split()} <= {word.strip(":") for word in words}
    assert fit.summary("normal")._repr_html_() != fit._repr_html_() == fit.summary()._repr_html_()


def test_html_escapes_names():
    odd = DATA.rename(columns={"x": "a<b>&", "g": "<script>"})
    fit = lmm.fit("y ~ `a<b>&` + (1 | `<script>`)", odd)
    markup = fit._repr_html_()
    assert "<script" not in markup
    assert "<b>" not in markup
    reader = read(markup)
    assert "a<b>&" in reader.texts
    assert "<script>" in reader.texts


def test_an_option_of_another_package_is_explained():
    for options, part in (
        ({"REML": False}, "write method='REML' or method='ML'"),
        ({"weight": "w"}, "did you mean weights"),
    ):
        with pytest.raises(lmm.OptionError, match=part):
            lmm.fit("y ~ x + (1 | g)", DATA, **options)
        with pytest.raises(lmm.OptionError, match=part):
            lmm.fit("y ~ x + (1 | g)", DATA).update(**options)
    with pytest.raises(lmm.OptionError, match="design has no option 'method'"):
        lmm.design("y ~ x + (1 | g)", DATA, method="ML")
