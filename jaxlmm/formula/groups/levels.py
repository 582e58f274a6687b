"""Grouping factors: the level of each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.genetics.ids import exact_up_to, inexact, label_texts


class Levels(NamedTuple):
    """A grouping factor: int32 ``codes`` into ``labels`` (L,); ``parts`` are the factors' values at the levels."""

    codes: Int[NumpyArray, " n"]
    labels: pd.Index
    parts: tuple[pd.Index, ...]


def grouping_levels(factors: Sequence[str], data: pd.DataFrame) -> Levels:
    """Return the levels that occur, sorted or in the order of a categorical column; the first factor varies slowest.

    The group ``1`` is one block of all rows.
    """
    codes = np.zeros(len(data), np.int64)
    parts: tuple[pd.Index, ...] = ()
    for factor in real_factors(factors):
        column = data[factor]
        own = column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column)
        own_codes, own_labels = np.asarray(own.codes, np.int64), pd.Index(own.categories)
        check_exact(factor, own_labels)
        occurs = np.bincount(own_codes, minlength=len(own_labels)) > 0
        if not occurs.all():
            own_codes, own_labels = (np.cumsum(occurs) - 1)[own_codes], own_labels[occurs]
        if not parts:
            codes, parts = own_codes, (own_labels,)
            continue
        occurring, codes = np.unique(codes * len(own_labels) + own_codes, return_inverse=True)
        before, after = np.divmod(occurring, len(own_labels))
        parts = (*(part[before] for part in parts), own_labels[after])
    return Levels(codes.reshape(-1).astype(np.int32), level_labels(parts), parts)


def check_exact(factor: str, labels: pd.Index) -> None:
    """Raise if a label is a floating point number so large that its type rounds whole numbers.

    Raises
    ------
    DataError
        If a label is too large to be told from the next whole number.
    """
    if pd.api.types.is_float_dtype(labels.dtype):
        values, limit = labels.to_numpy(float), exact_up_to(labels.dtype)
        large = values[abs(values) >= limit]
        if large.size:
            raise inexact(f"grouping factor {factor}", large[0], limit, DataError)


def real_factors(factors: Sequence[str]) -> tuple[str, ...]:
    """Return the factors of a group that are columns of the data: all but ``1``."""
    return tuple(name for name in factors if name != "1")


def level_labels(parts: Sequence[pd.Index]) -> pd.Index:
    """Return the labels of levels, the values of their factors joined as ``a1:b1``.

    >>> level_labels([pd.Index(["a", "a"]), pd.Index([1.0, 2.0])]).tolist()
    ['a:1', 'a:2']
    """
    if not parts:
        return pd.Index(["1"])
    if len(parts) == 1:
        return parts[0]
    return pd.Index([":".join(level) for level in zip(*map(label_texts, parts), strict=True)])
