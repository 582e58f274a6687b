"""Many responses, given by a formula, columns, a frame or an array, on the rows of the data."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import DataError, FormulaError, nearest
from jaxlmm.formula.columns import (
    array_numbers,
    as_arithmetic,
    check_unique,
    explains_itself,
    frame_numbers,
    model_columns,
    model_variables,
    right_variables,
    used_variables,
)
from jaxlmm.formula.functions import as_numbers, plain_dtypes
from jaxlmm.formula.groups import spelling_hint
from jaxlmm.formula.syntax import ParsedFormula, column_of, renamed
from jaxlmm.formula.tokens import Token, column_called, join, parts_of_cbind
from jaxlmm.genetics.ids import text_ids


class Responses(NamedTuple):
    """Responses on the rows of the data, NaN where missing.

    ``matched`` says in words how rows were matched; ``unmatched`` counts rows of the responses without a row of the
    data; ``circular`` are the names of responses that are predictors too (:func:`_circular`).
    """

    names: tuple[str, ...]
    values: Float[NumpyArray, "rows m"]
    matched: str
    unmatched: int = 0
    circular: frozenset[str] = frozenset()

    @property
    def is_circular(self) -> Bool[NumpyArray, " m"]:
        """Whether each response is a predictor too."""
        return np.array([name in self.circular for name in self.names], bool)


def read_responses(parsed: ParsedFormula, data: Any, responses: Any, id: str | None) -> Responses:
    """Read the responses, of the formula or of ``responses``, on the rows of the data.

    Parameters
    ----------
    parsed
        A formula whose left side is empty, one response, or ``cbind(y1, y2)``.
    data
        The data frame.
    responses
        None for the formula's left side; names of columns of the data, or patterns (``"gene*"``) of those that the
        formula does not use; a frame with one response per column, or a series; an array (rows, m) in the order of
        the rows, which may be a sparse matrix of scipy (``adata.X``).
    id
        The column of the data by which rows of a frame of responses are matched: with the frame's column of that name,
        or else its index. Without it rows are matched by index if those of frame and data are both labels, not row
        numbers, or have the same entries in another order, else by position. Labels may repeat where both have the same
        ones in the same order.

    Raises
    ------
    FormulaError, DataError
        If there is no response, or both the formula and ``responses`` have some; if rows cannot be matched; if a
        response has no numbers.
    """
    table = as_table(data)
    parsed = renamed(parsed, list(table.columns))
    if isinstance(responses, pd.Series):
        responses = responses.to_frame("y1" if responses.name is None else responses.name)
    if isinstance(responses, Sequence) and len(responses) == 0:
        raise DataError(f"responses: expected names of columns, a pattern, a frame or an array, got {responses!r}.")
    if responses is None:
        if not parsed.response:
            raise FormulaError(
                f"formula {parsed.text!r}: expected responses, got none; write responses=, or 'cbind(y1, y2) ~ x'."
            )
        read = _of_formula(parsed, table)
    elif parsed.response:
        raise FormulaError(
            f"formula {parsed.text!r}: expected nothing left of '~' beside responses=, got {join(parsed.response)}."
        )
    elif isinstance(responses, str) or _is_names(responses):
        predictors = set(model_variables(parsed, parsed.bars, table.columns))
        read = _named(table, [responses] if isinstance(responses, str) else list(responses), predictors)
    elif hasattr(responses, "columns"):
        read = _of_frame(table, responses, id)
    else:
        read = _of_array(table, responses)
    if id is not None and not hasattr(responses, "columns"):
        raise DataError("id: expected a frame of responses whose rows it labels; leave it out for names and arrays.")
    if not read.names:
        raise DataError("responses: expected at least one column, got none.")
    _check_different(read.names)
    return read._replace(circular=_circular(parsed, table, read))


def _circular(parsed: ParsedFormula, table: Any, read: Responses) -> frozenset[str]:
    """Return the names of responses that are a function of one predictor, or a copy of the predictor of their name."""
    right = right_variables(parsed, parsed.bars, table.columns)
    if parsed.response:
        parts = zip(read.names, _parts(parsed), strict=True)
        return frozenset(name for name, part in parts if explains_itself(part, right, table.columns))
    same = [index for index, name in enumerate(read.names) if name in right]
    return frozenset(read.names[index] for index in same if _is_column(table, read.names[index], read, index))


def _is_column(table: Any, name: str, read: Responses, index: int) -> bool:
    """Return whether response ``index`` has the values of the data's column ``name``."""
    column = as_frame(table, [name])[name]
    numeric = pd.api.types.is_numeric_dtype(column) or column.dtype == object
    try:
        return numeric and np.array_equal(as_numbers(name, column), read.values[:, index], equal_nan=True)
    except DataError:
        return False


def _check_different(names: Sequence[str]) -> None:
    twice = pd.Index(names)[pd.Index(names).duplicated()]
    if len(twice):
        raise DataError(f"responses: expected different names, got {twice[0]!r} more than once; rename the copies.")


def _is_names(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(name, str) for name in value)


def _of_formula(parsed: ParsedFormula, table: Any) -> Responses:
    parts = _parts(parsed)
    names = tuple(part[0].name if len(part) == 1 else join(part) for part in parts)
    return Responses(names, np.column_stack([_expression(part, table) for part in parts]), "columns of the data")


def _parts(parsed: ParsedFormula) -> list[list[Token]]:
    """Return the expression of each response left of ``~``: one, or those in ``cbind()``."""
    parts = parts_of_cbind(parsed.response) or [list(parsed.response)]
    if not all(parts):
        raise FormulaError(f"formula {parsed.text!r}: a response is missing in {join(parsed.response)}.")
    return parts


def _expression(tokens: Sequence[Token], table: Any) -> Float[NumpyArray, " rows"]:
    """Return the values of one response, NaN where a variable of it is missing."""
    used = used_variables(tokens, table.columns)
    frame = as_frame(table, list(dict.fromkeys(used)))
    if len(tokens) == 1 and used:
        return frame_numbers(frame)[:, 0]
    complete = frame.notna().all(axis=1).to_numpy()
    values = np.full(len(frame), np.nan)
    if complete.any():
        columns = model_columns(as_arithmetic(tokens), plain_dtypes(frame[complete]), for_new_data=False)
        values[complete] = columns.matrix[:, 0]
    return values


def _named(table: Any, patterns: Sequence[str], predictors: Collection[str]) -> Responses:
    """Read columns of the data: a name is any column, a pattern matches those that are no ``predictors``."""
    columns = [str(column) for column in table.columns]
    names: list[str] = []
    others = [column for column in columns if column not in predictors]
    for pattern in patterns:
        exact = column_called(pattern, columns)
        is_pattern = bool(set(pattern) & set("*?["))
        matching = [exact] if exact is not None else fnmatch.filter(others, pattern) if is_pattern else []
        if not matching and fnmatch.filter(columns, pattern):
            raise DataError(f"responses: {pattern!r} matches only columns of the formula; name them to mean them.")
        if not matching:
            raise DataError(f"responses: {pattern!r} is no column of the data; {nearest(pattern, columns)}.")
        names += matching
    names = list(dict.fromkeys(names))
    check_unique(names, table.columns)
    return Responses(tuple(names), frame_numbers(as_frame(table, names)), "columns of the data")


def _of_frame(table: Any, responses: Any, id: str | None) -> Responses:
    """Read the columns of a frame, its rows matched to the data by ``id``, index or position."""
    labelled = isinstance(responses, pd.DataFrame)
    other = as_table(responses)
    _check_different([str(name) for name in other.columns])
    frame = as_frame(other, list(other.columns))
    own = None if id is None else column_called(id, list(frame.columns))
    if own is not None:
        frame, labelled = frame.set_index(own), True
    names = tuple(str(name) for name in frame.columns)
    if id is not None:
        column = column_of("id", id, table.columns)
        if not labelled:
            raise DataError(
                f"id: expected the column {id!r} in the responses too, or a pandas frame with labelled rows."
            )
        labels, matched = _ids(as_frame(table, [column])[column], "data", id), f"by {id}"
        frame = frame[frame.index.notna()]
        frame.index = _ids(frame.index, "responses", id)
    elif labelled and isinstance(table, pd.DataFrame) and _by_index(frame.index, table.index):
        labels, matched = table.index, "by index"
    else:
        if len(frame) != len(table):
            raise DataError(
                f"responses: expected one row for each of the {len(table)} rows of the data, got {len(frame)}; match "
                "them by id=, a column of the data that holds the labels of the responses' rows."
            )
        return Responses(names, frame_numbers(frame), "by position")
    if frame.index.equals(labels):  # the same order: labels may repeat
        return Responses(names, frame_numbers(frame), matched if labels.is_unique else "by position")
    for what, index in (("responses", frame.index), ("data", labels)):
        if index.has_duplicates:
            raise DataError(f"{what}: expected one row per label, got {index[index.duplicated()][0]!r} more than once.")
    indices = frame.index.get_indexer(labels)
    if (indices < 0).any():
        absent = labels[indices < 0]
        hint = spelling_hint(labels, frame.index, "the data", "the responses") if id is not None else ""
        raise DataError(
            f"responses: expected a row for every row of the data, got none for {len(absent)} of {len(labels)}, the "
            f"first labelled {absent[0]!r} ({type(absent[0]).__name__}); the responses have labels such as "
            f"{frame.index[0]!r} ({type(frame.index[0]).__name__})."
            f"{hint} Select the rows of the data that have responses."
        )
    return Responses(names, frame_numbers(frame)[indices], matched, len(frame) - len(labels))


def _ids(ids: pd.Index | pd.Series, what: str, name: str) -> pd.Index:
    """Return ids as text, by which rows of two tables are matched."""
    words = text_ids(ids, f"{what}, ids {name!r}")
    missing = np.flatnonzero(pd.isna(words))
    if missing.size:
        raise DataError(f"{what}: expected an id {name!r} in each row, got {missing.size} missing; drop these rows.")
    return pd.Index(words, dtype=object)


def _by_index(one: pd.Index, other: pd.Index) -> bool:
    """Return whether rows are matched by index: both have labels, not row numbers 0, 1, …, or one is a permutation."""
    numbered = [index.equals(pd.RangeIndex(len(index))) for index in (one, other)]
    if any(numbered):
        return not all(numbered) and len(one) == len(other) and bool(one.isin(other).all() and other.isin(one).all())
    return True


def _of_array(table: Any, responses: Any) -> Responses:
    values = array_numbers(responses, len(table))
    names = tuple(f"y{number + 1}" for number in range(values.shape[1]))
    return Responses(names, values, "by position")
