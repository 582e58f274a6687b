"""``jaxlmm scan`` from a shell: samples and covariates from files, folders, logs, exit codes."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm.cli import app
from jaxlmm.scanning.checkpoint.folder import Folder

from scans import FOLDER

BED = FOLDER / "synthetic100" / "test.bed"
SAME = 1e-9
"""Relative: the same numbers, read from text."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phenotypes, a list of samples as PLINK writes it, one of ids alone, and covariates."""
    path = tmp_path_factory.mktemp("shell")
    fam = pd.read_csv(BED.with_suffix(".fam"), sep=r"\s+", header=None, dtype={0: str, 1: str})
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"id": fam[1], "y": fam[5], "z": rng.normal(size=100)})
    data.to_csv(path / "data.csv", index=False)
    fam.loc[5:, [0, 1]].to_csv(path / "keep.txt", sep=" ", index=False, header=False)
    fam.loc[90:, 1].to_csv(path / "remove.txt", index=False, header=False)
    covariates = pd.DataFrame({"FID": fam[0], "IID": fam[1], "age": rng.normal(size=100), "PC 1": rng.normal(size=100)})
    covariates.sample(frac=1.0, random_state=1).to_csv(path / "covariates.tsv", sep="\t", index=False)
    covariates.drop(columns="PC 1").to_csv(path / "covariates.txt", sep=" ", index=False)
    return path


def scan(folder, *arguments, formula="y ~ (1 | id)"):
    fixed = ["scan", formula, folder / "data.csv", "--genotypes", BED, "--kinship", "auto", "--variances", "null"]
    return CliRunner().invoke(app, [str(argument) for argument in (*fixed, "--no-progress", *arguments)])


def test_samples_and_covariates_from_files(folder, tmp_path):
    out = tmp_path / "hits.tsv"
    done = scan(
        folder, "--keep", folder / "keep.txt", "--remove", folder / "remove.txt", "--covariates",
        folder / "covariates.tsv", "--out", out, "--log", tmp_path / "log.txt",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "95 of 100 rows left" in done.output
    assert "85 of 95 rows left" in done.output
    assert "Formula: y ~ (1 | id) + age + `PC 1`" in done.output
    data, covariates = pd.read_csv(folder / "data.csv"), pd.read_csv(folder / "covariates.tsv", sep="\t")
    whole = data.iloc[5:90].merge(covariates.rename(columns={"IID": "id"}), on="id").astype({"id": str})
    expected = lmm.scan("y ~ age + `PC 1` + (1 | id)", whole, genotypes=BED, kinship="auto", variances="null").tidy()
    found = pd.read_csv(out, sep="\t")
    np.testing.assert_allclose(found["estimate"], expected["estimate"], rtol=SAME)
    log = (tmp_path / "log.txt").read_text()
    assert log.startswith(f"jaxlmm {lmm.__version__}, ")
    assert "Responses: 1 of 1 tested" in log
    assert "\nDone, " in log


def test_a_folder_is_gone_on_with_replaced_or_left_alone(folder, tmp_path, monkeypatch):
    out, log = tmp_path / "hits", tmp_path / "log.txt"
    asked = ("--chromosome", "1", "--out", out, "--log", log, "--p-max", 0.5)
    put = Folder.put

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Folder, "put", interrupt)
    done = scan(folder, *asked)
    assert done.exit_code == 4
    assert f"finished parts are in {out}: go on with --resume" in done.output
    assert "interrupted" in log.read_text()
    monkeypatch.setattr(Folder, "put", put)
    log.unlink()
    refused = scan(folder, *asked)
    assert refused.exit_code == 2
    assert "never overwritten" in refused.output
    assert "Stopped: out: " in log.read_text()
    assert scan(folder, *asked, "--resume", "--force").exit_code == 2
    other = scan(folder, *asked, "--resume", "--tests", "score")
    assert other.exit_code == 3
    assert "other than there are: the options" in other.output
    done = scan(folder, *asked, "--resume")
    assert done.exit_code == 0, done.output
    assert len(lmm.load(out)) == len(pd.read_parquet(out / "part-00000.parquet")) > 0
    assert scan(folder, *asked).exit_code == 2
    files = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert scan(folder, *asked, "--force", formula="y ~ nothing + (1 | id)").exit_code == 2
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == files  # as it was
    again = scan(folder, *asked, "--force", "--null", out, "--plot", tmp_path / "hits.png")
    assert again.exit_code == 0, again.output
    assert {path.name for path in tmp_path.iterdir()} == {"hits", "hits.png", "log.txt"}
    assert (out / "manifest.json").stat().st_mtime_ns > files["manifest.json"]
    assert (tmp_path / "hits.png").stat().st_size > 1000


def test_what_is_wrong_with_files_and_options(folder, tmp_path):
    (tmp_path / "nobody.txt").write_text("a b\n")
    (tmp_path / "bare.csv").write_text("id\n1\n")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.txt").write_text("all")
    cases = [
        (("--keep", tmp_path / "none.txt"), 3, "does not exist"),
        (("--keep", tmp_path / "nobody.txt"), 3, "got others, such as 'a b'"),
        (("--remove", folder / "keep.txt", "--keep", folder / "keep.txt"), 3, "no row of DATA is left"),
        (("--covariates", tmp_path / "bare.csv"), 3, "at least one covariate"),
        (("--covariates", tmp_path / "bare.xls"), 2, "expected a file ending in"),
        (("--covariates", folder / "data.csv"), 2, "'y' is a column of DATA too"),
        (("--loco",), 3, "several chromosomes"),
        (("--null", tmp_path / "none.json"), 3, "does not exist"),
        (("--resume",), 2, "--resume: expected --out"),
        (("--out", tmp_path / "hits.parquet"), 2, "expected a file ending in .tsv"),
        (("--out", tmp_path / "none" / "hits.tsv"), 2, "does not exist"),
        (("--out", tmp_path / "thesis"), 2, "holds something else"),
        (("--out", tmp_path / "thesis", "--force"), 3, "without manifest.json"),
        (("--out", tmp_path / "hits", "--style", "regenie"), 2, "--style: expected --out with a .tsv"),
        (("--log", folder / "data.csv"), 2, "exists; give --force"),
    ]
    for arguments, code, message in cases:
        done = scan(folder, *arguments)
        assert done.exit_code == code, (arguments, done.output)
        assert message in done.output
    assert (tmp_path / "thesis" / "text.txt").exists()
    nowhere = scan(folder, "--keep", folder / "keep.txt", formula="y ~ 1")
    assert nowhere.exit_code == 2
    assert "by --id" in nowhere.output


def test_starts_and_fixed_parameters(folder, tmp_path):
    out = tmp_path / "hits.tsv"
    done = scan(folder, "--fixed", "Residual: sd=1.1", "--start", "id: sd(Intercept)=0.5", "--top", 3, "--out", out)
    assert done.exit_code == 0, done.output
    data = pd.read_csv(folder / "data.csv", dtype={"id": str})
    options = {"genotypes": BED, "kinship": "auto", "variances": "null", "top": 3, "progress": False}
    expected = lmm.scan(
        "y ~ (1 | id)", data, fixed={"Residual: sd": 1.1}, start={"id: sd(Intercept)": 0.5}, **options
    ).tidy()
    found = pd.read_csv(out, sep="\t")
    np.testing.assert_allclose(found["std_error"], expected["std_error"], rtol=SAME)
    assert scan(folder, "--fixed", "Residual: sd").exit_code == 2


def test_work_in_other_processes(folder, tmp_path):
    """Shares of one folder, a pool of two processes; what is written is the same."""
    alone = scan(folder, "--out", tmp_path / "alone")
    assert alone.exit_code == 0, alone.output
    for k in (1, 2):
        done = scan(folder, "--out", tmp_path / "shares", "--share", f"{k}/2")
        assert done.exit_code == 0, done.output
    done = scan(folder, "--out", tmp_path / "pool", "--workers", 2)
    assert done.exit_code == 0, done.output
    expected = lmm.load(tmp_path / "alone").tidy()
    for name in ("shares", "pool"):
        pd.testing.assert_frame_equal(lmm.load(tmp_path / name).tidy(), expected, rtol=SAME)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--share", "1/2"), "--share: expected --out with the folder"),
        (("--share", "one", "--out", "hits"), "--share: expected K/N, two whole numbers such as 3/500, got 'one'"),
        (("--share", "5/2", "--out", "hits"), "share: expected (k, N) with k from 0 to N"),
        (("--workers", "2"), "--workers: expected --out with a folder"),
        (("--dask", "tcp://x:1"), "--dask: expected --out with a folder"),
        (("--workers", "0", "--out", "hits"), "--workers: expected a whole number of processes from 1, got 0"),
        (("--workers", "2", "--dask", "tcp://x:1", "--out", "hits"), "--workers: expected this or --dask, got both"),
    ],
)
def test_processes_that_cannot_be(folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = scan(folder, *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "hits").exists()
