"""Patterns of missing values among responses."""

from __future__ import annotations

import numpy as np

from jaxlmm._util import NumpyArray


def patterns_of(y: NumpyArray, places: NumpyArray) -> list[tuple[NumpyArray, NumpyArray]]:
    """Return, for each pattern of missing values among the ``places`` of y (n, m), the rows that are there and whose.

    >>> y = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])
    >>> [(rows.tolist(), whose.tolist()) for rows, whose in patterns_of(y, np.arange(3))]
    [([0, 1], [0, 2]), ([1], [1])]
    """
    packed = np.packbits(np.isnan(y[:, places]), axis=0).T
    groups: dict[bytes, list[int]] = {}
    for place, pattern in zip(places, packed, strict=True):
        groups.setdefault(pattern.tobytes(), []).append(int(place))
    return [(np.flatnonzero(~np.isnan(y[:, whose[0]])), np.array(whose)) for whose in groups.values()]
