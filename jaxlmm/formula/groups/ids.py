"""Ids of known matrices and coordinates: as text, matched to the levels of a group."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import KinshipError
from jaxlmm.genetics.ids import hint, label_texts, nearly, text_ids, whole_number


def as_text(labels: pd.Index, name: str) -> pd.Index:
    """Return ids of the group ``name`` as text, whole numbers without a decimal point.

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


def indices_among(name: str, levels: pd.Index, ids: pd.Index, where: str, remedy: str) -> Int[NumpyArray, " L"]:
    """Return the index of each of the ``levels`` among ``ids``, which are text.

    For messages: the ``name`` of the group, ``where`` the ids come from, and a ``remedy`` for absent levels.

    Raises
    ------
    KinshipError
        If an id occurs twice, or a level is absent.
    """
    if ids.has_duplicates:
        raise KinshipError(
            f"kinship of {name!r}: id {str(ids[ids.duplicated()][0])!r} occurs more than once; every id has one row "
            "(numbers and their text are the same id)."
        )
    level_ids = as_text(levels, name)
    indices = np.asarray(ids.get_indexer(level_ids))
    missing = levels[indices < 0]
    if len(missing):
        raise KinshipError(
            f"kinship of {name!r}: {len(missing)} of {len(levels)} ids in the data are not in {where}, the first is "
            f"{level_ids[indices < 0][0]!r}; it has {len(ids)} ids such as {', '.join(repr(i) for i in ids[:3])}."
            f"{spelling_hint(level_ids, ids, 'the data', where) or f' {remedy}'}"
        )
    return indices


def complement(indices: Int[NumpyArray, " L"], count: int) -> Int[NumpyArray, " R"]:
    """Return the numbers below ``count`` that are not in ``indices``, in increasing order."""
    free = np.ones(count, bool)
    free[indices] = False
    return np.flatnonzero(free)


def named_like(levels: pd.Index, ids: pd.Index) -> pd.Index:
    """Return ``ids``, text, as numbers if the ``levels`` are numbers and every id is one too.

    >>> named_like(pd.Index([1.0, 2.0]), pd.Index(["3", "4"])).tolist()
    [3.0, 4.0]
    """
    if not pd.api.types.is_numeric_dtype(levels.dtype) or pd.api.types.is_bool_dtype(levels.dtype):
        return ids
    numbers = [whole_number(label) for label in ids]
    if None in numbers:
        return ids
    try:
        as_numbers = pd.Index(numbers, dtype=levels.dtype)
    except OverflowError:
        return ids
    return as_numbers if list(label_texts(as_numbers)) == list(ids) else ids


def spelling_hint(ids: pd.Index, others: pd.Index, name: str, other_name: str) -> str:
    """Return the change of spelling under which ids of two sides, both text, would match; "" if there is none."""
    return nearly(ids, others, name, other_name) or hint(ids, others, name, other_name)


def comparable(levels: pd.Index, ids: pd.Index) -> tuple[pd.Index, pd.Index]:
    """Return both as text if one is text and the other numbers: 12345 is ``"12345"``.

    >>> comparable(pd.Index(["1", "2"]), pd.Index([2.0]))[1].tolist()
    ['2']
    """
    numeric = [pd.api.types.is_numeric_dtype(one.dtype) and not pd.api.types.is_bool_dtype(one.dtype)
               for one in (levels, ids)]  # fmt: skip
    if numeric[0] == numeric[1]:
        return levels, ids
    levels, ids = (pd.Index(label_texts(one), dtype=object) for one in (levels, ids))
    return levels, ids
