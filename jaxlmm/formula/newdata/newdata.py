"""A model's columns, offsets, levels and positions on other data than those of the fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import column_or_array, variables_of
from jaxlmm.formula.functions import listed, plain_dtypes
from jaxlmm.formula.groups import GroupLabels, OffsetLabels, TermLabels, compared, level_labels
from jaxlmm.formula.tokens import column_called
from jaxlmm.genetics.ids import label_texts

UNSEEN, MISSING = -1, -2
"""In place of a level: one that the fit does not know, and none."""


class Places(NamedTuple):
    """The level of each row: ``codes`` (n,), below G a level of the fit, from G on a relative, ``UNSEEN``, ``MISSING``.

    ``unseen`` are the labels of the levels that are not known, each once.
    """

    codes: NumpyArray
    unseen: pd.Index


def row_labels(data: Any) -> pd.Index:
    """Return the index of data: that of a pandas frame, otherwise 0, 1, …"""
    return as_frame(as_table(data), []).index


def offset_on(offset: OffsetLabels, data: Any) -> NumpyArray:
    """Return the offset (n,) of other data; NaN where a variable is missing.

    Raises
    ------
    DataError
        If the fit's was an array by its rows, or a variable is not there.
    """
    if offset.array:
        raise DataError(
            "predict: the offset= of this fit was one number for each of its rows, so what it is in newdata is not "
            "known. Fit with the name of a column, offset='o', or with offset(o) in the formula; newdata then needs "
            "that column."
        )
    table = as_table(data)
    total = np.zeros(len(table))
    for encoding in offset.encodings:
        total = total + encoding.columns(data)[:, 0]
    if offset.column is not None:
        found = column_called(offset.column, list(table.columns))
        present = [] if found is None else [found]
        column = column_or_array("offset", offset.column, as_frame(table, present), table.columns)
        assert column is not None
        total = total + column.to_numpy()
    return total


def places_on(group: GroupLabels, data: Any) -> Places:
    """Return the level of each row of other data, by the values of the group's factors.

    Raises
    ------
    DataError
        If a factor is not there.
    """
    used = variables_of(data, group.factors)
    complete = used.notna().all(axis=1).to_numpy()
    given = plain_dtypes(used[complete])
    parts = [pd.Index(np.asarray(given[factor], object)).infer_objects() for factor in group.factors]
    known, codes = np.zeros(len(group.labels), np.int64), np.zeros(len(given), np.int64)
    for theirs, ours in zip(group.parts, parts, strict=True):
        theirs, ours = _comparable(theirs), _comparable(ours)
        values = theirs.unique()
        if group.relatives is not None:  # ids of something known are matched as text
            values, ours = compared(values, ours)
        found = values.get_indexer(ours)
        known = known * len(values) + theirs.unique().get_indexer(theirs)
        codes = np.where((codes < 0) | (found < 0), UNSEEN, codes * len(values) + found)
    codes = pd.Index(known).get_indexer(pd.Index(codes))
    new = codes == UNSEEN
    labels = level_labels([part[new] for part in parts])
    if group.relatives is not None:
        related = pd.Index(label_texts(group.relatives)).get_indexer(pd.Index(label_texts(labels)))
        codes[new] = np.where(related < 0, UNSEEN, related + len(group.labels))
        labels = labels[related < 0]
    indices = np.full(len(used), MISSING)
    indices[complete] = codes
    return Places(indices, labels.unique() if new.any() else labels[:0])


def _comparable(values: pd.Index) -> pd.Index:
    """Return levels as they are compared: numbers by value, anything else as objects, whatever column they come from.

    Intervals would find the numbers within them, and raise where they overlap.
    """
    return values if pd.api.types.is_numeric_dtype(values.dtype) else values.astype(object)


def positions_on(labels: TermLabels, group: GroupLabels, indices: NumpyArray, data: Any) -> NumpyArray:
    """Return the column (n,) of each row's position in a term over positions, ``MISSING`` where it has none.

    The column of a row without a known level is 0.

    Parameters
    ----------
    labels, group
        The term and its grouping factor.
    indices
        The level of each row (n,), as :func:`places_on` gives it.
    data
        The rows.

    Raises
    ------
    DataError
        If a row has a position that its level does not have in the fit, or a position is the order of the rows.
    """
    assert labels.positions is not None
    if labels.encoding is None:
        raise DataError(
            f"predict: the positions of {labels.text} are the order of the fit's rows, which newdata do not have. "
            "Leave the term out with re_form=, or fit with a column of positions."
        )
    values = labels.encoding.columns(data)[:, 0]
    asked = np.flatnonzero((indices >= 0) & ~np.isnan(values))
    # Relatives have the positions of all levels, as levels that covary do.
    rows = np.where(indices[asked] < len(group.labels), indices[asked], 0)
    same = labels.positions[rows] == values[asked, None]
    strange = asked[~same.any(axis=1)]
    if strange.size:
        row = int(strange[0])
        seen = labels.positions[indices[row] if indices[row] < len(group.labels) else 0]
        raise DataError(
            f"predict: expected positions that the fit has seen in {labels.text}, got {values[row]:g} for level "
            f"{_label(group, int(indices[row]))}, which has {listed(f'{value:g}' for value in seen[~np.isnan(seen)])}"
            f" ({strange.size} such rows). Leave the term out with re_form=."
        )
    columns = np.where(np.isnan(values), MISSING, 0)
    columns[asked] = same.argmax(axis=1)
    return columns


def _label(group: GroupLabels, index: int) -> str:
    return str(group.ids[index])
