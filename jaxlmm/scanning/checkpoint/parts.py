"""How a scan is divided into parts: each is written as a whole, and takes a minute or so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxlmm.scanning.patterns import Chunk

PART_PAIRS = {"one ratio": 2**20, "null": 2**16, "refit": 2**11}
"""The most pairs of a part, by how they are tested."""

PART_MARKERS = 2**15
"""The most markers of a part for one response."""

PART_WORK = 2e12
"""The most multiplications and additions of a part, by a rough count: half a minute on two cores."""

AT_ONCE = {"null": 64, "refit": 64}
"""Markers that are worked on at once, where these are fewer than there are in a block."""


class Cost(NamedTuple):
    """What is added to a part, as a share of what it may hold: to begin with a matrix, by a marker, by a pair."""

    beginning: float
    marker: float
    pair: float

    @classmethod
    def of(cls, kind: str, n: int, solver: str, pairs: int) -> Cost:
        """Count the work on n rows by how pairs are tested, a key of :data:`PART_PAIRS`.

        With one variance ratio a matrix is decomposed for each pattern of rows, a marker is a product with all of it,
        and a pair takes sums at some fifty nodes. A solver works on all rows at once, or level by level; a marker that
        is refitted is some sixty evaluations.
        """
        if kind == "one ratio":
            return cls(
                20.0 * n**3 / PART_WORK, 1 / PART_MARKERS + 2.0 * n**2 / PART_WORK, 1 / pairs + 300.0 * n / PART_WORK
            )
        evaluation = 4.0 * n**2 if solver in ("dense", "spectral") else 1e3 * n
        times = 60.0 if kind == "refit" else 1.0
        return cls(0.0, 1 / PART_MARKERS, 1 / pairs + times * evaluation / PART_WORK)


def planned(chunks: Sequence[Chunk], cost: Cost, size: int) -> list[list[Chunk]]:
    """Return chunks in parts, larger ones divided at multiples of ``size`` markers.

    >>> cost = Cost(0.0, 0.0, 1 / 150)
    >>> parts = planned([Chunk(0, 0, 0, 2, 0, 100), Chunk(0, 1, 0, 1, 0, 100)], cost, size=64)
    >>> [[(chunk.pattern, chunk.start, chunk.stop) for chunk in part] for part in parts]
    [[(0, 0, 64)], [(0, 64, 100)], [(1, 0, 100)]]
    """
    parts: list[list[Chunk]] = [[]]
    used, before = 0.0, (-1, -1)
    for chunk in chunks:
        each = cost.marker + cost.pair * (chunk.last - chunk.first)
        step = max(int(1.0 / (size * each) + 1e-9), 1) * size
        for start in range(chunk.start, chunk.stop, step):
            piece = chunk._replace(start=start, stop=min(start + step, chunk.stop))
            more = each * (piece.stop - piece.start)
            more += cost.beginning if (chunk.marker_group, chunk.pattern) != before else 0.0
            if parts[-1] and used + more > 1.0 + 1e-9:
                parts.append([])
                used = 0.0
            parts[-1].append(piece)
            used, before = used + more, (chunk.marker_group, chunk.pattern)
    return parts
