"""A scan's folder: the same table as in memory, also after an interruption, and never another scan's."""

import itertools
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import polars as pl
import pytest

import jaxlmm as lmm
from jaxlmm.genetics import ArraySource
from jaxlmm.scanning import request as scan_request
from jaxlmm.scanning import run as scan_run
from jaxlmm.scanning.checkpoint import fingerprint as scan_digest
from jaxlmm.scanning.checkpoint import folder as scan_folder

TOGETHER = 1e-9
"""Relative: sums of the same numbers in another order."""


class InterruptedRunError(Exception):
    """Stands for whatever ends a process."""


class Failing(ArraySource):
    """Genotypes that cannot be read any more after some blocks."""

    left = 10**9

    def read(self, markers, rows=None):
        if self.left == 0:
            raise InterruptedRunError
        self.left -= 1
        return super().read(markers, rows)


@pytest.fixture(scope="module")
def study():
    """100 samples, 200 markers, four responses, one with missing values and one constant."""
    table = lmm.datasets.genotypes().iloc[:, :200].copy()
    table.iloc[:, 7] = 1.0
    rng = np.random.default_rng(21)
    data = pd.DataFrame({"id": table.index, "x": rng.normal(size=100)}, index=table.index)
    Y = pd.DataFrame(rng.normal(size=(100, 4)), index=table.index, columns=["d", "c", "b", "a"])
    Y.iloc[:4, 1], Y["b"] = np.nan, 2.0
    return data, Y, table, {"id": lmm.genetics.grm(table)}


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(scan_run, "PART_PAIRS", {"one ratio": 120, "null": 70, "refit": 2})
    monkeypatch.setattr(scan_run, "block_size", lambda markers: 64)
    monkeypatch.setattr(scan_folder, "PART_ROWS", 100)


def scanned(study, source=None, **options):
    data, Y, table, kinship = study
    options = {"responses": Y, "kinship": kinship, "variances": "null", "id": "id", **options}
    genotypes = table if source is None else lmm.genetics.genotypes(source)
    return lmm.scan(options.pop("formula", "~ x + (1 | id)"), data, genotypes=genotypes, **options)


def failing(study):
    table = study[2]
    return Failing(table.to_numpy(), list(table.index), list(table.columns), name="failing")


KEPT = {
    "everything": {"tests": ("wald", "score")},
    "p_max": {"p_max": 0.05},
    "top and best": {"top": 2, "best": True},
    "kept": {"variances": "kept", "top": 9},
    "refit": {"variances": "refit"},
    "loco": {"variances": "null", "loco": True, "kinship": "auto"},
}


@pytest.mark.parametrize("name", KEPT)
def test_interrupted_and_gone_on_with(study, tmp_path, small_parts, name):
    source, options = failing(study), KEPT[name]
    if name == "loco":
        source.variants = source.variants.assign(chromosome=np.repeat(["1", "2"], 100))
    expected = scanned(study, source, **options)
    out = tmp_path / "hits"
    source.left = 7 if name == "loco" else 4
    with pytest.raises(InterruptedRunError):
        scanned(study, source, out=out, **options)
    source.left = 10**9
    done = len(list((out / "unfinished").glob("part-*.npz")))
    assert done > 0
    with pytest.raises(lmm.DataError, match="interrupted; go on"):
        lmm.load(out)
    hits = scanned(study, source, out=out, resume=True, **options)
    pd.testing.assert_frame_equal(hits.tidy(), expected.tidy(), rtol=TOGETHER, check_dtype=False)
    assert hits.header.pairs == expected.header.pairs
    assert hits.header.markers == expected.header.markers
    assert hits.header.untested == expected.header.untested == {"b": "constant"}
    total = json.loads((out / "manifest.json").read_text())["n_parts"]
    assert f"Parts: {done} of {total} were finished before" in str(hits)
    assert not (out / "unfinished").exists()
    pd.testing.assert_frame_equal(hits.top(5), expected.top(5), rtol=TOGETHER, check_dtype=False)


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
def test_stopped_at_any_file(study, tmp_path, monkeypatch, written):
    """Whatever file a scan is stopped at, before or after it is in its place, it goes on."""
    small = (study[0], study[1][["a"]], study[2].iloc[:, :5], study[3])
    expected = scanned(small).tidy()
    for stop in range(10):
        out, count = tmp_path / f"hits {stop}", itertools.count()

        def stopping(old, new, stop=stop, count=count, out=out, replace=os.replace):
            here = out in Path(new).parents and next(count) == stop
            if written or not here:
                replace(old, new)
            if here:
                raise InterruptedRunError

        monkeypatch.setattr(os, "replace", stopping)
        try:
            scanned(small, out=out)
        except InterruptedRunError:
            monkeypatch.undo()
            hits = scanned(small, out=out, resume=True)
            pd.testing.assert_frame_equal(hits.tidy(), expected, rtol=TOGETHER, check_dtype=False)
            pd.testing.assert_frame_equal(lmm.load(out).tidy(), hits.tidy())
        else:
            break
    assert 3 < stop < 9, "the manifest, a part and its rows, the fits, and the manifest again"


def test_the_folder_is_the_scan(study, tmp_path, small_parts):
    """It is read by other libraries too, and by load, which knows the fits without a marker."""
    out = tmp_path / "new" / "hits"
    hits, expected = scanned(study, out=out), scanned(study)
    assert {path.name.split("-")[0] for path in out.iterdir()} == {"part", "null.parquet", "manifest.json"}
    parts = sorted(out.glob("part-*.parquet"))
    assert len(parts) > 3
    assert len(pd.read_parquet(parts)) == len(pl.read_parquet(out / "part-*.parquet")) == len(hits) == 600
    loaded = lmm.load(out)
    assert str(loaded) == str(hits)
    pd.testing.assert_frame_equal(loaded.tidy(), expected.tidy(), rtol=TOGETHER, check_dtype=False)
    pd.testing.assert_series_equal(loaded.lambda_gc(), expected.lambda_gc(), rtol=TOGETHER)
    loaded.to_tsv(tmp_path / "hits.tsv", style="regenie")
    assert len(pd.read_csv(tmp_path / "hits.tsv", sep="\t")) == 3 * 199
    nulls = (one.null.glance().drop(columns="seconds") for one in (loaded, expected))
    pd.testing.assert_frame_equal(*nulls)
    assert pd.read_parquet(out / "null.parquet")["id: sd(Intercept)"].notna().sum() == 3
    again = scanned(study, null=loaded.null)
    np.testing.assert_allclose(again.tidy()["estimate"], expected.tidy()["estimate"], rtol=1e-6, atol=1e-9)
    before = parts[0].stat().st_mtime_ns
    assert len(scanned(study, out=out, resume=True)) == 600
    assert parts[0].stat().st_mtime_ns == before  # what is finished is not done again


def test_another_scan_does_not_go_on(study, tmp_path, small_parts):
    data, Y, table, kinship = study
    source, out = failing(study), tmp_path / "hits"
    source.left = 2
    with pytest.raises(InterruptedRunError):
        scanned(study, source, out=out)
    changed = table.astype(float)
    changed.iloc[:, 3] = 2.0 - changed.iloc[:, 3]
    cases = {
        "the formula": {"formula": "~ x + I(x^2) + (1 | id)"},
        "the options": {"tests": ("wald", "lrt")},
        "the responses": {"responses": Y.assign(a=Y["a"] + 1e-9)},
        "kinship": {"kinship": {"id": 2.0 * kinship["id"]}},
        "the genotypes": {"source": changed},
    }
    for what, options in cases.items():
        with pytest.raises(lmm.ResumeError, match=f"other than there are: .*{what}"):
            scanned(study, **{"source": table, **options}, out=out, resume=True)
    moved = data.assign(x=data["x"] + 1.0)
    with pytest.raises(lmm.ResumeError, match="the rows or predictors"):
        scanned((moved, Y, table, kinship), table, out=out, resume=True)


def test_another_function_is_another_scan(study, tmp_path):
    data, Y, table, _ = study

    def scan(scale, **options):
        structure = lmm.covariance.Custom(lambda theta, coords: (scale * theta[0]) ** 2 * jnp.eye(1), 1)
        grouped, covariance = data.assign(h=np.arange(100) % 9), {"h": structure}
        options |= {"genotypes": table, "responses": Y[["a"]], "id": "id", "variances": "null", "top": 1}
        return lmm.scan("~ x + (1 | h)", grouped, covariance=covariance, out=tmp_path / "hits", **options)

    first = scan(1.0)
    assert scan(1.0, resume=True).tidy().equals(first.tidy())
    with pytest.raises(lmm.ResumeError, match="the formula"):
        scan(2.0, resume=True)


def test_an_optimizer_is_told_by_what_it_computes():
    ways = [optax.adam(1e-2), optax.adam(1e-2), optax.adam(1e-3), optax.sgd(1e-2)]
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to whole powers
        found = [scan_digest._of(scan_digest._optimizer(way)) for way in ways]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_nothing_is_overwritten(study, tmp_path):
    small = (study[0], study[1][["a"]], study[2].iloc[:, :5], study[3])
    out = tmp_path / "hits"
    scanned(small, out=out)
    with pytest.raises(lmm.OptionError, match="never overwritten"):
        scanned(small, out=out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("all")
    cases = [
        ({"out": tmp_path / "other"}, lmm.OptionError, "holds something else"),
        ({"out": tmp_path / "other" / "thesis.txt"}, lmm.OptionError, "is a file"),
        ({"resume": True}, lmm.OptionError, "resume: expected True beside out="),
        ({"out": out, "resume": "yes"}, lmm.OptionError, "resume: expected"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            scanned(small, **options)
    with pytest.raises(lmm.DataError, match="without manifest"):
        lmm.load(tmp_path / "other")
    record = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**record, "version": 99}))
    with pytest.raises(lmm.DataError, match="layout version 1, got 99"):
        scanned(small, out=out, resume=True)
    (out / "manifest.json").write_text(json.dumps({**record, "files": {"part-00007.parquet": 5}, "checksums": {}}))
    with pytest.raises(lmm.DataError, match="got no part-00007"):
        lmm.load(out)


def test_nothing_to_test_is_a_table_without_rows(study, tmp_path):
    data, Y, table, kinship = study
    hits = scanned((data, Y[["b"]], table.iloc[:, :5], kinship), out=tmp_path / "hits")
    assert len(hits) == 0
    assert list(hits.tidy()) == list(scanned((data, Y[["a"]], table.iloc[:, :5], kinship)).tidy())
    assert hits.header.untested == {"b": "constant"}


def test_a_table_that_is_too_large_goes_to_a_folder(study, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_request, "MAX_TABLE_BYTES", 100)
    small = (study[0], study[1][["a"]], study[2].iloc[:, :5], study[3])
    with pytest.raises(lmm.OptionError, match="a folder that it is written to by out="):
        scanned(small)
    assert len(scanned(small, out=tmp_path / "hits")) == 5
