"""A scan from beginning to end: plan the chunks, scan them into memory or part by part into a folder, and report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._util import default_device, in_double_precision
from jaxlmm.api import Call, progress_bar
from jaxlmm.errors import OptionError
from jaxlmm.inference import PROVEN
from jaxlmm.results import FitMany
from jaxlmm.scanning.checkpoint import MARKERS_PER_STEP, PART_PAIRS, Cost, Folder, digests, planned
from jaxlmm.scanning.data import ScanData, prepare_data
from jaxlmm.scanning.group_scan import GROUP_LOOP, STATUS_WORDS, LoopCache, MarkerGroupScan
from jaxlmm.scanning.kernels import CODE_UNSEEN, PairCounts, PairFilter, Pairs, block_size
from jaxlmm.scanning.loco import marker_groups
from jaxlmm.scanning.null_fits import NullFits, are_fits
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
from jaxlmm.scanning.patterns import Chunk, ScanMethod, rows_in_words, testable_patterns

MAX_TABLE_BYTES = 2**31
"""The most memory that a table of all pairs may take."""

TABLE_BYTES_PER_PAIR = 160
"""The memory that a row of the table takes."""

MAX_RESPONSES_PER_PASS = 64
"""Responses whose variance ratios are refitted in one pass over the markers."""


class ScanRun:
    """A planned scan: marker groups > patterns of missing values > chunks of responses > blocks of markers.

    ``formula`` is as the user wrote it; ``untested`` has the responses that cannot be tested, by index, with reasons.
    """

    def __init__(self, data: ScanData, options: ScanOptions, null: Any, formula: str) -> None:
        self.data, self.options, self.formula = data, options, formula
        self.scan_method = ScanMethod.of(data)
        self.marker_groups = marker_groups(data.genotypes.variants, options.loco, data.genotypes.source.name)
        self.given_null = self._by_chromosome(null)
        self.patterns, self.untested = testable_patterns(data)
        self.block_size = block_size(len(data.genotypes.variants))
        self._cache = LoopCache()

    def _by_chromosome(self, null: Any) -> dict[str | None, FitMany]:
        """Return the fits without a marker that the user gave, by chromosome; none if ``null`` is None."""
        if null is None:
            return {}
        chromosomes = [group.chromosome for group in self.marker_groups]
        if chromosomes == [None]:
            return {None: are_fits(null)}
        if not isinstance(null, dict) or set(null) != set(chromosomes):
            raise OptionError(
                "null: expected a dict with the fits of each chromosome, as hits.null of a scan with loco=True is, got "
                f"{', '.join(map(repr, null)) if isinstance(null, dict) else type(null).__name__}."
            )
        return {chromosome: are_fits(fits) for chromosome, fits in null.items()}

    def chunks(self) -> list[Chunk]:
        """Return all chunks, ordered so that those of one pattern and one marker group follow each other."""
        refit = self.options.variances == "refit"
        chunks = []
        for group, (_, markers) in enumerate(self.marker_groups):
            for pattern, (_, responses) in enumerate(self.patterns):
                step = (MAX_RESPONSES_PER_PASS if refit else responses.size) if self.scan_method.one_ratio else 1
                for first in range(0, responses.size, step):
                    last = min(first + step, responses.size)
                    chunks.append(Chunk(group, pattern, first, last, 0, markers.size))
        return chunks

    def scan(self, chunk: Chunk, pair_filter: PairFilter, advance: Callable[[int], None]) -> None:
        """Test the pairs of a chunk and hand them to a filter."""
        group_scan = self._group_scan(chunk.marker_group)
        group_scan.scan(chunk, pair_filter, advance)
        self.untested |= group_scan.untested

    def scan_part(self, chunks: list[Chunk], advance: Callable[[int], None]) -> PairFilter:
        """Test the pairs of some chunks; return the filter that they were handed to."""
        pair_filter = self.options.pair_filter()
        for chunk in chunks:
            self.scan(chunk, pair_filter, advance)
        return pair_filter

    def table(self, pairs: Pairs) -> pd.DataFrame:
        """Return the rows of some pairs."""
        return tabulated(pairs, self.names, self.options.tests, self.options.interaction)

    def kept_pairs(self, pair_filter: PairFilter) -> Pairs:
        """Return the pairs that a filter kept, with variances refitted if the options say so."""
        pairs = pair_filter.finish()
        if pairs is None:
            none = np.zeros(0, int)
            return Pairs.untested(none, none, none, none.astype(float), 1 if self.options.interaction is None else 2)
        return self._refitted(pairs) if self.options.variances == "kept" else pairs

    def _refitted(self, pairs: Pairs) -> Pairs:
        everything = PairFilter(self.options.tests[0], None, None, False)
        for group, (_, markers) in enumerate(self.marker_groups):
            if np.isin(pairs.marker, markers).any():
                self._group_scan(group).refit(pairs, everything)
        refitted = everything.finish()
        assert refitted is not None
        return refitted

    def null(self) -> FitMany | dict[str, FitMany]:
        """Return the fits without a marker, by chromosome if their matrices differ."""
        fits = {
            str(chromosome): self._group_scan(group).null_fits.requested()
            for group, (chromosome, _) in enumerate(self.marker_groups)
        }
        return fits if self.options.loco else fits["None"]

    def _group_scan(self, group: int) -> MarkerGroupScan:
        def make() -> MarkerGroupScan:
            data = self.data.on(self.marker_groups[group])
            null_fits = NullFits.of(data, self.given_null.get(self.marker_groups[group].chromosome))
            return MarkerGroupScan(
                data, null_fits, self.patterns, self.scan_method, self.options, self.block_size, self._cache
            )

        return self._cache.at(GROUP_LOOP, group, make)

    @property
    def names(self) -> Names:
        """The names that indices of responses, markers and status codes stand for."""
        data = self.data
        return Names(data.responses.names, np.isfinite(data.y).sum(axis=0), data.genotypes.variants, STATUS_WORDS)

    def header(self, counts: PairCounts, seconds: float, notes: tuple[str, ...] = ()) -> ScanHeader:
        """Return the header of the result: the scan in words, and counts of its markers and pairs."""
        data, options, device = self.data, self.options, default_device()
        names = data.responses.names
        n_markers = len(data.genotypes.variants)
        tested = counts.lowest <= max(PROVEN)
        reasons = np.bincount(counts.lowest[~tested], minlength=CODE_UNSEEN + 1)
        markers = {"tested": int(tested.sum())} | dict(counted(reasons[:CODE_UNSEEN], STATUS_WORDS))
        unseen = n_markers - sum(markers.values())
        pairs = dict(counted(counts.counts, STATUS_WORDS))
        of_untested_responses = n_markers * len(names) - sum(pairs.values())
        kinship = "" if data.own_kinship is None else str(data.own_kinship)
        if options.loco:
            kinship += f"; for each of {len(self.marker_groups)} chromosomes without its own"
        return ScanHeader(
            formula=self.formula, method=data.call.options.criterion, variances=options.variances, tests=options.tests,
            interaction=options.interaction, precision=options.precision, samples=str(data.matched),
            rows=rows_in_words(data, self.patterns), kinship=kinship,
            engine=self.scan_method.words(data.frame.design, options.variances),
            patterns=len(self.patterns), responses=names,
            markers=markers | ({"without a response": unseen} if unseen else {}),
            pairs=pairs | ({"of responses that are not": of_untested_responses} if of_untested_responses else {}),
            untested={names[response]: reason for response, reason in sorted(self.untested.items())},
            kept=options.kept, complete=options.pair_filter().everything,
            notes=(*data.frame.notes_on(names, data.y), *data.frame.notes, *notes), seconds=seconds,
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
@np.errstate(all="ignore")  # numbers that are not finite end in a status, not in a warning
def run_scan(request: ScanRequest) -> Scan:
    """Scan as :func:`jaxlmm.scan` says."""
    started, options, out = time.perf_counter(), request.options, request.out

    def planned_run() -> ScanRun:
        data = prepare_data(
            request.call, request.genotypes, request.responses, request.id, request.auto, options.interaction,
            options.loco,
        )  # fmt: skip
        if out is None:
            _check_table_size(len(data.genotypes.variants), data.y.shape[1], options)
        return ScanRun(data, options, request.null, request.call.formula)

    if out is None:
        return _scan_into_memory(planned_run(), request.progress, started)
    with Folder.claimed(out, request.resume) as folder:
        return _scan_into_folder(folder, planned_run(), request.progress, started)


def _scan_into_memory(run: ScanRun, progress: bool | None, started: float) -> Scan:
    options, pair_filter, chunks = run.options, run.options.pair_filter(), run.chunks()
    with progress_bar(sum(chunk.n_pairs for chunk in chunks), progress, "tests") as advance:
        for chunk in chunks:
            run.scan(chunk, pair_filter, advance)
        pairs = run.kept_pairs(pair_filter)
    header = run.header(pair_filter.counts, time.perf_counter() - started)
    return Scan(header, HeldTable(pairs, run.names, options.tests, options.interaction), run.null)


def _scan_into_folder(folder: Folder, run: ScanRun, progress: bool | None, started: float) -> Scan:
    """Scan the parts that a folder does not have yet, and write the result there."""
    options, data, kind = run.options, run.data, run.scan_method.kind(run.options.variances)
    cost = Cost.of(kind, len(data.y), run.scan_method.choice.solver, PART_PAIRS[kind])
    parts = planned(run.chunks(), cost, min(run.block_size, MARKERS_PER_STEP.get(kind, run.block_size)))
    fingerprint = digests(data, options, run.given_null)
    folder, record = folder.begin(fingerprint, len(parts))
    if record["finished"]:
        scan = _finished_scan(folder, run, parts, record, progress)
        if scan is not None:
            return scan
        folder.start(fingerprint, len(parts))
        folder, _ = folder.begin(fingerprint, len(parts))
    done = folder.done(len(parts))
    with progress_bar(sum(chunk.n_pairs for part in parts for chunk in part), progress, "tests") as advance:
        for number, part in enumerate(parts):
            if number in done:
                advance(sum(chunk.n_pairs for chunk in part))
            else:
                folder.put(number, run.scan_part(part, advance), run.untested, run.table)
    pair_filter, files = options.pair_filter(), {}
    for number in range(len(parts)):
        untested, n_rows, seal = folder.take(number, pair_filter)
        run.untested |= untested
        if n_rows:
            files[part_name(number)] = n_rows, seal
    if not files:
        files = folder.put_rows(run.kept_pairs(pair_filter), run.table)
    notes = (f"Parts: {len(done)} of {len(parts)} were finished before",) if done else ()
    header = run.header(pair_filter.counts, time.perf_counter() - started, notes)
    return folder.finish(header, run.null(), files, fingerprint, len(parts))


def _finished_scan(
    folder: Folder, run: ScanRun, parts: list[list[Chunk]], record: dict[str, Any], progress: bool | None
) -> Scan | None:
    """Return the finished scan of a folder, once its damaged files are made again.

    None where a file of rows is damaged and the filter left pairs out, so that no part can be made again on its own.
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
    n_pairs = sum(chunk.n_pairs for number in numbers for chunk in parts[number])
    with progress_bar(n_pairs, progress, "tests") as advance:
        for number in numbers:
            pairs = run.kept_pairs(run.scan_part(parts[number], advance))
            files[part_name(number)] = pairs.marker.size
            seals[part_name(number)] = folder.put_file(number, pairs, run.table)
    if NULL in wrong:
        seals[NULL] = folder.put_null(run.null())
    return folder.write_finished({**record, "files": files, "checksums": seals})


def _check_table_size(markers: int, responses: int, options: ScanOptions) -> None:
    """Raise if a table of all pairs would not fit into memory."""
    size = markers * responses * TABLE_BYTES_PER_PAIR
    if options.pair_filter().everything and size > MAX_TABLE_BYTES:
        raise OptionError(
            f"scan: a table of {markers:,} markers × {responses:,} responses would take {size / 2**30:.1f} GB; say "
            "what is kept by p_max=, top= or best=True, or give a folder that it is written to by out=."
        )
