"""Notes on the data, in every print: codes for missing values that are fitted as numbers, responses of two values."""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

FORMULA = "y ~ x + (1 | g)"


def people(n=60, **columns):
    rng = np.random.default_rng(3)
    g = np.repeat([f"g{k}" for k in range(n // 5)], 5)
    x, effects = rng.normal(size=n), np.repeat(rng.normal(size=n // 5), 5)
    return pd.DataFrame({"y": x + effects + rng.normal(size=n), "x": x, "g": g} | columns)


def coded(values, code, count=12):
    """Return values of which the first ``count`` are the code."""
    return np.r_[np.full(count, code), np.asarray(values, type(code))[count:]]


@pytest.fixture(scope="module")
def noted():
    data = people()
    data["y"] = coded(data["y"], -9.0)
    return lmm.fit(FORMULA, data)


def test_a_code_in_the_response_is_said_with_its_count_and_what_to_do(noted):
    (note,) = noted.estimates.notes
    assert note.startswith("-9 is the only value below -8 in y (12 values).")
    assert "--missing-code -9" in note
    assert "NaN" in note
    assert note in str(noted.summary())
    assert "1 note" in repr(noted)


def test_notes_are_in_the_file(noted, tmp_path):
    noted.save(tmp_path / "fit.json")
    again = lmm.load(tmp_path / "fit.json")
    assert again.estimates.notes == noted.estimates.notes
    assert str(again.summary()) == str(noted.summary())


def test_another_response_has_notes_of_its_own(noted):
    rng = np.random.default_rng(1)
    assert noted.refit(rng.normal(size=60)).estimates.notes == ()
    assert "takes only the values 0 and 1" in noted.refit(rng.integers(0, 2, 60)).estimates.notes[0]


def test_many_responses_have_one_note(tmp_path):
    data, rng = people(), np.random.default_rng(2)
    Y = pd.DataFrame(rng.normal(size=(60, 7)), columns=[f"gene{k}" for k in range(7)])
    Y.iloc[:3, 1:6] = -9.0
    data["x"] = coded(data["x"], -9.0, 4)
    many = lmm.fit_many("~ x + (1 | g)", data, responses=Y)
    assert len(many.estimates.notes) == 2
    for_y, for_x = many.estimates.notes
    assert "in 5 of 7 responses, 15 in all: gene1 (3 values), gene2 (3 values), gene3 (3 values) and 2 more" in for_y
    assert "in x (4 values)" in for_x
    assert for_y in str(many)
    assert for_x in str(many)
    assert "2 notes" in repr(many)
    many.save(tmp_path / "many.json")
    again = lmm.load(tmp_path / "many.json")
    assert str(again) == str(many)


def test_a_scan_says_it_in_its_header(tmp_path):
    mice = lmm.datasets.genotypes().iloc[:, :20]
    data = people(100, id=mice.index)
    data["y"] = coded(data["y"], -9.0)
    hits = lmm.scan("y ~ x + (1 | g)", data, genotypes=mice, id="id", variances="null", out=tmp_path / "scan")
    assert "in y (12 values)" in str(hits)
    assert "in y (12 values)" in str(lmm.load(tmp_path / "scan"))
