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
