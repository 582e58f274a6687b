"""The offset of new data, and the levels and positions of its rows, as indices into those of a fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import column_or_array, variables_of
from jaxlmm.formula.functions import listed, plain_dtypes
from jaxlmm.formula.groups import GroupLabels, OffsetLabels, TermLabels, comparable, level_labels
from jaxlmm.formula.tokens import column_called
from jaxlmm.genetics.ids import label_texts

UNSEEN_LEVEL, MISSING_CODE = -1, -2
"""Codes of a level that the fit has not seen, and of a missing level or position."""


class RowLevels(NamedTuple):
    """The level of each row of new data.

    ``codes`` are indices into the L levels of the fit, from L on into the unobserved ones, or ``UNSEEN_LEVEL`` or
    ``MISSING_CODE``; ``unseen`` are the labels of unseen levels, each once.
    """

    codes: Int[NumpyArray, " n"]
    unseen: pd.Index


def row_labels(data: Any) -> pd.Index:
    """Return the index of data: that of a pandas frame, otherwise 0, 1, …"""
    return as_frame(as_table(data), []).index


def offset_on(offset: OffsetLabels, data: Any) -> Float[NumpyArray, " n"]:
    """Return the offset of new data, NaN where a variable is missing.

    Raises
    ------
    DataError
        If the fit's offset was an array, one number per row, or a variable is absent.
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
        name = column_called(offset.column, list(table.columns))
        present = [] if name is None else [name]
        column = column_or_array("offset", offset.column, as_frame(table, present), table.columns)
        assert column is not None
        total = total + column.to_numpy()
    return total


def levels_on(group: GroupLabels, data: Any) -> RowLevels:
    """Return the level of each row of new data, by the values of the group's factors.

    Raises
    ------
    DataError
        If a factor is absent.
    """
    used = variables_of(data, group.factors)
    complete = used.notna().all(axis=1).to_numpy()
    factors = plain_dtypes(used[complete])
    parts = [pd.Index(np.asarray(factors[factor], object)).infer_objects() for factor in group.factors]
    # A combination of the factors' values is numbered, factor by factor: for the levels of the fit, and for the rows.
    fit_numbers, row_numbers = np.zeros(len(group.labels), np.int64), np.zeros(len(factors), np.int64)
    for fit_values, row_values in zip(map(_by_value, group.parts), map(_by_value, parts), strict=True):
        values = fit_values.unique()
        fit_numbers = fit_numbers * len(values) + values.get_indexer(fit_values)
        if group.unobserved is not None:  # ids of matrices and coordinates are compared as text
            values, row_values = comparable(values, row_values)
        indices = values.get_indexer(row_values)  # -1 for a value that the fit has not seen
        row_numbers = np.where((row_numbers < 0) | (indices < 0), UNSEEN_LEVEL, row_numbers * len(values) + indices)
    codes = pd.Index(fit_numbers).get_indexer(pd.Index(row_numbers))
    new = codes == UNSEEN_LEVEL
    labels = level_labels([part[new] for part in parts])
    if group.unobserved is not None:
        unobserved = pd.Index(label_texts(group.unobserved)).get_indexer(pd.Index(label_texts(labels)))
        codes[new] = np.where(unobserved < 0, UNSEEN_LEVEL, unobserved + len(group.labels))
        labels = labels[unobserved < 0]
    all_codes = np.full(len(used), MISSING_CODE)
    all_codes[complete] = codes
    return RowLevels(all_codes, labels.unique() if new.any() else labels[:0])


def _by_value(levels: pd.Index) -> pd.Index:
    """Return levels that are not numbers as objects, so that look-ups are by equality.

    A pandas index of intervals would find the numbers within them, and raise where they overlap.
    """
    return levels if pd.api.types.is_numeric_dtype(levels.dtype) else levels.astype(object)


def positions_on(
    labels: TermLabels, group: GroupLabels, codes: Int[NumpyArray, " n"], data: Any
) -> Int[NumpyArray, " n"]:
    """Return the index of each row's position in a term over positions, ``MISSING_CODE`` if its position is missing.

    The index is 0 for a row whose level is unseen or missing.

    Parameters
    ----------
    labels, group
        The term and its grouping factor.
    codes
        The level of each row, as :func:`levels_on` returns it.
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
    rows = np.flatnonzero((codes >= 0) & ~np.isnan(values))
    # Unobserved levels are those of a known matrix, with which all levels have the same positions: those of level 0.
    levels = np.where(codes < len(group.labels), codes, 0)
    found = _cells_at(labels.positions, levels[rows], values[rows])
    new = rows[found < 0]
    if new.size:
        row = int(new[0])
        seen = labels.positions[levels[row]]
        raise DataError(
            f"predict: expected positions that the fit has seen in {labels.text}, got {values[row]:g} for level "
            f"{_label(group, int(codes[row]))}, which has {listed(f'{value:g}' for value in seen[~np.isnan(seen)])} "
            f"({new.size} such rows). Leave the term out with re_form=."
        )
    indices = np.where(np.isnan(values), MISSING_CODE, 0)
    indices[rows] = found
    return indices


def _cells_at(
    positions: Float[NumpyArray, "L q"], levels: Int[NumpyArray, " n"], values: Float[NumpyArray, " n"]
) -> Int[NumpyArray, " n"]:
    """Return the index of each value among the positions of its level, −1 where there is none.

    >>> _cells_at(np.array([[1.0, 2.0], [2.0, np.nan]]), np.array([0, 1, 1]), np.array([2.0, 2.0, 1.0])).tolist()
    [1, 0, -1]
    """
    level, index = np.nonzero(~np.isnan(positions))
    distinct, own = np.unique(np.concatenate([positions[level, index], values]), return_inverse=True)
    keys = np.concatenate([level, levels]).astype(np.int64) * distinct.size + own.reshape(-1)
    known, wanted = keys[: level.size], keys[level.size :]
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], wanted), known.size - 1)
    return np.where(known[order][place] == wanted, index[order][place], -1)


def _label(group: GroupLabels, index: int) -> str:
    return str(group.ids[index])
