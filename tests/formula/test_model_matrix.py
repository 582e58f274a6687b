"""Columns of a formula: R's values, names and aliased columns, from any kind of data frame."""

import re

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import jaxlmm as lmm
from jaxlmm.formula import ModelOptions, build_frame, parse

import references

RELATIVE = 1e-12
"""Of a column's largest entry: columns are a few products and sums that R and we compute in double precision."""

RECORDS = references.model_matrices()
DATA = references.dataset("model_matrices.csv")


def frame_of(formula, data=DATA):
    return build_frame(parse(formula), data, ModelOptions())


def r_name(ours, encoding):
    """R's name of a column of ours.

    ``f[b]`` and ``f[T.b]`` are ``fb``; the columns of ``contr.sum`` and ``contr.helmert`` have numbers in R and levels
    here; those of ``contr.treatment`` and ``contr.SAS`` given to ``C()`` too; a polynomial of degree 1 has no number in
    R; ``**`` is ``^``, and R quotes with ``"``.
    """
    return ":".join(_r_part(part, encoding) for part in re.split(r":(?![^\[(]*[\])])", ours))


def _r_part(part, encoding):
    if part == "Intercept":
        return "(Intercept)"
    match = re.fullmatch(r"(.*)\[(.*)\]", part)
    if match is None:
        return _r_expression(part)
    factor, field = match.groups()
    if re.fullmatch(r"poly\(.*, 1\)", factor):
        return _r_expression(factor)
    field = field.upper() if field.endswith(("True", "False")) else field
    reduced = re.fullmatch(r"([TSH])\.(.*)", field)
    if reduced is None:
        return _r_expression(factor) + field
    codings = {encoding.stand_ins.written(key): coding for key, coding in encoding.codings.items()}
    levels = [str(level) for level in codings[factor]["categories"]]
    kind, level = reduced.groups()
    if kind == "H":
        return _r_expression(factor) + str(levels.index(level))
    if kind == "S" or re.search("contr.(treatment|SAS)", factor):
        return _r_expression(factor) + str(levels.index(level) + 1)
    return _r_expression(factor) + level


def _r_expression(text):
    text = re.sub(r"(?<=\w)=(?=\S)", " = ", text.replace(" ** ", "^").replace("'", '"'))
    return text.replace("True", "TRUE").replace("False", "FALSE")


@pytest.mark.parametrize("formula", list(RECORDS))
def test_columns_are_those_of_r(formula):
    record, frame = RECORDS[formula], frame_of(f"y ~ {formula}")
    ours, theirs = frame.labels.encoding.columns(DATA), np.array(record["columns"]).T
    assert ours.shape == theirs.shape, (frame.labels.column_names, record["names"])
    far = np.abs(ours - theirs).max(axis=0) > RELATIVE * np.abs(theirs).max(axis=0)
    assert not far.any(), np.array(frame.labels.column_names)[far]
    dropped = [name for name, kept in zip(record["names"], frame.labels.kept, strict=True) if not kept]
    assert dropped == record["dropped"]
    if record["r"] == formula:
        assert [r_name(name, frame.labels.encoding) for name in frame.labels.column_names] == record["names"]


@pytest.mark.parametrize(
    "formula", ["a * b", "a:b", "d * a", "a * w + x", "0 + x + x:a", "o + factor(o, ordered = FALSE)", "a * u"]
)
def test_coefficients_of_aliased_columns_are_nan_where_r_has_na(formula):
    theirs = np.array(RECORDS[formula]["estimate"], float)
    ours = lmm.fit(f"y ~ {formula}", DATA).coef()["estimate"].to_numpy()
    assert (np.isnan(ours) == np.isnan(theirs)).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("x + a", ["Intercept", "x", "a[T.a]", "a[T.c]"]),
        ("0 + a", ["a[b]", "a[a]", "a[c]"]),
        ("a:x", ["Intercept", "a[b]:x", "a[a]:x", "a[c]:x"]),
        ("x + a:x", ["Intercept", "x", "x:a[T.a]", "x:a[T.c]"]),
        ("I(x^2)", ["Intercept", "I(x ** 2)"]),
        ("poly(x, 2, raw=TRUE)", ["Intercept", "poly(x, 2, raw=True)[1]", "poly(x, 2, raw=True)[2]"]),
        ('relevel(a, "c")', ["Intercept", "relevel(a, 'c')[T.b]", "relevel(a, 'c')[T.a]"]),
        ("relevel(a, ref='c')", ["Intercept", "relevel(a, ref='c')[T.b]", "relevel(a, ref='c')[T.a]"]),
        ("factor(k)", ["Intercept", "factor(k)[T.2]", "factor(k)[T.3]", "factor(k)[T.4]"]),
        ("v", ["Intercept", "v[.L]", "v[.Q]"]),
        ("C(v, contr.treatment)", ["Intercept", "C(v, contr.treatment)[T.v2]", "C(v, contr.treatment)[T.v4]"]),
        ("C(a, contr.helmert)", ["Intercept", "C(a, contr.helmert)[H.a]", "C(a, contr.helmert)[H.c]"]),
        ("l", ["Intercept", "l[T.True]"]),
        ("u", ["Intercept", "u[T.u2]", "u[T.u4]"]),
    ],
)
def test_names(formula, names):
    assert list(frame_of(f"y ~ {formula}").labels.column_names) == names


def test_left_side_of_a_bar_is_coded_as_the_fixed_part():
    frame = frame_of("y ~ x + (v | k) + (0 + relevel(a, 'c'):x | b) + (x %in% a | d)")
    assert [term.columns for term in frame.labels.terms] == [
        ("Intercept", "v[.L]", "v[.Q]"),
        ("relevel(a, 'c')[c]:x", "relevel(a, 'c')[b]:x", "relevel(a, 'c')[a]:x"),
        ("Intercept", "x:a[b]", "x:a[a]", "x:a[c]"),
    ]


# ---- missing values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["log(z) + a", "poly(z, 2)", "scale(z) * v", "I(z^2):a", "bs(z, df=4)", "z > 1"])
def test_incomplete_rows_are_dropped_before_a_function_sees_them(formula):
    """Not R's order: there ``poly`` and ``scale`` see the rows that another variable's missing values drop later."""
    data = DATA.copy()
    data.loc[[3, 8], "z"] = np.nan
    data.loc[[5], "y"] = np.nan
    formula = f"y ~ I({formula})" if ">" in formula else f"y ~ {formula}"
    with_missing, without = frame_of(formula, data), frame_of(formula, data.dropna())
    assert with_missing.n_dropped == 3
    assert with_missing.labels.column_names == without.labels.column_names
    np.testing.assert_array_equal(with_missing.x, without.x)


# ---- data frames of other libraries, and their types -----------------------------------------------------------------

FORMULA = "y ~ a * x + v + s + l + poly(k, 2) + factor(k):z + (1 + x | u)"


def in_polars(data):
    """Polars has no unordered factor with an order of its own: a is text in sorted order there."""
    enums = {name: pl.Enum(list(data[name].cat.categories)) for name in ("o", "v")}
    return pl.DataFrame({name: data[name].astype(object).tolist() for name in data}).with_columns(
        *(pl.col(name).cast(kind) for name, kind in enums.items()), pl.col("u").cast(pl.Categorical)
    )


def in_pyarrow(data):
    return pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata(None)


def test_pyarrow_gives_the_pandas_columns():
    ours, theirs = frame_of(FORMULA), frame_of(FORMULA, in_pyarrow(DATA))
    assert theirs.labels.column_names == ours.labels.column_names
    np.testing.assert_allclose(theirs.x, ours.x, rtol=1e-12, atol=0)
    np.testing.assert_allclose(
        theirs.labels.terms[0].encoding.columns(DATA), ours.labels.terms[0].encoding.columns(in_pyarrow(DATA))
    )
    assert list(theirs.levels["u"].labels) == list(ours.levels["u"].labels)


def test_polars_gives_the_pandas_columns():
    plain = DATA.assign(a=DATA["a"].astype(str), u=DATA["u"].astype(str))
    ours, theirs = frame_of(FORMULA, plain), frame_of(FORMULA, in_polars(DATA))
    assert theirs.labels.column_names == ours.labels.column_names
    np.testing.assert_allclose(theirs.x, ours.x, rtol=1e-12, atol=0)
    assert list(theirs.levels["u"].labels) == list(ours.levels["u"].labels) == ["u1", "u2", "u4"]
    reversed_rows = in_polars(DATA.iloc[::-1].reset_index(drop=True))
    assert frame_of("y ~ u", reversed_rows).labels.column_names == ("Intercept", "u[T.u2]", "u[T.u4]")


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pl.Series(list("bca") * 4, dtype=pl.Enum(["c", "a", "b", "z"])), ("Intercept", "f[.L]", "f[.Q]")),
        (pl.Series(list("bca") * 4, dtype=pl.Categorical), ("Intercept", "f[T.b]", "f[T.c]")),
        (
            pa.DictionaryArray.from_arrays(pa.array([2, 0, 1] * 4), pa.array(list("cab"))),
            ("Intercept", "f[T.a]", "f[T.b]"),
        ),
        (
            pa.DictionaryArray.from_arrays(pa.array([2, 0, 1] * 4), pa.array(list("cab")), ordered=True),
            ("Intercept", "f[.L]", "f[.Q]"),
        ),
    ],
)
def test_order_of_levels_in_other_libraries(column, names):
    y = np.arange(12.0) ** 2
    data = pl.DataFrame({"f": column, "y": y}) if isinstance(column, pl.Series) else pa.table({"f": column, "y": y})
    frame = frame_of("y ~ f", data)
    assert frame.labels.column_names == names
    levels = ["a", "b", "c"] if "f[T.c]" in names else ["c", "a", "b"]
    (coding,) = frame.labels.encoding.codings.values()
    assert coding["categories"] == levels


@pytest.mark.parametrize("made", [in_polars, in_pyarrow])
def test_only_used_columns_are_converted(made, monkeypatch):
    converted = []
    whole = nw.DataFrame.to_pandas
    monkeypatch.setattr(nw.DataFrame, "to_pandas", lambda frame: converted.append(tuple(frame.columns)) or whole(frame))
    frame = build_frame(parse("y ~ log(z) + (1 | a)"), made(DATA), ModelOptions(weights="k", offset="w"))
    assert converted == [("y", "z", "a", "k", "w")]
    frame.labels.encoding.columns(made(DATA))
    assert converted[1:] == [("z",)]


def test_an_unused_column_that_pandas_cannot_hold_does_no_harm():
    odd = pa.UnionArray.from_sparse(pa.array([0] * len(DATA), pa.int8()), [pa.array(range(len(DATA)))])
    table = in_pyarrow(DATA).append_column("odd", odd)
    with pytest.raises(pa.ArrowNotImplementedError):
        table.to_pandas()
    np.testing.assert_array_equal(frame_of("y ~ x * a", table).x, frame_of("y ~ x * a").x)


@pytest.mark.parametrize("kind", [object, "Int64", "Float64", "float32", "int8", pd.ArrowDtype(pa.int32())])
def test_numbers_of_any_type_are_numbers(kind):
    data = DATA.assign(k=DATA["k"].astype(kind))
    for formula in ("y ~ k + I(k^20) + I(k^-1) + poly(k, 2)", "y ~ factor(k)", "y ~ x + (k | a)"):
        ours, plain = frame_of(formula, data), frame_of(formula)
        assert ours.labels.column_names == plain.labels.column_names
        np.testing.assert_array_equal(ours.labels.encoding.columns(data), plain.labels.encoding.columns(DATA))
    np.testing.assert_array_equal(frame_of("k ~ x", data).y, frame_of("k ~ x").y)


def test_objects_are_read_as_what_they_hold():
    from decimal import Decimal

    money = DATA.assign(k=[Decimal(int(k)) / 2 for k in DATA["k"]])
    np.testing.assert_array_equal(frame_of("y ~ k", money).x[:, 1], DATA["k"] / 2)
    logical = DATA.assign(l=DATA["l"].astype(object))
    assert frame_of("y ~ l", logical).labels.column_names == ("Intercept", "l[T.True]")


@pytest.mark.parametrize(
    ("formula", "changes", "kind", "parts"),
    [
        ("y ~ x", {"x": DATA["x"] * 1j}, lmm.DataError, ["x: expected real numbers, got complex", "modulus"]),
        ("y ~ x", {"x": (DATA["x"] * 1j).astype(object)}, lmm.DataError, ["x: expected real numbers"]),
        ("y ~ a + (x | b)", {"x": DATA["x"] + 0j}, lmm.DataError, ["x: expected real numbers"]),
        ("y ~ a", {"y": DATA["y"] + 0j}, lmm.DataError, ["y: expected real numbers"]),
        ("y ~ x", {"x": [1.5, "two"] * 16}, lmm.DataError, ["expected numbers or text, got float and str mixed"]),
        ("y ~ x", {"x": pd.to_datetime(DATA["k"], unit="D")}, lmm.DataError, ["datetime64", "days since the first"]),
        ("y ~ a", {"a": "one"}, lmm.DataError, ["a: expected a factor with at least 2 levels, got 'one'; leave"]),
        ("y ~ relevel(a, 'z')", {}, lmm.DataError, ["expected one of the levels 'b', 'a', 'c', got 'z'"]),
        ("y ~ relevel(o, 'top')", {}, lmm.DataError, ["expected an unordered factor"]),
        ("y ~ factor(a, levels=c('b', 'a'))", {}, lmm.DataError, ["levels= does not list 'c'"]),
        ("y ~ factor(a, levels=c('b', 'q'))", {}, lmm.DataError, ["expected one of the levels", "got 'q'"]),
        ("y ~ offset(a)", {}, lmm.DataError, ["number(a): expected numbers, got a factor"]),
        ("y ~ I(x %in% z)", {}, lmm.FormulaError, ["stands in no call"]),
        ("y ~ C(a, Treatment('z'))", {}, lmm.FormulaError, ["cannot evaluate", "'z'"]),
    ],
)
def test_what_no_column_can_be_made_of(formula, changes, kind, parts):
    with pytest.raises(kind) as caught:
        frame_of(formula, DATA.assign(**changes))
    for part in parts:
        assert part in str(caught.value)


def test_complex_weights_and_offsets_are_refused():
    for option in ("weights", "offset"):
        with pytest.raises(lmm.DataError, match=f"{option}: expected real numbers"):
            lmm.fit("y ~ x", DATA, **{option: np.ones(len(DATA)) + 1j})
