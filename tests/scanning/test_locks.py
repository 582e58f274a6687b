"""One process at a time works in a scan's folder; folders that cannot be, and the parts of a scan.

Tried: owners that are alive, killed, killed and not yet reaped, of another machine, of a process number that was given
away again, not readable; places where no folder can be.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

import jaxlmm as lmm
from jaxlmm.cli import scanning
from jaxlmm.scanning.checkpoint import lock as scan_lock
from jaxlmm.scanning.checkpoint import parts as scan_parts
from jaxlmm.scanning.patterns import Chunk
from jaxlmm.solvers import Blocked

from folders import cut, same, scanned

pytestmark = pytest.mark.usefixtures("small_parts")


# ---- one process at a time -----------------------------------------------------------------------------------------


CHILD = """
    import sys, time
    import numpy as np, pandas as pd
    import jaxlmm as lmm
    from jaxlmm.scanning import run

    class Waiting(lmm.genetics.ArraySource):
        left = 4

        def read(self, markers, rows=None):
            self.left -= 1
            if self.left < 0:
                print("ready", flush=True)
                time.sleep(600)
            return super().read(markers, rows)

    run.PART_PAIRS = {"one ratio": 120, "null": 70, "refit": 2}
    run.block_size = lambda markers: 64
    table = lmm.datasets.genotypes().iloc[:, :300]
    data = pd.read_pickle(sys.argv[1])
    source = Waiting(table.to_numpy(), list(table.index), list(table.columns), name="genotypes")
    kinship = {"id": lmm.genetics.grm(table)}
    options = {"responses": ["a", "b"], "kinship": kinship, "variances": "null", "out": sys.argv[2]}
    lmm.scan("~ (1 | id)", data, genotypes=source, **options)
"""


def test_two_processes_and_a_killed_one(study, whole, tmp_path):
    study[0].to_pickle(tmp_path / "data.pkl")
    out = tmp_path / "hits"
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "data.pkl"), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline().strip() == "ready"
        for resume in (False, True):
            with pytest.raises(lmm.ResumeError, match=rf"process {child.pid} on this machine is at work.*scan\.lock"):
                scanned(study, out, resume=resume)
        with pytest.raises(lmm.DataError, match="interrupted"):
            lmm.load(out)
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still listed
        hits = scanned(study, out, resume=True)
        same(hits, whole[1])
        assert "Parts: 3 of " in str(hits)
    assert {path.name.split("-")[0] for path in out.iterdir()} == {"part", "null.parquet", "manifest.json"}


def owner(**fields):
    mine = {"host": platform.node(), "process": os.getpid(), "started": scan_lock.started(os.getpid()), "token": "a"}
    return json.dumps({**mine, **fields})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (owner(), "on this machine is at work"),
        (owner(host="elsewhere", process=1), "process 1 on elsewhere is at work.*delete .*scan.lock"),
        (owner(started=None), "may still be"),
        ("", "but not which"),
        ('{"process": 3}', "but not which"),
        ("[]", "but not which"),
    ],
    ids=["alive", "elsewhere", "of unknown age", "empty", "not whole", "no object"],
)
def test_locks_that_hold(study, folder, text, message):
    for name in ("interrupted", "finished", "new"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "scan.lock").write_text(text)
        with pytest.raises(lmm.ResumeError, match=message):
            scanned(study, folder / name, resume=True)
        assert (folder / name / "scan.lock").read_text() == text


def test_locks_that_cannot_be_read(study, folder):
    lock = folder / "interrupted" / "scan.lock"
    lock.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(lmm.ResumeError, match="but not which"):
        scanned(study, folder / "interrupted", resume=True)
    lock.unlink()
    lock.mkdir()
    with pytest.raises(lmm.OutputError, match=r"scan\.lock: .* Is a directory"):
        scanned(study, folder / "interrupted", resume=True)


def test_a_lock_for_which_there_is_no_room_is_not_left(tmp_path):
    """As where the disk is full before the scan begins: with room again it begins as if nothing had been."""
    code = """
        import resource, signal, sys
        from pathlib import Path
        from jaxlmm import OutputError
        from jaxlmm.scanning.checkpoint.lock import locked

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            with locked(Path(sys.argv[1])):
                pass
        except OutputError:
            sys.exit(4)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code), tmp_path], check=False)
    assert ran.returncode == 4
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_had_set_aside_is_let_go(folder):
    shutil.copytree(folder / "interrupted", folder / ".finished.old")
    with scanning._set_aside(folder / "finished", True):
        assert not (folder / "finished").exists()
        assert json.loads((folder / ".finished.old" / "manifest.json").read_text())["finished"]
    assert (folder / "finished" / "manifest.json").exists() is False
    assert not (folder / ".finished.old").exists()


def test_a_folder_of_somebody_else_is_not_let_go(folder):
    (folder / ".finished.old").mkdir()
    (folder / ".finished.old" / "mine.txt").write_text("mine")
    with pytest.raises(lmm.OutputError, match="not empty"), scanning._set_aside(folder / "finished", True):
        raise AssertionError
    assert (folder / ".finished.old" / "mine.txt").exists()
    assert (folder / "finished" / "manifest.json").exists()


def test_a_folder_that_is_at_work_is_not_set_aside(folder):
    (folder / "finished" / "scan.lock").write_text(owner())
    with pytest.raises(lmm.ResumeError, match="at work"), scanning._set_aside(folder / "finished", True):
        raise AssertionError
    assert (folder / "finished" / "manifest.json").exists()


def test_going_on_with_what_is_finished_in_a_folder_that_may_only_be_read(study, whole, folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    same(scanned(study, folder / "finished", resume=True), whole[1])
    cut(folder / "finished" / "part-00001.parquet")
    with pytest.raises(lmm.OutputError, match="Permission denied"):
        scanned(study, folder / "finished", resume=True)


@pytest.mark.parametrize("text", [owner(started="17"), owner(process=2**22 + 1)], ids=["given away", "gone"])
def test_locks_of_the_dead(study, whole, folder, text):
    (folder / "interrupted" / "scan.lock").write_text(text)
    same(scanned(study, folder / "interrupted", resume=True), whole[1])
    assert not (folder / "interrupted" / "scan.lock").exists()


def test_nothing_is_left_of_a_scan_that_cannot_begin(study, tmp_path):
    with pytest.raises(lmm.DataError, match="nobody"):
        scanned(study, tmp_path / "new" / "hits", responses=["nobody"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", [True, False])
def test_places_where_no_folder_can_be(study, tmp_path, below):
    (tmp_path / "file").write_text("all")
    out = tmp_path / "file" / "hits" if below else "/proc/hits"
    read = study[1].left
    with pytest.raises(lmm.OutputError, match="cannot be written"):
        scanned(study, out)
    assert study[1].left == read, "before anything is computed"


# ---- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "n", "responses", "markers"),
    [
        ("one ratio", 100, 1, 200_000), ("one ratio", 1_410, 1, 200_000), ("one ratio", 20_000, 1, 200_000),
        ("one ratio", 1_000, 10_000, 50_000), ("null", 50_000, 1, 200_000), ("refit", 180, 1, 9_000),
    ],
)  # fmt: skip
def test_parts_are_a_few_minutes_at_most(kind, n, responses, markers):
    """One response × 200,000 markers is several parts; the work of each is that of a minute or so, and all is done."""
    cost = scan_parts.Cost.of(kind, n, Blocked, scan_parts.PART_PAIRS[kind])
    size = scan_parts.MARKERS_PER_STEP.get(kind, 1024)
    parts = scan_parts.planned([Chunk(0, 0, 0, responses, 0, markers)], cost, size)
    assert len(parts) >= 4
    ends = [(piece.start, piece.stop) for part in parts for piece in part]
    assert [start for start, _ in ends] == [0, *(stop for _, stop in ends[:-1])]
    assert ends[-1][1] == markers
    largest = max(stop - start for start, stop in ends)
    if kind == "one ratio":
        rotations = 2.0 * n**2 * largest / 7e10  # at the rate of benchmarks/results/scan.json
        assert rotations < 120 or largest == size
    assert largest * responses <= max(2 * scan_parts.PART_PAIRS[kind], size * responses)


def test_patterns_that_are_decomposed_each_are_parts_of_their_own():
    cost = scan_parts.Cost.of("one ratio", 5_000, "spectral", 2**20)
    units = [Chunk(0, pattern, 0, 1, 0, 100) for pattern in range(30)]
    assert max(len(part) for part in scan_parts.planned(units, cost, 64)) <= 3
