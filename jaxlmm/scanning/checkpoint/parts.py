"""Division of a scan into parts of about half a minute of work, each of which is written as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxlmm.scanning.patterns import Chunk
from jaxlmm.solvers import AbstractSolver

PART_PAIRS = {"one ratio": 2**20, "null": 2**16, "refit": 2**11}
"""The most pairs of a part, by how pairs are tested."""

PART_MARKERS = 2**15
"""The most markers of a part for one response."""

PART_WORK = 2e12
"""The most multiplications and additions of a part, by a rough count: half a minute on two cores."""

MARKERS_PER_STEP = {"null": 64, "refit": 64}
"""The number of markers of a part is a multiple of this, by how pairs are tested; else of the markers of a block."""


class Cost(NamedTuple):
    """Shares of a part that are used by a new matrix or pattern (``beginning``), by a marker and by a pair."""

    beginning: float
    marker: float
    pair: float

    @classmethod
    def of(cls, kind: str, n: int, solver: type[AbstractSolver], pairs: int) -> Cost:
        """Estimate the work on n rows by how pairs are tested, a key of :data:`PART_PAIRS`; at most ``pairs`` of them.

        With one variance ratio a matrix is decomposed for each pattern of rows, a marker is a product with all of it,
        and a pair takes sums at some fifty nodes. A solver says what an evaluation takes; a marker that is refitted
        is some sixty of them.
        """
        if kind == "one ratio":
            return cls(
                20.0 * n**3 / PART_WORK, 1 / PART_MARKERS + 2.0 * n**2 / PART_WORK, 1 / pairs + 300.0 * n / PART_WORK
            )
        times = 60.0 if kind == "refit" else 1.0
        return cls(0.0, 1 / PART_MARKERS, 1 / pairs + times * solver.operations(n) / PART_WORK)


def planned(chunks: Sequence[Chunk], cost: Cost, size: int) -> list[list[Chunk]]:
    """Return chunks grouped into parts, larger ones divided at multiples of ``size`` markers.

    >>> cost = Cost(0.0, 0.0, 1 / 150)
    >>> parts = planned([Chunk(0, 0, 0, 2, 0, 100), Chunk(0, 1, 0, 1, 0, 100)], cost, size=64)
    >>> [[(chunk.pattern, chunk.start, chunk.stop) for chunk in part] for part in parts]
    [[(0, 0, 64)], [(0, 64, 100)], [(1, 0, 100)]]
    """
    parts: list[list[Chunk]] = [[]]
    used, previous = 0.0, (-1, -1)
    for chunk in chunks:
        share = cost.marker + cost.pair * (chunk.last - chunk.first)
        step = max(int(1.0 / (size * share) + 1e-9), 1) * size
        for start in range(chunk.start, chunk.stop, step):
            piece = chunk._replace(start=start, stop=min(start + step, chunk.stop))
            added = share * (piece.stop - piece.start)
            added += cost.beginning if (chunk.marker_group, chunk.pattern) != previous else 0.0
            if parts[-1] and used + added > 1.0 + 1e-9:
                parts.append([])
                used = 0.0
            parts[-1].append(piece)
            used, previous = used + added, (chunk.marker_group, chunk.pattern)
    return parts
