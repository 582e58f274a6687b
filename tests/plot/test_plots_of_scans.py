"""Pictures of scans: what is drawn where, of one response and several, of a region; what cannot be drawn."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

mpl.use("Agg")


@pytest.fixture(scope="module")
def source():
    table = lmm.datasets.genotypes().iloc[:, :120]
    variants = pd.DataFrame({"variant": table.columns, "chromosome": np.repeat(["1", "2"], 60)})
    variants["position"] = np.tile(np.arange(60) * 100 + 50, 2)
    return lmm.genetics.ArraySource(table.to_numpy(), list(table.index), variants)


@pytest.fixture(scope="module")
def hits(source):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"id": source.sample_ids, "a": rng.normal(size=100), "b": rng.normal(size=100)})
    data["a"] += source.read(slice(70, 71))[:, 0]
    return lmm.scan("~ 1", data, genotypes=source, responses=["a", "b"], id="id", variances="null")


@pytest.fixture(autouse=True)
def _closed():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def points(ax):
    return sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == ".")


def test_manhattan_has_all_markers_a_title_and_a_line(hits):
    ax = lmm.plot.manhattan(hits, "a")
    assert points(ax) == 120
    assert ax.get_title() == "a"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2"]
    table = hits.tidy().query("response == 'a'")
    drawn = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() == "."])
    np.testing.assert_allclose(np.sort(drawn), np.sort(table["neg_log10_p"]))
    lines = [line.get_ydata()[0] for line in ax.lines if line.get_marker() != "."]
    assert lines == [pytest.approx(-np.log10(5e-8))]
    assert not [line for line in lmm.plot.manhattan(hits, "a", threshold=None).lines if line.get_marker() != "."]
    own = lmm.plot.manhattan(hits, "a", threshold=1e-4)
    assert [line.get_ydata()[0] for line in own.lines if line.get_marker() != "."] == [pytest.approx(4.0)]


def test_manhattan_of_several_responses_has_a_color_for_each(hits):
    ax = lmm.plot.manhattan(hits, ["a", "b"])
    assert points(ax) == 240
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert len({line.get_color() for line in ax.lines if line.get_marker() == "."}) == 2


def test_a_region_marks_its_top_and_is_colored_by_correlation(hits, source):
    top = hits.tidy().query("response == 'a'").nlargest(1, "neg_log10_p").iloc[0]
    span = f"{top['chromosome']}:{top['position'] - 500}-{top['position'] + 500}"
    ax = lmm.plot.region(hits, span, "a")
    assert points(ax) == 11
    assert ax.texts[0].get_text() == top["variant"]
    assert ax.get_xlabel() == f"position on chromosome {top['chromosome']}"
    colored = lmm.plot.region(hits, span, "a", genotypes=source)
    shown = colored.collections[0].get_array()
    place = list(source.variants["variant"]).index(top["variant"])
    others = source.read(slice(place - 5, place + 6))
    expected = np.corrcoef(others.T)[5] ** 2
    np.testing.assert_allclose(shown, expected, rtol=1e-9)


def test_qq_names_its_response(hits):
    assert lmm.plot.qq_p(hits, "b").get_title() == f"b: λ = {hits.lambda_gc()['b']:.3f}"


def test_pictures_that_cannot_be(hits, source):
    some = lmm.genetics.genotypes(source, region="1:0-200")
    cases = [
        (lambda: lmm.plot.manhattan(hits), lmm.OptionError, "expected one of 2 responses"),
        (lambda: lmm.plot.manhattan(hits, ["a", "c"]), lmm.OptionError, "'c' is no response"),
        (lambda: lmm.plot.manhattan(hits, "a", threshold=0.0), lmm.OptionError, "threshold: expected a probability"),
        (lambda: lmm.plot.region(hits, "1", "a"), lmm.OptionError, "region: expected CHROMOSOME:FIRST-LAST"),
        (lambda: lmm.plot.region(hits, "3:1-9", "a"), lmm.DataError, "no marker in 3:1-9 was tested for 'a'"),
        (lambda: lmm.plot.region(hits, "2:0-900", "a", genotypes=some), lmm.GenotypeError, "got no 'rs0060'"),
    ]
    for draw, error, message in cases:
        with pytest.raises(error, match=message):
            draw()
