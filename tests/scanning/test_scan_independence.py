"""A response's result does not depend on its company: the markers' own matrix is one, by one rule.

Neighbors tried: other responses beside it; fewer people in the data, some of them twice, some without genotypes;
markers with missing calls and rare ones; chromosomes left out; fixed and refitted variances; ids that repeat, or are
none.
"""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.genetics import ArraySource, grm

RARE = slice(30, 50)
"""Markers that vary in the last 40 samples alone, where some responses are not known."""

SAME = 1e-9
"""Relative: with other responses beside it, a product has another shape."""


@pytest.fixture(scope="module")
def study():
    """80 samples, 60 markers on two chromosomes; ``some`` is known in the first 40, ``all`` in all."""
    rng = np.random.default_rng(5)
    calls = rng.binomial(2, 0.3, size=(80, 60)).astype(float)
    calls[:40, RARE] = 0.0
    calls[:4, 3] = np.nan  # 5 % of all, 10 % of the first 40
    variants = pd.DataFrame(
        {
            "chromosome": np.tile(["1", "2"], 30), "position": np.arange(60), "effect_allele": "A",
            "variant": [f"rs{number}" for number in range(60)], "other_allele": "C",
        }
    )  # fmt: skip
    ids = [f"s{number}" for number in range(80)]
    data = pd.DataFrame({"id": ids, "x": rng.normal(size=80), "group": np.arange(80) // 4})
    Y = pd.DataFrame({"some": rng.normal(size=80), "all": rng.normal(size=80)})
    Y["some"] += calls[:, 0]
    Y.loc[40:, "some"] = np.nan
    return data, Y, ArraySource(calls, ids, variants)


def of_some(hits):
    table = hits.tidy()
    return table[table["response"] == "some"].reset_index(drop=True)


@pytest.mark.parametrize(
    "options", [{}, {"loco": True, "variances": "null"}, {"variances": "null"}], ids=["refit", "loco", "null"]
)
def test_alone_and_beside_others(study, options):
    data, Y, source = study
    options = {"genotypes": source, "kinship": "auto", **options}
    alone = lmm.scan("~ x + (1 | id)", data, responses=Y[["some"]], **options)
    beside = lmm.scan("~ x + (1 | id)", data, responses=Y, **options)
    pd.testing.assert_frame_equal(of_some(alone), of_some(beside), rtol=SAME)
    assert "markers (maf ≥ 0.01, missing ≤ 0.05 in all 80 genotyped samples)" in str(beside)


def test_the_matrix_is_that_of_all_genotyped_samples(study):
    """Also where the data hold fewer people, some twice, and some without genotypes."""
    data, Y, source = study
    fewer = pd.concat([data.iloc[:40], data.iloc[:10], data.iloc[:1].assign(id="elsewhere")], ignore_index=True)
    fewer["y"] = np.r_[Y["some"][:40], Y["some"][:10] + np.linspace(-1.0, 1.0, 10), 0.0]
    own = lmm.scan("y ~ x + (1 | id)", fewer, genotypes=source, kinship="auto", variances="null")
    K = grm(source)
    given = lmm.scan("y ~ x + (1 | id)", fewer, genotypes=source, kinship={"id": K}, variances="null")
    pd.testing.assert_frame_equal(own.tidy(), given.tidy(), rtol=SAME)
    calls = source.read(slice(None))
    calls = np.where(np.isnan(calls), np.nanmean(calls, axis=0), calls) - np.nanmean(calls, axis=0)
    np.testing.assert_allclose(K.to_array(), calls @ calls.T / 60, atol=1e-12)


def test_markers_of_a_matrix_are_judged_where_that_is_asked(study):
    """GEMMA's rule: judged in the analyzed samples, products over all."""
    data, _, source = study
    judged = data["id"][:40]
    calls = source.read(slice(None))
    kept = np.isnan(calls[:40]).mean(axis=0) <= 0.05
    kept[RARE] = False
    calls = np.where(np.isnan(calls), np.nanmean(calls, axis=0), calls) - np.nanmean(calls, axis=0)
    expected = calls[:, kept] @ calls[:, kept].T / kept.sum()
    assert kept.sum() == 39
    for ids in (judged, [*judged, *judged[:5]], iter(judged)):
        np.testing.assert_allclose(grm(source, judged_in=ids).to_array(), expected, atol=1e-12)
    on_one = grm(source, judged_in=judged, exclude_chromosome="2")
    one = kept & (np.arange(60) % 2 == 0)
    np.testing.assert_allclose(on_one.to_array(), calls[:, one] @ calls[:, one].T / one.sum(), atol=1e-12)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            ["s1", "nobody", "none"],
            "judged_in: expected ids of samples of genotypes, such as 's0', got 2 others",
        ),
        ([], "got none"),
        ("everyone", "'everyone'"),
    ],
)
def test_ids_that_are_none(study, ids, message):
    with pytest.raises(lmm.GenotypeError, match=message):
        grm(study[2], judged_in=ids)
