"""BGEN, VCF and BCF files, and several files as one, against the calls that were written; files that are wrong."""

import pickle

import cyvcf2
import numpy as np
import pandas as pd
import pytest
from bgen import BgenWriter

import jaxlmm as lmm
from jaxlmm.genetics import genotypes

from genotype_files import same

EIGHT_BITS = 1 / 255
"""The precision in which BGEN files are written here."""

IDS = [f"s{number}" for number in range(30)]


@pytest.fixture(scope="module")
def probabilities():
    """Of 30 samples and 12 variants, no call in two places."""
    given = np.random.default_rng(1).dirichlet([1.0, 1.0, 1.0], size=(12, 30))
    given[3, 4] = given[7, 0] = np.nan
    return given


def dosages(probabilities):
    return (probabilities[:, :, 1] + 2.0 * probabilities[:, :, 2]).T


def write_bgen(path, probabilities, samples=IDS, alleles=("A", "G")):
    with BgenWriter(str(path), n_samples=len(IDS), samples=samples) as file:
        for number, own in enumerate(probabilities):
            file.add_variant(
                varid=f"v{number}", rsid=f"rs{number}" if number else ".", chrom="7", pos=100 * number + 5,
                alleles=list(alleles), genotypes=own,
            )  # fmt: skip
    path.with_name(path.name + ".bgi").unlink(missing_ok=True)


def test_bgen_has_dosages_of_the_second_allele(tmp_path, probabilities):
    write_bgen(tmp_path / "a.bgen", probabilities)
    opened, expected = genotypes(tmp_path / "a.bgen"), dosages(probabilities)
    assert opened.sample_ids.tolist() == IDS
    first = opened.variants.iloc[0].tolist()
    assert first == ["7", 5, "v0", "G", "A"]
    assert opened.variants["variant"].tolist()[1:3] == ["rs1", "rs2"]
    for markers in (slice(None), slice(3, 9), np.array([7, 3, 3])):
        np.testing.assert_allclose(opened.read(markers), expected[:, markers], atol=2 * EIGHT_BITS)
    rows = np.array([5, 0, 0])
    assert same(opened.source.read(slice(0, 4), rows), opened.read(slice(0, 4))[rows])
    again = pickle.loads(pickle.dumps(opened))
    assert same(again.read(), opened.read())


def test_bgen_with_a_list_of_samples_beside_it(tmp_path, probabilities):
    write_bgen(tmp_path / "a.bgen", probabilities[:2], samples=[])
    with pytest.raises(lmm.GenotypeError, match=r"expected ids of samples in it, or in a\.sample beside it"):
        genotypes(tmp_path / "a.bgen")
    lines = ["ID_1 ID_2 missing sex", "0 0 0 D", *(f"f{k} {name} 0 1" for k, name in enumerate(IDS))]
    (tmp_path / "a.sample").write_text("\n".join(lines) + "\n")
    assert genotypes(tmp_path / "a.bgen").sample_ids.tolist() == IDS
    (tmp_path / "a.sample").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(lmm.GenotypeError, match=r"expected 30 samples, as a.bgen has, got 29"):
        genotypes(tmp_path / "a.bgen")


def test_bgen_that_is_wrong(tmp_path, probabilities):
    (tmp_path / "a.bgen").write_bytes(b"no bgen file at all" * 10)
    with pytest.raises(lmm.GenotypeError, match="expected a BGEN file"):
        genotypes(tmp_path / "a.bgen")


HEADER = """##fileformat=VCFv4.2
##contig=<ID=1>
##contig=<ID=X>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DS,Number=A,Type=Float,Description="Dosage">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\td
"""
LINES = """1\t10\trs1\tA\tG\t.\t.\t.\tGT\t0/0\t0|1\t1/1\t./.
1\t20\t.\tC\tT\t.\t.\t.\tGT:DS\t0/0:0.25\t0/1:1.5\t./.:.\t1/1:2
1\t30\trs3\tA\tG,T\t.\t.\t.\tGT\t0/2\t1/2\t1|1\t0/.
X\t40\trs4\tA\tG\t.\t.\t.\tGT\t0/1\t0/1\t0/0\t1/1
"""
EXPECTED = np.array([[0, 1, 2, np.nan], [0.25, 1.5, np.nan, 2], [0, 1, 2, np.nan], [1, 1, 0, 2]]).T


@pytest.fixture(params=["a.vcf", "a.bcf"])
def vcf(request, tmp_path):
    (tmp_path / "a.vcf").write_text(HEADER + LINES)
    if request.param == "a.bcf":
        source = cyvcf2.VCF(str(tmp_path / "a.vcf"))
        writer = cyvcf2.Writer(str(tmp_path / "a.bcf"), source, mode="wb")
        for variant in source:
            writer.write_record(variant)
        writer.close()
    return tmp_path / request.param


def test_vcf_has_dosages_or_calls_of_the_first_alternate_allele(vcf):
    opened = genotypes(vcf)
    assert opened.sample_ids.tolist() == ["a", "b", "c", "d"]
    assert opened.variants["variant"].tolist() == ["rs1", "1:20:C:T", "rs3", "rs4"]
    assert opened.variants["other_allele"].tolist() == ["A", "C", "A,T", "A"]
    assert opened.variants["chromosome"].tolist() == ["1", "1", "1", "X"]
    assert same(opened.read(), EXPECTED)
    assert same(opened.read(slice(2, 4)), EXPECTED[:, 2:])
    assert same(opened.read(np.array([3, 0, 1])), EXPECTED[:, [3, 0, 1]]), "forward and back"
    assert same(opened.source.read(slice(1, 3), np.array([2, 0])), EXPECTED[[2, 0], 1:3])
    assert same(pickle.loads(pickle.dumps(opened)).read(), EXPECTED)
    assert same(genotypes(vcf, region="1:15-30").read(), EXPECTED[:, 1:3])


def test_dosages_that_are_missing_are_called_genotypes(tmp_path):
    lines = "1\t10\trs1\tA\tG\t.\t.\t.\tGT:DS\t0/1:.\t1/1:.\t0/0:0.4\t./.:.\n"
    (tmp_path / "a.vcf").write_text(HEADER + lines)
    assert same(genotypes(tmp_path / "a.vcf").read()[:, 0], np.array([1.0, 2.0, np.float32(0.4), np.nan]))
    header = HEADER.replace(
        "##FORMAT=<ID=GT", '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="q">\n##FORMAT=<ID=GT'
    )
    (tmp_path / "b.vcf").write_text(header + "1\t10\trs1\tA\tG\t.\t.\t.\tGQ\t1\t2\t3\t4\n")
    with pytest.raises(lmm.GenotypeError, match=r"1:10: expected dosages \(DS\) or genotypes \(GT\), got GQ"):
        genotypes(tmp_path / "b.vcf").read()


def test_vcf_that_is_wrong(tmp_path):
    (tmp_path / "a.vcf").write_text(HEADER + LINES)
    opened = genotypes(tmp_path / "a.vcf")
    (tmp_path / "a.vcf").write_text(HEADER + LINES.split("\n")[3] + "\n")
    with pytest.raises(lmm.GenotypeError, match="it was changed"):
        opened.read()
    (tmp_path / "b.vcf").write_text("nothing of that kind")
    with pytest.raises(lmm.GenotypeError, match=r"b.vcf"):
        genotypes(tmp_path / "b.vcf")


def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.vcf").write_text(HEADER + LINES)
    monkeypatch.setitem(__import__("sys").modules, "cyvcf2", None)
    with pytest.raises(lmm.GenotypeError, match=r"\.vcf files are read by cyvcf2.*pip install"):
        genotypes(tmp_path / "a.vcf")


# ---- several files -------------------------------------------------------------------------------------------------


@pytest.fixture
def chromosomes(tmp_path, probabilities):
    """Three files of VCF, of the same samples, the second in another order; their calls."""
    rng = np.random.default_rng(2)
    calls = rng.integers(0, 3, size=(4, 9)).astype(float)
    text = {0: "0/0", 1: "0/1", 2: "1/1"}
    for number, name in enumerate((1, 2, 10)):
        order = [3, 1, 0, 2] if name == 2 else [0, 1, 2, 3]
        header = HEADER.replace("\ta\tb\tc\td", "".join(f"\t{'abcd'[k]}" for k in order)).replace("ID=X", f"ID={name}")
        rows = []
        for own in range(3):
            marker = 3 * number + own
            genotype = "\t".join(text[int(calls[k, marker])] for k in order)
            rows.append(f"{name}\t{own + 1}\trs{marker}\tA\tG\t.\t.\t.\tGT\t{genotype}\n")
        header = header.replace("##contig=<ID=1>\n", "") if name == 1 else header
        (tmp_path / f"chr{name}.vcf").write_text(header + "".join(rows))
    return tmp_path, calls


def test_files_of_chromosomes_are_one_source(chromosomes):
    path, calls = chromosomes
    for source in (f"{path}/chr*.vcf", [path / "chr1.vcf", f"{path}/chr2.vcf", path / "chr10.vcf"]):
        opened = genotypes(source)
        assert repr(opened) == "Genotypes(3 files, chr1.vcf to chr10.vcf: 4 samples, 9 variants)"
        assert opened.variants["chromosome"].tolist() == ["1"] * 3 + ["2"] * 3 + ["10"] * 3
        assert same(opened.read(), calls)
        assert same(opened.read(np.array([8, 0, 4])), calls[:, [8, 0, 4]])
        assert same(opened.source.read(slice(2, 5), np.array([2, 0])), calls[[2, 0], 2:5])
        assert same(genotypes(source, chromosome="2").read(), calls[:, 3:6])
    matrices = lmm.genetics.grm(f"{path}/chr*.vcf", loco=True, maf=0.0)
    assert list(matrices) == ["1", "2", "10"]


def test_files_that_do_not_belong_together(chromosomes):
    path, _ = chromosomes
    with pytest.raises(lmm.GenotypeError, match=r"expected files of the pattern .*none.*got none"):
        genotypes(f"{path}/none*.vcf")
    text = (path / "chr10.vcf").read_text()
    (path / "chr11.vcf").write_text(text.replace("\td\n", "\te\n"))
    with pytest.raises(
        lmm.GenotypeError, match=r"chr11.vcf: expected the 4 samples of chr1.vcf, got 4 samples, no 'd'"
    ):
        genotypes(f"{path}/chr1*.vcf")
    (path / "chr11.vcf").write_text(text + text.splitlines()[-1] + "\n")  # a repeat inside a file hides none of others
    with pytest.raises(lmm.GenotypeError, match=r"expected other variants than in chr10.vcf, got 'rs6' in both"):
        genotypes(f"{path}/chr1*.vcf")


# ---- filters -------------------------------------------------------------------------------------------------------


def test_filters_of_markers(tmp_path):
    rng = np.random.default_rng(5)
    n = 200
    good = rng.binomial(2, 0.4, size=n).astype(float)
    rare = np.zeros(n)
    rare[:3] = 1.0
    heterozygous = np.ones(n)
    heterozygous[:4] = [0.0, 2.0, 0.0, 2.0]
    uncertain = 0.8 + 0.1 * rng.normal(size=n)
    table = pd.DataFrame({"good": good, "rare": rare, "het": heterozygous, "unsure": uncertain})

    def statuses(**filters):
        (block,) = genotypes(table, **filters).blocks()
        return dict(zip(table, block.status, strict=True))

    usual = {"good": "", "rare": "", "het": "", "unsure": ""}
    assert statuses() == usual
    assert statuses(mac=3) == usual
    assert statuses(mac=4) == {**usual, "rare": "filtered_mac"}
    assert statuses(info=0.3) == {**usual, "het": "filtered_info", "unsure": "filtered_info"}
    assert statuses(hwe=1e-6) == {**usual, "het": "filtered_hwe", "unsure": "filtered_hwe"}
    for name, value in (("mac", -1), ("info", 1.5), ("hwe", 1.0), ("hwe", "low")):
        with pytest.raises(lmm.OptionError, match=f"{name}: expected"):
            genotypes(table, **{name: value})


def test_hardy_weinberg_by_all_numbers_of_heterozygotes():
    """The probabilities written out with whole numbers."""
    import math
    from fractions import Fraction

    from jaxlmm.genetics.equilibrium import hardy_weinberg

    for het, one, other in ((57, 14, 50), (3, 0, 20), (0, 5, 6), (10, 0, 0), (1, 1, 1), (7, 30, 2)):
        n, rare = het + one + other, het + 2 * min(one, other)
        weights = {
            h: Fraction(2**h * math.factorial(n), math.factorial(h) * math.factorial((rare - h) // 2)
                        * math.factorial(n - h - (rare - h) // 2))
            for h in range(rare % 2, rare + 1, 2)
        }  # fmt: skip
        expected = sum(w for w in weights.values() if w <= weights[het]) / sum(weights.values())
        found = hardy_weinberg(np.array([het]), np.array([one]), np.array([other]))
        assert found[0] == pytest.approx(float(expected), rel=1e-9)
    assert hardy_weinberg(np.array([0]), np.array([0]), np.array([0]))[0] == 1.0
    assert hardy_weinberg(np.array([200_000]), np.array([0]), np.array([0]))[0] < 1e-300


def test_regions(tmp_path):
    table = lmm.datasets.genotypes().iloc[:10, :6]
    variants = pd.DataFrame({"variant": list("abcdef"), "chromosome": ["1", "1", "1", "2", "2", "2"]})
    variants["position"] = [10, 20, 30, 10, 20, 30]
    source = lmm.genetics.ArraySource(table.to_numpy(), list(table.index), variants)
    assert genotypes(source, region="1:15-30").variants["variant"].tolist() == ["b", "c"]
    assert genotypes(source, region=["2:1-10", "1:30-1,000"]).variants["variant"].tolist() == ["c", "d"]
    for wrong in ("1", "1:5", "1:30-10", "1:a-b"):
        with pytest.raises(lmm.OptionError, match="region: expected CHROMOSOME:FIRST-LAST"):
            genotypes(source, region=wrong)
    with pytest.raises(lmm.GenotypeError, match="got none of 6"):
        genotypes(source, region="1:11-19")
    with pytest.raises(lmm.GenotypeError, match="none called '3'"):
        genotypes(source, region="3:11-19")
