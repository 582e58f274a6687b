"""What data must satisfy before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import DataError, nearest
from jaxlmm.formula.functions import as_numbers
from jaxlmm.formula.tokens import column_called

RESERVED = {"Residual": "residual variance", "fixed": "share of the fixed effects"}
"""Names that tables have for parts of the variance that belong to no group."""


def variables_of(data: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return the variables ``names`` of other data than a fit's, as a pandas frame with the index of the data.

    Raises
    ------
    DataError
        If one is not there, or there twice.
    """
    table = as_table(data)
    columns = list(table.columns)
    called = {name: column_called(name, columns) for name in names}
    taken = list(called.values())
    absent = [name for name, column in called.items() if column is None or (column != name and taken.count(column) > 1)]
    if absent:
        raise DataError(
            f"data: expected the variables {', '.join(names)}, got no {', '.join(absent)}; there are: "
            f"{', '.join(str(name) for name in table.columns)}."
        )
    chosen = [str(column) for column in called.values()]
    check_unique(chosen, columns)
    return as_frame(table, chosen).set_axis(list(called), axis=1)


def check_unique(names: Iterable[str], columns: Iterable[object]) -> None:
    """Raise if a variable of the model names more than one column."""
    columns = list(columns)
    for name in names:
        if columns.count(name) > 1:
            raise DataError(f"data: column {name!r} occurs {columns.count(name)} times; rename or drop the copies.")


def column_or_array(option: str, value: Any, data: pd.DataFrame, columns: Iterable[object]) -> pd.Series | None:
    """Return weights or an offset, given as a column's name or as one number per row, on the data's index."""
    if value is None:
        return None
    if isinstance(value, str):
        found = column_called(value, list(data.columns))
        if found is None:
            raise DataError(f"{option}: {value!r} is no column of the data; {nearest(value, columns)}.")
        value = data[found]
    if isinstance(value, pd.Series) and not value.index.equals(data.index):
        raise DataError(f"{option}: expected the index of the data, got another one; reindex it, or pass an array.")
    if np.shape(value) != (len(data),):
        raise DataError(f"{option}: expected one number for each of {len(data)} rows, got shape {np.shape(value)}.")
    return pd.Series(as_numbers(option, value), index=data.index)


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


def check_names(columns: Sequence[str], groups: Iterable[tuple[str, ...]]) -> None:
    """Raise if two columns of the fixed effects have one name, or a group that of another part of the variance.

    ``groups`` are the factors of each grouping factor.
    """
    twice = pd.Index(columns)[pd.Index(columns).duplicated()]
    if len(twice):
        raise DataError(
            f"fixed effects: expected different names, got {twice[0]!r} more than once: a variable is called as the "
            "intercept or a level of a factor is. Rename it."
        )
    called: dict[str, tuple[str, ...]] = {}
    for factors in groups:
        name = ":".join(factors)
        if called.setdefault(name, factors) != factors:
            raise DataError(
                f"grouping factor {name}: one name for the groups {' and '.join(map(str, (called[name], factors)))}; "
                "rename the column whose name has a colon."
            )
    reserved = [group for group in called if group in RESERVED]
    if reserved:
        raise DataError(
            f"grouping factor {reserved[0]}: tables call the {RESERVED[reserved[0]]} so; rename the column."
        )


def check_grouping(name: str, levels: int, rows: int, exempt: bool) -> None:
    """Raise if a grouping factor has one level, or as many as there are rows and nothing else to tell them apart."""
    if levels < 2 and not exempt:
        raise DataError(f"grouping factor {name}: expected at least 2 levels, got {levels}; leave the term out.")
    if levels >= rows and not exempt:
        raise DataError(
            f"grouping factor {name}: expected fewer levels than rows, got {levels} levels for {rows} rows: its "
            "variance cannot be told from the residual's. Give a known matrix across its levels (kinship=), fix the "
            "residual's (fixed={'Residual: sd': 1.0}), or leave the term out."
        )
