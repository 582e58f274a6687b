"""A scan from beginning to end: what is to be done, in which order, and what is said of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxlmm._util import in_double_precision
from jaxlmm.api import Call, progress_bar
from jaxlmm.errors import OptionError
from jaxlmm.inference import PROVEN
from jaxlmm.results import FitMany
from jaxlmm.scanning.checkpoint import MARKERS_PER_STEP, PART_PAIRS, Cost, Folder, digests, planned
from jaxlmm.scanning.data import ScanData, lay_out
from jaxlmm.scanning.kernels import CODE_UNSEEN, PairCounts, PairFilter, Pairs, block_size
from jaxlmm.scanning.loco import marker_groups
from jaxlmm.scanning.null_fits import NullFits
from jaxlmm.scanning.options import ScanOptions
from jaxlmm.scanning.output import (
    NULL,
    HeldTable,
    Names,
    Scan,
    ScanHeader,
    counted,
    damaged,
    header_of,
    part_name,
    part_number,
    scan_of,
    sealed,
    tabulated,
)
from jaxlmm.scanning.task import RESPONSES_PER_PASS, WORDS, Chunk, Engine, LoopCache, Task, testable

TABLE_BYTES = 2**31
"""A table that would take more memory than this is not made."""

PAIR_BYTES = 160
"""What a row of the table takes."""


class Work:
    """A scan laid out: its chunks in order, and the tasks that do them, one at a time.

    ``formula`` is the one that was written; ``untested`` says of responses, by number, why they are not.
    """

    def __init__(self, laid: ScanData, wanted: ScanOptions, null: Any, formula: str) -> None:
        self.laid, self.wanted, self.formula = laid, wanted, formula
        self.engine = Engine.of(laid)
        self.marker_groups = marker_groups(laid.genotypes.variants, wanted.loco, laid.genotypes.source.name)
        self.given = self._given(null)
        self.patterns, self.untested = testable(laid)
        self.size = block_size(len(laid.genotypes.variants))
        self._cache = LoopCache()

    def _given(self, null: Any) -> dict[str | None, FitMany]:
        """Return the fits without a marker that were given, by chromosome."""
        if null is None:
            return {}
        names = [marker_group.chromosome for marker_group in self.marker_groups]
        if names == [None]:
            return {None: null}
        if not isinstance(null, dict) or set(null) != set(names):
            raise OptionError(
                "null: expected a dict with the fits of each chromosome, as hits.null of a scan with loco=True is, got "
                f"{', '.join(map(repr, null)) if isinstance(null, dict) else type(null).__name__}."
            )
        return dict(null)

    def chunks(self) -> list[Chunk]:
        """Return all chunks, those that share the most beside each other."""
        refit = self.wanted.variances == "refit"
        found = []
        for marker_group, (_, numbers) in enumerate(self.marker_groups):
            for pattern, (_, places) in enumerate(self.patterns):
                step = (RESPONSES_PER_PASS if refit else places.size) if self.engine.one_ratio else 1
                for first in range(0, places.size, step):
                    last = min(first + step, places.size)
                    found.append(Chunk(marker_group, pattern, first, last, 0, numbers.size))
        return found

    def scan(self, chunk: Chunk, keep: PairFilter, done: Callable[[int], None]) -> None:
        """Test the pairs of a chunk and hand them to a filter."""
        task = self._at(chunk.marker_group)
        task.scan(chunk, keep, done)
        self.untested |= task.failed

    def part(self, chunks: list[Chunk], done: Callable[[int], None]) -> PairFilter:
        """Test the pairs of some chunks; return what is kept of them."""
        keep = self.wanted.pair_filter()
        for chunk in chunks:
            self.scan(chunk, keep, done)
        return keep

    def table(self, pairs: Pairs) -> pd.DataFrame:
        """Return the rows of some pairs."""
        return tabulated(pairs, self.names, self.wanted.tests, self.wanted.interaction)

    def refitted(self, pairs: Pairs) -> Pairs:
        """Return the same pairs with variances refitted for each."""
        keep = PairFilter(self.wanted.tests[0], None, None, False)
        for number, (_, numbers) in enumerate(self.marker_groups):
            if np.isin(pairs.marker, numbers).any():
                self._at(number).refitted(pairs, keep)
        found = keep.finish()
        assert found is not None
        return found

    def finished(self, keep: PairFilter) -> Pairs:
        """Return what a keep kept, refitted if that was asked for."""
        pairs = keep.finish()
        if pairs is None:
            none = np.zeros(0, int)
            return Pairs.untested(none, none, none, none.astype(float), 1 if self.wanted.interaction is None else 2)
        return self.refitted(pairs) if self.wanted.variances == "kept" else pairs

    def null(self) -> FitMany | dict[str, FitMany]:
        """Return the fits without a marker, those of each chromosome if their matrices differ."""
        found = {str(one.chromosome): self._at(number).nulls.wanted() for number, one in enumerate(self.marker_groups)}
        return found if self.wanted.loco else found["None"]

    def _at(self, number: int) -> Task:
        def make() -> Task:
            laid = self.laid.on(self.marker_groups[number])
            nulls = NullFits.of(laid, self.given.get(self.marker_groups[number].chromosome))
            return Task(laid, nulls, self.patterns, self.engine, self.wanted, self.size, self._cache)

        return self._cache.at(0, number, make)

    @property
    def names(self) -> Names:
        """What numbers stand for."""
        laid = self.laid
        return Names(laid.read.names, np.isfinite(laid.y).sum(axis=0), laid.genotypes.variants, WORDS)

    @property
    def _rows(self) -> str:
        """Say how many rows there are, and how many of them have a response."""
        n, n_dropped = len(self.laid.y), self.laid.frame.n_dropped
        sizes = [pattern.rows.size for pattern in self.patterns] or [n]
        few, many = min(sizes), max(sizes)
        said = f"{n:,}" + (f" ({n_dropped:,} dropped: missing values)" if n_dropped else "")
        if few == n:
            return said
        return f"{said}; {few:,} with a response" if few == many else f"{said}; {few:,} to {many:,} with a response"

    def header(self, counts: PairCounts, seconds: float, notes: tuple[str, ...] = ()) -> ScanHeader:
        """Say what was done."""
        laid, wanted, device = self.laid, self.wanted, jax.devices()[0]
        names = laid.read.names
        n_markers = len(laid.genotypes.variants)
        tested = counts.lowest <= max(PROVEN)
        reasons = np.bincount(counts.lowest[~tested], minlength=CODE_UNSEEN + 1)
        markers = {"tested": int(tested.sum())} | dict(counted(reasons[:CODE_UNSEEN], WORDS))
        unseen = n_markers - sum(markers.values())
        pairs = dict(counted(counts.counts, WORDS))
        beyond = n_markers * len(names) - sum(pairs.values())
        kinship = "" if laid.own is None else str(laid.own)
        if wanted.loco:
            kinship += f"; for each of {len(self.marker_groups)} chromosomes without its own"
        return ScanHeader(
            formula=self.formula, method=laid.call.options.method, variances=wanted.variances, tests=wanted.tests,
            interaction=wanted.interaction, precision=wanted.precision, samples=str(laid.matched),
            rows=self._rows,
            kinship=kinship, engine=self.engine.words(laid.frame.design, wanted.variances),
            patterns=len(self.patterns), responses=names,
            markers=markers | ({"without a response": unseen} if unseen else {}),
            pairs=pairs | ({"of responses that are not": beyond} if beyond else {}),
            untested={names[place]: reason for place, reason in sorted(self.untested.items())},
            kept=wanted.kept, complete=wanted.pair_filter().everything,
            notes=(*laid.frame.notes_on(names, laid.y), *laid.frame.notes, *notes), seconds=seconds,
            device=f"{device} ({device.device_kind})",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class ScanRequest:
    """The arguments of :func:`jaxlmm.scan`, once its options are checked; ``auto`` says ``kinship="auto"``."""

    call: Call
    options: ScanOptions
    genotypes: Any
    responses: Any
    id: str | None
    auto: bool
    null: Any
    progress: bool | None
    out: Any
    resume: bool


@in_double_precision
@np.errstate(all="ignore")  # what is not finite ends in a status, not in a warning
def run_scan(request: ScanRequest) -> Scan:
    """Scan as :func:`jaxlmm.scan` says."""
    started, options, out = time.perf_counter(), request.options, request.out

    def work() -> Work:
        data = lay_out(
            request.call, request.genotypes, request.responses, request.id, request.auto, options.interaction,
            options.loco,
        )  # fmt: skip
        if out is None:
            check_size(len(data.genotypes.variants), data.y.shape[1], options)
        return Work(data, options, request.null, request.call.formula)

    if out is None:
        return _held(work(), request.progress, started)
    with Folder.claimed(out, request.resume) as folder:
        return _into(folder, work(), request.progress, started)


def _held(work: Work, progress: bool | None, started: float) -> Scan:
    """Scan into memory."""
    wanted = work.wanted
    keep, chunks = wanted.pair_filter(), work.chunks()
    with progress_bar(sum(chunk.n_pairs for chunk in chunks), progress, "tests") as done:
        for chunk in chunks:
            work.scan(chunk, keep, done)
        pairs = work.finished(keep)
    header = work.header(keep.counts, time.perf_counter() - started)
    return Scan(header, HeldTable(pairs, work.names, wanted.tests, wanted.interaction), work.null)


def _into(folder: Folder, work: Work, progress: bool | None, started: float) -> Scan:
    """Scan part by part, as far as parts are not finished yet, into a folder."""
    wanted, laid, kind = work.wanted, work.laid, work.engine.kind(work.wanted.variances)
    cost = Cost.of(kind, len(laid.y), work.engine.solver.name, PART_PAIRS[kind])
    parts = planned(work.chunks(), cost, min(work.size, MARKERS_PER_STEP.get(kind, work.size)))
    own = digests(laid, wanted, work.given)
    folder, record = folder.begin(own, len(parts))
    if record["finished"]:
        found = _again(folder, work, parts, record, progress)
        if found is not None:
            return found
        folder.start(own, len(parts))
        folder, _ = folder.begin(own, len(parts))
    done = folder.done(len(parts))
    with progress_bar(sum(chunk.n_pairs for part in parts for chunk in part), progress, "tests") as said:
        for number, part in enumerate(parts):
            if number in done:
                said(sum(chunk.n_pairs for chunk in part))
            else:
                folder.put(number, work.part(part, said), work.untested, work.table)
    keep, files = wanted.pair_filter(), {}
    for number in range(len(parts)):
        untested, n_rows, seal = folder.take(number, keep)
        work.untested |= untested
        if n_rows:
            files[part_name(number)] = n_rows, seal
    if not files:
        files = folder.put_rows(work.finished(keep), work.table)
    notes = (f"Parts: {len(done)} of {len(parts)} were finished before",) if done else ()
    header = work.header(keep.counts, time.perf_counter() - started, notes)
    return folder.finish(header, work.null(), files, own, len(parts))


def _again(
    folder: Folder, work: Work, parts: list[list[Chunk]], record: dict[str, Any], progress: bool | None
) -> Scan | None:
    """Return the scan that a folder holds, once its damaged files are made again.

    None where a file of rows is damaged and these are some pairs of all: then everything is to be made again.
    """
    wrong = damaged(folder.path, record)
    if not wrong:
        return scan_of(folder.path, record)
    header, wrong = header_of(folder.path, record), folder.without_copies(record, wrong)
    numbers = [part_number(name) for name in wrong if name != NULL]
    if numbers and (not header.complete or max(numbers) >= len(parts)):
        return None
    files = dict(record["files"])
    seals = record.get("checksums") or {name: sealed(folder.path / name) for name in {*files, NULL} - set(wrong)}
    with progress_bar(sum(chunk.n_pairs for number in numbers for chunk in parts[number]), progress, "tests") as said:
        for number in numbers:
            pairs = work.finished(work.part(parts[number], said))
            files[part_name(number)] = pairs.marker.size
            seals[part_name(number)] = folder.put_file(number, pairs, work.table)
    if NULL in wrong:
        seals[NULL] = folder.put_null(work.null())
    return folder.write_finished({**record, "files": files, "checksums": seals})


def check_size(markers: int, responses: int, wanted: ScanOptions) -> None:
    """Raise if a table of all pairs would not fit into memory."""
    size = markers * responses * PAIR_BYTES
    if wanted.pair_filter().everything and size > TABLE_BYTES:
        raise OptionError(
            f"scan: a table of {markers:,} markers × {responses:,} responses would take {size / 2**30:.1f} GB; say "
            "what is kept by p_max=, top= or best=True, or give a folder that it is written to by out=."
        )
