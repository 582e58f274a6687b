"""A scan by the workers of an executor: a pool of processes, a cluster of Dask, workers that die on the way."""

import concurrent.futures
import multiprocessing
import os
import signal

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm._util import read_mapped
from jaxlmm._util.parallel import pickling
from jaxlmm.genetics import ArraySource
from jaxlmm.scanning.checkpoint import Folder

from folders import same, scanned

pytestmark = pytest.mark.usefixtures("small_parts")


class Killing(ArraySource):
    """Genotypes at whose third read in a worker that worker is killed, as often as there are ``files`` to remove."""

    files: tuple = ()
    left = 3

    def __getstate__(self):
        return {**self.__dict__, "in_worker": True}

    def read(self, markers, rows=None):
        if getattr(self, "in_worker", False):
            self.left -= 1
            for file in self.files if self.left < 0 else ():
                try:
                    os.remove(file)
                except FileNotFoundError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return super().read(markers, rows)


@pytest.fixture(scope="module")
def killing(study, tmp_path_factory):
    """The study with genotypes that kill workers, and a function that says how many."""
    data, source, kinship = study
    own = Killing(source.read(slice(None)), list(source.sample_ids), list(source.variants["variant"]), name="genotypes")
    folder = tmp_path_factory.mktemp("to kill")

    def prepared(count):
        own.files = tuple(folder / str(number) for number in range(count))
        for file in own.files:
            file.touch()
        return data, own, kinship

    return prepared


def pool(count=2):
    return concurrent.futures.ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def executor():
    with pool() as made:
        yield made


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as made:
        yield made


KINDS = {
    "all": {},
    "refitted": {"variances": "refit"},
    "kept": {"variances": "kept", "p_max": 0.2},
    "by a solver": {"fixed": {"Residual: sd": 1.0}, "tests": ("wald", "lrt")},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_makes_the_same_table(study, executor, tmp_path, kind):
    one = scanned(study, tmp_path / "one", **KINDS[kind])
    hits = scanned(study, tmp_path / "pool", executor=executor, **KINDS[kind])
    pd.testing.assert_frame_equal(hits.tidy(), one.tidy(), check_exact=True)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("one", "pool")]
    assert names[0] == names[1]
    same_lines = [line for line in str(hits).splitlines() if not line.startswith("Time")]
    assert same_lines == [line for line in str(one).splitlines() if not line.startswith("Time")]


def test_chromosomes_and_patterns_of_missing_values(study, executor, tmp_path):
    data, source, _ = study
    table = source.variants.assign(chromosome=np.repeat(["1", "2"], 150))
    own = ArraySource(source.read(slice(None)), list(source.sample_ids), variants=table)
    data = data.assign(a=data["a"].where(np.arange(100) % 9 > 0))
    options = {"responses": ["a", "b"], "kinship": "auto", "loco": True, "variances": "null"}
    one = lmm.scan("~ (1 | id)", data, genotypes=own, out=tmp_path / "one", **options)
    hits = lmm.scan("~ (1 | id)", data, genotypes=own, out=tmp_path / "pool", executor=executor, **options)
    pd.testing.assert_frame_equal(hits.tidy(), one.tidy(), check_exact=True)
    assert set(hits.null) == {"1", "2"}


def test_what_workers_share_has_neither_genotypes_nor_sums_of_markers(study, executor, tmp_path, monkeypatch):
    """So that it is small, and a scan that goes on reads the genotypes where they are now."""
    data, source, _ = study
    table = source.variants.assign(chromosome=np.repeat(["1", "2"], 150))
    own = ArraySource(source.read(slice(None)), list(source.sample_ids), variants=table)
    options = {"responses": ["a"], "kinship": "auto", "loco": True, "variances": "null", "genotypes": own}
    monkeypatch.setattr(Folder, "_remove_records", lambda self: None)
    lmm.scan("~ (1 | id)", data, out=tmp_path / "hits", executor=executor, **options)
    files = sorted((tmp_path / "hits" / "unfinished").glob("group-?.mapped"))
    assert len(files) == 2
    for file in files:
        shared, null_fits = read_mapped(file)
        assert shared.genotypes is None
        assert shared.matrices is None
        assert null_fits.data is None


def test_dask(study, whole, client, tmp_path):
    same(scanned(study, tmp_path / "client", executor=client), whole[1])
    with client.get_executor() as made:
        same(scanned(study, tmp_path / "executor", executor=made, share=(0, 1)), whole[1])


def test_a_worker_of_dask_is_killed(killing, whole, client, tmp_path):
    same(scanned(killing(1), tmp_path / "hits", executor=client), whole[1])


def test_a_worker_of_a_pool_is_killed(killing, whole, tmp_path):
    """Such a pool is broken: what was finished is kept, and a new one goes on."""
    out, study = tmp_path / "hits", killing(1)
    with pool(1) as made, pytest.raises(lmm.WorkerError, match=r"BrokenProcessPool.*hits: go on .*resume=True"):
        scanned(study, out, executor=made)
    assert any((out / "unfinished").glob("part-*.npz"))
    assert not list(out.glob("*.lock"))
    assert not list((out / "unfinished").glob(".partial-*work*"))
    with pool(1) as made:
        hits = scanned(study, out, executor=made, resume=True)
    same(hits, whole[1])
    assert "were finished before" in str(hits)


class Once(concurrent.futures.ThreadPoolExecutor):
    """An executor whose tasks fail at the first, or at each, attempt."""

    def __init__(self, failures, error):
        super().__init__(1)
        self.failures, self.error, self.seen = failures, error, []

    def submit(self, function, /, *arguments):
        self.seen.append(arguments[1:])
        if self.seen.count(self.seen[-1]) <= self.failures:
            return super().submit(self.fail)
        return super().submit(function, *arguments)

    def fail(self):
        raise self.error


def test_a_task_is_tried_twice(study, whole, tmp_path):
    with Once(1, OSError("gone")) as made:
        same(scanned(study, tmp_path / "hits", executor=made), whole[1])
    with Once(2, OSError("gone")) as made, pytest.raises(lmm.WorkerError, match=r"1 of 1 tasks .*OSError: gone"):
        scanned(study, tmp_path / "other", executor=made)
    with Once(1, lmm.GenotypeError("damaged")) as made, pytest.raises(lmm.GenotypeError, match="damaged"):
        scanned(study, tmp_path / "third", executor=made)
    assert len(made.seen) == 1, "an error of the data would come again"


def test_executors_that_cannot_be(study, tmp_path, monkeypatch):
    with (
        concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as forked,
        pytest.raises(lmm.OptionError, match=r"get_context\('spawn'\)"),
    ):
        scanned(study, tmp_path / "hits", executor=forked)
    monkeypatch.setattr(pickling.importlib, "import_module", lambda name: 1 / 0 if name != "cloudpickle" else no(name))
    data, source, kinship = study
    own = type("Local", (ArraySource,), {})(
        source.read(slice(None)), list(source.sample_ids), list(source.variants["variant"])
    )
    with Once(0, None) as made, pytest.raises(lmm.OptionError, match=r"can be sent to other processes.*cloudpickle"):
        scanned((data, own, kinship), tmp_path / "hits", executor=made)


def no(name):
    raise ModuleNotFoundError(name)
