"""A note on duplicate records: with a known matrix across levels, copies of a record imply zero residual variance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.formula.groups.levels import Levels

MAX_IDS_IN_NOTE = 3
"""Number of ids that a note lists; others are counted."""


def notes_of_copies(
    levels: Mapping[str, Levels],
    groups: Iterable[str],
    x: Float[NumpyArray, "n p"],
    offset: Float[NumpyArray, " n"],
    names: Sequence[str],
    y: Float[NumpyArray, "n m"],
) -> tuple[str, ...]:
    """Return a note for each group with a level that has identical records.

    Parameters
    ----------
    levels, groups
        The levels of all groups, and the names of the groups with a known matrix.
    x, offset
        The fixed part of the model: columns and offset.
    names, y
        Names and values of the responses, NaN where missing.
    """
    notes: dict[bytes, str] = {}
    for group in groups:
        codes = levels[group].codes
        copies = _copies(codes, x, offset, y)
        if not copies or codes.tobytes() in notes:
            continue
        copied = sorted({level for level, _ in copies})
        listed = [
            f"{levels[group].labels[level]} ({max(count for (own, _), count in copies.items() if own == level)} rows)"
            for level in copied[:MAX_IDS_IN_NOTE]
        ]
        more = f" and {len(copied) - MAX_IDS_IN_NOTE:,} more" if len(copied) > MAX_IDS_IN_NOTE else ""
        n_responses = len({index for _, index in copies})
        where = "" if len(names) == 1 else f" in {n_responses:,} of {len(names):,} responses"
        notes[codes.tobytes()] = (
            f"Identical records of one {group}{where}: {', '.join(listed)}{more}, with the same predictors and "
            "response. If one is a copy of the other, remove it: beside a matrix that relates levels, records without "
            "a difference speak for a residual variance of zero."
        )
    return tuple(notes.values())


def _copies(
    codes: Int[NumpyArray, " n"],
    x: Float[NumpyArray, "n p"],
    offset: Float[NumpyArray, " n"],
    y: Float[NumpyArray, "n m"],
) -> dict[tuple[int, int], int]:
    """Return the size of the largest set of identical records, by level and index of the response."""
    n = len(codes)
    if np.unique(codes).size == n:
        return {}
    keys = pd.DataFrame(np.column_stack([codes, x, offset]))
    key = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    rows = np.flatnonzero(np.bincount(key)[key] > 1)
    counts: dict[tuple[int, int], int] = {}
    for index in range(y.shape[1]):
        observed = rows[np.isfinite(y[rows, index])]
        order = observed[np.lexsort((y[observed, index], key[observed]))]
        same = (np.diff(key[order]) == 0) & (np.diff(y[order, index]) == 0)
        run = np.concatenate([[0], np.cumsum(~same)]) if order.size else np.zeros(0, int)
        for number in np.flatnonzero(np.bincount(run, minlength=1) > 1):
            own = order[run == number]
            pair = int(codes[own[0]]), index
            counts[pair] = max(counts.get(pair, 0), own.size)
    return counts
