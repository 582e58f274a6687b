"""Parts of a scan in other processes: what they need is written to the folder, and a task is a path and numbers."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxlmm._util import in_double_precision, in_workers, partial_name, read_mapped, write_mapped
from jaxlmm.scanning.checkpoint import Folder
from jaxlmm.scanning.patterns import Chunk
from jaxlmm.scanning.shared import Shared, group_name, rows_name

if TYPE_CHECKING:
    from jaxlmm.scanning.run import ScanRun

MOST_TASKS = 512
"""The most tasks into which parts are divided: each may be a job that waits in the queue of a cluster."""


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """What a worker needs: the folder, the run and its parts."""

    folder: Folder
    run: ScanRun
    parts: list[list[Chunk]]


class _Present(threading.local):
    """The work that a thread is at, by the path of its file."""

    path = ""
    work: Work | None = None

    def at(self, path: str) -> Work:
        """Return the work in a file, read unless it is the present one."""
        if self.work is None or self.path != path:
            self.path, self.work = path, read_mapped(Path(path))
        return self.work


_PRESENT = _Present()


def scan_in_workers(
    executor: object, folder: Folder, run: ScanRun, parts: list[list[Chunk]], numbers: Sequence[int]
) -> Iterator[int]:
    """Scan the parts ``numbers`` in the workers of an executor; yield each number when its part is in the folder.

    First they prepare marker groups, then the rows of patterns that several parts need, then they scan. A worker that
    dies leaves at most the part undone that it was at.

    Raises
    ------
    WorkerError
        If workers died or failed twice at the same task.
    """
    groups, rows = _needed_by_several(run, [parts[number] for number in numbers])
    names = frozenset([*(group_name(group) for group in groups), *(rows_name(*pair) for pair in rows)])
    run.shared = Shared(folder.shared, names)
    path = folder.shared / partial_name("work.mapped")
    advice = f"Finished parts are in {folder.path}: go on with the same call, resume=True and a new executor, or none."
    try:
        write_mapped(path, Work(folder, run, parts))
        for prepared in ([(group, None) for group in groups], rows):
            tasks = [(str(path), *pair) for pair in prepared]
            for _ in in_workers(executor, prepare, tasks, advice):
                pass
        runs = [(str(path), run_of.tolist()) for run_of in np.array_split(np.asarray(numbers), _count(len(numbers)))]
        for task, _ in in_workers(executor, scan_parts, runs, advice):
            yield from runs[task][1]
    finally:
        path.unlink(missing_ok=True)


@in_double_precision
@np.errstate(all="ignore")
def prepare(path: str, group: int, pattern: int | None) -> None:
    """Prepare a marker group, or a pattern's rows with its matrix, for all workers; run by one of them."""
    _PRESENT.at(path).run.prepare(group, pattern)


@in_double_precision
@np.errstate(all="ignore")
def scan_parts(path: str, numbers: Sequence[int]) -> None:
    """Scan parts into the folder, but those that are there already; run by a worker."""
    work = _PRESENT.at(path)
    done = work.folder.done(numbers)
    for number in numbers:
        if number not in done:
            pair_filter = work.run.scan_part(work.parts[number], lambda count: None)
            work.folder.put(number, pair_filter, work.run.untested, work.run.table)


def _needed_by_several(run: ScanRun, parts: list[list[Chunk]]) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the marker groups, and the patterns in them, that are dear to prepare and that several parts need."""
    pairs = Counter(pair for part in parts for pair in {(chunk.marker_group, chunk.pattern) for chunk in part})
    groups = Counter(group for part in parts for group in {chunk.marker_group for chunk in part})
    dear_groups = run.options.loco or not run.scan_method.one_ratio  # a matrix, or fits without a marker
    dear_rows = run.scan_method.one_ratio  # a decomposition
    return (
        [group for group, count in groups.items() if dear_groups and count > 1],
        [pair for pair, count in pairs.items() if dear_rows and count > 1],
    )


def _count(n_parts: int) -> int:
    """Return the number of tasks for so many parts."""
    return min(n_parts, MOST_TASKS)
