"""The complete rows of the data, and the response and offset on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import (
    Encoding,
    as_arithmetic,
    check_response_apart,
    check_unique,
    column_or_array,
    finite_or_raise,
    model_columns,
    model_variables,
)
from jaxlmm.formula.functions import as_numbers, plain_dtypes
from jaxlmm.formula.syntax import Bar, ModelOptions, ParsedFormula
from jaxlmm.formula.tokens import join


class Rows(NamedTuple):
    """The complete rows of a model's variables, ``used`` of the data's rows, with weights, offset and trials on
    them.
    """

    data: pd.DataFrame
    used: Bool[NumpyArray, " rows"]
    weights: pd.Series | None
    offset: pd.Series | None
    trials: pd.Series | None


def complete_rows(parsed: ParsedFormula, bars: Sequence[Bar], data: Any, model_options: ModelOptions) -> Rows:
    """Return the rows on which no variable of the model, weight, offset or number of trials is missing."""
    table = as_table(data)
    names = model_variables(parsed, bars, table.columns)
    check_response_apart(parsed, bars, table.columns)
    given = {option: getattr(model_options, option) for option in ("weights", "offset", "trials")}
    options = [value for value in given.values() if isinstance(value, str) and value in table.columns]
    check_unique([*names, *options], table.columns)
    frame = as_frame(table, list(dict.fromkeys([*names, *options])))
    extras = [column_or_array(option, value, frame, table.columns) for option, value in given.items()]
    used = frame[names] if options else frame
    complete = np.ones(len(used), bool)
    for name in names:
        complete &= used[name].notna().to_numpy()
    for extra in extras:
        if extra is not None:
            complete &= extra.notna().to_numpy()
    if not complete.any():
        counts = ", ".join(f"{name} {int(count)}" for name, count in used.isna().sum().items() if count)
        raise DataError(
            f"data: expected at least one complete row, got {len(used)} rows with missing values "
            f"({counts or 'weights'})."
        )
    if not complete.all():
        used = used[complete]
        extras = [None if extra is None else extra[complete] for extra in extras]
    return Rows(plain_dtypes(used), complete, *extras)


def response_of(parsed: ParsedFormula, data: pd.DataFrame) -> Float[NumpyArray, " n"]:
    """Return the response on complete rows, a column or an expression."""
    name = join(parsed.response)
    if len(parsed.response) == 1 and parsed.response[0].name in data.columns:
        return as_numbers(f"response {name}", data[parsed.response[0].name])
    columns = model_columns(as_arithmetic(parsed.response), data, for_new_data=False)
    if columns.matrix.shape[1] != 1:
        raise DataError(
            f"response {name}: expected one column of numbers, got {columns.matrix.shape[1]} "
            f"({', '.join(columns.names[:4])})."
        )
    return columns.matrix[:, 0]


def offset_of(parsed: ParsedFormula, rows: Rows) -> tuple[Float[NumpyArray, " n"], tuple[Encoding, ...]]:
    """Return the sum of all offsets on complete rows, and the encodings of those in the formula."""
    total = np.zeros(len(rows.data)) if rows.offset is None else rows.offset.to_numpy(float)
    parts = [model_columns(as_arithmetic(tokens), rows.data) for tokens in parsed.offsets]
    total = total + sum(part.matrix[:, 0] for part in parts)
    finite_or_raise(total[:, None], ("offset",))
    return total, tuple(part.encoding for part in parts)
