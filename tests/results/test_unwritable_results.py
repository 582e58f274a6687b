"""Results that cannot be written: said in words, exit code 4, and no cut file; scans that have nothing to test.

Tried: ``fit.save``, ``FitMany.save``, ``to_csv``, ``to_parquet``, ``Relationship.save`` (dense and sparse), ``to_tsv``
in three styles, plain and compressed, from memory and from a folder, a scan's folder, plots, logs, and each command
with ``--out``; a full disk (a device that is full, a limit on the size of files), places below a file, a folder with
the name of the file, a folder that is not there, one in which nobody may write, a file that may not be written, a write
that fails halfway or is interrupted; new files and files that are there; links, devices and pipes.

Responses that are constant, all missing, infinite, on too few rows, without a rest beside the fixed effects; markers
that are all monomorphic; some of these beside one that can be tested.
"""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm._util import files as _files
from jaxlmm.cli import app

matplotlib.use("Agg")

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="places of Linux that cannot be written")

FORMULA = "Reaction ~ Days + (1 | Subject)"


@pytest.fixture(scope="module")
def study():
    """40 samples, 12 markers, one of which is monomorphic."""
    table = lmm.datasets.genotypes().iloc[:40, :12].copy()
    table.iloc[:, 4] = 2
    rng = np.random.default_rng(3)
    return pd.DataFrame({"id": table.index, "x": rng.normal(size=40), "y": rng.normal(size=40)}), table


@pytest.fixture(scope="module")
def results(study, tmp_path_factory):
    """What can be written, by name, with what writes it and the ending of its file."""
    data, table = study
    sleep = lmm.datasets.sleepstudy()
    fit, many = lmm.fit(FORMULA, sleep), lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=["Reaction"])
    hits = lmm.scan("y ~ x", data, genotypes=table, id="id")
    folder = lmm.scan("y ~ x", data, genotypes=table, id="id", out=tmp_path_factory.mktemp("scan") / "hits")
    dense = lmm.genetics.relationship(np.eye(30) + 0.5, labels=range(30))
    thin = lmm.genetics.relationship(sparse.eye_array(30, format="csr"), labels=range(30))
    return {
        "fit": (fit.save, ".json"),
        "many": (many.save, ".json"),
        "csv": (many.to_csv, ".csv"),
        "tsv": (many.to_csv, ".tsv"),
        "parquet": (many.to_parquet, ".parquet"),
        "matrix": (dense.save, ".npz"),
        "sparse matrix": (thin.save, ".npz"),
        "tests": (hits.to_tsv, ".tsv"),
        "tests, compressed": (hits.to_tsv, ".tsv.gz"),
        "tests from a folder": (lambda path: folder.to_tsv(path, style="regenie"), ".tsv"),
        "catalogue": (lambda path: hits.to_tsv(path, style="gwas-ssf"), ".tsv"),
    }


NAMES = (
    "fit", "many", "csv", "tsv", "parquet", "matrix", "sparse matrix", "tests", "tests, compressed",
    "tests from a folder", "catalogue",
)  # fmt: skip


def there(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_written_as_a_whole_or_not_at_all(results, tmp_path, monkeypatch, name):
    """What is at fault is raised as an error of this package that is an ``OSError`` too; what was there stays."""
    write, ending = results[name]
    path = tmp_path / f"result{ending}"
    write(path)
    whole = path.read_bytes()
    assert there(tmp_path) == [path.name]
    path.write_text("before")
    path.chmod(0o640)
    write(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(path.read_bytes()) == len(whole)
    path.write_text("before")

    (tmp_path / "full").symlink_to("/dev/full")
    link = tmp_path / f"full{ending}"
    link.symlink_to("/dev/full")
    with pytest.raises(lmm.OutputError, match="No space left on device; make room") as caught:
        write(link)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    assert link.is_symlink()
    link.unlink()
    (tmp_path / "full").unlink()

    for place, said in {
        path / f"below{ending}": "Not a directory; name a place in a folder",
        tmp_path / "none" / f"new{ending}": "No such file or directory; make the folder first",
        Path(f"/proc/result{ending}"): "cannot be written: ",
    }.items():
        with pytest.raises(lmm.OutputError, match=said):
            write(place)
    (tmp_path / f"folder{ending}").mkdir()
    with pytest.raises(lmm.OutputError, match="Is a directory"):
        write(tmp_path / f"folder{ending}")
    (tmp_path / f"folder{ending}").rmdir()

    def failing(old, new):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(_files.os, "replace", failing)
        with pytest.raises(lmm.OutputError, match=r"Read-only file system; write to another place"):
            write(path)
        with pytest.raises(lmm.OutputError):
            write(tmp_path / f"new{ending}")

        def interrupted(old, new):
            raise KeyboardInterrupt

        patched.setattr(_files.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(path)
    assert path.read_text() == "before"
    assert there(tmp_path) == [path.name]


def test_a_limit_on_the_size_of_files(results, tmp_path):
    """As when the disk is full after some bytes: none of them is left."""
    code = """
        import resource, sys
        import numpy as np, pandas as pd
        import jaxlmm as lmm
        from jaxlmm._util.files import write_whole

        matrix = lmm.genetics.relationship(np.eye(100) + 0.5, labels=range(100))
        table = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 4))).rename(columns=str)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        folder = sys.argv[1]
        for write, name in [
            (matrix.save, "K.npz"),
            (lambda path: write_whole(path, lambda aside: table.to_csv(aside)), "table.csv"),
            (lambda path: write_whole(path, lambda aside: table.to_csv(aside)), "table.csv.gz"),
            (lambda path: write_whole(path, lambda aside: table.to_parquet(aside)), "table.parquet"),
        ]:
            try:
                write(f"{folder}/{name}")
            except lmm.OutputError as error:
                print(name, error)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["K.npz", "table.csv", "table.csv.gz", "table.parquet"], ran.stderr
    assert all("File too large; raise the limit" in line for line in lines), lines
    assert there(tmp_path) == []
    assert "Exception ignored" not in ran.stderr


def test_links_stay_links_and_pipes_are_written_to(results, tmp_path):
    write, _ = results["csv"]
    (tmp_path / "elsewhere").mkdir()
    target, link, pipe = tmp_path / "elsewhere" / "a.csv", tmp_path / "link.csv", tmp_path / "pipe.csv"
    write(target)
    whole = target.read_text()
    target.write_text("before")
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_text() == whole
    assert there(target.parent) == ["a.csv"]
    for place in ("/dev/stdout", "/proc/self/fd/1"):  # a file that the process writes to with others
        code = f"""
            import pandas as pd
            from jaxlmm._util.files import write_whole
            print("first", flush=True)
            write_whole("{place}", lambda path: path.open("a").write("second\\n"))
            print("third", flush=True)
        """
        (tmp_path / "all.txt").unlink(missing_ok=True)
        with (tmp_path / "all.txt").open("a") as file:
            subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stdout=file, check=True)
        assert (tmp_path / "all.txt").read_text().split() == ["first", "second", "third"]
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        write(pipe)
        assert reader.communicate()[0] == whole


def test_an_error_keeps_what_it_knows():
    import pickle

    error = lmm.OutputError("no room", errno.ENOSPC)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.errno) == ("no room", errno.ENOSPC)
    assert isinstance(again, lmm.JaxlmmError)


# ---- the command line ----------------------------------------------------------------------------------------------


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


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


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
