"""A scan's folder trusts nothing: what does not hold is named by ``load`` and made again by ``resume=True``.

Tried: parts, the fits without a marker and what is known of unfinished parts, each cut, empty, with 60 zeroed bytes,
with one bit turned over, longer, deleted, replaced by another part or by text, renamed, copied; manifests that are
cut, empty, no JSON, another JSON, of a newer layout, with a field more or less, of another type, with other rows, with
a path as a file name; folders left before the manifest was written; foreign files; owners that are alive,
killed, killed and not yet reaped, of another machine, of a process number that was given away again, not readable;
places where no folder can be.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.cli import scanning
from jaxlmm.genetics import ArraySource
from jaxlmm.scanning import run as scan_run
from jaxlmm.scanning.checkpoint import lock as scan_lock
from jaxlmm.scanning.checkpoint import parts as scan_parts
from jaxlmm.scanning.task import Chunk

TOGETHER = 1e-9
"""Relative: sums of the same numbers in another order."""


class StoppedError(Exception):
    """Stands for whatever ends a process."""


class Failing(ArraySource):
    """Genotypes that cannot be read any more after some blocks."""

    left = 10**9

    def read(self, markers, rows=None):
        if self.left == 0:
            raise StoppedError
        self.left -= 1
        return super().read(markers, rows)


@pytest.fixture(scope="module")
def study():
    """Two responses of 100 samples, 300 markers."""
    table = lmm.datasets.genotypes().iloc[:, :300]
    rng = np.random.default_rng(5)
    y = table.iloc[:, [3]].to_numpy(float) + rng.normal(size=(100, 2))
    data = pd.DataFrame({"id": table.index, "a": y[:, 0], "b": y[:, 1]}, index=table.index)
    return data, Failing(table.to_numpy(), list(table.index), list(table.columns)), {"id": lmm.genetics.grm(table)}


def scanned(study, out=None, **options):
    data, source, kinship = study
    options = {"kinship": kinship, "variances": "null", "responses": ["a", "b"], "out": out, **options}
    return lmm.scan("~ (1 | id)", data, genotypes=source, **options)


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scan_run, "PART_PAIRS", {"one ratio": 120, "null": 70, "refit": 2})
        patched.setattr(scan_run, "block_size", lambda markers: 64)
        yield


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory):
    """A finished folder, an interrupted one, a finished one of some pairs, and the table of all pairs."""
    path = tmp_path_factory.mktemp("folders")
    scanned(study, path / "finished")
    study[1].left = 4  # the first of them looks whether it is the same scan
    with pytest.raises(StoppedError):
        scanned(study, path / "interrupted")
    study[1].left = 10**9
    scanned(study, path / "some", p_max=0.2)
    return path, scanned(study).tidy()


@pytest.fixture
def folder(whole, tmp_path):
    """Copies of these folders, to be damaged."""
    shutil.copytree(whole[0], tmp_path / "copy")
    return tmp_path / "copy"


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def zeroed(path):
    content, middle = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(content[:middle] + bytes(60) + content[middle + 60 :])


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def another(path):
    others = [other for other in path.parent.glob(f"*{path.suffix}") if other != path]
    shutil.copyfile(max(others), path)


def renamed(path):
    path.rename(path.with_name(f"part-00077{path.suffix}"))


DAMAGES = {
    "cut": cut, "empty": lambda path: path.write_bytes(b""), "zeroed": zeroed, "one bit": one_bit, "longer": longer,
    "deleted": lambda path: path.unlink(), "another": another, "renamed": renamed,
    "text": lambda path: path.write_text("lost"),
}  # fmt: skip


def same(hits, expected):
    pd.testing.assert_frame_equal(hits.tidy(), expected, rtol=TOGETHER, check_dtype=False)


FINISHED = [
    {"part-00000": "cut", "part-00001": "empty", "part-00003": "zeroed", "null": "deleted"},
    {"part-00000": "one bit", "part-00001": "longer", "part-00003": "another", "null": "zeroed"},
    {"part-00001": "renamed", "part-00003": "text", "part-00004": "deleted", "null": "cut"},
]


@pytest.mark.parametrize("damages", FINISHED)
def test_damaged_files_of_a_finished_scan(study, whole, folder, damages):
    out = folder / "finished"
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert len(before) == 5 + 2
    for name, damage in damages.items():
        DAMAGES[damage](out / f"{name}.parquet")
    with pytest.raises(lmm.DataError, match=r"resume=True makes them again") as caught:
        lmm.load(out)
    assert {name for name in before if name in str(caught.value)} - {"manifest.json"} == {
        f"{name}.parquet" for name in damages
    }
    read = study[1].left
    same(scanned(study, out, resume=True), whole[1])
    assert read - study[1].left == 1 + 3, "a look whether it is the same scan, and the damaged parts"
    same(lmm.load(out), whole[1])
    assert set(lmm.load(out).null.responses) == {"a", "b"}
    now = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert now.keys() == before.keys()
    changed = {name for name in now if now[name] != before[name]}
    assert changed == {"manifest.json", *(f"{name}.parquet" for name in damages)}
    scanned(study, out, resume=True)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == now


INTERRUPTED = [
    {"part-00000.parquet": "cut", "part-00001.parquet": "empty"},
    {"part-00000.parquet": "zeroed", "part-00001.parquet": "deleted"},
    {"part-00000.parquet": "one bit", "part-00001.parquet": "another"},
    {"unfinished/part-00000.npz": "cut", "part-00001.parquet": "longer"},
    {"unfinished/part-00000.npz": "empty", "unfinished/part-00001.npz": "zeroed"},
    {"unfinished/part-00000.npz": "deleted", "unfinished/part-00001.npz": "one bit"},
    {"unfinished/part-00000.npz": "another", "unfinished/part-00001.npz": "renamed"},
    {"unfinished/part-00000.npz": "text", "unfinished/part-00001.npz": "longer"},
]


@pytest.mark.parametrize("damages", INTERRUPTED)
def test_damaged_files_of_an_interrupted_scan(study, whole, folder, damages):
    out = folder / "interrupted"
    assert len(list(out.glob("unfinished/part-*.npz"))) == 3
    for name, damage in damages.items():
        DAMAGES[damage](out / name)
    hits = scanned(study, out, resume=True)
    same(hits, whole[1])
    assert "Parts: 1 of 5 " in str(hits)
    same(lmm.load(out), whole[1])


@pytest.mark.parametrize("damage", ["zeroed", "deleted"])
def test_where_some_pairs_are_kept_all_is_made_again(study, whole, folder, damage):
    out, expected = folder / "some", lmm.load(folder / "some").tidy()
    assert 0 < len(expected) < len(whole[1])
    DAMAGES[damage](out / "part-00000.parquet")
    with pytest.raises(lmm.DataError, match="part-00000"):
        lmm.load(out)
    same(scanned(study, out, p_max=0.2, resume=True), expected)
    DAMAGES[damage](out / "null.parquet")
    with pytest.raises(lmm.DataError, match="null"):
        lmm.load(out)
    before = (out / "part-00000.parquet").stat().st_mtime_ns
    same(scanned(study, out, p_max=0.2, resume=True), expected)
    assert (out / "part-00000.parquet").stat().st_mtime_ns == before


def changed(**fields):
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def header(**fields):
    def change(path):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "header": {**record["header"], **fields}}))

    return change


def without(name):
    def change(path):
        record = json.loads(path.read_text())
        del record[name]
        path.write_text(json.dumps(record))

    return change


MANIFESTS = {
    "cut": (cut, "got no JSON"), "empty": (DAMAGES["empty"], "got no JSON"), "zeroed": (zeroed, "got no JSON"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\x80"), "got no JSON"),
    "a list": (lambda path: path.write_text("[1, 2]"), "got something else"),
    "another kind": (changed(kind="jaxlmm.fit"), "got something else"),
    "newer": (changed(version=7), "layout version 1, got 7; install a newer"),
    "older": (changed(version=0), "got 0; scan again"),
    "unknown field": (changed(color="red"), "also color"),
    "missing field": (without("digests"), "no digests"),
    "without files": (without("files"), "no files"),
    "type": (changed(n_parts="3"), "n_parts of type int, got '3'"),
    "finished": (changed(finished="yes"), "also|finished of type bool"),
    "rows": (changed(files={"part-00000.parquet": "many"}), "with their rows"),
    "a path": (changed(files={"../finished/part-00000.parquet": 3}), "expected files such as part-00000.parquet"),
    "checksum": (changed(checksums={"part-00000.parquet": "abc"}), "size and the checksum"),
    "unknown in header": (header(color="red"), "fields of the header.*also color"),
    "a checksum without rows": (changed(files={}), "the rows of each file with a checksum, got none of part-00000"),
    "lists in header": (header(responses=3), r"responses in the header of type tuple\[str, \.\.\.\], got 3"),
    "counts in header": (header(markers="x"), r"markers in the header of type Mapping\[str, int\], got 'x'"),
    "texts in header": (header(interaction=["x"]), r"interaction in the header of type str \| None"),
    "seconds in header": (header(seconds="3"), "seconds in the header of type float, got '3'"),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_damaged_manifests(study, folder, name):
    damage, message = MANIFESTS[name]
    damage(folder / "finished" / "manifest.json")
    with pytest.raises(lmm.DataError, match=message):
        lmm.load(folder / "finished")
    with pytest.raises(lmm.DataError, match=message):
        scanned(study, folder / "finished", resume=True)
    assert (folder / "finished" / "part-00000.parquet").exists()


def test_rows_that_the_manifest_counts_otherwise(study, whole, folder):
    path = folder / "finished" / "manifest.json"
    files = json.loads(path.read_text())["files"]
    n = files["part-00002.parquet"]
    changed(files={**files, "part-00002.parquet": n + 1})(path)
    with pytest.raises(lmm.DataError, match=f"part-00002.parquet with {n} rows instead of {n + 1}"):
        lmm.load(folder / "finished")
    same(scanned(study, folder / "finished", resume=True), whole[1])
    assert len(lmm.load(folder / "finished")) == len(whole[1])


def test_folders_written_before_there_were_checksums(study, whole, folder):
    without("checksums")(folder / "finished" / "manifest.json")
    same(lmm.load(folder / "finished"), whole[1])
    cut(folder / "finished" / "part-00000.parquet")
    with pytest.raises(lmm.DataError, match=r"part-00000.parquet that cannot be read"):
        lmm.load(folder / "finished")
    same(scanned(study, folder / "finished", resume=True), whole[1])
    assert "checksums" in json.loads((folder / "finished" / "manifest.json").read_text())


def test_left_before_the_manifest(study, whole, folder):
    """A folder that a process was stopped in before it wrote what it is."""
    new = folder / "new"
    (new / "unfinished").mkdir(parents=True)
    (new / ".partial-77-manifest.json").write_text("{")
    (new / "unfinished" / ".partial-77-part-00000.npz").write_text("PK")
    same(scanned(study, new), whole[1])
    assert not list(new.glob(".partial*"))
    shutil.rmtree(new)
    (new / "unfinished").mkdir(parents=True)
    same(scanned(study, new, resume=True), whole[1])
    (folder / "interrupted" / "manifest.json").unlink()
    for part in (folder / "interrupted").glob("part-*.parquet"):
        part.unlink()  # the finished parts' rows, without which they are not finished
    with pytest.raises(lmm.OptionError, match="never overwritten"):
        scanned(study, folder / "interrupted")
    same(scanned(study, folder / "interrupted", resume=True), whole[1])


def test_parts_of_another_scan_are_not_taken(study, whole, folder):
    """What is known of parts of one scan, copied beside those of another one."""
    other, out = folder / "other", folder / "interrupted"
    study[1].left = 4  # the first of them looks whether it is the same scan
    with pytest.raises(StoppedError):
        scanned(study, other, tests=("score",))
    study[1].left = 10**9
    for path in (*other.glob("part-*.parquet"), *other.glob("unfinished/part-*.npz")):
        shutil.copyfile(path, out / path.relative_to(other))
    hits = scanned(study, out, resume=True)
    same(hits, whole[1])
    assert "finished before" not in str(hits)


def test_finished_is_written_last(study, whole, folder, monkeypatch):
    """A part that is damaged while the others are made does not become part of a finished scan."""
    out = folder / "interrupted"
    monkeypatch.setattr(scan_run.Work, "null", lambda work: zeroed(out / "part-00001.parquet") or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scanned(study, out, resume=True)
    assert json.loads((out / "manifest.json").read_text())["finished"] is False
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scan_run, "PART_PAIRS", {"one ratio": 120, "null": 70, "refit": 2})
        patched.setattr(scan_run, "block_size", lambda markers: 64)
        put_null = scan_run.Folder.put_null

        def damaging(self, null):
            one_bit(out / "part-00002.parquet")
            return put_null(self, null)

        patched.setattr(scan_run.Folder, "put_null", damaging)
        with pytest.raises(lmm.DataError, match=r"part-00002.*go on"):
            scanned(study, out, resume=True)
        assert json.loads((out / "manifest.json").read_text())["finished"] is False
        patched.setattr(scan_run.Folder, "put_null", put_null)
        same(scanned(study, out, resume=True), whole[1])


def test_foreign_files(study, whole, folder):
    out = folder / "finished"
    for name in ("README.txt", ".DS_Store", "part-00000 (copy).parquet"):
        (out / name).write_text("mine")
    same(lmm.load(out), whole[1])
    shutil.copyfile(out / "part-00000.parquet", out / "part-00050.parquet")
    with pytest.raises(lmm.DataError, match=r"part-00050.parquet, which manifest.json does not list"):
        lmm.load(out)
    same(scanned(study, out, resume=True), whole[1])
    assert not (out / "part-00050.parquet").exists(), "a copy is no loss"
    (out / "part-00050.parquet").write_text("of somebody else")
    with pytest.raises(lmm.DataError, match="part-00050"):
        scanned(study, out, resume=True)
    assert (out / "part-00050.parquet").read_text() == "of somebody else"
    assert (out / "README.txt").read_text() == "mine"


def test_damage_after_loading(folder):
    hits = lmm.load(folder / "finished")
    (folder / "finished" / "part-00001.parquet").unlink()
    (folder / "finished" / "null.parquet").write_text("lost")
    with pytest.raises(lmm.DataError, match=r"part-00001.parquet.*resume=True"):
        hits.tidy()
    with pytest.raises(lmm.DataError, match=r"part-00001.parquet"):
        hits.to_tsv(folder / "hits.tsv")
    assert not (folder / "hits.tsv").exists()
    with pytest.raises(lmm.DataError, match=r"null.parquet"):
        hits.null  # noqa: B018


def test_loading_writes_nothing(folder, monkeypatch):
    """As in a folder that one may only read."""

    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    for name in ("replace", "mkdir", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, refused)
    assert len(lmm.load(folder / "finished").tidy()) == 600


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
        from jaxlmm.scanning.checkpoint.lock import held

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            with held(Path(sys.argv[1])):
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
    cost = scan_parts.Cost.of(kind, n, "blocked", scan_parts.PART_PAIRS[kind])
    size = scan_parts.AT_ONCE.get(kind, 1024)
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
