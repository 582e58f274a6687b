"""A scan's folder trusts nothing: what does not hold is named by ``load`` and made again by ``resume=True``.

Tried: parts, the fits without a marker and what is known of unfinished parts, each cut, empty, with 60 zeroed bytes,
with one bit turned over, longer, deleted, replaced by another part or by text, renamed, copied; manifests that are
cut, empty, no JSON, another JSON, of a newer layout, with a field more or less, of another type, with other rows, with
a path as a file name; folders left before the manifest was written; foreign files.
"""

import json
import os
import shutil

import pytest

import jaxlmm as lmm
from jaxlmm.scanning import run as scan_run
from jaxlmm.scanning.checkpoint import Folder

from folders import StoppedError, cut, same, scanned, zeroed

pytestmark = pytest.mark.usefixtures("small_parts")


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
    with pytest.raises(lmm.DataError, match=r"resume=True, and without share=, makes them again") as caught:
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
    monkeypatch.setattr(scan_run.ScanRun, "null", lambda work: zeroed(out / "part-00001.parquet") or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scanned(study, out, resume=True)
    assert json.loads((out / "manifest.json").read_text())["finished"] is False
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scan_run, "PART_PAIRS", {"one ratio": 120, "null": 70, "refit": 2})
        patched.setattr(scan_run, "block_size", lambda markers: 64)
        put_null = Folder.put_null

        def damaging(self, null):
            one_bit(out / "part-00002.parquet")
            return put_null(self, null)

        patched.setattr(Folder, "put_null", damaging)
        with pytest.raises(lmm.DataError, match=r"part-00002.*go on"):
            scanned(study, out, resume=True)
        assert json.loads((out / "manifest.json").read_text())["finished"] is False
        patched.setattr(Folder, "put_null", put_null)
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
