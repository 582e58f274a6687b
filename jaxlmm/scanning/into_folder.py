"""A scan into a folder: its parts done by this process, its workers or shares of several, and put together."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxlmm.api import progress_bar
from jaxlmm.errors import DataError, OutputError
from jaxlmm.scanning.checkpoint import Folder, Share, digests, finishing
from jaxlmm.scanning.kernels import PairFilter
from jaxlmm.scanning.output import (
    NULL,
    FolderTable,
    HeldTable,
    Scan,
    damaged,
    header_of,
    load_scan,
    part_name,
    part_number,
    scan_of,
    sealed,
)
from jaxlmm.scanning.patterns import Chunk
from jaxlmm.scanning.run import ScanRun
from jaxlmm.scanning.workers import scan_in_workers


class Gathered(NamedTuple):
    """Finished parts: the filter with their pairs and counts, and the rows and seals of their files by name."""

    pair_filter: PairFilter
    files: dict[str, tuple[int, list[Any]]]


@dataclasses.dataclass(frozen=True, eq=False)
class FolderScan:
    """A scan that goes into a folder, in ``parts``; ``started`` is when it began.

    With a ``share`` this process does its parts alone; with an ``executor`` the workers of that do them.
    """

    folder: Folder
    run: ScanRun
    parts: list[list[Chunk]]
    share: Share | None
    executor: Any
    progress: bool | None
    started: float

    def scan(self) -> Scan:
        """Scan the parts that the folder does not have yet; put all together unless others have parts to do."""
        fingerprint, n_parts = digests(self.run.data, self.run.options, self.run.given_null), len(self.parts)
        folder, record = self.folder.begin(fingerprint, n_parts, alone=self.share is None)
        if record["finished"] and self.share is not None:
            return load_scan(folder.path)
        if record["finished"]:
            scan = self._mended(record)
            if scan is not None:
                return scan
            folder.start(fingerprint, n_parts)
            folder, _ = folder.begin(fingerprint, n_parts)
        own = dataclasses.replace(self, folder=folder)
        numbers = list(range(n_parts)) if self.share is None else self.share.numbers(n_parts)
        done = folder.done(numbers)
        if self.share is not None and len(done) < len(numbers) and folder.is_finished:  # meanwhile, by another process
            return load_scan(folder.path)
        try:
            own._do(numbers, done)
        except OutputError:
            if self.share is not None and folder.is_finished:
                return load_scan(folder.path)
            raise
        if self.share is None:
            return own._put_together(fingerprint, own._gathered(numbers), len(done))
        return own._shared(self.share, fingerprint, numbers, len(done))

    def _do(self, numbers: Sequence[int], done: set[int]) -> None:
        """Scan the parts ``numbers`` that are not ``done``."""
        folder, run, sizes = self.folder, self.run, [sum(chunk.n_pairs for chunk in part) for part in self.parts]
        undone = [number for number in numbers if number not in done]
        with progress_bar(sum(sizes[number] for number in numbers), self.progress, "tests") as advance:
            advance(sum(sizes[number] for number in done))
            if self.executor is not None and undone:
                for number in scan_in_workers(self.executor, folder, run, self.parts, undone):
                    advance(sizes[number])
                return
            for number in undone:
                pair_filter = run.scan_part(self.parts[number], advance)
                if self.share is not None and folder.is_finished:  # by another process with the same share
                    return
                folder.put(number, pair_filter, run.untested, run.table)

    def _gathered(self, numbers: Sequence[int]) -> Gathered:
        """Return the finished parts ``numbers``."""
        pair_filter, files = self.run.options.pair_filter(), {}
        for number in numbers:
            untested, n_rows, seal = self.folder.take(number, pair_filter)
            self.run.untested |= untested
            if n_rows:
                files[part_name(number)] = n_rows, seal
        return Gathered(pair_filter, files)

    def _put_together(self, fingerprint: dict[str, str], gathered: Gathered, n_before: int) -> Scan:
        """Write what all parts have in common, when all are there; ``n_before`` were done by an earlier process."""
        run, (pair_filter, files) = self.run, gathered
        if not files:
            files = self.folder.put_rows(run.kept_pairs(pair_filter), run.table)
        notes = (f"Parts: {n_before} of {len(self.parts)} were finished before",) if n_before else ()
        header = run.header(pair_filter.counts, time.perf_counter() - self.started, notes)
        return self.folder.finish(header, run.null(), files, fingerprint, len(self.parts))

    def _shared(self, share: Share, fingerprint: dict[str, str], numbers: list[int], n_before: int) -> Scan:
        """Return the scan of a share, or the whole if no other process has parts to do, which is then finished."""
        folder, n_parts = self.folder, len(self.parts)
        try:
            gathered = self._gathered(numbers)
        except DataError:
            if folder.is_finished:  # its records are gone since
                return load_scan(folder.path)
            raise
        if folder.all_written(n_parts):
            with finishing(folder.path) as chosen:
                if chosen and folder.is_finished:
                    return load_scan(folder.path)
                everything = list(range(n_parts))
                if chosen and len(folder.done(everything)) == n_parts:
                    return self._put_together(fingerprint, self._gathered(everything), 0)
        run, (pair_filter, files) = self.run, gathered
        note = (
            f"Parts: {len(numbers)} of {n_parts}, {share}; the scan in {folder.path} is whole when all shares are done"
        )
        seconds = time.perf_counter() - self.started
        header = run.header(pair_filter.counts, seconds, (note,), of_others="of other shares")
        header = dataclasses.replace(
            header, complete=False, kept=f"{header.kept}, of {share}",
            variances="null" if header.variances == "kept" else header.variances,
        )  # fmt: skip
        table: FolderTable | HeldTable
        if files:
            rows = {name: n_rows for name, (n_rows, _) in files.items()}
            table = FolderTable(folder.path.absolute(), rows, header.responses)
        else:
            table = HeldTable(run.unrefitted_pairs(pair_filter), run.names, run.options.tests, run.options.interaction)
        return Scan(header, table, run.null)

    def _mended(self, record: dict[str, Any]) -> Scan | None:
        """Return the finished scan of a folder, once its damaged files are made again.

        None where a file of rows is damaged and the filter left pairs out, so that no part can be made again on its
        own.
        """
        folder, run, parts = self.folder, self.run, self.parts
        wrong = damaged(folder.path, record)
        if not wrong:
            return scan_of(folder.path, record)
        header, wrong = header_of(folder.path, record), folder.without_copies(record, wrong)
        numbers = [part_number(name) for name in wrong if name != NULL]
        if numbers and (not header.complete or max(numbers) >= len(parts)):
            return None
        files = dict(record["files"])
        seals = record.get("checksums") or {name: sealed(folder.path / name) for name in {*files, NULL} - set(wrong)}
        n_pairs = sum(chunk.n_pairs for number in numbers for chunk in parts[number])
        with progress_bar(n_pairs, self.progress, "tests") as advance:
            for number in numbers:
                pairs = run.kept_pairs(run.scan_part(parts[number], advance))
                files[part_name(number)] = pairs.marker.size
                seals[part_name(number)] = folder.put_file(number, pairs, run.table)
        if NULL in wrong:
            seals[NULL] = folder.put_null(run.null())
        return folder.write_finished({**record, "files": files, "checksums": seals})
