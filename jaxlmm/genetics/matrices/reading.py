"""``relationship``: a known matrix from a table of pairs, a labelled frame, or an array with labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import KinshipError
from jaxlmm.genetics.ids import as_labels, find, label_texts, quoted
from jaxlmm.genetics.matrices.relationship import Relationship, checked
from jaxlmm.genetics.matrices.symmetry import MAX_ASYMMETRY, made_symmetric, told_apart

PAIR_COLUMNS = ("id1", "id2", "value")
"""The columns of a table of pairs."""


def relationship(table_or_matrix: Any, labels: Any = None) -> Relationship:
    """Return a known covariance matrix between individuals, from a table of pairs or a matrix.

    Parameters
    ----------
    table_or_matrix
        - A table with a row for each pair: columns ``id1``, ``id2``, ``value`` (others are ignored), or exactly three
          columns in this order. One triangle is enough; a pair may stand there twice, also the other way round, with
          one value but for rounding. Pairs that are not there are 0; each id needs a row with itself. The result is
          sparse.
        - A square frame with the ids as index and columns, whatever they are called.
        - A square array, or a matrix of scipy.sparse, with ``labels``. Dense stays dense, sparse stays sparse.
    labels
        The ids of the rows of an array, in their order.

    Returns
    -------
    Relationship
        The ids of a table are in the order in which they first occur, those of a frame as in its index. A matrix whose
        triangles differ by up to 1e-6 of its largest entry, as in single precision, is made symmetric; its print says
        so.

    Raises
    ------
    KinshipError
        If it is not square, symmetric and finite, if ids are missing or twice or not those of the columns, if the
        values of a pair contradict each other, or if an id has no value with itself.

    Examples
    --------
    >>> import jaxlmm as lmm, pandas as pd
    >>> pairs = pd.DataFrame({"id1": ["a", "b", "b"], "id2": ["a", "b", "a"], "value": [0.5, 0.5, 0.25]})
    >>> lmm.genetics.relationship(pairs).to_frame()
          a     b
    a  0.50  0.25
    b  0.25  0.50
    """
    if isinstance(table_or_matrix, Relationship):
        _no_labels(labels)
        return table_or_matrix
    if isinstance(table_or_matrix, np.ndarray) or scipy.sparse.issparse(table_or_matrix):
        if labels is None:
            raise KinshipError(
                f"relationship: expected labels= with an array of shape {table_or_matrix.shape}, so that its rows are "
                "found by their ids; or give a data frame with the ids as index and columns."
            )
        return checked(labels, table_or_matrix)
    table = as_table(table_or_matrix, "relationship")
    frame = table if isinstance(table, pd.DataFrame) else as_frame(table, list(table.columns))
    if _is_table(frame):
        _no_labels(labels)
        return _from_pairs(frame)
    if labels is not None and isinstance(frame.index, pd.RangeIndex) and frame.index.equals(pd.Index(frame.columns)):
        return checked(labels, frame.to_numpy())  # neither rows nor columns have names of their own
    _no_labels(labels)
    return _from_frame(frame)


def _no_labels(labels: Any) -> None:
    if labels is not None:
        raise KinshipError("relationship: expected labels= with an array alone, got it with ids of their own.")


def _is_table(frame: pd.DataFrame) -> bool:
    """Return whether a frame is a table of pairs: not a matrix, with columns of these names, or three.

    A matrix is recognized by its content: a square of numbers whose rows have the names of its columns.
    """
    square = frame.shape[0] == frame.shape[1]
    same = square and set(label_texts(frame.index)) == set(label_texts(frame.columns))
    real = all(_is_real(kind) for kind in frame.dtypes)
    if same and real:
        return False
    labelled = square and real and not isinstance(frame.index, pd.RangeIndex)
    return set(PAIR_COLUMNS) <= set(frame.columns) or (frame.shape[1] == 3 and not same and not labelled)


def _from_frame(frame: pd.DataFrame) -> Relationship:
    if frame.shape[0] != frame.shape[1]:
        raise KinshipError(
            f"relationship: expected a square frame with ids as index and columns, or a table with the columns "
            f"{', '.join(PAIR_COLUMNS)}; got shape {frame.shape} with columns {', '.join(map(str, frame.columns[:6]))}."
        )
    rows = as_labels(frame.index, "relationship")
    columns = as_labels(frame.columns, "relationship")
    indices = find(rows, columns)
    if (indices < 0).any():
        absent = rows[indices < 0]
        raise KinshipError(
            f"relationship: expected the same ids as index and columns, got {len(absent)} in the index alone, the "
            f"first is {quoted(absent[0])} (the columns are {', '.join(map(quoted, columns[:3]))}, …). For a matrix "
            "from a file, read its first column as the index (index_col=0)."
        )
    real = all(_is_real(kind) for kind in frame.dtypes)
    values = frame.to_numpy(float, na_value=np.nan) if real else frame.to_numpy()
    return checked(rows, values if (indices == np.arange(len(rows))).all() else values[:, indices])


def _is_real(kind: Any) -> bool:
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)


def _from_pairs(frame: pd.DataFrame) -> Relationship:
    names = PAIR_COLUMNS if set(PAIR_COLUMNS) <= set(frame.columns) else tuple(frame.columns)
    if frame.columns.has_duplicates:
        raise KinshipError(f"relationship: expected different columns, got {', '.join(map(str, frame.columns))}.")
    one, two = (as_labels(frame[name], f"relationship, column {name}", unique=False) for name in names[:2])
    if one.dtype != two.dtype:
        one, two = (pd.Index(label_texts(ids)) for ids in (one, two))
    value = frame[names[2]]
    if not _is_real(value.dtype):
        raise KinshipError(f"relationship: expected real numbers in column {names[2]}, got {value.dtype}.")
    numbers = value.to_numpy(float, na_value=np.nan)
    if not np.isfinite(numbers).all():
        wrong = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise KinshipError(
            f"relationship: expected finite numbers, got {numbers[wrong]} between {quoted(one[wrong])} and "
            f"{quoted(two[wrong])}. Leave the row out if the pair is unrelated."
        )
    flat, distinct = pd.factorize(np.stack([one.to_numpy(), two.to_numpy()], axis=1).reshape(-1))
    codes, labels = flat.reshape(-1, 2), as_labels(distinct, "relationship")
    low, high, numbers, note = _distinct_pairs(labels, codes.min(axis=1), codes.max(axis=1), numbers)
    own = np.zeros(len(labels), bool)
    own[low[low == high]] = True
    if not own.all():
        alone = labels[~own]
        raise KinshipError(
            f"relationship: expected a value of each id with itself, got none for {len(alone)} of {len(labels)}, the "
            f"first is {quoted(alone[0])}. Add the rows (id, id, value), such as 0.5 in a kinship matrix."
        )
    off = low != high
    rows, columns = np.r_[low, high[off]], np.r_[high, low[off]]
    shape = (len(labels), len(labels))
    made = checked(labels, scipy.sparse.coo_array((np.r_[numbers, numbers[off]], (rows, columns)), shape=shape))
    return dataclasses.replace(made, notes=(note,)) if note else made


def _distinct_pairs(
    labels: pd.Index, low: Int[NumpyArray, " rows"], high: Int[NumpyArray, " rows"], numbers: Float[NumpyArray, " rows"]
) -> tuple[Int[NumpyArray, " pairs"], Int[NumpyArray, " pairs"], Float[NumpyArray, " pairs"], str]:
    """Return the distinct pairs with the mean of their values, and a note if values of a pair differ.

    Raises
    ------
    KinshipError
        If two rows of a pair differ by more than rounding.
    """
    order = np.lexsort((high, low))
    low, high, numbers = low[order], high[order], numbers[order]
    is_first = np.r_[True, (np.diff(low) != 0) | (np.diff(high) != 0)]
    pair = np.cumsum(is_first) - 1
    first = numbers[is_first][pair]
    difference, largest = abs(numbers - first), float(abs(numbers).max(initial=0.0))
    wrong = np.flatnonzero(difference > MAX_ASYMMETRY * largest)
    if wrong.size:
        row = wrong[0]
        raise KinshipError(
            f"relationship: expected one value for a pair, got "
            f"{' and '.join(told_apart(first[row], numbers[row]))} for {quoted(labels[low[row]])} and "
            f"{quoted(labels[high[row]])}. Remove one of the rows."
        )
    values, worst = numbers[is_first], float(difference.max(initial=0.0))
    unlike = np.unique(pair[difference > 0.0])
    values[unlike] = (np.bincount(pair, numbers) / np.bincount(pair))[unlike]
    return low[is_first], high[is_first], values, made_symmetric(worst, largest)
