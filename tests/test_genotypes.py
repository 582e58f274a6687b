"""Genotypes: the same calls from every source, prepared in the analyzed samples, and what is wrong with files."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pgenlib
import polars as pl
import pytest

import jaxlmm as lmm
from jaxlmm.genetics import ArraySource, GenotypeSource, allele_counts, genotypes
from jaxlmm.genetics.blocks import Preparation, prepare
from jaxlmm.genetics.ids.samples import match_samples

GENETICS = Path(__file__).parent / "reference" / "genetics"
HOLES = GENETICS / "holes" / "holes.bed"

PRINTED = 5e-4
"""GEMMA prints allele frequencies with three digits."""

EXACT = 1e-12
"""Sums of at most 100 numbers in another order."""


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


def same(one, other):
    return np.array_equal(one, other, equal_nan=True)


def everything(opened, **options):
    """The values of all blocks, and what is said of their markers."""
    blocks = list(opened.blocks(**options))
    parts = {
        name: [getattr(block, name) for block in blocks] for name in ("frequency", "n_called", "status", "markers")
    }
    return np.concatenate([block.values for block in blocks], axis=1), {k: np.concatenate(v) for k, v in parts.items()}


# --- the same calls from every source


def test_bed_is_read_as_specified(holes, table, ids):
    opened = genotypes(HOLES)
    assert opened.sample_ids.tolist() == ids.tolist()
    assert opened.variants.columns.tolist() == ["chromosome", "position", "variant", "effect_allele", "other_allele"]
    assert opened.variants["effect_allele"].tolist() == table[4].tolist()
    assert opened.variants["position"].tolist() == table[3].tolist()
    assert opened.variants["chromosome"].unique().tolist() == ["1"]
    assert same(opened.read(), holes)
    assert same(opened.read(slice(3, 9)), holes[:, 3:9])
    assert same(opened.read(np.array([7, 3, 100])), holes[:, [7, 3, 100]])


def test_pgen_equals_bed(pgen, holes):
    bed, other = genotypes(HOLES), genotypes(pgen)
    assert other.sample_ids.tolist() == bed.sample_ids.tolist()
    pd.testing.assert_frame_equal(other.variants, bed.variants, check_dtype=False)
    assert same(other.read(), holes)
    rows = np.array([5, 2, 2, 59])
    for numbers in (slice(3, 9), np.array([150, 7])):
        assert same(other.source.read(numbers, rows), holes[rows][:, numbers])
        assert same(bed.source.read(numbers, rows), holes[rows][:, numbers])


def test_pgen_with_dosages_several_alleles_and_bim_beside_it(tmp_path):
    path = tmp_path / "d.pgen"
    dosages = np.array([[0.0, 0.25, 1.5, 2.0, -9.0]])
    with pgenlib.PgenWriter(str(path).encode(), 5, variant_ct=1, dosage_present=True) as file:
        file.append_dosages_batch(dosages)
    path.with_suffix(".fam").write_text("".join(f"{name} {name} 0 0 0 -9\n" for name in "abcde"))
    path.with_suffix(".bim").write_text("X v 0 12 A G\n")
    opened = genotypes(path)
    assert opened.variants.iloc[0].tolist() == ["X", 12, "v", "A", "G"]
    assert same(opened.read()[:, 0], np.where(dosages[0] < 0, np.nan, dosages[0]))

    path = tmp_path / "m.pgen"
    with pgenlib.PgenWriter(str(path).encode(), 3, variant_ct=2, allele_ct_limit=3) as file:
        file.append_alleles(np.array([0, 1, 2, 2, 1, 2], np.int32), allele_ct=3)
        file.append_alleles(np.array([0, 1, 1, 1, -9, -9], np.int32), allele_ct=2)
    path.with_suffix(".psam").write_text("a 1 0 0 1\nb 1 0 0 1\nb 2 0 0 1\n")
    path.with_suffix(".pvar").write_text("1 v 10 A,T G\n1 w 20 C G\n")
    opened = genotypes(path)
    assert opened.sample_ids.tolist() == ["a_1", "b_1", "b_2"]
    assert opened.variants[["effect_allele", "other_allele"]].to_numpy().tolist() == [["A", "G,T"], ["C", "G"]]
    assert same(opened.read(), np.array([[1.0, 1.0], [0.0, 2.0], [1.0, np.nan]]))


def test_frames_and_arrays_equal_bed(holes, table, ids):
    frame = pd.DataFrame(holes, index=ids, columns=table[1])
    bed = everything(genotypes(HOLES, maf=0.05, missing=0.1))
    nullable = frame.astype("Int8")
    mixed = frame.fillna(1.0).astype(dict.fromkeys(table[1][:2], bool))
    assert same(genotypes(mixed).read(), mixed.to_numpy(float))
    columns = {"id": ids.tolist(), **{name: [None if np.isnan(v) else v for v in frame[name]] for name in frame}}
    for source in (frame, nullable, pl.DataFrame(columns), ArraySource(holes, ids, table[1].tolist()), holes):
        opened = genotypes(source, maf=0.05, missing=0.1)
        values, parts = everything(opened, size=77)
        assert same(values, bed[0])
        for name, part in parts.items():
            assert np.array_equal(part, bed[1][name]), name
        if source is not holes:
            assert opened.sample_ids.tolist() == ids.tolist()
            assert opened.variants["variant"].tolist() == table[1].tolist()
    assert genotypes(holes).sample_ids[:2].tolist() == ["0", "1"]
    assert genotypes(lmm.datasets.genotypes().astype(np.int8)).read().dtype == np.float64


def test_data_set_is_the_reference():
    assert same(lmm.datasets.genotypes().to_numpy(float), genotypes(GENETICS / "synthetic100" / "test.bed").read())


def test_variants_of_an_array_may_have_places():
    variants = pd.DataFrame(
        {"variant": ["a", "b"], "chromosome": [1, 2], "position": [5, 6], "effect_allele": ["A", "C"]}
    )
    opened = genotypes(ArraySource(np.eye(2), variants=variants), chromosome=2)
    assert opened.variants.iloc[0].tolist() == ["2", 6, "b", "C", "."]
    assert opened.read().tolist() == [[0.0], [1.0]]
    variants.loc[0] = ["a", None, None, None]
    table = ArraySource(np.eye(2), variants=variants).variants
    assert table.to_numpy().tolist() == [["0", 0, "a", ".", "."], ["2", 6, "b", "C", "."]]


def test_variants_of_one_name_are_two():
    frame = pd.DataFrame(np.eye(3), columns=["a", "a", "b"])
    assert genotypes(frame, extract=["a"]).read().tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]


def test_a_source_of_ones_own():
    class Ones(GenotypeSource):
        def read(self, markers, rows=None):
            count = len(np.arange(len(self.variants))[markers])
            return np.ones((len(self.sample_ids if rows is None else rows), count))

    source = Ones("ones", ["a", "b"], genotypes(HOLES).variants)
    _, parts = everything(genotypes(source), sample_ids=["b"])
    assert set(parts["status"]) == {"monomorphic"}


# --- what is prepared


def test_frequencies_and_filters_are_those_of_gemma():
    """The 9,100 markers that GEMMA analyzed of 10,300, judged where the trait is known."""
    opened = genotypes(GENETICS / "mouse" / "mouse.bed", maf=0.01)
    people = pd.read_csv(GENETICS / "mouse" / "mouse.pheno.csv", dtype={"id": str}).dropna(subset="trait1")
    gemma = pd.read_csv(GENETICS / "mouse" / "mouse.trait1.lmm4.assoc.txt.gz", sep="\t").set_index("rs")
    found = {"frequency": [], "status": [], "n_called": []}
    for block in opened.blocks(people["id"]):
        assert np.isfinite(block.values).all()
        for name, parts in found.items():
            parts.append(getattr(block, name))
    ours = opened.variants.assign(**{name: np.concatenate(parts) for name, parts in found.items()})
    kept = ours[ours["status"] == ""].set_index("variant")
    assert set(kept.index) == set(gemma.index)
    both = kept.join(gemma)
    assert (both["effect_allele"] == both["allele1"]).all()
    assert (both["n_called"] + both["n_miss"] == len(people)).all()
    assert abs(both["frequency"] - both["af"]).max() < PRINTED
    assert set(ours["status"]) == {"", "monomorphic", "filtered_maf"}


@pytest.mark.parametrize("coding", ["additive", "dominant", "recessive"])
@pytest.mark.parametrize("standardize", [False, True])
def test_coded_then_filled_by_the_mean_of_the_analyzed(holes, ids, coding, standardize):
    chosen = ids.sample(35, random_state=1)
    values, parts = everything(genotypes(HOLES, coding=coding, standardize=standardize), sample_ids=chosen, size=64)
    rows = holes[chosen.index]
    coded = {"additive": rows, "dominant": rows >= 1.0, "recessive": rows == 2.0}[coding]
    expected = pd.DataFrame(np.where(np.isnan(rows), np.nan, coded))
    expected = expected.fillna(expected.mean())
    if standardize:
        expected = (expected - expected.mean()) / expected.std()
    kept = parts["status"] == ""
    assert kept.sum() > 20
    assert abs(values[:, kept] - expected.to_numpy()[:, kept]).max() < EXACT
    assert (values[:, ~kept] == 0.0).all()
    calls = pd.DataFrame(rows)
    assert abs(parts["frequency"] - calls.mean() / 2).max() < EXACT
    assert (parts["n_called"] == calls.notna().sum()).all()
    distinct = pd.DataFrame(np.where(np.isnan(rows), np.nan, coded)).nunique()
    few = calls.isna().mean() > 0.05
    assert (parts["status"] == np.select([few, distinct < 2], ["filtered_missing", "monomorphic"], "")).all()


def test_each_status():
    nan = np.nan
    calls = np.array(
        [
            [nan, nan, nan, nan],
            [0, 1, 2, np.inf],
            [0, 1, 2, 2.5],
            [0, nan, nan, 1],
            [1, 1, 1, nan],
            [0, 0, 0, 1],
            [0, 1, 2, nan],
        ]
    ).T
    block = prepare(calls, np.arange(7), Preparation(maf=0.2, missing=0.25))
    expected = ["all_missing", "infinite", "not_counts", "filtered_missing", "monomorphic", "filtered_maf", ""]
    assert block.status.tolist() == expected
    assert block.n_called.tolist() == [0, 4, 4, 2, 3, 4, 3]
    assert block.values[:, 6].tolist() == [0.0, 1.0, 2.0, 1.0]
    assert np.isnan(block.frequency[:3]).all()
    assert block.frequency[3:].tolist() == [0.25, 0.5, 0.125, 0.5]


def test_filters_include_their_limits():
    """A minor allele as rare as maf, of either allele, and as many missing calls as allowed, for any decimal."""
    for people, part in ((100, 29), (10, 1), (10, 3)):
        counts = np.zeros((people, 3))
        counts[:part] = [2.0, 0.0, np.nan]
        counts[part:, 1:] = 2.0
        counts[-1, 2] = 0.0
        limit = part / people
        _, parts = everything(genotypes(counts, maf=limit, missing=limit))
        assert parts["status"][:2].tolist() == ["", ""]
        assert parts["status"][2] != "filtered_missing"
        _, parts = everything(genotypes(counts, maf=limit + 1e-9, missing=limit - 1e-9))
        assert parts["status"].tolist() == ["filtered_maf", "filtered_maf", "filtered_missing"]


def test_infinite_values_of_both_signs_are_a_status():
    calls = np.array([[np.inf, -np.inf, np.nan, 1.0], [0.0, 1.0, 1.0, 2.0]]).T
    for standardize in (False, True):
        values, parts = everything(genotypes(calls, standardize=standardize))
        assert parts["status"].tolist() == ["infinite", ""]
        assert (values[:, 0] == 0.0).all()


def test_numbers_that_are_not_counts_are_analyzed_as_they_are():
    """The five people's variants are standardized: no frequency, and no coding or filter that would need one."""
    frame = lmm.datasets.variants5()[["variant1", "variant2", "variant3"]]
    values, parts = everything(genotypes(frame))
    assert same(values, frame.to_numpy())
    assert np.isnan(parts["frequency"]).all()
    assert (parts["status"] == "").all()
    for options in ({"maf": 0.01}, {"coding": "dominant"}):
        assert (everything(genotypes(frame, **options))[1]["status"] == "not_counts").all()


def test_judged_in_some_and_read_for_all(holes, ids):
    opened = genotypes(HOLES, maf=0.05)
    some = ids[:20]
    values, parts = everything(opened, judged=some)
    assert values.shape == (60, 200)
    assert abs(parts["frequency"] - np.nanmean(holes[:20], axis=0) / 2).max() < EXACT
    _, alone = everything(opened, sample_ids=some)
    for name in parts:
        assert np.array_equal(parts[name], alone[name])
    filled = pd.DataFrame(holes).fillna(pd.DataFrame(holes).mean()).to_numpy()
    kept = parts["status"] == ""
    assert abs(values[:, kept] - filled[:, kept]).max() < EXACT


def test_blocks_are_as_asked_and_rows_in_the_order_of_the_ids(holes, ids):
    opened = genotypes(HOLES, missing=1.0)
    sizes = [block.values.shape[1] for block in opened.blocks(size=64)]
    assert sizes == [64, 64, 64, 8]
    backwards, parts = everything(opened, sample_ids=ids[::-1])
    forwards, _ = everything(opened)
    assert abs(backwards[::-1] - forwards).max() < EXACT
    assert parts["markers"].tolist() == list(range(200))


def test_selection(tmp_path, table):
    names = table[1]
    assert genotypes(HOLES, extract=names[[5, 2]]).variants["variant"].tolist() == names[[2, 5]].tolist()
    file = tmp_path / "names.txt"
    file.write_text(f"{names[7]} ignored\n\n{names[3]}\nnobody\n")
    opened = genotypes(HOLES, extract=file)
    assert opened.variants["variant"].tolist() == names[[3, 7]].tolist()
    assert same(opened.read(), genotypes(HOLES).read(np.array([3, 7])))
    assert "2 of 3 names found" in repr(opened)
    mouse = genotypes(GENETICS / "mouse" / "mouse.bed", chromosome=[19, "3"])
    assert mouse.variants["chromosome"].unique().tolist() == ["3", "19"]
    assert len(genotypes(GENETICS / "mouse" / "mouse.bed", chromosome=19).variants) < len(mouse.variants)
    with pytest.raises(lmm.GenotypeError, match=r"none called '1x'; did you mean 1"):
        genotypes(HOLES, chromosome="1x")
    with pytest.raises(lmm.GenotypeError, match="got 2 names of which none is there, such as 'a'"):
        genotypes(HOLES, extract=["a", "b"])
    with pytest.raises(lmm.GenotypeError, match="does not exist"):
        genotypes(HOLES, extract=tmp_path / "no.txt")


def test_no_more_is_read_than_a_block(holes, monkeypatch):
    class Watched(ArraySource):
        largest = 0

        def read(self, markers, rows=None):
            calls = super().read(markers, rows)
            self.largest = max(self.largest, calls.size)
            return calls

    monkeypatch.setattr(sys.modules["jaxlmm.genetics.genotypes"], "VALUES_PER_BLOCK", 70 * 60)
    source = Watched(holes)
    everything(genotypes(source))
    lmm.genetics.grm(source)
    assert source.largest == 70 * 60


# --- ids


def test_iids_that_repeat_are_told_apart_by_family(copied):
    fam = copied.with_suffix(".fam")
    lines = [line.split() for line in fam.read_text().splitlines()]
    lines[1][1] = lines[0][1]
    fam.write_text("".join(" ".join(line) + "\n" for line in lines))
    assert genotypes(copied).sample_ids[:3].tolist() == [f"{line[0]}_{line[1]}" for line in lines[:3]]
    lines[1][0] = lines[0][0]
    fam.write_text("".join(" ".join(line) + "\n" for line in lines))
    with pytest.raises(
        lmm.GenotypeError, match="expected each sample once, got 1 repeated ids, the first is 'FAM000_IND000'"
    ):
        genotypes(copied)


def test_samples_are_matched_as_text():
    matched = match_samples(pd.Series([3.0, 1.0, 1.0, 9.0]), ["1", "2", "3"])
    assert matched.rows.tolist() == [2, 0, 0, -1]
    assert (matched.n_kept, matched.n_without_genotypes, matched.n_without_data) == (2, 1, 1)
    assert match_samples(pd.Categorical(["b", "a"]), ["a", "b"]).rows.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (["1", "2"], ["F1_1", "F1_2"], "2 ids would match: the genotypes' ids are FID_IID"),
        (["F1_1", "F1_2"], ["1", "2"], "2 ids would match: the data's ids are FID_IID"),
        ([7, 8], ["007", "008"], "leading zeros"),
        (["ann "], ["Ann"], "capitals or spaces"),
        (["x"], ["y", "z"], "the data have 'x'; the genotypes have 'y', 'z'. is the id column"),
    ],
)
def test_no_overlap_shows_ids_of_both_sides(ours, theirs, said):
    with pytest.raises(lmm.GenotypeError) as error:
        match_samples(ours, theirs)
    assert said.lower() in str(error.value).lower()
    assert repr(str(ours[0])) in str(error.value)
    assert repr(theirs[0]) in str(error.value)


def test_ids_that_are_not_samples(ids):
    with pytest.raises(lmm.GenotypeError, match="got 1 others, the first is 'nobody'"):
        next(genotypes(HOLES).blocks([ids[0], "nobody"]))
    with pytest.raises(lmm.GenotypeError, match="judged: expected ids among sample_ids"):
        next(genotypes(HOLES).blocks(ids[:3], judged=ids[:4]))


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
        ("chr1.vcf.gz", "got chr1.vcf.gz; plink2 --make-pgen writes"),
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


# --- letters


def test_letters():
    calls = pd.DataFrame(
        {
            "together": ["CC", "ct", "TT", "--", "", None],
            "apart": ["A/G", "G|G", "A A", "./.", "0 0", np.nan],
            "long": ["CAG/C", "C/C", "CAG/CAG", "NN", "N/N", "NA"],
            "half": ["C0", "CC", "C/.", "CC", "CC", "CC"],
        },
        index=list("abcdef"),
    )
    counts = allele_counts(calls, {"apart": "G", "together": "T", "long": "cag", "half": "T"})
    nan = np.nan
    expected = {
        "apart": [1, 2, 0, nan, nan, nan],
        "together": [0, 1, 2, nan, nan, nan],
        "long": [1, 0, 2, nan, nan, nan],
        "half": [nan, 0, nan, 0, 0, 0],
    }
    pd.testing.assert_frame_equal(counts, pd.DataFrame(expected, index=list("abcdef"), dtype=float))
    assert genotypes(counts).sample_ids.tolist() == list("abcdef")
    again = allele_counts(pl.from_pandas(calls), pd.Series({"apart": "A"}))
    assert same(again["apart"].to_numpy(), 2.0 - counts["apart"].to_numpy())


@pytest.mark.parametrize(
    ("column", "effect", "said"),
    [
        (["CC", "CT"], "A", "got C, T; are they of the other strand"),
        (["CC", "CT", "AA"], "A", "got C, T, A; split"),
        (["CC", "C"], "C", "such as 'CT' or 'C/T', got 'C'"),
        (["C#"], "C", "got 'C#'"),
    ],
)
def test_bad_letters(column, effect, said):
    with pytest.raises(lmm.GenotypeError, match=f"rs1: .*{said}"):
        allele_counts(pd.DataFrame({"rs1": column}), {"rs1": effect})
    with pytest.raises(lmm.GenotypeError, match="the first is 'rs2'; the frame has 'rs1'"):
        allele_counts(pd.DataFrame({"rs1": column}), {"rs2": effect})
