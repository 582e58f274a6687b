"""The active set, by numbers: 0 for a free parameter, positive for a block that has a multiplier."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from jaxlmm._util import NumpyArray


def patterns(active_set: Int[NumpyArray, "b k"]) -> list[tuple[Int[NumpyArray, " _"], Int[NumpyArray, " k"]]]:
    """Return the distinct rows of ``active_set``, each after the indices at which it stands.

    >>> [(indices.tolist(), row.tolist()) for indices, row in patterns(np.array([[0, 1], [0, 0], [0, 1]]))]
    [([1], [0, 0]), ([0, 2], [0, 1])]
    """
    distinct, which = np.unique(active_set, axis=0, return_inverse=True)
    return [(np.flatnonzero(which.reshape(-1) == index), row) for index, row in enumerate(distinct)]


def blocks_with_multiplier(pattern: Int[NumpyArray, " k"]) -> dict[int, Int[NumpyArray, " _"]]:
    """Return the parameters of each block with a multiplier in one ``pattern`` of the active set, by its number.

    Parameters with a negative number drop out with such a block, and are left out.

    >>> blocks_with_multiplier(np.array([0, 2, 2, -1]))
    {2: array([1, 2])}
    """
    return {int(number): np.flatnonzero(pattern == number) for number in np.unique(pattern[pattern > 0])}
