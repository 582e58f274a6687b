"""A note on records that stand twice: where a known matrix relates people, a copy leaves no room for a residual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.formula.groups.levels import Levels

SHOWN = 3
"""Ids that a note names; of more it says how many there are."""


def notes_of_copies(
    levels: Mapping[str, Levels],
    known: Iterable[str],
    x: NumpyArray,
    offset: NumpyArray,
    names: Sequence[str],
    y: NumpyArray,
) -> tuple[str, ...]:
    """Return a note for each group of which some level has several records that are the same.

    Parameters
    ----------
    levels, known
        The groups, and the names of those that have a known matrix.
    x, offset
        ``(n, p)`` and ``(n,)`` what the fixed part of the model has of each row.
    names, y
        Of the responses, ``(n, m)``, NaN where missing.
    """
    notes: dict[bytes, str] = {}
    for group in known:
        codes = levels[group].codes
        copies = _copies(codes, x, offset, y)
        if not copies or codes.tobytes() in notes:
            continue
        found = sorted({level for level, _ in copies})
        said = [
            f"{levels[group].labels[level]} ({max(count for (own, _), count in copies.items() if own == level)} rows)"
            for level in found[:SHOWN]
        ]
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        several = len({index for _, index in copies})
        where = "" if len(names) == 1 else f" in {several:,} of {len(names):,} responses"
        notes[codes.tobytes()] = (
            f"Identical records of one {group}{where}: {', '.join(said)}{more}, with the same predictors and response. "
            "If one is a copy of the other, remove it: beside a matrix that relates levels, records without a "
            "difference speak for a residual variance of zero."
        )
    return tuple(notes.values())


def _copies(codes: NumpyArray, x: NumpyArray, offset: NumpyArray, y: NumpyArray) -> dict[tuple[int, int], int]:
    """Return by level and response how many rows there are at most with the same predictors and response."""
    n = len(codes)
    if np.unique(codes).size == n:
        return {}
    keys = pd.DataFrame(np.column_stack([codes, x, offset]))
    key = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    rows = np.flatnonzero(np.bincount(key)[key] > 1)
    found: dict[tuple[int, int], int] = {}
    for index in range(y.shape[1]):
        some = rows[np.isfinite(y[rows, index])]
        order = some[np.lexsort((y[some, index], key[some]))]
        same = (np.diff(key[order]) == 0) & (np.diff(y[order, index]) == 0)
        run = np.concatenate([[0], np.cumsum(~same)]) if order.size else np.zeros(0, int)
        for number in np.flatnonzero(np.bincount(run, minlength=1) > 1):
            own = order[run == number]
            pair = int(codes[own[0]]), index
            found[pair] = max(found.get(pair, 0), own.size)
    return found
