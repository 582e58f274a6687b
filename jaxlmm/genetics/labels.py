"""Labels of individuals: text or numbers, each once, and where one set of them stands in another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import KinshipError


def as_labels(ids: Any, what: str, unique: bool = True) -> pd.Index:
    """Return ids as an index of text, or of numbers; whole numbers are integers, as text is never made a number.

    Raises
    ------
    KinshipError
        If an id is missing, is neither text nor a number, or occurs twice while they must be ``unique``, or if some are
        text and some numbers.
    """
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
        raise KinshipError(f"{what}: expected a sequence of ids, got {ids!r}.")
    values = ids if isinstance(ids, pd.Index | pd.Series | np.ndarray | pd.api.extensions.ExtensionArray) else list(ids)
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise KinshipError(f"{what}: expected a sequence of ids, got an array of shape {values.shape}.")
    if isinstance(getattr(values, "dtype", None), pd.CategoricalDtype):
        values = np.asarray(values)
    index = pd.Index(values, name=None).infer_objects()
    missing = np.flatnonzero(index.isna())
    if missing.size:
        raise KinshipError(
            f"{what}: expected an id for everybody, got {missing.size} missing, the first in row {missing[0]}."
        )
    index = _plain(index, what)
    if unique and index.has_duplicates:
        twice = index[index.duplicated()]
        raise KinshipError(
            f"{what}: expected each id once, got {quoted(twice[0])} {int((index == twice[0]).sum())} times."
        )
    return index


def _plain(index: pd.Index, what: str) -> pd.Index:
    if pd.api.types.is_integer_dtype(index.dtype):
        return pd.Index(index.to_numpy(np.int64))
    if pd.api.types.is_float_dtype(index.dtype):
        numbers = index.to_numpy(float)
        whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all() and (abs(numbers) < 2**53).all()
        return pd.Index(numbers.astype(np.int64) if whole else numbers)
    if pd.api.types.is_string_dtype(index.dtype) and all(isinstance(label, str) for label in index):
        return pd.Index(index.astype(object).tolist()) if len(index) else index
    kinds = sorted({type(label).__name__ for label in index})
    mixed = "; write all of them as text, for example with astype(str)" if len(kinds) > 1 else ""
    raise KinshipError(f"{what}: expected ids that are all text or all numbers, got {' and '.join(kinds)}{mixed}.")


def quoted(label: object) -> str:
    """Return a label as it is written in a message: text in quotation marks, so that ``'1'`` differs from ``1``."""
    return repr(label) if isinstance(label, str) else str(label)


def kind_of(labels: pd.Index) -> str:
    """Return ``"numbers"`` or ``"text"``."""
    return "numbers" if pd.api.types.is_numeric_dtype(labels.dtype) else "text"


def place(ids: pd.Index, labels: pd.Index, what: str) -> NumpyArray:
    """Return the place (k,) of each of ``ids`` (k,) among unique ``labels`` (n,).

    Raises
    ------
    KinshipError
        If some are not there.
    """
    places = np.asarray(labels.get_indexer(ids))
    absent = pd.unique(ids[places < 0].to_numpy())
    if absent.size:
        first, known = quoted(absent[0]), quoted(labels[0]) if len(labels) else ""
        message = f"{what}: {absent.size} of {ids.nunique()} ids are not in the matrix, the first is {first}; "
        if len(labels) and kind_of(ids) != kind_of(labels):
            message += (
                f"they are {kind_of(ids)}, and the matrix has {kind_of(labels)} such as {known}. Give both the same "
                "type: read the ids as text in both files (dtype=str), or convert with astype."
            )
        else:
            message += f"the matrix has {len(labels)} ids, such as {known}." if len(labels) else "the matrix is empty."
        raise KinshipError(message)
    return places
