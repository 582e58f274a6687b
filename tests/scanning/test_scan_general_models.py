"""Models that no single eigenbasis diagonalizes, and what is wrong with data: markers have a status, or an error."""

import sys

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from scans import FOLDER

EXACT = 1e-7
"""Relative difference from single fits."""


@pytest.fixture(scope="module")
def visits():
    """30 subjects with five visits and six markers; a response with an effect of the second, and missing values."""
    rng = np.random.default_rng(0)
    subjects = [f"s{number}" for number in range(30)]
    data = pd.DataFrame({"subject": np.repeat(subjects, 5), "t": np.tile(np.arange(5.0), 30)})
    genotypes = pd.DataFrame(rng.binomial(2, 0.4, size=(30, 6)).astype(float), index=subjects).add_prefix("m")
    own = np.repeat(rng.normal(size=(2, 30)), 5, axis=1)
    data["y"] = 0.5 * genotypes.loc[data["subject"], "m1"].to_numpy() + own[0] + 0.4 * data["t"] * own[1]
    data["y"] += 0.7 * rng.normal(size=150)
    data["z"] = np.where(rng.random(150) < 0.1, np.nan, data["y"] + rng.normal(size=150))
    return data, genotypes


def fit_with(data, genotypes, name, formula, **options):
    return lmm.fit(formula, data.assign(g=genotypes.loc[data["subject"], name].to_numpy()), **options)


@pytest.fixture(scope="module")
def refitted(visits):
    data, genotypes = visits
    return lmm.scan(
        "~ t + (1 + t | subject)", data, genotypes=genotypes, id="subject", responses=["y", "z"], method="ML",
        tests=("wald", "lrt"),
    )  # fmt: skip


def test_refitted_markers_are_fits(visits, refitted):
    data, genotypes = visits
    table = refitted.tidy().set_index(["response", "variant"])
    for response in ("y", "z"):
        null = lmm.fit(f"{response} ~ t + (1 + t | subject)", data, method="ML")
        for name in ("m1", "m4"):
            fit = fit_with(data, genotypes, name, f"{response} ~ t + g + (1 + t | subject)", method="ML")
            row = table.loc[response, name]
            assert row["estimate"] == pytest.approx(fit.fixef()["g"], rel=EXACT)
            assert row["std_error"] == pytest.approx(fit.coef().loc["g", "std_error"], rel=EXACT)
            assert row["status"] == fit.status
            assert row["statistic_lrt"] == pytest.approx(null.deviance - fit.deviance, rel=1e-6, abs=1e-8)
    assert "refitted markers are fits of their own" in str(refitted)


def test_a_response_that_is_a_line_of_each_subject_has_no_test(visits):
    """Nothing is left of the residual: a fit tests between subjects, a scan has no degrees of freedom for that."""
    data, genotypes = visits
    lines = data.groupby("subject")["y"].transform("first") + data.groupby("subject")["y"].transform("last") * data["t"]
    table = lmm.scan(
        "y ~ t + (1 + t | subject)", data.assign(y=lines), genotypes=genotypes, id="subject", method="ML"
    ).tidy()  # fmt: skip
    assert table["status"].tolist() == ["boundary"] * 6
    assert np.isfinite(table["estimate"]).all()
    assert table[["std_error", "statistic", "df", "p_value", "neg_log10_p"]].isna().all(axis=None)


def test_null_variances_of_any_structure(visits):
    """By generalized least squares with the covariance of the null fit."""
    data, genotypes = visits
    hits = lmm.scan(
        "y ~ t + (1 + t | subject)", data, genotypes=genotypes, id="subject", variances="null", tests=("wald", "score")
    )
    table = hits.tidy().set_index("variant")
    null = lmm.fit("y ~ t + (1 + t | subject)", data)
    inverse, y = np.linalg.inv(null.marginal_cov()), data["y"].to_numpy()
    for name in genotypes:
        X = np.column_stack([np.ones(150), data["t"], genotypes.loc[data["subject"], name]])
        information = X.T @ inverse @ X
        beta = np.linalg.solve(information, X.T @ inverse @ y)
        residual = y - X @ beta
        variance = residual @ inverse @ residual / 147 * np.linalg.inv(information)[2, 2]
        assert table.loc[name, "estimate"] == pytest.approx(beta[2], rel=1e-6)
        assert table.loc[name, "std_error"] == pytest.approx(np.sqrt(variance), rel=1e-6)
    assert hits.null.status["y"] == "interior"
    assert (table["statistic_score"] > 0).all()


def test_interaction_in_any_structure(visits):
    data, genotypes = visits
    hits = lmm.scan(
        "y ~ t + (1 + t | subject)", data, genotypes=genotypes[["m2"]], id="subject", interaction="t"
    )  # fmt: skip
    row = hits.tidy().iloc[0]
    fit = fit_with(data, genotypes, "m2", "y ~ t + g + t:g + (1 + t | subject)").coef()
    assert row["estimate"] == pytest.approx(fit.loc["g", "estimate"], rel=EXACT)
    assert row["std_error_interaction"] == pytest.approx(fit.loc["t:g", "std_error"], rel=EXACT)


def people(seed=3):
    rng = np.random.default_rng(seed)
    ids = [f"p{number}" for number in range(40)]
    genotypes = pd.DataFrame(rng.binomial(2, 0.4, size=(40, 5)).astype(float), index=ids).add_prefix("m")
    data = pd.DataFrame({"y": rng.normal(size=40), "x": rng.normal(size=40), "family": np.arange(40) // 4}, index=ids)
    return data, genotypes


def test_hopeless_markers_and_responses_have_a_status():
    data, genotypes = people()
    genotypes["m1"], genotypes["m2"] = 1.0, np.nan
    genotypes["m3"] = data["x"] * 2.0
    genotypes.loc["p0":"p9", "m4"] = np.nan
    responses = pd.DataFrame({"good": data["y"], "constant": 1.0, "absent": np.nan, "few": data["y"]}, index=data.index)
    responses.loc["p2":, "few"] = np.nan
    responses["infinite"] = data["y"].where(data["y"] < 1.5, np.inf)
    for variances in ("refit", "null"):
        hits = lmm.scan(
            "~ x + (1 | family)", data, genotypes=genotypes, responses=responses, variances=variances
        )  # fmt: skip
        table = hits.tidy().set_index("variant")
        assert set(table["response"]) == {"good"}
        assert table["status"].drop("m0").to_dict() == {
            "m1": "monomorphic", "m2": "all_missing", "m3": "collinear", "m4": "filtered_missing"
        }  # fmt: skip
        assert table["estimate"].notna().to_dict() == {"m0": True, "m1": False, "m2": False, "m3": False, "m4": False}
        untested = {"constant": "constant", "absent": "all_missing", "few": "too_few_rows", "infinite": "infinite"}
        assert hits.header.untested == untested
        assert all(f"Not tested: {name} ({reason})" in str(hits) for name, reason in untested.items())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"variances": "fixed"}, lmm.OptionError, "expected one of 'refit', 'null', 'kept'"),
        ({"variances": "kept"}, lmm.OptionError, "p_max="),
        ({"tests": ("f",)}, lmm.OptionError, "tests: expected one of"),
        ({"tests": ()}, lmm.OptionError, "at least one"),
        ({"p_max": 0.0}, lmm.OptionError, "p_max"),
        ({"top": 0}, lmm.OptionError, "top"),
        ({"precision": "float16"}, lmm.OptionError, "precision"),
        ({"interaction": "age"}, lmm.OptionError, "'age' is no column"),
        ({"interaction": "x"}, lmm.OptionError, "among the fixed effects too"),
        ({"kinship": "yes"}, lmm.OptionError, "expected one of 'auto'"),
        ({"kinship": "auto"}, lmm.OptionError, "expected one bar whose levels are the ids"),
        ({"id": "person"}, lmm.DataError, "'person' is no column"),
        ({"id": "family"}, lmm.GenotypeError, "ids of the data among those of the genotypes"),
        ({"genotype": None}, lmm.OptionError, "scan has no option 'genotype'"),
        ({"genotypes": np.zeros((3, 4))}, lmm.GenotypeError, "40 rows"),
        ({"responses": ["x"]}, lmm.FormulaError, "nothing left of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_done_is_said_before_it_is_begun(change, error, message):
    data, genotypes = people()
    with pytest.raises(error, match=message):
        lmm.scan("y ~ (1 | family)", data, **{"genotypes": genotypes, **change})


def test_a_sample_twice_is_an_error():
    data, genotypes = people()
    twice = pd.concat([genotypes, genotypes.iloc[:1]])
    with pytest.raises(lmm.GenotypeError, match="each sample once"):
        lmm.scan("y ~ (1 | family)", data, genotypes=twice)


def test_a_table_that_is_too_large_is_not_begun(monkeypatch):
    data, genotypes = people()
    monkeypatch.setattr(sys.modules["jaxlmm.scanning.request"], "MAX_TABLE_BYTES", 100)
    with pytest.raises(lmm.OptionError, match="p_max=, top= or best=True"):
        lmm.scan("y ~ (1 | family)", data, genotypes=genotypes)


def test_files_of_other_programs(tmp_path):
    data, genotypes = people()
    genotypes["m1"] = 1.0
    hits = lmm.scan("y ~ (1 | family)", data, genotypes=genotypes.to_numpy(), tests=("lrt",))
    for style, count in (("tidy", 5), ("gwas-ssf", 4), ("regenie", 4)):
        hits.to_tsv(tmp_path / "hits.tsv.gz", style=style)
        table = pd.read_csv(tmp_path / "hits.tsv.gz", sep="\t")
        assert len(table) == count
        height = {"tidy": "neg_log10_p_lrt", "gwas-ssf": "neg_log_10_p_value", "regenie": "LOG10P"}[style]
        np.testing.assert_allclose(table[height].dropna(), hits.tidy()["neg_log10_p_lrt"].dropna(), rtol=1e-12)
    with pytest.raises(lmm.OptionError, match="style"):
        hits.to_tsv(tmp_path / "hits.tsv", style="plink")
    with pytest.raises(lmm.OptionError, match="one response"):
        lmm.scan("~ (1 | family)", data, genotypes=genotypes, responses=["x", "y"]).to_tsv("x.tsv", style="gwas-ssf")


def test_from_a_shell(tmp_path):
    from typer.testing import CliRunner

    from jaxlmm.cli import app

    folder = FOLDER / "synthetic100"
    fam = pd.read_csv(folder / "test.fam", sep=r"\s+", header=None)
    pd.DataFrame({"id": fam[1], "y": fam[5]}).to_csv(tmp_path / "data.csv", index=False)
    files = [tmp_path / "data.csv", folder / "test.bed", tmp_path / "hits.tsv", tmp_path / "hits.png"]
    data, bed, out, plot = map(str, files)
    arguments = ["scan", "y ~ (1 | id)", data, "--genotypes", bed, "--kinship", "auto", "--out", out, "--plot", plot]
    arguments += ["--tests", "wald", "--tests", "lrt"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Markers: 500 tested" in done.output
    assert len(pd.read_csv(tmp_path / "hits.tsv", sep="\t")) == 500
    assert (tmp_path / "hits.png").stat().st_size > 1000
    assert CliRunner().invoke(app, arguments).exit_code == 2  # never overwritten without --force
