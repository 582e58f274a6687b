"""How many pairs of a response and a marker ended with which status, and what became of each marker."""

from __future__ import annotations

import numpy as np

from jaxlmm._util import NumpyArray

CODES = 128
"""More than there are status codes, which fit into a signed byte."""

UNSEEN = CODES - 1
"""The code of a marker that no response met."""


class PairCounts:
    """Counts pairs by status code: ``counts`` (CODES,), and ``lowest`` (M,), the lowest code of each marker.

    Codes of pairs that were tested are below those of pairs that were not, so that the lowest says whether a marker was
    tested for any response.

    >>> pair_counts = PairCounts(4)
    >>> pair_counts.add(np.array([0, 1, 3]), np.array([0, 1, 5]), times=2)
    >>> pair_counts.add(np.array([0, 1]), np.array([5, 5]))
    >>> pair_counts.counts[[0, 1, 5]].tolist(), pair_counts.lowest.tolist()
    ([2, 2, 4], [0, 1, 127, 5])
    """

    def __init__(self, markers: int = 0) -> None:
        self.counts = np.zeros(CODES, np.int64)
        self.lowest = np.full(markers, UNSEEN, np.int8)

    def add(self, markers: NumpyArray, status: NumpyArray, times: int = 1) -> None:
        """Count pairs of different ``markers`` (k,) with ``status`` (k,), for so many responses each."""
        if not markers.size or not times:
            return
        self._reach(int(markers.max()) + 1)
        self.counts += times * np.bincount(status, minlength=CODES)
        self.lowest[markers] = np.minimum(self.lowest[markers], status.astype(np.int8))

    def merge(self, counts: NumpyArray, lowest: NumpyArray) -> None:
        """Add what another counted."""
        self._reach(lowest.size)
        self.counts += counts
        self.lowest[: lowest.size] = np.minimum(self.lowest[: lowest.size], lowest)

    def _reach(self, markers: int) -> None:
        if markers > self.lowest.size:
            more = np.full(markers - self.lowest.size, UNSEEN, np.int8)
            self.lowest = np.concatenate([self.lowest, more])
