"""Responses and levels of unusual kinds: repeated row labels, sparse matrices, levels by their text, levels in files.

Neighbors of each stand in the parametrisations.
"""

import datetime
import json
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import jaxlmm as lmm
from jaxlmm.formula import ModelOptions, build_frame, parse, read_responses
from jaxlmm.formula.columns import numeric
from jaxlmm.formula.newdata.newdata import levels_on

N = 60
GROUP = np.repeat(np.arange(12), 5)
MONTHS, DAYS = pd.period_range("2020-01", periods=12, freq="M"), pd.date_range("2020-01-01", periods=12)
RIGHT = "~ x + (1 | g)"


def people(**columns):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {"y1": rng.normal(size=N), "y2": rng.normal(size=N), "x": rng.normal(size=N), "g": GROUP} | columns
    )


# ---- rows found by labels that repeat --------------------------------------------------------------------------------

LABELS = {
    "numbers": pd.Index(GROUP),
    "text": pd.Index([f"mouse{group}" for group in GROUP]),
    "all the same": pd.Index(["a"] * N),
    "two keys": pd.MultiIndex.from_arrays([GROUP, np.zeros(N)]),
    "with a missing one": pd.Index([np.nan, *GROUP[1:].astype(float)]),
    "dates": pd.DatetimeIndex(pd.date_range("2020-01-01", periods=12).repeat(5)),
}


def read(data, given, id=None):
    return read_responses(parse(RIGHT), data, given, id)


@pytest.mark.parametrize("kind", LABELS)
def test_the_same_index_is_a_match_by_position(kind):
    data = people().set_axis(LABELS[kind], axis=0)
    both = read(data, data[["y1", "y2"]])
    np.testing.assert_array_equal(both.values, data[["y1", "y2"]])
    assert both.matched == "by position"
    np.testing.assert_array_equal(read(data, data["y2"]).values, data[["y2"]])  # a series
    np.testing.assert_array_equal(read(data, data[["y1"]].set_axis(data.index.copy(), axis=0)).values, data[["y1"]])


def test_the_same_column_of_ids_is_a_match_by_position():
    data = people(mouse=LABELS["text"])
    np.testing.assert_array_equal(read(data, data[["mouse", "y1"]], "mouse").values, data[["y1"]])


def test_repeated_labels_in_another_order_are_no_match():
    data = people().set_axis(LABELS["text"], axis=0)
    for other in (data.iloc[::-1], data.iloc[1:]):
        with pytest.raises(lmm.DataError, match="expected one row per label, got 'mouse"):
            read(data, other[["y1"]])
    with pytest.raises(lmm.DataError, match="expected one row per label"):
        read(people(mouse=LABELS["text"]), data.iloc[::-1][["y1"]], "mouse")


def test_distinct_labels_are_matched_as_before():
    data = people().set_axis([f"row{place}" for place in range(N)], axis=0)
    shuffled = read(data, data[["y1"]].sample(frac=1.0, random_state=1))
    assert shuffled.matched == "by index"
    np.testing.assert_array_equal(shuffled.values, data[["y1"]])
    assert read(data, data[["y1"]]).matched == "by index"


def test_fits_with_repeated_labels_are_those_of_columns():
    data = people().set_axis(LABELS["text"], axis=0)
    right = lmm.fit_many(RIGHT, data.reset_index(drop=True), responses=["y1", "y2"]).tidy()
    found = lmm.fit_many(RIGHT, data, responses=data[["y1", "y2"]])
    pd.testing.assert_frame_equal(found.tidy(), right)
    assert "matched by position" in str(found)


def test_a_scan_with_repeated_labels():
    mice = lmm.datasets.genotypes().iloc[:, :10]
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"id": mice.index} | {name: rng.normal(size=100) for name in ("y1", "y2")})
    right = lmm.scan("~ (1 | id)", data, genotypes=mice, kinship="auto", responses=["y1", "y2"])
    data = data.set_axis(["a", "b"] * 50, axis=0)
    hits = lmm.scan("~ (1 | id)", data, genotypes=mice, kinship="auto", responses=data[["y1", "y2"]])
    pd.testing.assert_frame_equal(hits.tidy(), right.tidy())


# ---- sparse responses ------------------------------------------------------------------------------------------------

COUNTS = np.random.default_rng(5).poisson(0.5, size=(N, 4))
FORMATS = [
    *(f"{kind}_{what}" for kind in ("csr", "csc", "coo", "bsr", "lil", "dok") for what in ("matrix", "array")),
]


@pytest.mark.parametrize("dtype", [float, np.float32, int, np.uint16])
@pytest.mark.parametrize("form", FORMATS)
def test_a_sparse_matrix_is_taken_with_its_zeros(form, dtype):
    found = read(people(), getattr(sparse, form)(COUNTS.astype(dtype)))
    assert found.names == ("y1", "y2", "y3", "y4")
    assert found.values.dtype == float
    np.testing.assert_array_equal(found.values, COUNTS)


def test_a_sparse_column_a_logical_one_and_missing_values():
    np.testing.assert_array_equal(read(people(), sparse.csc_array(COUNTS[:, :1])).values, COUNTS[:, :1])
    np.testing.assert_array_equal(read(people(), sparse.csr_array(COUNTS > 0)).values, COUNTS > 0)
    gaps = COUNTS.astype(float)
    gaps[3, 1] = np.nan
    np.testing.assert_array_equal(read(people(), sparse.csr_array(gaps)).values, gaps)


def test_sparse_columns_of_a_frame():
    frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(COUNTS), columns=["a", "b", "c", "d"])
    np.testing.assert_array_equal(read(people(), frame).values, COUNTS)
    design = build_frame(parse("y1 ~ a + (1 | g)"), pd.concat([people(), frame], axis=1), ModelOptions())
    np.testing.assert_array_equal(design.x[:, 1], COUNTS[:, 0])


def test_what_is_wrong_with_a_sparse_matrix_is_said(monkeypatch):
    with pytest.raises(lmm.DataError, match="expected an array with 60 rows"):
        read(people(), sparse.csr_array(COUNTS.T))
    with pytest.raises(lmm.DataError, match="expected real numbers, got complex128"):
        read(people(), sparse.csr_array(COUNTS + 1j))
    monkeypatch.setattr(numeric, "MAX_DENSE_BYTES", 3 * 8 * N)
    with pytest.raises(lmm.DataError, match=r"of shape \(60, 4\).*some columns at a time: X.tocsc\(\)\[:, :3\]"):
        read(people(), sparse.csr_array(COUNTS))
    read(people(), sparse.csr_array(COUNTS)[:, :3])


def test_fits_and_scans_of_a_sparse_matrix():
    many = lmm.fit_many(RIGHT, people(), responses=sparse.csr_matrix(COUNTS))
    pd.testing.assert_frame_equal(many.tidy(), lmm.fit_many(RIGHT, people(), responses=COUNTS.astype(float)).tidy())
    mice = lmm.datasets.genotypes().iloc[:, :10]
    data, Y = pd.DataFrame({"id": mice.index}), np.random.default_rng(4).poisson(1.0, size=(100, 2))
    found, right = (
        lmm.scan("~ (1 | id)", data, genotypes=mice, kinship="auto", responses=given)
        for given in (sparse.csc_array(Y), Y.astype(float))
    )
    pd.testing.assert_frame_equal(found.tidy(), right.tidy())


# ---- levels by their text --------------------------------------------------------------------------------------------

CODE = np.arange(N) % 3 + 1
CODES = {
    "whole numbers": CODE,
    "floats": CODE.astype(float),
    "nullable": pd.array(CODE, "Int64"),
    "categorical": pd.Categorical(CODE),
    "text": CODE.astype(str),
    "categorical of text": pd.Categorical(CODE.astype(str)),
}
CALLS = [
    "C(k, Treatment('2'))", "C(k, Treatment(2))", "C(k, Treatment(reference='2'))", "C(k, Treatment(reference=2))",
    "C(k, contr.treatment('2'))", "C(k, contr.treatment(base='2'))", "C(k, contr.SAS(base='2'))",
    "C(k, contr.treatment(3, base=2))", "C(factor(k), Treatment('2'))", "relevel(factor(k), '2')",
    "relevel(factor(k), 2)",
]  # fmt: skip


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("call", CALLS)
def test_the_reference_is_found_by_its_text(call, kind):
    data = people(k=CODES[kind])
    frame = build_frame(parse(f"y1 ~ {call}"), data, ModelOptions())
    assert frame.labels.column_names == ("Intercept", f"{call}[T.1]", f"{call}[T.3]")
    np.testing.assert_array_equal(frame.x, np.c_[np.ones(N), CODE == 1, CODE == 3])
    again = frame.labels.encoding.columns(data.iloc[:5])  # of which no row may have the reference
    np.testing.assert_array_equal(again, frame.x[:5])


@pytest.mark.parametrize("call", ["C(k, Treatment(2.0))", "relevel(factor(k), 2.0)"])
def test_a_number_of_another_type_is_the_level(call):
    frame = build_frame(parse(f"y1 ~ {call}"), people(k=CODE), ModelOptions())
    np.testing.assert_array_equal(frame.x, np.c_[np.ones(N), CODE == 1, CODE == 3])


@pytest.mark.parametrize("call", ["C(k, Treatment('(1, 2]'))", "relevel(k, '(1, 2]')"])
def test_a_reference_by_the_text_of_an_interval(call):
    data = people(k=pd.Categorical(pd.cut(CODE, [0, 1, 2, 3])).as_unordered())
    frame = build_frame(parse(f"y1 ~ {call}"), data, ModelOptions())
    np.testing.assert_array_equal(frame.x, np.c_[np.ones(N), CODE == 1, CODE == 3])


def test_a_reference_by_the_text_of_a_logical_or_a_month():
    data = people(b=CODE > 1, month=pd.Categorical(MONTHS[CODE]))
    frame = build_frame(parse("y1 ~ C(b, Treatment('TRUE')) + C(month, Treatment('2020-03'))"), data, ModelOptions())
    np.testing.assert_array_equal(frame.x[:, 1], CODE == 1)
    assert frame.labels.column_names[2:] == tuple(f"C(month, Treatment('2020-03'))[T.2020-0{k}]" for k in (2, 4))


@pytest.mark.parametrize("reference", ["'9'", "9", "'2.0'"])
def test_a_reference_that_is_no_level(reference):
    with pytest.raises(lmm.FormulaError, match=r"expected one of the levels 1, 2, 3, got '?(9|2.0)'?"):
        build_frame(parse(f"y1 ~ C(k, Treatment({reference}))"), people(k=CODE), ModelOptions())


# ---- levels in files -------------------------------------------------------------------------------------------------

VALUES = np.random.default_rng(6).uniform(0.0, 30.0, N)
LEVELS = {
    "cut": pd.cut(VALUES, [0, 10, 20, 30]),
    "qcut": pd.qcut(VALUES, 4),
    "cut, closed on the left": pd.cut(VALUES, [0, 10, 20, 30], right=False),
    "cut of dates": pd.cut(pd.date_range("2020-01-01", periods=N), 4),
    "intervals": pd.Series(pd.cut(VALUES, [0, 10, 20, 30])).astype("interval"),
    "overlapping intervals": pd.Categorical([pd.Interval(0, 10), pd.Interval(5, 15), pd.Interval(0, 3)] * 20),
    "periods": MONTHS.repeat(5),
    "weeks": pd.period_range("2020-01", periods=12, freq="W-WED").repeat(5),
    "timestamps": DAYS.repeat(5),
    "nanoseconds": (DAYS.as_unit("ns") + pd.Timedelta(1, "ns")).repeat(5),
    "a time zone": DAYS.tz_localize("Europe/Berlin").repeat(5),
    "an offset": DAYS.tz_localize("+02:00").repeat(5),
    "dates": [datetime.date(2020, 1, 1 + group) for group in GROUP],
    "times": [datetime.time(int(group)) for group in GROUP],
    "durations": pd.to_timedelta(GROUP, unit="h"),
    "tuples": [(int(group), "a") for group in GROUP],
    "decimals": [Decimal(2**60 + int(group)) for group in GROUP],
}


def labels_again(labels):
    return type(labels).from_plain(json.loads(json.dumps(labels.to_plain(), allow_nan=False)))


@pytest.mark.parametrize("kind", LEVELS)
@pytest.mark.parametrize("formula", ["y1 ~ x + (1 | b)", "y1 ~ x + (1 | h/b)", "y1 ~ b + (1 | g)", "y1 ~ x + (b | g)"])
def test_levels_are_what_they_were(formula, kind):
    """By the labels alone, which are all that a file has to find levels by."""
    data = people(b=LEVELS[kind], h=np.arange(N) % 2)
    if "b +" in formula or "(b" in formula:  # a date may also be a number: a factor is called one
        data["b"] = data["b"].astype("category")
        if kind == "decimals":
            data["b"] = data["b"].astype(str).astype("category")
    frame = build_frame(parse(formula), data, ModelOptions())
    again = labels_again(frame.labels)
    assert again.column_names == frame.labels.column_names
    new = data.iloc[::-7]
    np.testing.assert_array_equal(again.encoding.columns(new), frame.labels.encoding.columns(new))
    for name, group in frame.labels.groups.items():
        found = again.groups[name]
        assert found.labels.equals(group.labels)
        assert [part.dtype for part in found.parts] == [part.dtype for part in group.parts]
        codes = frame.levels[name].codes[::-7]
        np.testing.assert_array_equal(levels_on(found, new).codes, codes)
        np.testing.assert_array_equal(levels_on(found, new.iloc[:1]).codes, codes[:1])


def test_a_fit_with_such_levels_predicts_after_load(tmp_path):
    data = people(b=LEVELS["cut"], month=LEVELS["periods"])
    data["dose"] = data["b"].cat.as_unordered()
    fit = lmm.fit("y1 ~ dose * x + factor(b, ordered=False):x + (1 | month)", data)
    fit.save(tmp_path / "fit.json")
    again = lmm.load(tmp_path / "fit.json")
    assert str(again.summary()) == str(fit.summary())
    pd.testing.assert_frame_equal(again.ranef("month"), fit.ranef("month"))
    new = data.iloc[::-3].drop(columns="y1")
    pd.testing.assert_series_equal(again.predict(new)["estimate"], fit.predict(new)["estimate"])
    np.testing.assert_allclose(again.predict(new)["estimate"], fit.fitted()[new.index], atol=1e-10)
    with pytest.raises(lmm.DataError, match="2030-01"):
        again.predict(new.assign(month=pd.Period("2030-01", "M")))
    with pytest.raises(lmm.DataError, match=r"got \(5, 9\], which it has not seen"):
        again.predict(new.assign(dose=pd.Categorical([pd.Interval(5, 9)] * len(new))))


def test_many_fits_with_such_levels(tmp_path):
    many = lmm.fit_many("~ x + (1 | day)", people(day=LEVELS["timestamps"]), responses=["y1", "y2"])
    many.save(tmp_path / "many.json")
    pd.testing.assert_frame_equal(lmm.load(tmp_path / "many.json").tidy(), many.tidy())


def test_what_cannot_be_saved_is_still_said(tmp_path):
    fit = lmm.fit("y1 ~ x + (1 | t)", people(t=[uuid.UUID(int=int(group)) for group in GROUP]))
    with pytest.raises(
        lmm.FormulaError, match="t: expected numbers, text, dates or intervals, which can be saved, got"
    ):
        fit.save(tmp_path / "fit.json")
