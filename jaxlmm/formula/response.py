"""Another response on the rows of a model that is already built."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import check_response
from jaxlmm.formula.family import check_observations
from jaxlmm.formula.fixed import check_not_perfect
from jaxlmm.formula.frame import ModelFrame
from jaxlmm.formula.functions import as_numbers


def with_response(frame: ModelFrame, y: Any) -> ModelFrame:
    """Return the frame with another response, all else the same.

    Parameters
    ----------
    frame
        A model on n complete rows of the data.
    y
        Numbers in the units of the formula's left side, one for each of the n rows, or for each row of the data. A
        series is aligned by its index.

    Raises
    ------
    DataError
        If the length fits neither, a label has no value or more than one, or a value is missing, infinite, no number,
        or all are the same.
    """
    values = _on_rows(frame, y)
    missing = np.flatnonzero(np.isnan(values))
    if missing.size:
        raise DataError(
            f"y: expected a number in each of the {values.size} rows of this fit, got {missing.size} missing, the "
            f"first in row {frame.index[missing[0]]!s}. Fill it in, or fit the changed data with update(data=...), "
            "which drops such rows."
        )
    if frame.design.distribution is not None:
        check_observations("y", frame.design.distribution.family, values, frame.row_data, frame.index)
    else:
        check_response("y", values, frame.offset)
        basis = np.asarray(frame.design.basis)[: values.size]
        check_not_perfect("y", np.sqrt(frame.weights) * (values - frame.offset), basis)
    return dataclasses.replace(frame, y=values, notes_of_y=frame.notes_on(["y"], values[:, None]))


def _on_rows(frame: ModelFrame, y: Any) -> Float[NumpyArray, " n"]:
    """Return the response on the rows of the frame."""
    n, total = len(frame.index), frame.used.size
    if np.ndim(y) != 1:
        raise DataError(f"y: expected one response, got shape {np.shape(y)}; pass one column at a time.")
    values = as_numbers("y", y)
    if isinstance(y, pd.Series):
        return _by_label(frame, y, values)
    if values.size not in (n, total):
        dropped = f", or {total} numbers for all rows of the data" if total > n else ""
        raise DataError(f"y: expected {n} numbers, one for each row of this fit{dropped}; got {values.size}.")
    return values[frame.used] if values.size == total else values


def _by_label(frame: ModelFrame, y: pd.Series, values: Float[NumpyArray, " _"]) -> Float[NumpyArray, " n"]:
    """Take the value of each row's label; if labels repeat, the index must be that of the frame or of the data."""
    if values.size == frame.used.size and y.index[frame.used].equals(frame.index):
        return values[frame.used]
    if y.index.equals(frame.index):
        return values
    if y.index.has_duplicates or frame.index.has_duplicates:
        raise DataError("y: expected the index of the data where row labels repeat, got another one; pass an array.")
    indices = y.index.get_indexer(frame.index)
    if (indices < 0).any():
        label = frame.index[int(np.flatnonzero(indices < 0)[0])]
        raise DataError(
            f"y: expected a value for each row of this fit by its label, got none for {int((indices < 0).sum())} of "
            f"{indices.size} rows, the first is {label!s}. Give it the index of the data, or pass an array."
        )
    return np.asarray(values[indices])
