"""Responses as arrays in double precision, from data frames, arrays and sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula.functions import MAX_EXACT_INTEGER, as_numbers, check_exact

MAX_DENSE_BYTES = 2**34
"""Size up to which a sparse matrix of responses is made dense, in bytes with its zeros."""


def array_numbers(responses: Any, rows: int) -> Float[NumpyArray, "rows m"]:
    """Return an array or a sparse matrix with a response per column as numbers in double precision.

    Raises
    ------
    DataError
        If it has another shape or no real numbers, or is too large to be made dense.
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


def _dense(responses: Any) -> Shaped[NumpyArray, "*b"]:
    """Return a dense array, of a sparse matrix of scipy with its zeros, which are values of the response."""
    if not scipy.sparse.issparse(responses):
        return np.asarray(responses)
    size = 8 * int(np.prod(responses.shape))
    if size > MAX_DENSE_BYTES:
        width = max(MAX_DENSE_BYTES // (8 * responses.shape[0]), 1)
        raise DataError(
            f"responses: expected a sparse matrix of no more than {MAX_DENSE_BYTES / 2**30:.0f} GB with its zeros, got "
            f"{size / 2**30:.1f} GB of shape {responses.shape}. Take some columns at a time: X.tocsc()[:, :{width}], "
            "and so on."
        )
    return np.asarray(responses.toarray())


def frame_numbers(frame: pd.DataFrame) -> Float[NumpyArray, "rows m"]:
    """Return the columns of a data frame as numbers in double precision, NaN where missing."""
    objects = [name for name, dtype in frame.dtypes.items() if dtype == np.dtype(object)]
    frame = frame.copy(deep=False) if objects else frame
    for name in objects:  # numbers of several types, which pandas keeps as objects
        frame[name] = _inferred(str(name), frame[name])
    dtypes = frame.dtypes
    is_real = {
        dtype: pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
        for dtype in dtypes.unique()
    }
    wrong = dtypes[~dtypes.map(is_real)]
    if len(wrong):
        raise DataError(
            f"responses: expected numbers, got {wrong.iloc[0]} in {wrong.index[0]!r} ({len(wrong)} such columns); "
            "convert or leave them out."
        )
    for dtype in filter(_may_round, is_real):
        whole = frame.loc[:, [own == dtype for own in dtypes]]
        if not isinstance(dtype, np.dtype) or abs(whole.to_numpy().astype(float)).max() >= MAX_EXACT_INTEGER:
            for name, column in whole.items():
                check_exact(str(name), column.dropna())
    if all(isinstance(dtype, np.dtype) for dtype in is_real):
        return frame.to_numpy(float)
    return frame.to_numpy(float, na_value=np.nan)


def _inferred(name: str, column: pd.Series) -> pd.Series:
    """Return a column of objects as numbers; one that holds text is returned as it is."""
    if any(isinstance(value, str) for value in column):
        return column
    return pd.Series(as_numbers(name, column), column.index)


def _may_round(dtype: Any) -> bool:
    """Return whether a type has whole numbers that double precision rounds."""
    return pd.api.types.is_integer_dtype(dtype) and "64" in str(dtype)
