"""Genotypes: the same calls from every source, prepared in the analyzed samples; letters of alleles."""

import sys

import numpy as np
import pandas as pd
import pgenlib
import polars as pl
import pytest

import jaxlmm as lmm
from jaxlmm.genetics import ArraySource, GenotypeSource, allele_counts, genotypes
from jaxlmm.genetics.blocks import Preparation, prepare
from jaxlmm.genetics.ids.samples import match_samples

from genotype_files import GENETICS, HOLES, same

PRINTED = 5e-4
"""GEMMA prints allele frequencies with three digits."""

EXACT = 1e-12
"""Sums of at most 100 numbers in another order."""


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

    monkeypatch.setattr(sys.modules["jaxlmm.genetics.genotypes"], "BLOCK_VALUES", 70 * 60)
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
