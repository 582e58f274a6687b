"""One set of 60 samples and 200 variants with missing calls, as a .bed and as a .pgen file."""

import shutil

import numpy as np
import pandas as pd
import pgenlib
import pytest

from genotype_files import HOLES


@pytest.fixture(scope="module")
def holes():
    """Counts (60, 200) with missing calls, read by nobody's reader: two bits a call, as PLINK 1 specifies."""
    codes = np.frombuffer(HOLES.read_bytes()[3:], np.uint8).reshape(200, 15)
    bits = (codes[:, :, None] >> np.array([0, 2, 4, 6])) & 3
    return np.array([2.0, np.nan, 1.0, 0.0])[bits.reshape(200, 60)].T


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(HOLES.with_suffix(".bim"), sep=r"\s+", header=None)


@pytest.fixture(scope="module")
def ids():
    return pd.read_csv(HOLES.with_suffix(".fam"), sep=r"\s+", header=None, dtype=str)[1]


@pytest.fixture(scope="module")
def pgen(holes, table, ids, tmp_path_factory):
    path = tmp_path_factory.mktemp("pgen") / "holes.pgen"
    with pgenlib.PgenWriter(str(path).encode(), 60, variant_ct=200) as file:
        file.append_biallelic_batch(np.ascontiguousarray(np.nan_to_num(holes, nan=-9.0).T.astype(np.int8)))
    path.with_suffix(".psam").write_text("#FID\tIID\tSEX\n" + "".join(f"F\t{name}\tNA\n" for name in ids))
    lines = [f"{v[0]}\t{v[3]}\t{v[1]}\t{v[5]}\t{v[4]}\t.\n" for v in table.itertuples(index=False, name=None)]
    path.with_suffix(".pvar").write_text("##made in a test\n#CHROM\tPOS\tID\tREF\tALT\tINFO\n" + "".join(lines))
    return path


@pytest.fixture
def copied(tmp_path):
    """The three files, to be damaged."""
    for path in HOLES.parent.glob("holes.[bf]*"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / "holes.bed"
