"""Ids of something known across levels: those of the levels found among them, and the others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.errors import KinshipError
from jaxlmm.genetics.ids import hint, label_texts, nearly, text_ids, whole_number


def as_text(labels: pd.Index, name: str) -> pd.Index:
    """Return the ids of something known for a group called ``name`` as text; whole numbers without a point.

    >>> as_text(pd.Index([1.0, 12345.0]), "id").tolist()
    ['1', '12345']

    Raises
    ------
    KinshipError
        If one is missing, or a number that is not whole or not exact.
    """
    words = text_ids(labels, f"kinship of {name!r}", KinshipError)
    if pd.isna(words).any():
        raise KinshipError(f"kinship of {name!r}: expected an id in each row, got {pd.isna(words).sum()} missing.")
    return pd.Index(words, dtype=object)


def places_of(name: str, levels: pd.Index, ids: pd.Index, where: str, remedy: str) -> NumpyArray:
    """Return the index (G,) of each of the ``levels`` among ``ids``, which are text.

    ``name`` is the group's, ``where`` what the ids are those of, ``remedy`` what to do if one is not there.

    Raises
    ------
    KinshipError
        If an id occurs twice, or a level is not there.
    """
    if ids.has_duplicates:
        raise KinshipError(
            f"kinship of {name!r}: id {str(ids[ids.duplicated()][0])!r} occurs more than once; every id has one row "
            "(numbers and their text are the same id)."
        )
    wanted = as_text(levels, name)
    indices = np.asarray(ids.get_indexer(wanted))
    missing = levels[indices < 0]
    if len(missing):
        raise KinshipError(
            f"kinship of {name!r}: {len(missing)} of {len(levels)} ids in the data are not in {where}, the first is "
            f"{wanted[indices < 0][0]!r}; it has {len(ids)} ids such as {', '.join(repr(i) for i in ids[:3])}."
            f"{close(wanted, ids, 'the data', where) or f' {remedy}'}"
        )
    return indices


def others_than(indices: NumpyArray, count: int) -> NumpyArray:
    """Return the indices of those of ``count`` ids that are not in ``indices`` (G,), in increasing order."""
    free = np.ones(count, bool)
    free[indices] = False
    return np.flatnonzero(free)


def named_like(levels: pd.Index, ids: pd.Index) -> pd.Index:
    """Return ``ids``, text, as numbers where the ``levels`` are and all of them can be.

    >>> named_like(pd.Index([1.0, 2.0]), pd.Index(["3", "4"])).tolist()
    [3.0, 4.0]
    """
    if not pd.api.types.is_numeric_dtype(levels.dtype) or pd.api.types.is_bool_dtype(levels.dtype):
        return ids
    numbers = [whole_number(label) for label in ids]
    if None in numbers:
        return ids
    try:
        found = pd.Index(numbers, dtype=levels.dtype)
    except OverflowError:
        return ids
    return found if list(label_texts(found)) == list(ids) else ids


def close(ours: pd.Index, theirs: pd.Index, our_name: str, their_name: str) -> str:
    """Return in which form ids, both text, would match after all; nothing if in no form."""
    return nearly(ours, theirs, our_name, their_name) or hint(ours, theirs, our_name, their_name)


def compared(levels: pd.Index, ids: pd.Index) -> tuple[pd.Index, pd.Index]:
    """Return both as text where one is text and the other numbers: 12345 is ``"12345"``.

    >>> compared(pd.Index(["1", "2"]), pd.Index([2.0]))[1].tolist()
    ['2']
    """
    numeric = [pd.api.types.is_numeric_dtype(one.dtype) and not pd.api.types.is_bool_dtype(one.dtype)
               for one in (levels, ids)]  # fmt: skip
    if numeric[0] == numeric[1]:
        return levels, ids
    levels, ids = (pd.Index(label_texts(one), dtype=object) for one in (levels, ids))
    return levels, ids
