"""One study, its scans in folders, and copies of these to be damaged."""

import shutil

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.scanning import run as scan_run

from folders import Failing, StoppedError, scanned


@pytest.fixture(scope="module")
def study():
    """Two responses of 100 samples, 300 markers."""
    table = lmm.datasets.genotypes().iloc[:, :300]
    rng = np.random.default_rng(5)
    y = table.iloc[:, [3]].to_numpy(float) + rng.normal(size=(100, 2))
    data = pd.DataFrame({"id": table.index, "a": y[:, 0], "b": y[:, 1]}, index=table.index)
    return data, Failing(table.to_numpy(), list(table.index), list(table.columns)), {"id": lmm.genetics.grm(table)}


@pytest.fixture(scope="module")
def small_parts():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scan_run, "PART_PAIRS", {"one ratio": 120, "null": 70, "refit": 2})
        patched.setattr(scan_run, "block_size", lambda markers: 64)
        yield


@pytest.fixture(scope="module")
def whole(study, small_parts, tmp_path_factory):
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
