"""Tables of any library: unconverted while only size and names are asked for, as pandas where columns are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from jaxlmm.errors import DataError

_PANDAS = tuple(map(int, pd.__version__.split(".")[:2]))
ALL_DIGITS: dict[str, Any] = {"float_precision": "round_trip"} if _PANDAS < (3, 1) else {}
"""Options of ``pandas.read_csv`` by which a number is the one that was written; pandas 3.1 reads it so by itself."""


def as_table(data: Any, what: str = "data") -> Any:
    """Return data with ``columns`` and a length, unconverted: a pandas frame, or another library's by narwhals."""
    if isinstance(data, Mapping):
        try:
            data = pd.DataFrame(dict(data))
        except ValueError as error:
            raise DataError(f"{what}: expected columns of one length, got others ({error}).") from error
    elif not isinstance(data, pd.DataFrame):
        import narwhals

        try:
            data = narwhals.from_native(data, eager_only=True)
        except TypeError as error:
            hint = "; read the file first, for example with pandas.read_csv" if isinstance(data, str) else ""
            hint = "; collect it first" if hasattr(data, "collect") else hint
            raise DataError(f"{what}: expected a data frame, got {type(data).__name__}{hint}.") from error
    if isinstance(data, pd.DataFrame) and data.columns.nlevels > 1:
        example = " / ".join(map(str, data.columns[0]))
        raise DataError(
            f"{what}: expected columns with one name each, got names of {data.columns.nlevels} levels such as "
            f"{example}; flatten them, as in data.columns = ['_'.join(map(str, name)) for name in data.columns]."
        )
    if len(data) == 0:
        raise DataError(f"{what}: expected at least one row, got an empty frame.")
    return data


def as_frame(table: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return the columns ``names`` of :func:`as_table`'s result as a pandas frame; the others are not converted.

    A ``Categorical`` of polars has no order of levels and is read as text; an ``Enum`` is an ordered factor.
    """
    if isinstance(table, pd.DataFrame):
        return table[list(names)]
    if not names:
        return pd.DataFrame(index=pd.RangeIndex(len(table)))
    import narwhals

    chosen = table.select(*names)
    if chosen.implementation.is_polars():
        chosen = chosen.with_columns(narwhals.selectors.by_dtype(narwhals.Categorical).cast(narwhals.String))
    frame = chosen.to_pandas()
    for name in names:  # whole numbers with gaps would become floats, and large ones others
        column = chosen[name]
        if column.dtype.is_integer() and column.null_count():
            values = column.fill_null(0).to_numpy()
            frame[name] = pd.arrays.IntegerArray(values, column.is_null().to_numpy().copy())
    return frame
