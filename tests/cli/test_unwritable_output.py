"""Commands that cannot write or read: said in words, exit code 4 or 3, no cut file; scans with nothing to test.

Tried: each command with ``--out``, plots, logs; a full disk (a device that is full, a limit on the size of files).
Responses that are constant, all missing, infinite, on too few rows, without a rest beside the fixed effects; markers
that are all monomorphic; some of these beside one that can be tested; input in another encoding, empty, ragged.
"""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from shell import run
from small_study import FORMULA, small_study, there

matplotlib.use("Agg")

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="places of Linux that cannot be written")


@pytest.fixture(scope="module")
def study():
    return small_study()


@pytest.fixture(scope="module")
def files(study, tmp_path_factory):
    """Files for the commands, with responses of all sorts."""
    path = tmp_path_factory.mktemp("files")
    data, table = study
    lmm.datasets.sleepstudy().assign(constant=3.0, missing=np.nan).to_csv(path / "sleep.csv", index=False)
    missing, few = np.full(40, np.nan), np.full(40, np.nan)
    few[:2] = [1.0, 2.0]
    odd = data.assign(constant=3.0, missing=missing, few=few, infinite=np.inf, linear=2.0 * data["x"] - 1.0)
    odd.to_csv(path / "data.csv", index=False)
    names = [f"S{number}" for number in range(12)]
    fam = pd.DataFrame({"fid": table.index, "iid": table.index, "f": 0, "m": 0, "s": 0, "p": -9})
    fam.to_csv(path / "calls.fam", sep=" ", header=False, index=False)
    bim = pd.DataFrame({"c": 1, "v": names, "cm": 0, "p": range(1, 13), "a": "A", "b": "C"})
    bim.to_csv(path / "calls.bim", sep="\t", header=False, index=False)
    codes = np.array([3, 2, 0])[table.to_numpy().astype(int).clip(0, 2)].T.reshape(12, 10, 4)
    packed = (codes << np.array([0, 2, 4, 6])).sum(axis=2).astype(np.uint8)
    (path / "calls.bed").write_bytes(b"\x6c\x1b\x01" + packed.tobytes())
    (path / "same.txt").write_text("S4\n")
    pedigree = pd.DataFrame({"id": list("abc"), "father": ["0", "0", "a"], "mother": ["0", "0", "b"], "sex": [1, 2, 1]})
    pedigree.to_csv(path / "pedigree.csv", index=False)
    return path


def commands(files):
    """Each command that writes, with the option and the ending of what it writes."""
    scan = ("scan", "y ~ x", files / "data.csv", "--genotypes", files / "calls.bed", "--id", "id", "--no-progress")
    return {
        "fit": (("fit", FORMULA, files / "sleep.csv"), "--out", ".json"),
        "fit-many": (
            ("fit-many", "~ Days + (1 | Subject)", files / "sleep.csv", "--responses", "Reaction"), "--out", ".parquet",
        ),
        "fit-many csv": (
            ("fit-many", "~ Days + (1 | Subject)", files / "sleep.csv", "--responses", "Reaction"), "--out", ".csv",
        ),
        "grm": (("grm", files / "calls.bed"), "--out", ".npz"),
        "kinship": (("kinship", files / "pedigree.csv"), "--out", ".npz"),
        "demo": (("demo",), "--out", ".png"),
        "scan": (scan, "--out", ".tsv"),
        "scan compressed": (scan, "--out", ".tsv.gz"),
        "plot": (scan, "--plot", ".png"),
        "log": (scan, "--log", ".txt"),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(commands(Path())))
def test_commands_that_cannot_write(files, tmp_path, monkeypatch, name):
    command, option, ending = commands(files)[name]
    if name != "demo":  # which fits twice
        link = tmp_path / f"full{ending}"
        link.symlink_to("/dev/full")
        done = run(*command, option, link, "--force")
        assert done.exit_code == 4, done.output
        assert f"jaxlmm: {link}: cannot be written: No space left on device" in done.output
        assert "Traceback" not in done.output
        link.unlink()

    def computing(*arguments, **options):
        raise AssertionError("before anything is computed")

    for verb in ("fit", "fit_many", "scan"):
        monkeypatch.setattr(lmm, verb, computing)
    for verb in ("grm", "kinship"):
        monkeypatch.setattr(lmm.genetics, verb, computing)
    (tmp_path / "file").write_text("all")
    (tmp_path / f"folder{ending}").mkdir()
    places = [tmp_path / "file" / f"new{ending}", tmp_path / f"folder{ending}", Path(f"/proc/new{ending}")]
    for place in places if option != "--out" or name not in ("scan", "scan compressed") else places[::2]:
        done = run(*command, option, place, *([] if name == "demo" else ["--force"]))
        assert done.exit_code == 4, (place, done.output)
        assert f"{place}: cannot be written" in done.output
    assert there(tmp_path) == ["file", f"folder{ending}"]


@pytest.mark.parametrize("place", ["/proc/hits", "below"])
def test_a_scans_folder_that_cannot_be_written(files, tmp_path, place):
    (tmp_path / "file").write_text("all")
    out = tmp_path / "file" / "hits" if place == "below" else place
    done = run(*commands(files)["scan"][0], "--out", out)
    assert done.exit_code == 4, done.output
    assert f"{out}: cannot be written" in done.output


def test_a_disk_that_is_full_while_a_scan_is_written(files, tmp_path):
    """A process that may write small files alone: the folder is as good as before, and is gone on with."""
    out = tmp_path / "hits"
    command = [str(argument) for argument in (*commands(files)["scan"][0], "--out", out, "--log", tmp_path / "log.txt")]

    code = """
        import resource
        from jaxlmm.cli import app
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
        app()
    """
    full = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *command], capture_output=True, text=True, check=False
    )
    assert full.returncode == 4, full.stdout + full.stderr
    assert "cannot be written: File too large" in full.stderr
    assert "(exit code 4)" in (tmp_path / "log.txt").read_text()
    assert not list(out.glob("*.partial*"))
    assert not list(out.glob(".partial*"))
    done = run(*command, "--resume")
    assert done.exit_code == 0, done.output
    assert len(lmm.load(out)) == 12


UNTESTED = {
    "constant": "constant (constant)", "missing": "missing (all_missing)", "few": "few (too_few_rows)",
    "linear": "linear (perfect_fit)",
}  # fmt: skip


@pytest.mark.parametrize("name", UNTESTED)
def test_a_response_that_cannot_be_tested(files, study, tmp_path, name):
    command = [*commands(files)["scan"][0], "--plot", tmp_path / "plot.png"]
    command[1] = f"{name} ~ x"
    for out in (tmp_path / "hits.tsv", tmp_path / "hits"):
        done = run(*command, "--out", out)
        assert done.exit_code == 3, done.output
        assert f"no marker could be tested for any response: {UNTESTED[name]}" in done.output
    assert there(tmp_path) == ["hits"], "of which the print says why it is empty"
    assert len(lmm.load(tmp_path / "hits")) == 0


def test_responses_none_of_which_can_be_tested(files, tmp_path):
    command = [*commands(files)["scan"][0], "--responses", "constant", "--responses", "missing", "--responses", "few"]
    command[1] = "~ x"
    done = run(*command)
    assert done.exit_code == 3, done.output
    assert "any response: constant (constant); missing (all_missing); few (too_few_rows)" in " ".join(
        done.output.split()
    )
    some = run(*command, "--responses", "y")
    assert some.exit_code == 0, some.output
    assert "Not tested: constant (constant)" in some.output


def test_markers_none_of_which_can_be_tested(files):
    done = run(*commands(files)["scan"][0], "--extract", files / "same.txt")
    assert done.exit_code == 3, done.output
    assert "no marker could be tested for any response: 1 monomorphic" in done.output


def test_in_python_there_is_a_status(study):
    data, table = study
    hits = lmm.scan("~ x", data.assign(constant=3.0), genotypes=table, id="id", responses=["constant"])
    assert hits.header.untested == {"constant": "constant"}
    assert len(hits) == 0
    assert hits.header.nothing_tested
    assert not lmm.scan("y ~ x", data, genotypes=table, id="id").header.nothing_tested


UNREAD = {
    "another encoding": b"\xff\xfei\x00d\x00\n\x00", "accents": "id,x\né,1\nb,2\n".encode("latin-1"),
    "empty": b"", "ragged": b"id,x,y\na,1,2\nb,1,2,3,4\n", "a folder": None,
}  # fmt: skip


def unread(path, content):
    """Make a file that is no table, or a folder."""
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", UNREAD)
def test_files_that_cannot_be_read(files, tmp_path, name):
    """Each option that takes a file says which it is, and why."""
    scan, data = commands(files)["scan"][0], files / "data.csv"
    path = unread(tmp_path / "odd.csv", UNREAD[name])
    runs = [
        (("fit", "y ~ x", path), "DATA"),
        (("kinship", path, "--out", tmp_path / "K.npz"), "PEDIGREE"),
        (("fit", "y ~ x + (1 | id)", data, "--kinship", f"id={path}"), "--kinship"),
        (("fit-many", "~ x", data, "--responses", path, "--id", "id"), "--responses"),
        ((*scan, "--covariates", path), "--covariates"),
    ]
    if name != "a folder":  # of parquet files it is a table
        other = unread(tmp_path / "odd.parquet", UNREAD[name])
        runs += [(("fit", "y ~ x", other), "DATA"), (("fit", "y ~ 1 + (1 | id)", data, "--kinship", f"id={other}"), "")]
    for command, what in runs:
        done = run(*command)
        assert done.exit_code == 3, (command, done.exception)
        assert f"jaxlmm: {what}" in done.output
        assert str(path.with_suffix("")) in done.output


@pytest.mark.parametrize("ending", ["fam", "bim", "txt"])
def test_files_beside_genotypes_in_another_encoding(files, tmp_path, ending):
    for other in ("bed", "bim", "fam"):
        shutil.copy(files / f"calls.{other}", tmp_path)
    path = tmp_path / f"calls.{ending}"
    path.write_bytes((path.read_bytes() if path.exists() else b"S4\n") + "é 1 0 0 0 0\n".encode("latin-1"))
    command = ["scan", "y ~ x", files / "data.csv", "--genotypes", tmp_path / "calls.bed", "--id", "id"]
    done = run(*command, *(["--extract", path] if ending == "txt" else []))
    assert done.exit_code == 3, done.exception
    assert "expected text in UTF-8" in done.output


def test_a_list_of_markers_with_a_mark_of_the_byte_order(files, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeffS2\nS5\n", encoding="utf-8")
    chosen = lmm.genetics.genotypes(files / "calls.bed", extract=path)
    assert chosen.variants["variant"].tolist() == ["S2", "S5"]


def test_fits_of_which_none_can_be_made(files, tmp_path):
    command = ["fit-many", "~ Days + (1 | Subject)", files / "sleep.csv", "--responses", "constant"]
    out = tmp_path / "fits.csv"
    done = run(*command, "--responses", "missing", "--out", out)
    assert done.exit_code == 3, done.output
    assert "no response can be fitted: constant (constant); missing (all_missing)" in done.output
    assert not out.exists()
    some = run(*command, "--responses", "Reaction", "--out", out)
    assert some.exit_code == 0, some.output
    assert set(pd.read_csv(out)["response"]) >= {"Reaction"}
    one = run("fit", "constant ~ Days + (1 | Subject)", files / "sleep.csv")
    assert one.exit_code == 3, one.output
