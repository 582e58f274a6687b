"""Results that cannot be written: said in words, and no cut file.

Tried: ``fit.save``, ``FitMany.save``, ``to_csv``, ``to_parquet``, ``Relationship.save`` (dense and sparse), ``to_tsv``
in three styles, plain and compressed, from memory and from a folder, a scan's folder, plots; a full disk (a device that
is full, a limit on the size of files), places below a file, a folder with the name of the file, a folder that is not
there, one in which nobody may write, a file that may not be written, a write that fails halfway or is interrupted; new
files and files that are there; links, devices and pipes.
"""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from scipy import sparse

import jaxlmm as lmm
from jaxlmm._util import files as _files

from small_study import FORMULA, small_study, there

matplotlib.use("Agg")

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="places of Linux that cannot be written")


@pytest.fixture(scope="module")
def study():
    return small_study()


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


@pytest.mark.parametrize("name", NAMES)
def test_written_as_a_whole_or_not_at_all(results, tmp_path, monkeypatch, name):
    """What is at fault is raised as an error of this package that is an ``OSError`` too; what was there stays."""
    write, ending = results[name]
    path = tmp_path / f"result{ending}"
    write(path)
    whole = path.read_bytes()
    metadata = [f"{path.name}-meta.yaml"] if name == "catalogue" else []
    assert there(tmp_path) == [path.name, *metadata]
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
    metadata = [f"{path.name}-meta.yaml"] if name == "catalogue" else []
    assert there(tmp_path) == [path.name, *metadata]


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
