"""Ids of something known across levels: those of the levels found among them, and the others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import KinshipError
from jaxlmm.genetics.ids import text_ids


def as_text(labels: pd.Index) -> pd.Index:
    """Return labels as text; whole numbers without a point.

    >>> as_text(pd.Index([1.0, 12345.0])).tolist()
    ['1', '12345']
    """
    return pd.Index(text_ids(labels), dtype=object)


def places_of(name: str, levels: pd.Index, ids: pd.Index, where: str, remedy: str) -> NumpyArray:
    """Return the place (G,) of each of the ``levels`` among ``ids``, which are text.

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
    places = np.asarray(ids.get_indexer(as_text(levels)))
    missing = levels[places < 0]
    if len(missing):
        raise KinshipError(
            f"kinship of {name!r}: {len(missing)} of {len(levels)} ids in the data are not in {where}, the first is "
            f"{str(missing[0])!r}; it has {len(ids)} ids such as {', '.join(repr(i) for i in ids[:3])}. {remedy}"
        )
    return places


def others_than(places: NumpyArray, count: int) -> NumpyArray:
    """Return the places of those of ``count`` ids that are not in ``places`` (G,), in increasing order."""
    free = np.ones(count, bool)
    free[places] = False
    return np.flatnonzero(free)


def named_like(levels: pd.Index, ids: pd.Index) -> pd.Index:
    """Return ``ids``, text, as numbers where the ``levels`` are and all of them can be.

    >>> named_like(pd.Index([1.0, 2.0]), pd.Index(["3", "4"])).tolist()
    [3.0, 4.0]
    """
    if not pd.api.types.is_numeric_dtype(levels.dtype) or pd.api.types.is_bool_dtype(levels.dtype):
        return ids
    numbers = pd.to_numeric(pd.Series(ids, dtype=object), errors="coerce")
    if numbers.isna().any() or list(as_text(pd.Index(numbers))) != list(ids):
        return ids
    found = pd.Index(numbers.astype(levels.dtype))
    return found if list(as_text(found)) == list(ids) else ids
