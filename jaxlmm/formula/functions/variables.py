"""The variables of a model: the types of their columns, and new columns read as the same types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Complex, Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError

MAX_EXACT_INTEGER = 2**53
"""The largest whole number up to which float64 represents every whole number exactly."""


@dataclass(frozen=True)
class Variable:
    """The type of a column: ``kind`` is ``"number"``, ``"logical"`` or ``"factor"``, the last with its levels."""

    kind: str
    levels: tuple[Any, ...] = ()
    ordered: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it has values and no levels."""
        return self.kind == "number"

    @classmethod
    def of(cls, name: str, column: pd.Series) -> Variable:
        """Return the variable of a complete column; a factor keeps the levels that do not occur."""
        if isinstance(column.dtype, pd.CategoricalDtype):
            return cls("factor", tuple(column.cat.categories), bool(column.cat.ordered))
        if column.dtype == bool:
            return cls("logical")
        if pd.api.types.is_numeric_dtype(column):
            return cls("number")
        check_exact(name, column)
        if is_text(column) or all(isinstance(value, pd.Interval) for value in column):
            return cls("factor", tuple(sorted(set(column))))
        raise DataError(
            f"{name}: expected numbers, text, logicals or a factor, got {column.dtype} such as {column.iloc[0]!s}; "
            f"convert {name!r} first, a date for example to days since the first, or to a factor by astype('category')."
        )

    def read(self, name: str, column: pd.Series) -> Float[NumpyArray, " n"] | Bool[NumpyArray, " n"] | pd.Categorical:
        """Return a complete column as numbers, logicals or a factor with these levels.

        Raises
        ------
        DataError
            If its type is another, or a level is not one of these.
        """
        if self.kind == "factor":
            values = np.asarray(column, object)
            try:
                check_levels(pd.unique(values), self.levels)
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
            return pd.Categorical(values, list(self.levels), self.ordered)
        fits = column.dtype == bool if self.kind == "logical" else pd.api.types.is_numeric_dtype(column)
        if not fits:
            what = "logical values" if self.kind == "logical" else "numbers"
            raise DataError(f"{name}: expected {what} as in the fit, got {column.dtype} such as {column.iloc[0]!s}.")
        return np.asarray(column, bool) if self.kind == "logical" else as_floats(name, column)


def as_numbers(name: str, value: Any) -> Float[NumpyArray, " n"]:
    """Return a column or an array as numbers in double precision, NaN where missing.

    Raises
    ------
    DataError
        For text, dates and factors, even where they could be converted to numbers.
    """
    column = value if isinstance(value, pd.Series) else pd.Series(np.asarray(value))
    present = column.notna().to_numpy()
    values = _plain(name, column[present])
    check_exact(name, values)
    if not pd.api.types.is_numeric_dtype(values) and len(values):
        raise DataError(
            f"{name}: expected numbers, got {values.dtype} such as {listed([values.iloc[0]])}; convert it first, "
            "text for example by pd.to_numeric, dates to days since the first."
        )
    numbers = np.full(len(column), np.nan)
    numbers[present] = np.asarray(values, float)
    return numbers


def as_floats(name: str, column: Any) -> Float[NumpyArray, " n"]:
    """Return numbers in double precision.

    Raises
    ------
    DataError
        If double precision rounds some whole numbers to others.
    """
    check_exact(name, column)
    return np.asarray(column, float)


def check_exact(name: str, column: Any) -> None:
    """Raise if double precision rounds whole numbers, of any type, to others."""
    values = np.asarray(column)
    large: Iterable[Any] = ()
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        large = values[(values > MAX_EXACT_INTEGER) | (values < -MAX_EXACT_INTEGER)].tolist()
    elif values.dtype == object and not _are_text(values):
        large = values[[_is_whole(value) for value in values.flat]]
    inexact = [value for value in large if int(float(value)) != int(value)]
    if inexact:
        raise DataError(
            f"{name}: expected numbers that fit into double precision, got whole numbers beyond 2^53 such as "
            f"{inexact[0]} ({len(inexact)} of {values.size} values), which would be rounded to others. Subtract the "
            "smallest of them in the data first; ids are levels: make them text, or group by them."
        )


def _is_whole(value: Any) -> bool:
    """Whether an object is a whole number that double precision might round."""
    whole = isinstance(value, Integral) or (
        isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    )
    return whole and abs(value) > MAX_EXACT_INTEGER


def check_levels(levels: Iterable[object], levels_of_fit: Sequence[object]) -> None:
    """Raise if one of the levels is not among those of the fit."""
    seen = set(levels_of_fit)
    new = [level for level in levels if level not in seen]
    if new:
        raise DataError(
            f"expected one of the levels of the fit, {listed(levels_of_fit)}; got {listed(new)}, which it has not seen."
        )


def listed(levels: Iterable[object]) -> str:
    """Return levels as text, of more than twelve the first twelve."""
    words = [repr(level) if isinstance(level, str) else str(level) for level in levels]
    return ", ".join(words[:12]) + (f", … ({len(words)} levels)" if len(words) > 12 else "")


def is_text(column: pd.Series) -> bool:
    """Whether every value of an object column is text."""
    return column.dtype == object and _are_text(np.asarray(column))


def _are_text(values: NumpyArray) -> bool:
    """Whether every one of an array of objects is text."""
    return pd.api.types.infer_dtype(values, skipna=False) in ("string", "empty")


def plain_dtypes(data: pd.DataFrame) -> pd.DataFrame:
    """Return complete columns as NumPy numbers and booleans, and text as Python strings.

    Raises
    ------
    DataError
        For complex numbers, and for a column that holds numbers and something else.
    """
    columns = {str(name): data[name] for name in data.columns}
    plain = {name: _plain(name, column) for name, column in columns.items()}
    if all(plain[name] is column for name, column in columns.items()):
        return data
    return pd.DataFrame(plain, index=data.index)


def _plain(name: str, column: pd.Series) -> pd.Series:
    """Return one complete column as :func:`plain_dtypes` does."""
    if pd.api.types.is_object_dtype(column.dtype):
        column = _without_objects(name, check_single(name, column))
    dtype = column.dtype
    if pd.api.types.is_complex_dtype(dtype):
        raise DataError(f"{name}: expected real numbers, got complex ones; take their real part or modulus first.")
    if isinstance(dtype, np.dtype | pd.CategoricalDtype | pd.DatetimeTZDtype):
        return column
    for kind, fits in (
        (bool, pd.api.types.is_bool_dtype),
        (np.uint64, pd.api.types.is_unsigned_integer_dtype),
        (np.int64, pd.api.types.is_integer_dtype),
        (float, pd.api.types.is_numeric_dtype),
    ):
        if fits(dtype):
            return pd.Series(np.asarray(column, kind), column.index)
    return check_single(name, column.astype(object))


def check_single(name: str, column: pd.Series) -> pd.Series:
    """Return a column of objects; raise for lists, sets, arrays and the like, which cannot be levels."""
    for kind in {type(value) for value in column}:
        if kind.__hash__ is None:
            first = next(value for value in column if type(value) is kind)
            raise DataError(
                f"{name}: expected one value in each row, got {kind.__name__} such as {first!r}; give each value a row "
                "of its own (data.explode), or join them to one text."
            )
    return column


def _without_objects(name: str, column: pd.Series) -> pd.Series:
    """Return a column of objects with the dtype that all of them have: numbers, logicals, text."""
    column = column.infer_objects()
    if not pd.api.types.is_object_dtype(column.dtype):
        return column
    if all(isinstance(value, Real | Decimal) and not isinstance(value, bool | np.bool_) for value in column):
        return _without_loss(column)
    if any(isinstance(value, Complex | Decimal) for value in column):
        kinds = sorted({type(value).__name__ for value in column})
        raise DataError(f"{name}: expected numbers or text, got {' and '.join(kinds)} mixed; convert it first.")
    return column


def _without_loss(column: pd.Series) -> pd.Series:
    """Return a column of Python's numbers as int64 or uint64 if they are large whole ones, as ids may be, else float.

    Larger ones still remain objects: levels of a grouping factor, but nothing to compute with.
    """
    numbers = column.astype(float)
    if not (abs(numbers) >= MAX_EXACT_INTEGER).any() or any(not np.isfinite(float(v)) or v != int(v) for v in column):
        return numbers
    whole = [int(value) for value in column]
    for kind in (np.int64, np.uint64):
        if np.iinfo(kind).min <= min(whole) and max(whole) <= np.iinfo(kind).max:
            return pd.Series(np.array(whole, kind), column.index)
    return pd.Series(whole, column.index, dtype=object)
