"""Genomic relationship matrices: GEMMA's, a plain formula, chromosomes left out, and the command line."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm.cli import app
from jaxlmm.genetics import ArraySource, genotypes, grm
from jaxlmm.genetics.matrices import from_markers
from jaxlmm.genetics.matrices.from_markers import marker_sums

from references import HERE

GENETICS = HERE / "genetics"
SYNTHETIC, HOLES = GENETICS / "synthetic100" / "test.bed", GENETICS / "holes" / "holes.bed"

GEMMA = 1e-9
"""GEMMA prints ten significant digits of numbers up to about 5."""

EXACT = 1e-12
"""Sums of some hundred products in another order."""


@pytest.fixture(scope="module")
def phenotyped():
    """Samples of ``holes`` that GEMMA analyzed: those whose phenotype is not -9."""
    fam = pd.read_csv(HOLES.with_suffix(".fam"), sep=r"\s+", header=None, dtype=str)
    return fam.loc[fam[5] != "-9", 1]


@pytest.fixture(scope="module")
def chromosomes():
    """The counts of ``holes`` on four chromosomes, not in order."""
    opened = genotypes(HOLES)
    variants = opened.variants.assign(chromosome=np.tile(["2", "X", "1", "1", "7"], 40))
    return ArraySource(opened.read(), opened.sample_ids, variants)


@pytest.mark.parametrize(("scale", "letter"), [("centered", "c"), ("standardized", "s")])
def test_gemma_on_synthetic100(scale, letter):
    K = grm(SYNTHETIC, scale=scale)
    assert abs(K.to_array() - np.loadtxt(SYNTHETIC.with_name(f"gemma_kinship.{letter}XX.txt.gz"))).max() < GEMMA
    assert K.labels.tolist() == genotypes(SYNTHETIC).sample_ids.tolist()


@pytest.mark.parametrize(("scale", "letter"), [("centered", "c"), ("standardized", "s")])
def test_gemma_with_missing_calls_and_phenotypes(scale, letter, phenotyped):
    """Markers are judged in the samples with a phenotype, and multiplied over all samples."""
    sums = marker_sums(HOLES, scale=scale, judged=phenotyped)
    expected = np.loadtxt(HOLES.with_name(f"holes.{letter}XX.txt.gz"))
    assert abs(sums.relationship().to_array() - expected).max() < GEMMA
    assert sums.count < marker_sums(HOLES, scale=scale).count


def test_gemma_on_bxd():
    """GEMMA leaves out markers that a covariate predicts in the analyzed samples (-r2 0.9999); three are."""
    bxd = GENETICS / "bxd"
    table = pd.read_csv(bxd / "BXD_geno.txt.gz", header=None, skipinitialspace=True).set_index(0)
    frame = table.iloc[:, 2:].T.set_axis([f"BXD{number}" for number in range(198)])
    analyzed = np.loadtxt(bxd / "BXD_pheno.txt", dtype=str) != "NA"
    covariate = np.loadtxt(bxd / "BXD_covariates2.txt")[analyzed, 1]
    shares = frame[analyzed].corrwith(pd.Series(covariate, frame.index[analyzed])) ** 2
    source = genotypes(frame, extract=frame.columns[shares <= 0.9999])
    sums = marker_sums(source, judged=frame.index[analyzed])
    assert frame.shape[1] - sums.count == 3
    assert abs(sums.relationship().to_array() - np.loadtxt(bxd / "BXD.cXX.txt.gz")).max() < GEMMA


@pytest.mark.parametrize("scale", ["centered", "standardized"])
def test_plain_formula(scale):
    opened = genotypes(HOLES, coding="dominant", standardize=True, maf=0.1, missing=0.03)
    calls = pd.DataFrame(opened.read())
    frequency = calls.mean() / 2
    X = calls.loc[:, (np.minimum(frequency, 1 - frequency) >= 0.1) & (calls.isna().mean() <= 0.03)]
    X = (X.fillna(X.mean()) - X.mean()).to_numpy()
    if scale == "standardized":
        X = X / X.std(axis=0)
    K = grm(opened, scale=scale, missing=0.05)
    assert abs(K.to_array() - X @ X.T / X.shape[1]).max() < EXACT
    assert np.array_equal(K.matrix, K.matrix.T)


@pytest.mark.parametrize("keep", [True, False])
def test_a_chromosome_left_out_by_subtraction(chromosomes, phenotyped, keep, monkeypatch):
    monkeypatch.setattr(from_markers, "MAX_BYTES_OF_CHROMOSOME_SUMS", 2**31 if keep else 0)
    sums = marker_sums(chromosomes, judged=phenotyped, by_chromosome=True)
    assert bool(sums.kept) == keep
    whole = marker_sums(chromosomes, judged=phenotyped)
    assert sums.count == whole.count
    assert abs(sums.relationship().to_array() - whole.relationship().to_array()).max() < EXACT
    for name in ("1", "X"):
        opened = genotypes(chromosomes)
        others = opened.select(~opened.on_chromosome(name))
        direct = marker_sums(others, judged=phenotyped).relationship()
        assert abs(sums.without(name).to_array() - direct.to_array()).max() < EXACT
    assert abs(sums.relationship().to_array() - whole.relationship().to_array()).max() < EXACT


def test_excluded_chromosomes(chromosomes):
    one = grm(chromosomes, exclude_chromosome=["1", 2])
    other = grm(genotypes(chromosomes, chromosome=["X", 7]))
    assert abs(one.to_array() - other.to_array()).max() < EXACT
    with pytest.raises(lmm.GenotypeError, match="none called '3'; there are: 2, X, 1, 7"):
        grm(chromosomes, exclude_chromosome=3)
    only = marker_sums(genotypes(chromosomes, chromosome="X"), by_chromosome=True)
    with pytest.raises(lmm.GenotypeError, match="without chromosome X: expected markers on other chromosomes"):
        only.without("X")


def test_no_marker_left():
    with pytest.raises(lmm.GenotypeError, match=r"maf ≥ 0.5 .* got none of 200 \(.* filtered_maf"):
        grm(HOLES, maf=0.5, missing=0.0)
    with pytest.raises(lmm.OptionError, match="scale: expected one of 'centered', 'standardized'"):
        grm(HOLES, scale="plain")


def test_command(tmp_path):
    out = tmp_path / "K.npz"
    options = ["--scale", "standardized", "--maf", "0.1", "--missing", "0.04", "--out", str(out)]
    done = CliRunner().invoke(app, ["grm", str(HOLES), *options])
    assert done.exit_code == 0, done.output
    expected = grm(HOLES, scale="standardized", maf=0.1, missing=0.04)
    assert np.array_equal(lmm.load(out).matrix, expected.matrix)
    assert str(expected) in done.output
    assert CliRunner().invoke(app, ["grm", str(HOLES), *options]).exit_code == 2
    assert CliRunner().invoke(app, ["grm", str(HOLES), "--out", str(tmp_path / "K.csv")]).exit_code == 2
    other = ["--exclude-chromosome", "9", "--out", str(tmp_path / "other.npz")]
    failed = CliRunner().invoke(app, ["grm", str(HOLES), *other])
    assert failed.exit_code == 3
    assert "none called '9'" in failed.output
