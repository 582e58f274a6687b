"""A scan is what ``fit`` says of each marker as one more fixed effect, whatever is asked of it."""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

EXACT = 1e-7
"""Relative difference of a scan from single fits: both are at the optimum to rounding, whose digits in λ are half of
those of the criterion."""

REDUCED = 1e-12
"""What is reduced or split is computed from the same numbers in another order."""

N_FITS = 50


@pytest.fixture(scope="module")
def mice():
    """100 samples with a covariate and a response that two markers, relatives and noise make."""
    genotypes = lmm.datasets.genotypes()
    K = lmm.genetics.grm(genotypes)
    K = pd.DataFrame(K.matrix + 0.1 * np.eye(100), index=K.labels, columns=K.labels)  # centered alone: ML is unbounded
    rng = np.random.default_rng(5)
    root = np.linalg.cholesky(K)
    data = pd.DataFrame({"id": genotypes.index, "x": rng.normal(size=100)})
    data["y"] = 0.5 * genotypes["rs0007"].to_numpy() + 2.0 * root @ rng.normal(size=100) + rng.normal(size=100)
    return data, genotypes, K


def fits(formula, data, genotypes, columns, **options):
    """Rows of ``fit`` with a marker (and its product with x) as fixed effect."""
    found = []
    for name in columns:
        own = data.assign(g=genotypes.loc[data["id"], name].to_numpy())
        fit = lmm.fit(formula, own, **options)
        found.append((fit.coef()[["estimate", "std_error"]], fit.ratio("id")["estimate"], fit.status))
    return found


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_refitted_markers_are_fits(mice, method):
    data, genotypes, K = mice
    columns = list(genotypes.columns[:N_FITS])
    hits = lmm.scan("y ~ x + (1 | id)", data, genotypes=genotypes[columns], kinship={"id": K}, method=method).tidy()
    expected = fits("y ~ x + g + (1 | id)", data, genotypes, columns, kinship={"id": K}, method=method)
    np.testing.assert_allclose(hits["estimate"], [c.loc["g", "estimate"] for c, _, _ in expected], rtol=EXACT)
    np.testing.assert_allclose(hits["std_error"], [c.loc["g", "std_error"] for c, _, _ in expected], rtol=EXACT)
    np.testing.assert_allclose(hits["h2"], [share for _, share, _ in expected], rtol=1e-6, atol=1e-12)
    assert hits["status"].tolist() == [status for _, _, status in expected]


def test_interactions_are_fits(mice):
    data, genotypes, K = mice
    columns = list(genotypes.columns[:N_FITS])
    hits = lmm.scan(
        "y ~ x + (1 | id)", data, genotypes=genotypes[columns], kinship={"id": K}, interaction="x"
    ).tidy()  # fmt: skip
    expected = fits("y ~ x + g + g:x + (1 | id)", data, genotypes, columns, kinship={"id": K})
    product = next(name for name in expected[0][0].index if ":" in name)
    for name, suffix in (("g", ""), (product, "_interaction")):
        for column in ("estimate", "std_error"):
            own = np.array([c.loc[name, column] for c, _, _ in expected])
            away = (hits[column + suffix] - own) / np.maximum(np.abs(own), hits["std_error" + suffix])
            assert np.abs(away).max() < EXACT  # some effects are next to zero
    assert (hits["df"] == 96).all()


def test_records_repeated_are_fits(mice):
    data, genotypes, K = mice
    rng = np.random.default_rng(6)
    rows = rng.integers(0, 60, 90)
    repeated = data.iloc[rows].reset_index(drop=True)
    repeated["y"] += rng.normal(size=90)
    repeated["w"] = rng.uniform(0.5, 2.0, 90)
    columns = list(genotypes.columns[10:18])
    for options in ({}, {"weights": "w"}):
        hits = lmm.scan("y ~ x + (1 | id)", repeated, genotypes=genotypes[columns], kinship={"id": K}, **options)
        expected = fits("y ~ x + g + (1 | id)", repeated, genotypes, columns, kinship={"id": K}, **options)
        table = hits.tidy()
        np.testing.assert_allclose(table["estimate"], [c.loc["g", "estimate"] for c, _, _ in expected], rtol=EXACT)
        np.testing.assert_allclose(table["std_error"], [c.loc["g", "std_error"] for c, _, _ in expected], rtol=EXACT)
    assert f"{len(np.unique(rows))} samples" in str(hits)


def test_five_people():
    """What the document prints for three variants, one at a time."""
    people = lmm.datasets.variants5()
    variants = people[["variant1", "variant2", "variant3"]]
    hits = lmm.scan("height ~ (1 | family)", people, genotypes=variants, tests=("wald", "lrt", "score"))
    table = hits.tidy().set_index("variant")
    for name in variants:
        fit = lmm.fit(f"height ~ {name} + (1 | family)", people)
        null, full = (lmm.fit(f, people, method="ML") for f in ("height ~ (1 | family)", fit.formula))
        row = table.loc[name]
        assert row["estimate"] == pytest.approx(fit.fixef()[name], rel=EXACT)
        assert row["std_error"] == pytest.approx(fit.coef().loc[name, "std_error"], rel=EXACT)
        assert row["h2"] == pytest.approx(fit.ratio("family")["estimate"], rel=EXACT, abs=1e-12)
        assert row["status"] == fit.status
        assert row["statistic_lrt"] == pytest.approx(null.deviance - full.deviance, rel=1e-6)
    assert [f"{value:.7g}" for value in table["estimate"]] == ["-0.5000913", "0.8525024", "1.04884"]
    assert table["status"].tolist() == ["boundary", "boundary", "interior"]


@pytest.mark.parametrize("how", ["matrix", "id", "auto"])
def test_an_array_has_the_rows_of_the_data(mice, how):
    """Also where the samples are integers from 1, in another order, which are no places in the array."""
    data, genotypes, K = mice
    order = np.random.default_rng(3).permutation(100)
    some = genotypes.iloc[order, :20]
    numbered = data.iloc[order].assign(id=order + 1)
    labelled = some.set_axis(numbered["id"], axis=0)
    known = pd.DataFrame(K.to_numpy()[np.ix_(order, order)], index=numbered["id"], columns=numbered["id"])
    formula, options = {
        "matrix": ("y ~ x + (1 | id)", {"kinship": {"id": known}}),
        "id": ("y ~ x", {"id": "id"}),
        "auto": ("y ~ x + (1 | id)", {"kinship": "auto"}),
    }[how]
    frame = lmm.scan(formula, numbered, genotypes=labelled, **options).tidy()
    array = lmm.scan(formula, numbered, genotypes=some.to_numpy(), **options).tidy()
    np.testing.assert_allclose(array["estimate"], frame["estimate"], rtol=REDUCED)


def test_an_array_beside_repeated_records_is_refused(mice):
    data, genotypes, K = mice
    twice = pd.concat([data, data])
    with pytest.raises(lmm.GenotypeError, match="several rows with one id"):
        lmm.scan("y ~ (1 | id)", twice, genotypes=np.tile(genotypes, (2, 1)), kinship={"id": K})


def test_a_missing_code_is_no_count(mice):
    data, genotypes, _ = mice
    hits = lmm.scan("y ~ x", data, genotypes=genotypes.iloc[:, :3].replace({"rs0001": {2.0: -9.0}}), id="id").tidy()
    coded = (genotypes.iloc[:, :3] == -9.0).any() | (genotypes.columns[:3] == "rs0001")
    assert (hits.set_index("variant")["status"] == "missing_code").to_dict() == coded.to_dict()


def test_one_test_keeps_ranks_and_draws(mice):
    data, genotypes, K = mice
    options = {"genotypes": genotypes.iloc[:, :60], "kinship": {"id": K}}
    hits = lmm.scan("y ~ x + (1 | id)", data, tests=("lrt", "wald"), **options)
    assert hits.top(20)["p_value_lrt"].is_monotonic_increasing
    both = lmm.scan("y ~ x + (1 | id)", data, interaction="x", **options)
    best = lmm.scan("y ~ x + (1 | id)", data, interaction="x", top=3, **options)
    assert set(both.top(3)["variant"]) == set(best.tidy()["variant"])
    assert lmm.plot.manhattan(both).get_ylabel() == "-log10 p (joint)"


def test_nothing_tested_is_nothing_to_draw(mice):
    data, genotypes, _ = mice
    hits = lmm.scan("y ~ 1", data.assign(y=1.0), genotypes=genotypes.iloc[:, :5], id="id")
    for draw in (lmm.plot.qq_p, lmm.plot.manhattan):
        with pytest.raises(lmm.DataError, match="no marker was tested"):
            draw(hits)


@pytest.mark.parametrize(
    "option", [{"p_max": "1e-3"}, {"top": 2.5}, {"best": "yes"}, {"tests": 1}, {"interaction": ["x"]}]
)
def test_options_of_another_type(mice, option):
    data, genotypes, _ = mice
    with pytest.raises(lmm.OptionError, match=f"{next(iter(option))}: expected"):
        lmm.scan("y ~ x", data, genotypes=genotypes, id="id", **option)


def test_a_matrix_of_no_group(mice):
    data, genotypes, K = mice
    with pytest.raises(lmm.KinshipError, match="no random term is grouped by 'ID'"):
        lmm.scan("y ~ (1 | id)", data, genotypes=genotypes, kinship={"ID": K})
