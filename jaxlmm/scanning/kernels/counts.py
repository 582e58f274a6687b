"""Numbers of pairs of a response and a marker by status code, and the lowest code of each marker."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from jaxlmm._util import NumpyArray

N_CODES = 128
"""The codes that fit into a signed byte; statuses have far fewer."""

CODE_UNSEEN = N_CODES - 1
"""The code of a marker that is in no pair so far."""


class PairCounts:
    """Numbers of pairs by status code, ``counts``, and the lowest code of each marker, ``lowest``.

    Codes of pairs that were tested are below those of pairs that were not, so that the lowest says whether a marker was
    tested for any response.

    >>> pair_counts = PairCounts(4)
    >>> pair_counts.add(np.array([0, 1, 3]), np.array([0, 1, 5]), times=2)
    >>> pair_counts.add(np.array([0, 1]), np.array([5, 5]))
    >>> pair_counts.counts[[0, 1, 5]].tolist(), pair_counts.lowest.tolist()
    ([2, 2, 4], [0, 1, 127, 5])
    >>> pair_counts.add(np.array([2, 2, 2]), np.array([5, 1, 5]))  # with three responses
    >>> pair_counts.lowest.tolist()
    [0, 1, 1, 5]
    """

    def __init__(self, markers: int = 0) -> None:
        self.counts: Int[NumpyArray, " codes"] = np.zeros(N_CODES, np.int64)
        self.lowest: Int[NumpyArray, " markers"] = np.full(markers, CODE_UNSEEN, np.int8)

    def add(self, markers: Int[NumpyArray, " k"], status: Int[NumpyArray, " k"], times: int = 1) -> None:
        """Count pairs of ``markers`` with their ``status``, each ``times``, for as many responses."""
        if not markers.size or not times:
            return
        self._extend(int(markers.max()) + 1)
        self.counts += times * np.bincount(status, minlength=N_CODES)
        np.minimum.at(self.lowest, markers, status.astype(np.int8))

    def merge(self, counts: Int[NumpyArray, " codes"], lowest: Int[NumpyArray, " markers"]) -> None:
        """Add the ``counts`` and ``lowest`` of another record."""
        self._extend(lowest.size)
        self.counts += counts
        self.lowest[: lowest.size] = np.minimum(self.lowest[: lowest.size], lowest)

    def _extend(self, markers: int) -> None:
        if markers > self.lowest.size:
            more = np.full(markers - self.lowest.size, CODE_UNSEEN, np.int8)
            self.lowest = np.concatenate([self.lowest, more])
