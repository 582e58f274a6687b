"""Responses as arrays of numbers: of frames, arrays and sparse matrices, whatever types their columns have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula.functions import MAX_EXACT_INTEGER, as_numbers, check_exact

DENSE_BYTES = 2**34
"""A sparse matrix that takes no more than this with its zeros is taken whole."""


def array_numbers(responses: Any, rows: int) -> NumpyArray:
    """Return an array or a sparse matrix with a response per column as numbers (rows, m).

    Raises
    ------
    DataError
        If its shape is another, it holds no real numbers, or with its zeros it would not fit into memory.
    """
    values = _dense(responses)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != rows:
        raise DataError(
            f"responses: expected an array with {rows} rows, those of the data, and a column per response, got "
            f"shape {np.shape(responses)}."
        )
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool) or np.iscomplexobj(values):
        raise DataError(f"responses: expected real numbers, got {values.dtype}.")
    check_exact("responses", values)
    return values.astype(float, copy=False)


def _dense(responses: Any) -> NumpyArray:
    """Return an array, a sparse matrix of scipy with its zeros: each response has a number in every row."""
    from scipy.sparse import issparse

    if not issparse(responses):
        return np.asarray(responses)
    size = 8 * int(np.prod(responses.shape))
    if size > DENSE_BYTES:
        some = max(DENSE_BYTES // (8 * responses.shape[0]), 1)
        raise DataError(
            f"responses: expected a sparse matrix of no more than {DENSE_BYTES / 2**30:.0f} GB with its zeros, got "
            f"{size / 2**30:.1f} GB of shape {responses.shape}. Take some columns at a time: X.tocsc()[:, :{some}], "
            "and so on."
        )
    return np.asarray(responses.toarray())


def frame_numbers(frame: pd.DataFrame) -> NumpyArray:
    """Return the numbers (N, m) of a frame, NaN where missing."""
    unclear = [name for name, kind in frame.dtypes.items() if kind == np.dtype(object)]
    frame = frame.copy(deep=False) if unclear else frame
    for name in unclear:  # numbers of several types, which pandas keeps as objects
        frame[name] = _inferred(str(name), frame[name])
    kinds = frame.dtypes
    numeric = {
        kind: pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind) for kind in kinds.unique()
    }
    wrong = kinds[~kinds.map(numeric)]
    if len(wrong):
        raise DataError(
            f"responses: expected numbers, got {wrong.iloc[0]} in {wrong.index[0]!r} ({len(wrong)} such columns); "
            "convert or leave them out."
        )
    for kind in filter(_may_round, numeric):
        whole = frame.loc[:, [own == kind for own in kinds]]
        if not isinstance(kind, np.dtype) or abs(whole.to_numpy().astype(float)).max() >= MAX_EXACT_INTEGER:
            for name, column in whole.items():
                check_exact(str(name), column.dropna())
    if all(isinstance(kind, np.dtype) for kind in numeric):
        return frame.to_numpy(float)
    return frame.to_numpy(float, na_value=np.nan)


def _inferred(name: str, column: pd.Series) -> pd.Series:
    """Return a column of objects as numbers, if it holds nothing else; text stays what it is."""
    if any(isinstance(value, str) for value in column):
        return column
    return pd.Series(as_numbers(name, column), column.index)


def _may_round(kind: Any) -> bool:
    """Whether double precision may not hold all whole numbers of a type."""
    return pd.api.types.is_integer_dtype(kind) and "64" in str(kind)
