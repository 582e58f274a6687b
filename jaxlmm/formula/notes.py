"""Notes on data that can be fitted, but may be mistaken: codes for missing values, binary responses, powers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.formula.columns import used_variables
from jaxlmm.formula.functions import is_text
from jaxlmm.formula.syntax import ModelOptions, ParsedFormula, notes_of_powers
from jaxlmm.formula.tokens import join

MISSING_VALUE_CODES = (-9.0, -99.0, -999.0, -9999.0)
"""Numbers that files have for a missing value: PLINK, GEMMA and GCTA write the first of these."""

MIN_PLAUSIBLE_VALUE = -8.0
"""A variable seems to have a code for missing values if the code is its only value below this."""

MAX_NAMES_IN_NOTE = 3
"""Number of variables that a note lists; others are counted."""

ROWS_IN_FIRST_PASS = 64
"""Number of rows on which responses with more than two values are ruled out before all rows are read."""


def notes_of_rows(
    parsed: ParsedFormula,
    data: pd.DataFrame,
    options: ModelOptions,
    offset: pd.Series | None,
    y: Float[NumpyArray, " n"] | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the notes on the predictors, and those on the response.

    Parameters
    ----------
    parsed
        The formula.
    data
        Its variables on the n complete rows.
    options, offset
        The options of the model, and the values of ``offset=`` on these rows.
    y
        The response, if there is one.
    """
    own = [] if y is None else used_variables(parsed.response, data.columns)
    others: dict[str, pd.Series] = {str(column): data[column] for column in data.columns if column not in own}
    if offset is not None:
        others[options.offset if isinstance(options.offset, str) else "offset"] = offset
    gaussian = y is not None and options.row_family is None
    of_y = _on_two_values([join(parsed.response)], y[:, None]) if gaussian and y is not None else ()
    of_x = (*_of_variables(others), *notes_of_powers(parsed.text))
    return of_x, (*_of_variables({name: data[name] for name in own}), *of_y)


def _of_variables(columns: Mapping[str, pd.Series]) -> tuple[str, ...]:
    values = {name: _as_numbers(column) for name, column in columns.items()}
    numeric = {name: numbers for name, numbers in values.items() if numbers is not None}
    return _on_codes([(name, *code) for name, numbers in numeric.items() if (code := _code_in(numbers))])


def notes_of_responses(
    names: Sequence[str], values: Float[NumpyArray, "n m"], *, as_gaussian: bool = True
) -> tuple[str, ...]:
    """Return the notes on responses, NaN where missing: for each fault one note that lists the responses.

    Two values are worth a note where responses are taken ``as_gaussian``.
    """
    lowest = np.fmin.reduce(values, axis=0)
    suspects = np.flatnonzero(np.isin(lowest, MISSING_VALUE_CODES))
    codes = [(names[int(index)], *code) for index in suspects if (code := _code_in(values[:, index]))]
    return (*_on_codes(codes, len(names)), *(_on_two_values(names, values) if as_gaussian else ()))


def _as_numbers(column: pd.Series) -> Float[NumpyArray, " n"] | None:
    """Return a column as numbers, NaN where it has none; texts and levels of factors that spell numbers are numbers."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = _as_numbers(pd.Series(column.cat.categories))
        return None if levels is None else np.append(levels, np.nan)[column.cat.codes]
    if is_text(column):
        codes, texts = pd.factorize(column)
        return np.asarray(pd.to_numeric(pd.Series(texts), errors="coerce"), float)[codes]
    return column.to_numpy(float) if pd.api.types.is_numeric_dtype(column) else None


def _code_in(numbers: Float[NumpyArray, " n"]) -> tuple[float, int] | None:
    """Return the code for a missing value that a variable seems to have, with its count."""
    below = numbers[numbers < MIN_PLAUSIBLE_VALUE]
    if below.size and below[0] in MISSING_VALUE_CODES and (below == below[0]).all():
        return float(below[0]), int(below.size)
    return None


def _on_codes(codes: Sequence[tuple[str, float, int]], n_responses: int = 0) -> tuple[str, ...]:
    """Write one note for each code, from names, codes and counts; ``n_responses`` were examined."""
    notes = []
    for code in sorted({code for _, code, _ in codes}, reverse=True):
        counts = [(name, count) for name, own, count in codes if own == code]
        listed = _listed([f"{name} ({count:,} {'value' if count == 1 else 'values'})" for name, count in counts])
        if n_responses > 1:
            total = sum(count for _, count in counts)
            listed = f"{len(counts):,} of {n_responses:,} responses, {total:,} in all: {listed}"
        notes.append(
            f"{code:g} is the only value below {MIN_PLAUSIBLE_VALUE:g} in {listed}. If it is a code for a missing "
            f"value, as in files of PLINK, GEMMA and GCTA, replace it by NaN in the data, or say --missing-code "
            f"{code:g} on the command line; it was taken as a value like any other."
        )
    return tuple(notes)


def _on_two_values(names: Sequence[str], values: Float[NumpyArray, "n m"]) -> tuple[str, ...]:
    """Write one note on the responses that take only two values."""
    lowest, highest = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    varies = (lowest < highest) & np.isfinite(lowest) & np.isfinite(highest)
    indices = np.flatnonzero(varies & _is_either(values[:ROWS_IN_FIRST_PASS], lowest, highest))
    indices = indices[_is_either(values[:, indices], lowest[indices], highest[indices])]
    if not indices.size:
        return ()
    low, high = f"{lowest[indices[0]]:g}", f"{highest[indices[0]]:g}"
    if len(names) == 1:
        subject = f"{names[0]} takes only the values {low} and {high}, and is"
    else:
        subject = (
            f"{indices.size:,} of {len(names):,} responses take only two values, such as {low} and {high}, and are: "
            f"{_listed([names[int(index)] for index in indices])};"
        )
    return (
        f"{subject} fitted as Gaussian: effects are differences between means (of 0 and 1: between probabilities), and "
        "the residual variance is taken to be the same in all rows.",
    )


def _is_either(
    values: Float[NumpyArray, "n m"], low: Float[NumpyArray, " m"], high: Float[NumpyArray, " m"]
) -> Bool[NumpyArray, " m"]:
    """Return whether all values of each column are ``low``, ``high`` or NaN."""
    return np.asarray(((values == low) | (values == high) | np.isnan(values)).all(axis=0))


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - MAX_NAMES_IN_NOTE:,} more" if len(words) > MAX_NAMES_IN_NOTE else ""
    return ", ".join(words[:MAX_NAMES_IN_NOTE]) + more
