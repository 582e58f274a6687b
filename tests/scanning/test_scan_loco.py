"""Leaving one chromosome out: each chromosome's scan is the one with the matrix of all others."""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.genetics import ArraySource

SUBTRACTED = 1e-8
"""Relative: a chromosome is subtracted from a sum of all, where the other matrix never had it."""


@pytest.fixture(scope="module")
def study():
    """100 samples, 300 markers on two chromosomes that take turns, with a few without one; two responses."""
    table = lmm.datasets.genotypes().iloc[:, :300]
    chromosome = np.tile(["X", "1", "1"], 100)
    chromosome[:4] = "0"
    variants = pd.DataFrame(
        {
            "chromosome": chromosome, "position": np.arange(300), "variant": table.columns, "effect_allele": "A",
            "other_allele": "C",
        }
    )  # fmt: skip
    source = ArraySource(table.to_numpy(), list(table.index), variants=variants)
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"id": table.index, "x": rng.normal(size=100), "family": np.arange(100) // 4})
    values = table.to_numpy() @ rng.normal(size=(300, 2)) / 8.0 + rng.normal(size=(100, 2))
    return data, pd.DataFrame(values, columns=["a", "b"]), source


def one_at_a_time(study, formula, chromosomes, **options):
    data, Y, source = study
    found = []
    for name in chromosomes:
        K = lmm.genetics.grm(source, exclude_chromosome=name)
        own = lmm.genetics.genotypes(source, chromosome=name)
        found.append(lmm.scan(formula, data, genotypes=own, responses=Y, id=None, kinship={"id": K}, **options).tidy())
    return pd.concat(found).sort_values(["response", "position"], kind="stable").reset_index(drop=True)


@pytest.mark.parametrize("variances", ["refit", "null"])
def test_each_chromosome_with_the_matrix_of_the_others(study, variances):
    data, Y, source = study
    options = {"variances": variances, "tests": ("wald",) if variances == "refit" else ("wald", "lrt")}
    hits = lmm.scan("~ x + (1 | id)", data, genotypes=source, responses=Y, kinship="auto", loco=True, **options)
    expected = one_at_a_time(study, "~ x + (1 | id)", ["0", "1", "X"], **options)
    pd.testing.assert_frame_equal(hits.tidy(), expected, rtol=SUBTRACTED)
    assert "for each of 3 chromosomes without its own" in str(hits)
    if variances == "null":
        whole = lmm.scan("~ x + (1 | id)", data, genotypes=source, responses=Y, kinship="auto", **options).tidy()
        assert not np.allclose(whole["estimate"], expected["estimate"], rtol=1e-3)


def test_kept_and_with_other_terms(study):
    data, Y, source = study
    some = lmm.genetics.genotypes(source, chromosome=["1", "X"], extract=[f"rs{number:04d}" for number in range(40)])
    options = {"genotypes": some, "responses": Y[["b"]], "kinship": "auto", "loco": True}
    hits = lmm.scan("~ x + (1 | id) + (1 | family)", data, variances="kept", p_max=0.3, **options)
    assert "refitted markers are fits of their own" in str(hits)
    assert len(hits) > 2
    null = hits.null
    assert set(null) == {"1", "X"}
    again = lmm.scan("~ x + (1 | id) + (1 | family)", data, variances="kept", p_max=0.3, null=null, **options)
    pd.testing.assert_frame_equal(again.tidy(), hits.tidy(), rtol=1e-12)
    row = hits.top(1).iloc[0]
    marker = some.read()[:, some.variants["variant"].eq(row["variant"]).to_numpy().argmax()]
    K = lmm.genetics.grm(source, exclude_chromosome=row["chromosome"])
    own = data.assign(b=Y["b"], g=marker)
    fit = lmm.fit("b ~ x + g + (1 | id) + (1 | family)", own, kinship={"id": K})
    assert row["estimate"] == pytest.approx(fit.fixef()["g"], rel=1e-6)
    assert row["std_error"] == pytest.approx(fit.coef().loc["g", "std_error"], rel=1e-6)


def test_what_cannot_be_left_out(study):
    data, Y, source = study
    options = {"responses": Y, "loco": True}
    genotypes, table = lmm.datasets.genotypes(), source.variants.assign(chromosome="7")
    single = ArraySource(genotypes.iloc[:, :300].to_numpy(), list(genotypes.index), variants=table)
    matrices = lmm.genetics.grm(lmm.genetics.genotypes(source, chromosome=["1", "X"]), loco=True)
    cases = [
        ({"genotypes": genotypes, "kinship": "auto"}, lmm.GenotypeError, "expected the chromosome of each marker"),
        ({"genotypes": single, "kinship": "auto"}, lmm.GenotypeError, "all of genotypes on '7'"),
        ({"genotypes": source, "kinship": {"id": matrices}}, lmm.KinshipError, "got none without '0'.* without 1, X"),
        ({"genotypes": source, "kinship": {"id": matrices}, "loco": False}, lmm.KinshipError, "scan.loco=True"),
        ({"genotypes": source}, lmm.OptionError, "expected kinship='auto', .* got none"),
        ({"genotypes": source, "kinship": {"id": lmm.genetics.grm(source)}}, lmm.OptionError, "got a matrix, of which"),
        ({"genotypes": source, "kinship": "auto", "loco": "yes"}, lmm.OptionError, "loco: expected True or False"),
    ]
    for given, error, message in cases:
        with pytest.raises(error, match=message):
            lmm.scan("~ x + (1 | id)", data, **{**options, **given})
    with pytest.raises(lmm.GenotypeError, match="all on '7' in genotypes"):
        lmm.genetics.grm(single, loco=True)
    null = lmm.fit_many("~ x + (1 | id)", data, responses=Y, kinship={"id": lmm.genetics.grm(source)})
    with pytest.raises(lmm.OptionError, match="null: expected a dict with the fits of each chromosome"):
        lmm.scan("~ x + (1 | id)", data, genotypes=source, kinship="auto", null=null, **options)


def test_one_chromosome_with_the_matrix_of_the_whole_source(study):
    """Whichever markers are tested: by chromosomes, with matrices that were made before, and with one's own."""
    data, Y, source = study
    own = lmm.genetics.genotypes(source, chromosome="1")
    options = {"responses": Y[["a"]], "variances": "null"}
    expected = one_at_a_time((data, Y[["a"]], source), "~ (1 | id)", ["1"], variances="null")
    matrices = lmm.genetics.grm(source, loco=True)
    assert repr(matrices) == "<LocoRelationships: 100 ids, without each of 3 chromosomes: 0, 1, X>"
    frames = {name: matrix.to_frame() for name, matrix in matrices.items()}
    for kinship in ("auto", {"id": matrices}, {"id": frames}):
        hits = lmm.scan("~ (1 | id)", data, genotypes=own, kinship=kinship, loco=True, **options)
        pd.testing.assert_frame_equal(hits.tidy(), expected, rtol=SUBTRACTED)
    whole = lmm.scan("~ (1 | id)", data, genotypes=source, kinship="auto", **options).tidy()
    auto = lmm.scan("~ (1 | id)", data, genotypes=own, kinship="auto", **options)
    pd.testing.assert_frame_equal(auto.tidy(), whole[whole["chromosome"] == "1"].reset_index(drop=True), rtol=1e-12)
    assert "centered GRM of 300 markers (maf" in str(auto)
    alone = lmm.genetics.ArraySource(own.read(), list(own.sample_ids), variants=own.variants)
    hits = lmm.scan("~ (1 | id)", data, genotypes=alone, kinship="auto", **options)
    assert "centered GRM of 198 markers, all on chromosome 1 (maf" in str(hits)
