"""What is wrong with files of genotypes, other sources and options."""

import shutil
import sys

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.genetics import ArraySource, GenotypeSource, genotypes

from genotype_files import HOLES
from scans import FOLDER

# --- bad files and options


def cut_bed(bed):
    bed.write_bytes(bed.read_bytes()[:-20])


def cut_bim(bed):
    bim = bed.with_suffix(".bim")
    bim.write_text("".join(bim.read_text().splitlines(keepends=True)[:-5]))


def magic(bed):
    bed.write_bytes(b"\x1f\x8b\x08" + bed.read_bytes()[3:])


def sample_major(bed):
    bed.write_bytes(b"\x6c\x1b\x00" + bed.read_bytes()[3:])


def empty_bed(bed):
    bed.write_bytes(b"")


def empty_fam(bed):
    bed.with_suffix(".fam").write_text("")


def no_fam(bed):
    bed.with_suffix(".fam").unlink()


def no_bed(bed):
    bed.unlink()


def long_line(bed):
    edit_bim(bed, lambda fields: [*fields, "extra"])


def short_line(bed):
    edit_bim(bed, lambda fields: fields[:4])


def worded_position(bed):
    edit_bim(bed, lambda fields: [*fields[:3], "here", *fields[4:]])


def edit_bim(bed, change):
    bim = bed.with_suffix(".bim")
    lines = bim.read_text().splitlines()
    lines[1] = "\t".join(change(lines[1].split()))
    bim.write_text("\n".join(lines) + "\n")


def narrow_fam(bed):
    bed.with_suffix(".fam").write_text("a a 0\n" * 60)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_bed, r"expected 3003 bytes for 60 samples \(.fam\) and 200 variants \(.bim\), got 2983.*cut short"),
        (cut_bim, r"expected 2928 bytes for 60 samples \(.fam\) and 195 variants .*which are 200 variants.*The .bim"),
        (magic, "begins with bytes 6c 1b 01, got 1f 8b 08; is it compressed"),
        (sample_major, r"variant-major .bed file \(third byte 01\), got 00; .* rewritten by plink --make-bed"),
        (empty_bed, "got an empty file"),
        (empty_fam, "holes.fam: expected a line per entry .* got an empty file"),
        (no_fam, "expected holes.fam beside it, got none"),
        (no_bed, "does not exist"),
        (long_line, "holes.bim: expected the same columns .* in each line; .* line 2"),
        (short_line, "holes.bim: expected 6 columns .* in each line, got fewer in row 2"),
        (narrow_fam, "holes.fam: expected 6 columns .* got 3"),
        (worded_position, "holes.bim: expected whole numbers as base-pair positions, got 'here' in row 2"),
    ],
)
def test_bad_bed(copied, damage, said):
    damage(copied)
    with pytest.raises(lmm.GenotypeError, match=f"(?s){said}"):
        genotypes(copied)


def bed_as_pgen(pgen):
    pgen.write_bytes(HOLES.read_bytes())


def cut_pgen(pgen):
    pgen.write_bytes(pgen.read_bytes()[:-1])


def head_of_pgen(pgen):
    pgen.write_bytes(pgen.read_bytes()[:40])


def cut_pvar(pgen):
    pvar = pgen.with_suffix(".pvar")
    pvar.write_text("".join(pvar.read_text().splitlines(keepends=True)[:-5]))


def packed_pvar(pgen):
    pgen.with_suffix(".pvar").rename(pgen.with_suffix(".pvar.zst"))


def no_psam(pgen):
    pgen.with_suffix(".psam").unlink()


def nameless_pvar(pgen):
    pvar = pgen.with_suffix(".pvar")
    pvar.write_text(pvar.read_text().replace("ALT", "OTHER"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (bed_as_pgen, "a storage mode from 02, got 6c 1b 01; a .bed file"),
        (cut_pgen, "pgenlib says: .* cut short"),
        (head_of_pgen, "pgenlib says: .* cut short"),
        (cut_pvar, "expected 60 samples and 195 variants, .* got 60 samples and 200 variants"),
        (packed_pvar, "plink2 --zst-decompress holes.pvar.zst holes.pvar"),
        (no_psam, "expected holes.psam beside it, got none"),
        (nameless_pvar, "expected columns #CHROM POS ID REF ALT, got #CHROM POS ID REF OTHER"),
    ],
)
def test_bad_pgen(pgen, tmp_path, damage, said):
    for path in pgen.parent.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    damage(tmp_path / pgen.name)
    with pytest.raises(lmm.GenotypeError, match=f"(?s){said}"):
        genotypes(tmp_path / pgen.name)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (HOLES.with_suffix(".fam"), "ending in .bed or .pgen"),
        ("chr1.gen.gz", "got chr1.gen.gz; plink2 --make-pgen writes"),
        (HOLES.with_suffix(""), r"did you mean .*holes.bed\?"),
        ("nowhere.bed", "does not exist"),
        (pd.DataFrame({"id": ["a"], "v": [1.0]}), "column 'id' is .*set_index"),
        (pd.DataFrame({"v": ["CC", "CT"]}), "allele_counts for letters"),
        (pd.DataFrame({"v": [1.0, 2.0]}, index=["a", "a"]), "expected each sample once, .* 'a'"),
        (pd.DataFrame(index=["a"]), "at least one sample and one variant"),
        (np.zeros(3), "expected a path ending in .*, got ndarray"),
        (np.array([["a"]]), r"expected numbers \(samples × variants\)"),
        (7, "got int"),
        (ArraySource, "got ABCMeta"),
    ],
)
def test_bad_source(source, said):
    with pytest.raises(lmm.GenotypeError, match=said):
        genotypes(source)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"coding": "add"}, "coding: expected one of 'additive', 'dominant', 'recessive', got 'add'"),
        ({"maf": 0.6}, "maf: expected a minor allele frequency from 0 to 0.5, got 0.6"),
        ({"missing": -1}, "missing: expected a share from 0 to 1, got -1"),
    ],
)
def test_bad_option(options, said):
    with pytest.raises(lmm.OptionError, match=said):
        genotypes(HOLES, **options)


@pytest.mark.parametrize("module", ["bed_reader", "pgenlib"])
def test_a_reader_that_is_not_installed(module, pgen, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(lmm.GenotypeError, match=rf'are read by {module}, .*pip install "jaxlmm\[genetics\]"'):
        genotypes(HOLES if module == "bed_reader" else pgen)


def test_a_source_without_a_column():
    class Nothing(GenotypeSource):
        def read(self, markers, rows=None):
            raise NotImplementedError

    with pytest.raises(lmm.GenotypeError, match=r"expected variants with columns chromosome, .* got no position"):
        Nothing("nothing", ["a"], pd.DataFrame({"chromosome": ["1"]}))


def test_bad_array():
    with pytest.raises(lmm.GenotypeError, match="expected 2 sample ids, one per row, got 1"):
        ArraySource(np.zeros((2, 3)), ["a"])
    with pytest.raises(lmm.GenotypeError, match="expected 3 variants, one per column, got 1"):
        ArraySource(np.zeros((2, 3)), variants=["a"])
    with pytest.raises(lmm.GenotypeError, match="expected a column 'variant'"):
        ArraySource(np.zeros((2, 1)), variants=pd.DataFrame({"name": ["a"]}))


BED = FOLDER / "synthetic100" / "test.bed"


# ---- a .fam file that is short ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "lost"), [(100, 1), (100, 2), (100, 3), (99, 1), (99, 2), (98, 1)])
def test_a_short_fam_is_seen_behind_the_last_sample(samples, lost, tmp_path):
    """The number of bytes per variant stays the same."""
    path = tmp_path / "short.bed"
    raw = np.fromfile(BED, np.uint8)[3:].reshape(-1, 25).copy()
    raw[:, -1] &= (1 << 2 * (4 - (100 - samples))) - 1
    path.write_bytes(b"\x6c\x1b\x01" + raw.tobytes())
    shutil.copy(BED.with_suffix(".bim"), path.with_suffix(".bim"))
    lines = BED.with_suffix(".fam").read_text().splitlines(keepends=True)[:samples]
    path.with_suffix(".fam").write_text("".join(lines))
    assert lmm.genetics.genotypes(path).read().shape[0] == samples
    path.with_suffix(".fam").write_text("".join(lines[:-lost]))
    with pytest.raises(lmm.GenotypeError, match=rf"behind the last of {samples - lost} samples .* lacks up to \d rows"):
        lmm.genetics.genotypes(path)
    path.with_suffix(".fam").write_text("".join(lines[:-4]))
    with pytest.raises(lmm.GenotypeError, match=r"expected \d+ bytes"):
        lmm.genetics.genotypes(path)
