"""Checks of data before anything is computed: variables, weights, responses, names, grouping factors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import DataError, nearest
from jaxlmm.formula.functions import as_numbers
from jaxlmm.formula.tokens import column_called

RESERVED_GROUP_NAMES = {"Residual": "residual variance", "fixed": "share of the fixed effects"}
"""Names under which tables list variance that belongs to no grouping factor, each with a description."""


def variables_of(data: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return the variables ``names`` of new data as a pandas frame with the index of the data.

    Raises
    ------
    DataError
        If a variable is absent, is the column of another one of the names too, or occurs as several columns.
    """
    table = as_table(data)
    columns = list(table.columns)
    column_of_name = {name: column_called(name, columns) for name in names}
    used = list(column_of_name.values())
    absent = [
        name for name, column in column_of_name.items() if column is None or (column != name and used.count(column) > 1)
    ]
    if absent:
        raise DataError(
            f"data: expected the variables {', '.join(names)}, got no {', '.join(absent)}; there are: "
            f"{', '.join(str(name) for name in table.columns)}."
        )
    columns_used = [str(column) for column in used]
    check_unique(columns_used, columns)
    return as_frame(table, columns_used).set_axis(list(column_of_name), axis=1)


def check_unique(names: Iterable[str], columns: Iterable[object]) -> None:
    """Raise if a variable of the model is the name of more than one column."""
    columns = list(columns)
    for name in names:
        if columns.count(name) > 1:
            raise DataError(f"data: column {name!r} occurs {columns.count(name)} times; rename or drop the copies.")


def column_or_array(option: str, value: Any, data: pd.DataFrame, columns: Iterable[object]) -> pd.Series | None:
    """Return weights or an offset, given as a column's name or as one number per row, on the data's index.

    ``columns`` are all that the user has, from which an error names the nearest.
    """
    if value is None:
        return None
    if isinstance(value, str):
        column = column_called(value, list(data.columns))
        if column is None:
            raise DataError(f"{option}: {value!r} is no column of the data; {nearest(value, columns)}.")
        value = data[column]
    if isinstance(value, pd.Series) and not value.index.equals(data.index):
        raise DataError(f"{option}: expected the index of the data, got another one; reindex it, or pass an array.")
    if np.shape(value) != (len(data),):
        raise DataError(f"{option}: expected one number for each of {len(data)} rows, got shape {np.shape(value)}.")
    return pd.Series(as_numbers(option, value), index=data.index)


def check_weights(weights: pd.Series | None, n: int) -> Float[NumpyArray, " n"]:
    """Return the weights, 1 without any; raise unless all are positive and finite."""
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


def finite_or_raise(matrix: Float[NumpyArray, "n p"], names: Sequence[str]) -> None:
    """Raise if a column holds an infinite or undefined value."""
    wrong = ~np.isfinite(matrix)
    if wrong.any():
        column = int(np.flatnonzero(wrong.any(axis=0))[0])
        undefined, count = int(np.isnan(matrix[:, column]).sum()), int(wrong[:, column].sum())
        raise DataError(
            f"{names[column]}: expected finite numbers, got {count - undefined} infinite and {undefined} undefined "
            "values; replace them, or drop these rows from the data."
        )


def check_response(name: str, values: Float[NumpyArray, " n"], offset: Float[NumpyArray, " n"]) -> None:
    """Raise unless the response is finite, and varies once the offset is subtracted."""
    finite_or_raise(values[:, None], (name,))
    if np.ptp(values - offset) == 0:
        raise DataError(f"response {name}: expected values that vary, got {values[0]:g} in all {values.size} rows.")


def check_names(columns: Sequence[str], groups: Iterable[tuple[str, ...]]) -> None:
    """Raise if two fixed-effect columns share a name, two groups share one, or a group has a reserved name.

    ``groups`` are the factors of each grouping factor.
    """
    twice = next((name for number, name in enumerate(columns) if name in columns[:number]), None)
    if twice is not None:
        raise DataError(
            f"fixed effects: expected different names, got {twice!r} more than once: a variable is called as the "
            "intercept or a level of a factor is. Rename it."
        )
    by_name: dict[str, tuple[str, ...]] = {}
    for factors in groups:
        name = ":".join(factors)
        if by_name.setdefault(name, factors) != factors:
            raise DataError(
                f"grouping factor {name}: one name for the groups {' and '.join(map(str, (by_name[name], factors)))}; "
                "rename the column whose name has a colon."
            )
    reserved = [group for group in by_name if group in RESERVED_GROUP_NAMES]
    if reserved:
        raise DataError(
            f"grouping factor {reserved[0]}: tables call the {RESERVED_GROUP_NAMES[reserved[0]]} so; rename the column."
        )


def check_grouping(name: str, levels: int, rows: int, exempt: bool, *, has_residual: bool = True) -> None:
    """Raise if a grouping factor has one level, or beside a residual one level per row, unless it is ``exempt``.

    A factor is exempt whose variance is identified otherwise: by a known matrix, positions, a residual structure on the
    same levels, or a residual variance that is held.
    """
    if levels < 2 and not exempt:
        raise DataError(f"grouping factor {name}: expected at least 2 levels, got {levels}; leave the term out.")
    if levels >= rows and has_residual and not exempt:
        raise DataError(
            f"grouping factor {name}: expected fewer levels than rows, got {levels} levels for {rows} rows: its "
            "variance cannot be told from the residual's. Give a known matrix across its levels (kinship=), fix the "
            "residual's (fixed={'Residual: sd': 1.0}), or leave the term out."
        )
