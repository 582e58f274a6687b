"""Labels of individuals, each once, and the indices of one set of them in another, compared as text."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import KinshipError
from jaxlmm.genetics.ids.samples import label_texts, text_ids

MAX_INT64 = np.iinfo(np.int64).max


def as_labels(ids: Any, what: str, unique: bool = True) -> pd.Index:
    """Return ids as an index of integers if all of them are whole numbers, else of text.

    Raises
    ------
    KinshipError
        If an id is missing, is neither text nor a whole number, or occurs twice while they must be ``unique``.
    """
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
        raise KinshipError(f"{what}: expected a sequence of ids, got {ids!r}.")
    if isinstance(ids, np.ndarray) and ids.ndim != 1:
        raise KinshipError(f"{what}: expected a sequence of ids, got an array of shape {ids.shape}.")
    column = pd.Series(ids if hasattr(ids, "dtype") else list(ids)).reset_index(drop=True)
    missing = np.flatnonzero(column.isna())
    if missing.size:
        raise KinshipError(
            f"{what}: expected an id for everybody, got {missing.size} missing, the first in row {missing[0]}."
        )
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.categories.to_series().iloc[column.cat.codes].reset_index(drop=True)
    index = _plain(column.infer_objects(), what)
    if unique and index.has_duplicates:
        twice = index[index.duplicated()]
        times = int((index == twice[0]).sum())
        raise KinshipError(f"{what}: expected each id once, got id {quoted(twice[0])} in {times} places.")
    return index


def _plain(column: pd.Series, what: str) -> pd.Index:
    if pd.api.types.is_integer_dtype(column.dtype) and column.max() <= MAX_INT64:
        return pd.Index(column.to_numpy(np.int64))
    if pd.api.types.is_float_dtype(column.dtype):
        return pd.Index(np.array([int(word) for word in text_ids(column, what, KinshipError)], np.int64))
    if pd.api.types.is_bool_dtype(column.dtype) or not all(map(_is_id, column)):
        raise KinshipError(f"{what}: expected ids, text or whole numbers, got {column.iloc[0]!r} ({column.dtype}).")
    words = text_ids(column, what, KinshipError).tolist()
    if column.empty or any(isinstance(label, str) for label in column):
        return pd.Index(words)
    numbers = [int(word) for word in words]
    return pd.Index(np.array(numbers, np.int64) if max(map(abs, numbers)) <= MAX_INT64 else words)


def _is_id(label: object) -> bool:
    return isinstance(label, str | Real | Decimal)


def quoted(label: object) -> str:
    """Return a label for a message: text in quotation marks."""
    return repr(label) if isinstance(label, str) else str(label)


def alike(label: object, labels: pd.Index) -> str:
    """Return a hint if one of ``labels`` differs from ``label`` in spaces, capitals or leading zeros alone.

    >>> alike(" a1", pd.Index(["A1", "A2"]))
    " There is 'A1', which differs in spaces, capitals or leading zeros alone: write them alike."
    """
    core = _core(label)
    close = [other for other in labels if _core(other) == core]
    same = "which differs in spaces, capitals or leading zeros alone: write them alike."
    return f" There is {quoted(close[0])}, {same}" if close else ""


def _core(label: object) -> str:
    return str(label).strip().casefold().lstrip("0")


def find(ids: pd.Index, labels: pd.Index) -> Int[NumpyArray, " k"]:
    """Return the index of each of ``ids`` among unique ``labels``, -1 where it is not there.

    They are compared as text, so that 12345 is ``"12345"``.
    """
    if ids.dtype != labels.dtype:
        ids, labels = pd.Index(label_texts(ids)), pd.Index(label_texts(labels))
    return np.asarray(labels.get_indexer(ids))


def find_all(ids: pd.Index, labels: pd.Index, what: str) -> Int[NumpyArray, " k"]:
    """Return the index of each of ``ids`` among unique ``labels``.

    Raises
    ------
    KinshipError
        If an id is not there.
    """
    indices = find(ids, labels)
    absent = ids[indices < 0].unique()
    if len(absent):
        has = f"{len(labels)} ids such as {', '.join(map(quoted, labels[:3]))}" if len(labels) else "no ids"
        raise KinshipError(
            f"{what}: {len(absent)} of {ids.nunique()} ids are not in the matrix, the first is {quoted(absent[0])}; "
            f"the matrix has {has}.{alike(absent[0], labels)}"
        )
    return indices
