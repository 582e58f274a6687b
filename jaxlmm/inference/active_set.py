"""What is held at a boundary, read off numbers: 0 for a free parameter, positive for a block that has a multiplier."""

from __future__ import annotations

import numpy as np

from jaxlmm._util import NumpyArray


def patterns(active_set: NumpyArray) -> list[tuple[NumpyArray, NumpyArray]]:
    """Return the different rows of ``active_set`` (b, k), each after the places where it stands.

    >>> [(places.tolist(), row.tolist()) for places, row in patterns(np.array([[0, 1], [0, 0], [0, 1]]))]
    [([1], [0, 0]), ([0, 2], [0, 1])]
    """
    different, which = np.unique(active_set, axis=0, return_inverse=True)
    return [(np.flatnonzero(which.reshape(-1) == place), row) for place, row in enumerate(different)]


def duals(pattern: NumpyArray) -> dict[int, NumpyArray]:
    """Return the blocks of parameters that a ``pattern`` (k,) holds at zero, by their number.

    >>> duals(np.array([0, 2, 2, -1]))
    {2: array([1, 2])}
    """
    return {int(number): np.flatnonzero(pattern == number) for number in np.unique(pattern[pattern > 0])}
