"""A scan by several processes into one folder: shares that each do their own parts, and scans put together afterwards.

Tried: shares one after the other, in any order, again, at the same time in processes of their own, stopped and killed
ones, those of another machine; beside a process that does all; tables of all pairs, of some, by a solver.
"""

import json
import os
import platform
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.scanning.checkpoint import Folder, Share
from jaxlmm.scanning.run import ScanRun

from folders import TOGETHER, StoppedError, cut, same, scanned

pytestmark = pytest.mark.usefixtures("small_parts")

KINDS = {
    "all": {},
    "kept": {"variances": "kept", "p_max": 0.2},
    "by a solver": {"fixed": {"Residual: sd": 1.0}},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_shares_make_the_same_folder(study, tmp_path, kind):
    options = KINDS[kind]
    one = scanned(study, tmp_path / "one", **options)
    parts = [scanned(study, tmp_path / "shares", share=(k, 3), **options) for k in (2, 3, 1)]
    pd.testing.assert_frame_equal(parts[-1].tidy(), one.tidy(), check_exact=True)
    assert "share" not in str(parts[-1])
    text = str(parts[0])
    assert "of 10, share 2 of 3" in text or "of 5, share 2 of 3" in text
    assert "of other shares" in text
    own = [part.tidy() for part in parts[:2]]
    if kind == "all":
        rest = one.tidy().merge(pd.concat(own)[["response", "variant"]], how="left", indicator=True)
        assert 0 < (rest["_merge"] == "left_only").sum() < 600
        with pytest.raises(lmm.DataError, match="share 2 of 3"):
            parts[0].lambda_gc()
    for path in (tmp_path / "one").glob("part-*.parquet"):
        assert path.read_bytes() == (tmp_path / "shares" / path.name).read_bytes()
    again = scanned(study, tmp_path / "shares", share=(1, 3), **options)
    pd.testing.assert_frame_equal(again.tidy(), one.tidy(), check_exact=True)
    same(scanned(study, tmp_path / "shares", resume=True, **options), one.tidy())


def test_a_stopped_share_goes_on(study, whole, tmp_path):
    study[1].left = 3
    with pytest.raises(StoppedError):
        scanned(study, tmp_path / "hits", share=(0, 2))
    study[1].left = 10**9
    scanned(study, tmp_path / "hits", share=(1, 2))
    assert not json.loads((tmp_path / "hits" / "manifest.json").read_text())["finished"]
    read = study[1].left
    same(scanned(study, tmp_path / "hits", share=(0, 2)), whole[1])
    assert read - study[1].left < 4, "what was finished before is not read again"
    assert not list((tmp_path / "hits").glob("*.lock"))


def test_a_damaged_part_is_made_again_by_its_share(study, whole, tmp_path):
    scanned(study, tmp_path / "hits", share=(0, 2))
    cut(tmp_path / "hits" / "part-00000.parquet")
    assert "share 1 of 2" in str(scanned(study, tmp_path / "hits", share=(1, 2)))
    same(scanned(study, tmp_path / "hits", share=(0, 2)), whole[1])


CHILD = """
    import sys
    import pandas as pd
    import jaxlmm as lmm
    from jaxlmm.scanning import run

    run.PART_PAIRS = {"one ratio": 120, "null": 70, "refit": 2}
    run.block_size = lambda markers: 64
    table = lmm.datasets.genotypes().iloc[:, :300]
    data = pd.read_pickle(sys.argv[1])
    source = lmm.genetics.ArraySource(table.to_numpy(), list(table.index), list(table.columns), name="genotypes")
    options = {"responses": ["a", "b"], "kinship": {"id": lmm.genetics.grm(table)}, "variances": "null"}
    share = int(sys.argv[3]), 4
    print(lmm.scan("~ (1 | id)", data, genotypes=source, out=sys.argv[2], share=share, **options))
"""


def test_four_processes_at_once(study, whole, tmp_path):
    study[0].to_pickle(tmp_path / "data.pkl")
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "data.pkl"), str(tmp_path / "hits")]
    alike = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}  # as this process compiles
    children = [subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE, text=True, env=alike) for k in range(4)]
    texts = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert any("share" not in text for text in texts), "one of them found all parts done"
    hits = lmm.load(tmp_path / "hits")
    pd.testing.assert_frame_equal(hits.tidy(), whole[1], check_exact=True)
    assert {path.name.split("-")[0] for path in (tmp_path / "hits").iterdir()} == {
        "part", "null.parquet", "manifest.json",
    }  # fmt: skip


def lock(folder, name, **fields):
    folder.mkdir(exist_ok=True)
    owner = {"host": "elsewhere", "process": 1, "started": "1", "token": "a", **fields}
    (folder / name).write_text(json.dumps(owner))


def test_locks(study, whole, tmp_path):
    out = tmp_path / "hits"
    lock(out, "scan-0-of-2.lock")
    with pytest.raises(lmm.ResumeError, match=r"process 1 on elsewhere is at work.*scan-0-of-2\.lock"):
        scanned(study, out, resume=True)
    lock(out, "scan.lock")
    with pytest.raises(lmm.ResumeError, match=r"process 1 on elsewhere.*scan\.lock"):
        scanned(study, out, share=(0, 2))
    (out / "scan.lock").unlink()
    lock(out, "scan-0-of-2.lock", host=platform.node(), process=2**22 + 1)  # an ended process
    scanned(study, out, share=(1, 2))
    lock(out, "scan-0-of-2.lock")  # a job that was started again elsewhere
    same(scanned(study, out, share=(0, 2)), whole[1])


def test_a_share_that_begins_while_the_scan_is_put_together(study, whole, tmp_path, monkeypatch):
    """It has nothing to do, and disturbs nothing; nor does one that removes the records too."""
    out, seen = tmp_path / "hits", []
    put_null = Folder.put_null

    def beginning(self, null):
        monkeypatch.setattr(Folder, "put_null", put_null)
        seen.append(str(scanned(study, out, share=(5, 6))))
        return put_null(self, null)

    monkeypatch.setattr(Folder, "put_null", beginning)
    same(scanned(study, out, share=(0, 1)), whole[1])
    assert "share 5 of 6" in seen[0]
    folder = Folder(out)
    folder._remove_records()
    (out / "unfinished").mkdir()
    folder._remove_records()
    assert not (out / "unfinished").exists()


def test_a_share_that_is_done_elsewhere_meanwhile_gives_up_its_part(study, whole, tmp_path, monkeypatch):
    """As a job that is taken for dead and started again on another machine."""
    out, scan_part = tmp_path / "hits", ScanRun.scan_part

    def overtaken(self, chunks, advance):
        monkeypatch.setattr(ScanRun, "scan_part", scan_part)
        (out / "scan-0-of-1.lock").unlink()
        same(scanned(study, out, share=(0, 1)), whole[1])
        return scan_part(self, chunks, advance)

    monkeypatch.setattr(ScanRun, "scan_part", overtaken)
    same(scanned(study, out, share=(0, 1)), whole[1])


@pytest.mark.parametrize("share", [(3, 2), (0, 0), (-1, 3), (1,), (1.0, 2), "1/2", (True, 2), 3])
def test_shares_that_are_none(share):
    with pytest.raises(lmm.OptionError, match=r"share: expected \(k, N\) with k from 0 to N"):
        Share.of(share)


def test_options(study, tmp_path):
    for name, value in (("share", (0, 2)), ("executor", None)):
        given = {name: value} if value else {"executor": type("Own", (), {"submit": print})()}
        with pytest.raises(lmm.OptionError, match=f"{name}: expected it beside out="):
            scanned(study, **given)
    with pytest.raises(lmm.OptionError, match="executor: expected an object with the submit"):
        scanned(study, tmp_path / "hits", executor=4)
    assert not (tmp_path / "hits").exists()


def test_parts_are_shared_out():
    numbers = [Share.of((k, 4)).numbers(11) for k in (1, 2, 3, 4)]
    assert sorted(number for share in numbers for number in share) == list(range(11))
    assert Share.of((4, 4)) == Share.of((0, 4)) == Share.of(np.array([0, 4]))


# ---- scans put together -------------------------------------------------------------------------------------------


def test_scans_of_some_responses_and_markers_as_one(study, whole, tmp_path):
    data, source, kinship = study
    first = np.arange(300) < 120
    opened = lmm.genetics.genotypes(source)
    for number, (response, chosen) in enumerate((r, c) for r in ("a", "b") for c in (first, ~first)):
        some = opened.select(chosen)
        lmm.scan(
            "~ (1 | id)", data, genotypes=some, responses=[response], kinship=kinship, variances="null",
            out=tmp_path / str(number),
        )  # fmt: skip
    hits = lmm.load([tmp_path / str(number) for number in (0, 3, 2, 1)])
    key = ["response", "variant"]
    table, expected = (one.sort_values(key).reset_index(drop=True) for one in (hits.tidy(), whole[1]))
    pd.testing.assert_frame_equal(table, expected, rtol=TOGETHER)
    assert len(hits) == 600
    assert hits.responses == ("a", "b")
    assert "Markers: 300 tested" in str(hits)
    assert "Pairs: 600 tested" in str(hits)
    assert "Folders: 4" in str(hits)
    alone = lmm.fit_many("~ (1 | id)", data, responses=["a", "b"], kinship=kinship)
    pd.testing.assert_frame_equal(hits.null.tidy(), alone.tidy(), rtol=1e-9)
    assert list(hits.lambda_gc().index) == ["a", "b"]
    assert hits.top(1)["variant"].tolist() == whole[1].nlargest(1, "neg_log10_p")["variant"].tolist()
    with pytest.raises(lmm.DataError, match="got 'a' again"):
        lmm.load([tmp_path / "0", tmp_path / "0"])
    with pytest.raises(lmm.DataError, match="empty list"):
        lmm.load([])
    scanned(study, tmp_path / "other", tests=("score",))
    with pytest.raises(lmm.DataError, match="responses or markers alone, got one with other the options, tests"):
        lmm.load([tmp_path / "0", tmp_path / "other"])
