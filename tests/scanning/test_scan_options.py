"""What a scan counts, what it takes from earlier fits, how it is solved, and what other programs' files hold."""

import hashlib
import json

import numpy as np
import optax
import pandas as pd
import pytest

import jaxlmm as lmm

from own_solver import Plain

SAME = 1e-6
"""Relative, of effects at null variances that two solvers found: λ has half the digits of the criterion."""

EXACT = 1e-12
"""The same numbers, of which only their origin differs."""


@pytest.fixture(scope="module")
def study():
    """100 samples; responses with missing values, one constant; markers without calls, alike, or made of x."""
    genotypes = lmm.datasets.genotypes().iloc[:, :40].copy()
    rng = np.random.default_rng(12)
    data = pd.DataFrame({"id": genotypes.index, "x": rng.integers(0, 3, 100).astype(float)}, index=genotypes.index)
    genotypes["rs0003"], genotypes["rs0004"] = 1.0, data["x"]
    genotypes.iloc[:12, 5] = np.nan
    genotypes["rs0006"] = np.arange(100) == 99  # the only carrier is missing in y2
    Y = pd.DataFrame(rng.normal(size=(100, 4)), index=genotypes.index).add_prefix("y")
    Y["y0"] += 0.5 * lmm.datasets.genotypes().iloc[:, 50:90].to_numpy() @ rng.normal(size=40)
    Y.iloc[90:, 2] = np.nan
    Y["constant"] = 1.0
    K = lmm.genetics.grm(lmm.datasets.genotypes())
    return data, Y, genotypes.astype(float), {"id": K}


def scanned(study, **options):
    data, Y, genotypes, kinship = study
    options = {"responses": Y, "kinship": kinship, "variances": "null", **options}
    return lmm.scan(options.pop("formula", "~ x + (1 | id)"), data, genotypes=genotypes, id="id", **options)


@pytest.fixture(scope="module")
def everything(study):
    return scanned(study)


def test_each_pair_and_each_marker_is_counted_once(everything):
    head, table = everything.header, everything.tidy()
    assert sum(head.markers.values()) == head.n_markers == 40
    # rs0006 is monomorphic only where its carrier has no value, and so is tested
    assert head.markers == {"tested": 37, "monomorphic": 1, "collinear": 1, "filtered_missing": 1}
    assert sum(head.pairs.values()) == 40 * 5
    of_rows = table["status"].value_counts().to_dict()
    assert of_rows == {word: count for word, count in head.pairs.items() if word != "of responses that are not"}
    assert head.pairs["of responses that are not"] == 40
    assert head.n_pairs == table["estimate"].notna().sum() == 4 * 37 - 1
    assert head.patterns == 2
    text = str(everything)
    assert "Responses: 4 of 5 tested, in 2 patterns of missing values" in text
    assert "Rows: 100; 90 to 100 with a response" in text
    assert "Formula: ~ x + (1 | id)" in text
    assert "Not tested: constant (constant)" in text
    assert "Markers: 37 of 40 tested; 1 " in text
    assert "Pairs: 147 of 200 tested" in text
    assert "Table: 160 rows (all)" in text


@pytest.mark.parametrize("options", [{"p_max": 0.05}, {"variances": "refit", "top": 4}])
def test_counts_do_not_depend_on_what_is_kept(study, everything, options):
    hits = scanned(study, **options)
    assert hits.header.markers == everything.header.markers
    assert hits.header.n_pairs == everything.header.n_pairs == 147
    assert sum(hits.header.pairs.values()) == 200
    assert f"Table: {len(hits)} rows" in str(hits)


def test_null_fits_are_taken_not_made(study, everything, monkeypatch):
    """Fits of many responses, and those of a scan; loaded from a file too; in any order."""
    import jaxlmm.scanning.null_fits as module

    data, Y, _, kinship = study
    given = lmm.fit_many("~ (1 | id) + x", data, responses=Y[reversed(Y.columns)], kinship=kinship)
    monkeypatch.setattr(module, "run_many", None)
    hits = scanned(study, null=given)
    assert hits.null is given
    table = hits.tidy()
    for column in ("estimate", "std_error", "h2"):
        np.testing.assert_allclose(table[column], everything.tidy()[column], rtol=SAME, atol=1e-9)
    shares = given.ratio("id").set_index("response")["estimate"]
    first = table.groupby("response", sort=False).first()
    np.testing.assert_allclose(first["h2"], shares.loc[first.index], rtol=1e-9, atol=1e-12)  # theirs, to rounding


def test_null_fits_of_any_structure(study, tmp_path, monkeypatch):
    import jaxlmm.scanning.null_fits as module

    data, Y, genotypes, _ = study
    people = data.assign(family=np.arange(100) // 5)
    responses = Y[["y0", "y2"]].add(np.arange(100) // 5 % 4, axis=0)
    some = {"genotypes": genotypes.iloc[:, :2], "responses": responses, "id": "id", "variances": "null"}
    expected = lmm.scan("~ x + (1 | family)", people, solver="moments", **some)
    assert "moments (" in str(expected)
    expected.null.save(tmp_path / "null.json")
    monkeypatch.setattr(module, "run_many", None)
    for null in (expected.null, lmm.load(tmp_path / "null.json")):
        hits = lmm.scan("~ x + (1 | family)", people, solver="moments", null=null, **some)
        pd.testing.assert_frame_equal(hits.tidy(), expected.tidy(), rtol=EXACT)
    moved = people.assign(family=np.arange(100) % 20)
    for solver in ("moments", "auto"):
        with pytest.raises(lmm.OptionError, match="of other data, weights or matrices"):
            lmm.scan("~ x + (1 | family)", moved, solver=solver, null=expected.null, **some)


def test_null_fits_of_something_else(study, tmp_path):
    data, Y, _, kinship = study
    good = lmm.fit_many("~ x + (1 | id)", data, responses=Y, kinship=kinship)
    cases = [
        ({"null": "null.json"}, "expected what fit_many returned"),
        ({"null": "null.json", "out": tmp_path / "scan"}, "expected what fit_many returned"),
        ({"null": good, "method": "ML"}, "expected fits by ML"),
        ({"null": good, "formula": "~ (1 | id)"}, "fixed effects 'Intercept', got"),
        ({"null": good, "responses": Y.rename(columns={"y1": "z1"})}, "none of 'z1'"),
        ({"null": good, "responses": Y.assign(y1=Y["y1"].where(Y["y0"] > 0))}, "'y1' on the .* rows"),
        ({"null": good, "responses": Y.assign(y1=Y["y1"] + 1.0)}, "other values of 'y1'"),
        ({"null": {"1": good}}, "got dict"),
        ({"null": good, "kinship": {"id": 3.0 * kinship["id"]}}, "of other data, weights or matrices"),
    ]
    for options, message in cases:
        with pytest.raises(lmm.OptionError, match=message):
            scanned(study, **options)


def test_a_solver_and_an_optimiser_that_are_asked_for(study, everything):
    some = {"responses": study[1][["y0"]]}
    expected = everything.tidy().query("response == 'y0'").reset_index(drop=True)
    by = scanned(study, solver="dense", **some)
    assert "Engine: dense (" in str(by)
    np.testing.assert_allclose(by.tidy()["estimate"], expected["estimate"], rtol=SAME, atol=1e-9)
    np.testing.assert_allclose(by.tidy()["std_error"], expected["std_error"], rtol=SAME)
    still = scanned(study, optimizer=optax.sgd(0.0), **some)
    assert "spectral (" in str(still)
    assert still.null.status["y0"] == "not_converged"
    assert set(still.tidy()["status"]) == {"not_converged", "monomorphic", "collinear", "filtered_missing"}
    one = scanned(study, solver="spectral", **some)
    assert "diagonalized once" in str(one)
    with pytest.raises(lmm.OptionError, match="solver='moments' cannot do this model"):
        scanned(study, solver="moments")
    with pytest.raises(lmm.OptionError, match="optimizer: expected"):
        scanned(study, optimizer="adam")


def test_a_solver_of_ones_own(study, tmp_path):
    """Its folder goes on with the same class alone."""
    data, Y, genotypes, _ = study
    people = data.assign(family=np.arange(100) // 5)
    some = {"genotypes": genotypes.iloc[:, :4], "responses": Y[["y0"]], "id": "id", "variances": "null"}
    expected = lmm.scan("~ x + (1 | family)", people, **some).tidy()
    hits = lmm.scan("~ x + (1 | family)", people, solver=Plain, out=tmp_path / "hits", **some)
    assert "Engine: plain (asked for)" in str(hits)
    assert hits.null.estimates.solver == "plain"
    np.testing.assert_allclose(hits.tidy()["estimate"], expected["estimate"], rtol=SAME, atol=1e-9)
    again = lmm.scan("~ x + (1 | family)", people, solver=Plain, out=tmp_path / "hits", resume=True, **some)
    pd.testing.assert_frame_equal(again.tidy(), hits.tidy())
    with pytest.raises(lmm.ResumeError, match="the options"):
        lmm.scan("~ x + (1 | family)", people, solver="dense", out=tmp_path / "hits", resume=True, **some)


@pytest.mark.parametrize("variances", ["refit", "null"])
def test_a_marker_that_explains_everything_is_not_lost(study, variances):
    """To rounding nothing is left of the response: tests are huge, and kept."""
    data, _, genotypes, kinship = study
    own = data.assign(y=3.0 * genotypes["rs0010"] - data["x"])
    kinship = {"id": kinship["id"].to_frame() + 0.05 * np.eye(100)}  # a centered one leaves no optimum by ML
    options = {"genotypes": genotypes.iloc[:, 8:14], "kinship": kinship, "variances": variances}
    table = lmm.scan("y ~ x + (1 | id)", own, tests=("wald", "lrt", "score"), **options).tidy().set_index("variant")
    row = table.loc["rs0010"]
    assert row["estimate"] == pytest.approx(3.0, rel=1e-9)
    assert np.isfinite(row["neg_log10_p"])
    assert min(row["neg_log10_p"], row["neg_log10_p_lrt"]) > 200.0
    for test in ("wald", "lrt"):
        best = lmm.scan("y ~ x + (1 | id)", own, tests=test, p_max=1e-9, best=True, **options)
        assert best.tidy()["variant"].tolist() == ["rs0010"]


def test_files_hold_every_test(study, tmp_path):
    """Of an interaction and of several tests, in the rows or columns where other programs look for them."""
    data, Y, genotypes, kinship = study
    own, path = data.assign(y=Y["y1"]), tmp_path / "hits.tsv"
    options = {"genotypes": genotypes.iloc[:, :5], "kinship": kinship, "variances": "null"}
    several = lmm.scan("y ~ x + (1 | id)", own, tests=("lrt", "wald", "score"), **options)
    table = several.tidy().dropna(subset="estimate").reset_index(drop=True)
    several.to_tsv(path, style="regenie")
    rows = pd.read_csv(path, sep="\t")
    for word, suffix in (("ADD", "_lrt"), ("ADD-WALD", ""), ("ADD-SCORE", "_score")):
        found = rows[rows["TEST"] == word].reset_index(drop=True)
        np.testing.assert_allclose(found["LOG10P"], table[f"neg_log10_p{suffix}"], rtol=EXACT)
        np.testing.assert_allclose(found["CHISQ"], table[f"statistic{suffix}"], rtol=EXACT)
    assert rows["TEST"].tolist()[:3] == ["ADD", "ADD-WALD", "ADD-SCORE"]
    several.to_tsv(path, style="gwas-ssf")
    rows = pd.read_csv(path, sep="\t")
    assert list(rows)[:8] == [
        "chromosome", "base_pair_location", "effect_allele", "other_allele", "beta", "standard_error",
        "effect_allele_frequency", "neg_log_10_p_value",
    ]  # fmt: skip
    np.testing.assert_allclose(rows["neg_log_10_p_value"], table["neg_log10_p_lrt"], rtol=EXACT)
    np.testing.assert_allclose(rows["neg_log_10_p_value_wald"], table["neg_log10_p"], rtol=EXACT)

    both = lmm.scan("y ~ x + (1 | id)", own, interaction="x", tests=("wald", "score"), **options)
    table = both.tidy().dropna(subset="estimate").reset_index(drop=True)
    both.to_tsv(path, style="regenie")
    rows = pd.read_csv(path, sep="\t").set_index("TEST")
    assert rows.index[:4].tolist() == ["ADD-INT_SNP", "ADD-INT_SNPxx", "ADD-INT_2DF", "ADD-INT_2DF-SCORE"]
    np.testing.assert_allclose(rows.loc["ADD-INT_SNPxx", "BETA"], table["estimate_interaction"], rtol=EXACT)
    np.testing.assert_allclose(rows.loc["ADD-INT_2DF", "CHISQ"], 2.0 * table["statistic_joint"], rtol=EXACT)
    np.testing.assert_allclose(rows.loc["ADD-INT_2DF", "LOG10P"], table["neg_log10_p_joint"], rtol=EXACT)
    assert rows.loc["ADD-INT_2DF", "BETA"].isna().all()
    both.to_tsv(path, style="gwas-ssf")
    rows = pd.read_csv(path, sep="\t")
    for name, column in (
        ("neg_log_10_p_value", "neg_log10_p"), ("neg_log_10_p_value_score", "neg_log10_p_score"),
        ("beta_interaction", "estimate_interaction"), ("neg_log_10_p_value_joint", "neg_log10_p_joint"),
    ):  # fmt: skip
        np.testing.assert_allclose(rows[name], table[column], rtol=EXACT)
    with pytest.raises(lmm.OptionError, match="expected 'wald' among the tests"):
        lmm.scan("y ~ x + (1 | id)", own, interaction="x", tests="lrt", **options).to_tsv(path, style="gwas-ssf")


def test_conditioning_on_markers_is_having_them_as_fixed_effects():
    table = lmm.datasets.genotypes().iloc[:, :40]
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"id": table.index, "x": rng.normal(size=100), "rs0003": rng.normal(size=100)})
    data["y"] = table["rs0004"].to_numpy() + table["rs0007"].to_numpy() + rng.normal(size=100)
    options = {"genotypes": table, "kinship": "auto", "variances": "null"}
    hits = lmm.scan("y ~ x + (1 | id)", data, condition_on=["rs0004", "rs0003"], **options)
    own = data.assign(one=table["rs0004"].to_numpy(), two=table["rs0003"].to_numpy())
    expected = lmm.scan("y ~ x + one + two + (1 | id)", own, **options)
    pd.testing.assert_frame_equal(hits.tidy(), expected.tidy(), rtol=1e-9)
    assert hits.tidy().set_index("variant").loc["rs0004", "status"] == "collinear"
    assert "Conditioned on: rs0004, rs0003" in str(hits)
    with pytest.raises(lmm.GenotypeError, match="got 'rs004', which none has; did you mean rs00"):
        lmm.scan("y ~ x + (1 | id)", data, condition_on="rs004", **options)
    with pytest.raises(lmm.OptionError, match="condition_on: expected names of variants"):
        lmm.scan("y ~ x + (1 | id)", data, condition_on=[4], **options)


def test_gwas_ssf_has_what_the_standard_asks_for(tmp_path):
    """Numbers of chromosomes, names in the standard's patterns, and metadata with the digest of the file."""
    table = lmm.datasets.genotypes().iloc[:, :8]
    variants = pd.DataFrame({"variant": ["rs1", "own", "rs3x", "rs4", "rs5", "rs6", "rs7", "rs8"]})
    variants["chromosome"] = ["1", "1", "chr2", "2", "X", "X", "Y", "MT"]
    variants["position"], variants["effect_allele"] = np.arange(8) * 10 + 5, "A"
    variants["other_allele"] = ["C", "GT", "C", ".", "C", "C", "C", "C"]
    source = lmm.genetics.ArraySource(table.to_numpy(), list(table.index), variants)
    data = pd.DataFrame({"id": table.index, "y": np.random.default_rng(1).normal(size=100)})
    hits = lmm.scan("y ~ 1", data, genotypes=source, id="id")
    hits.to_tsv(tmp_path / "hits.tsv", style="gwas-ssf")
    rows = pd.read_csv(tmp_path / "hits.tsv", sep="\t", na_values="#NA")
    assert list(rows)[7:] == ["neg_log_10_p_value", "variant_id", "rsid", "n"]
    assert rows["chromosome"].tolist() == [1, 1, 2, 2, 23, 23, 24, 25]
    assert rows["variant_id"].tolist()[:3] == ["1_5_C_A", "1_15_GT_A", "2_25_C_A"]
    assert rows["variant_id"].isna().tolist() == [False] * 3 + [True] + [False] * 4
    assert rows["rsid"].isna().tolist() == [False, True, True] + [False] * 5
    lines = dict(line.split(": ", 1) for line in (tmp_path / "hits.tsv-meta.yaml").read_text().splitlines())
    assert json.loads(lines["data_file_name"]) == "hits.tsv"
    content = (tmp_path / "hits.tsv").read_bytes()
    assert json.loads(lines["data_file_md5sum"]) == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert json.loads(lines["samples"]) == [{"sample_size": 100}]
    assert lines["is_sorted"] == "true"
    backwards = lmm.genetics.ArraySource(
        table.to_numpy(), list(table.index), variants.iloc[::-1].reset_index(drop=True)
    )
    shuffled = lmm.scan("y ~ 1", data, genotypes=backwards, id="id")
    shuffled.to_tsv(tmp_path / "other.tsv.gz", style="gwas-ssf")
    assert "is_sorted: false" in (tmp_path / "other.tsv.gz-meta.yaml").read_text()
