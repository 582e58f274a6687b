"""What data must satisfy before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import DataError, nearest


def as_frame(data: Any) -> pd.DataFrame:
    """Return ``data`` as a pandas frame; a mapping or another library's frame is converted."""
    if isinstance(data, Mapping):
        data = pd.DataFrame(dict(data))
    elif not isinstance(data, pd.DataFrame):
        import narwhals

        try:
            data = narwhals.from_native(data, eager_only=True).to_pandas()
        except TypeError as error:
            hint = "; read the file first, for example with pandas.read_csv" if isinstance(data, str) else ""
            raise DataError(f"data: expected a data frame, got {type(data).__name__}{hint}.") from error
    if len(data) == 0:
        raise DataError("data: expected at least one row, got an empty frame.")
    return data


def check_unique(names: Sequence[str], data: pd.DataFrame) -> None:
    """Raise if a variable of the model names more than one column."""
    for name in names:
        count = int((data.columns == name).sum())
        if count > 1:
            raise DataError(f"data: column {name!r} occurs {count} times; rename or drop the copies.")


def column_or_array(option: str, value: Any, data: pd.DataFrame) -> pd.Series | None:
    """Return weights or an offset, given as a column's name or as one number per row, on the data's index."""
    if value is None:
        return None
    if isinstance(value, str):
        if value not in data.columns:
            raise DataError(f"{option}: {value!r} is no column of the data; {nearest(value, data.columns)}.")
        check_unique([value], data)
        value = data[value]
    if isinstance(value, pd.Series) and not value.index.equals(data.index):
        raise DataError(f"{option}: expected the index of the data, got another one; reindex it, or pass an array.")
    values = np.asarray(value)
    if values.shape != (len(data),):
        raise DataError(f"{option}: expected one number for each of {len(data)} rows, got shape {values.shape}.")
    try:
        return pd.Series(values.astype(float), index=data.index)
    except (TypeError, ValueError) as error:
        raise DataError(f"{option}: expected numbers, got {values.dtype}.") from error


def check_weights(weights: pd.Series | None, n: int) -> NumpyArray:
    """Return weights (n,), all positive and finite."""
    if weights is None:
        return np.ones(n)
    values = np.asarray(weights, float)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if wrong.size:
        raise DataError(
            f"weights: expected positive finite numbers, got {values[wrong[0]]:g} in row {weights.index[wrong[0]]!s} "
            f"({wrong.size} such rows). Leave rows out of the data instead of weighting them with zero."
        )
    return values


def finite_or_raise(matrix: NumpyArray, names: Sequence[str]) -> None:
    """Raise if a column holds an infinite or undefined value."""
    wrong = ~np.isfinite(matrix)
    if wrong.any():
        column = int(np.flatnonzero(wrong.any(axis=0))[0])
        undefined, count = int(np.isnan(matrix[:, column]).sum()), int(wrong[:, column].sum())
        raise DataError(
            f"{names[column]}: expected finite numbers, got {count - undefined} infinite and {undefined} undefined "
            "values; replace them, or drop these rows from the data."
        )


def check_response(name: str, values: NumpyArray, offset: NumpyArray) -> None:
    """Raise unless the response (n,) is finite and varies once the offset is subtracted."""
    finite_or_raise(values[:, None], (name,))
    if np.ptp(values - offset) == 0:
        raise DataError(f"response {name}: expected values that vary, got {values[0]:g} in all {values.size} rows.")


def check_grouping(name: str, levels: int, rows: int, exempt: bool) -> None:
    """Raise if a grouping factor has one level, or as many as there are rows and nothing else to tell them apart."""
    if levels < 2 and not exempt:
        raise DataError(f"grouping factor {name}: expected at least 2 levels, got {levels}; leave the term out.")
    if levels >= rows and not exempt:
        raise DataError(
            f"grouping factor {name}: expected fewer levels than rows, got {levels} levels for {rows} rows: its "
            "variance cannot be told from the residual's. Give a known matrix across its levels (kinship=), or leave "
            "the term out."
        )
