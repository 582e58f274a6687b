"""Notes: what is said in the print of data that can be fitted as they are, but may not be meant so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.formula.columns import used_variables
from jaxlmm.formula.functions import is_text
from jaxlmm.formula.syntax import ParsedFormula, notes_of_powers
from jaxlmm.formula.tokens import join

CODES = (-9.0, -99.0, -999.0, -9999.0)
"""What files say for a missing value: PLINK, GEMMA and GCTA write the first of these."""

PLAUSIBLE = -8.0
"""A code is suspected where it is the only value below this."""

SHOWN = 3
"""Variables that a note names; of more it says how many there are."""

FEW = 64
"""Rows that are looked at first, to find the responses that may have two values only."""


def notes_of_rows(
    parsed: ParsedFormula, data: pd.DataFrame, name: Any, offset: pd.Series | None, y: NumpyArray | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the notes on what a response is explained by, and those on the response.

    Parameters
    ----------
    parsed
        The formula.
    data
        Its variables on the rows that are used, all complete.
    name, offset
        What ``offset=`` was given, and its numbers on these rows.
    y
        The response (n,), if there is one.
    """
    own = [] if y is None else used_variables(parsed.response, data.columns)
    others: dict[str, pd.Series] = {str(column): data[column] for column in data.columns if column not in own}
    if offset is not None:
        others[name if isinstance(name, str) else "offset"] = offset
    of_y = () if y is None else _on_two_values([join(parsed.response)], y[:, None])
    of_x = (*_of_variables(others), *notes_of_powers(parsed.text))
    return of_x, (*_of_variables({name: data[name] for name in own}), *of_y)


def _of_variables(columns: Mapping[str, pd.Series]) -> tuple[str, ...]:
    values = {name: found for name, column in columns.items() if (found := _as_numbers(column)) is not None}
    return _on_codes([(name, *code) for name, numbers in values.items() if (code := _code_in(numbers))])


def notes_of_responses(names: Sequence[str], values: NumpyArray) -> tuple[str, ...]:
    """Return the notes on responses (n, m), NaN where missing: one of a kind for all of them."""
    lowest = np.fmin.reduce(values, axis=0)
    suspects = np.flatnonzero(np.isin(lowest, CODES))
    codes = [(names[int(index)], *code) for index in suspects if (code := _code_in(values[:, index]))]
    return (*_on_codes(codes, len(names)), *_on_two_values(names, values))


def _as_numbers(column: pd.Series) -> NumpyArray | None:
    """Return a column as numbers, NaN where it has none; a factor or text by the numbers that its levels spell."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = _as_numbers(pd.Series(column.cat.categories))
        return None if levels is None else np.append(levels, np.nan)[column.cat.codes]
    if is_text(column):
        codes, texts = pd.factorize(column)
        return np.asarray(pd.to_numeric(pd.Series(texts), errors="coerce"), float)[codes]
    return column.to_numpy(float) if pd.api.types.is_numeric_dtype(column) else None


def _code_in(numbers: NumpyArray) -> tuple[float, int] | None:
    """Return the code for a missing value that a variable (n,) seems to hold, and how often."""
    below = numbers[numbers < PLAUSIBLE]
    if below.size and below[0] in CODES and (below == below[0]).all():
        return float(below[0]), int(below.size)
    return None


def _on_codes(found: Sequence[tuple[str, float, int]], responses: int = 0) -> tuple[str, ...]:
    """Write one note for each code; ``responses`` is the number of those among which they were found."""
    notes = []
    for code in sorted({code for _, code, _ in found}, reverse=True):
        counts = [(name, count) for name, own, count in found if own == code]
        listed = _listed([f"{name} ({count:,} {'value' if count == 1 else 'values'})" for name, count in counts])
        if responses > 1:
            total = sum(count for _, count in counts)
            listed = f"{len(counts):,} of {responses:,} responses, {total:,} in all: {listed}"
        notes.append(
            f"{code:g} is the only value below {PLAUSIBLE:g} in {listed}. If it is a code for a missing value, as in "
            f"files of PLINK, GEMMA and GCTA, replace it by NaN in the data, or say --missing-code {code:g} on the "
            "command line; it was taken as a value like any other."
        )
    return tuple(notes)


def _on_two_values(names: Sequence[str], values: NumpyArray) -> tuple[str, ...]:
    """Write one note on the responses (n, m) that take only two values."""
    lowest, highest = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    wide = (lowest < highest) & np.isfinite(lowest) & np.isfinite(highest)
    indices = np.flatnonzero(wide & _is_either(values[:FEW], lowest, highest))
    indices = indices[_is_either(values[:, indices], lowest[indices], highest[indices])]
    if not indices.size:
        return ()
    low, high = f"{lowest[indices[0]]:g}", f"{highest[indices[0]]:g}"
    if len(names) == 1:
        said = f"{names[0]} takes only the values {low} and {high}, and is"
    else:
        said = (
            f"{indices.size:,} of {len(names):,} responses take only two values, such as {low} and {high}, and are: "
            f"{_listed([names[int(index)] for index in indices])};"
        )
    return (
        f"{said} fitted as Gaussian: effects are differences between means (of 0 and 1: between probabilities), and "
        "the residual variance is taken to be the same in all rows.",
    )


def _is_either(values: NumpyArray, low: NumpyArray, high: NumpyArray) -> NumpyArray:
    """Return which columns (m,) of ``values`` (n, m) hold nothing but ``low``, ``high`` (m,) and NaN."""
    return np.asarray(((values == low) | (values == high) | np.isnan(values)).all(axis=0))


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN:,} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
