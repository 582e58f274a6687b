"""A planned scan: its chunks and parts, how they are scanned, and the result in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._util import default_device
from jaxlmm.errors import OptionError
from jaxlmm.inference import PROVEN
from jaxlmm.results import FitMany
from jaxlmm.scanning.checkpoint import MARKERS_PER_STEP, PART_PAIRS, Cost, planned
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.group_scan import GROUP_LOOP, STATUS_WORDS, LoopCache, MarkerGroupScan
from jaxlmm.scanning.kernels import CODE_UNSEEN, PairCounts, PairFilter, Pairs, block_size
from jaxlmm.scanning.loco import marker_groups
from jaxlmm.scanning.null_fits import NullFits, are_fits
from jaxlmm.scanning.options import ScanOptions
from jaxlmm.scanning.output import Names, ScanHeader, counted, tabulated
from jaxlmm.scanning.patterns import Chunk, ScanMethod, rows_in_words, testable_patterns
from jaxlmm.scanning.shared import Shared, group_name

MAX_RESPONSES_PER_PASS = 64
"""Responses whose variance ratios are refitted in one pass over the markers."""


class ScanRun:
    """A planned scan: marker groups > patterns of missing values > chunks of responses > blocks of markers.

    ``formula`` is as the user wrote it; ``untested`` has the responses that cannot be tested, by index, with reasons.
    """

    def __init__(self, data: ScanData, options: ScanOptions, null: Any, formula: str) -> None:
        self.data, self.options, self.formula = data, options, formula
        self.scan_method = ScanMethod.of(data)
        self.marker_groups = marker_groups(data.genotypes, options.loco)
        self.given_null = self._by_chromosome(null)
        self.patterns, self.untested = testable_patterns(data)
        self.block_size = block_size(len(data.genotypes.variants))
        self.shared = Shared()
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

    def parts(self) -> list[list[Chunk]]:
        """Return the chunks in parts, each of about half a minute of work."""
        kind = self.scan_method.kind(self.options.variances)
        cost = Cost.of(kind, len(self.data.y), self.scan_method.choice.solver, PART_PAIRS[kind])
        return planned(self.chunks(), cost, min(self.block_size, MARKERS_PER_STEP.get(kind, self.block_size)))

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

    def unrefitted_pairs(self, pair_filter: PairFilter) -> Pairs:
        """Return the pairs that a filter kept, as they were tested."""
        pairs = pair_filter.finish()
        if pairs is not None:
            return pairs
        none = np.zeros(0, int)
        return Pairs.untested(none, none, none, none.astype(float), 1 if self.options.interaction is None else 2)

    def kept_pairs(self, pair_filter: PairFilter) -> Pairs:
        """Return the pairs that a filter kept, with variances refitted if the options say so."""
        pairs = self.unrefitted_pairs(pair_filter)
        return self._refitted(pairs) if pairs.marker.size and self.options.variances == "kept" else pairs

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
        def prepared() -> tuple[ScanData, NullFits]:
            data = self.data.on(self.marker_groups[group])
            null_fits = NullFits.of(data, self.given_null.get(self.marker_groups[group].chromosome))
            if not self.scan_method.one_ratio:
                null_fits.make(self.options)
            # What is shared has no genotypes: they are the caller's, who may have moved the file since.
            nothing: Any = None
            return data._replace(genotypes=nothing), dataclasses.replace(null_fits, data=nothing)

        def make() -> MarkerGroupScan:
            data, null_fits = self.shared.at(group_name(group), prepared)
            data = data._replace(genotypes=self.data.genotypes_of(self.marker_groups[group]))
            null_fits = dataclasses.replace(null_fits, data=data)
            return MarkerGroupScan(
                data, null_fits, self.patterns, self.scan_method, self.options, self.block_size, self._cache,
                self.shared, group,
            )  # fmt: skip

        return self._cache.at(GROUP_LOOP, group, make)

    def prepare(self, group: int, pattern: int | None) -> None:
        """Prepare a marker group, or the rows of a pattern with its matrix, for all processes that share them."""
        group_scan = self._group_scan(group)
        if pattern is not None:
            group_scan.pattern_rows(pattern)

    @property
    def names(self) -> Names:
        """The names that indices of responses, markers and status codes stand for."""
        data = self.data
        return Names(data.responses.names, np.isfinite(data.y).sum(axis=0), data.genotypes.variants, STATUS_WORDS)

    def header(
        self, counts: PairCounts, seconds: float, notes: tuple[str, ...] = (), *, of_others: str = ""
    ) -> ScanHeader:
        """Return the header of the result: the scan in words, and counts of its markers and pairs.

        ``of_others`` says in words what others test, where this is not all of the scan.
        """
        data, options, device = self.data, self.options, default_device()
        names = data.responses.names
        n_markers = len(data.genotypes.variants)
        tested = counts.lowest <= max(PROVEN)
        reasons = np.bincount(counts.lowest[~tested], minlength=CODE_UNSEEN + 1)
        markers = {"tested": int(tested.sum())} | dict(counted(reasons[:CODE_UNSEEN], STATUS_WORDS))
        unseen = n_markers - sum(markers.values())
        pairs = dict(counted(counts.counts, STATUS_WORDS))
        conditioned = [f"Conditioned on: {', '.join(options.condition_on)}"] if options.condition_on else []
        elsewhere = n_markers * len(names) - sum(pairs.values())
        kinship = "" if data.matrices is None else str(data.matrices)
        if options.loco:
            kinship += f"; for each of {len(self.marker_groups)} chromosomes without its own"
        return ScanHeader(
            formula=self.formula, method=data.call.options.criterion, variances=options.variances, tests=options.tests,
            interaction=options.interaction, precision=options.precision, samples=str(data.matched),
            rows=rows_in_words(data, self.patterns), kinship=kinship,
            engine=self.scan_method.words(data.frame.design, options.variances),
            patterns=len(self.patterns), responses=names,
            markers=markers | ({of_others or "without a response": unseen} if unseen else {}),
            pairs=pairs | ({of_others or "of responses that are not": elsewhere} if elsewhere else {}),
            untested={names[response]: reason for response, reason in sorted(self.untested.items())},
            kept=options.kept, complete=options.pair_filter().everything,
            notes=(*conditioned, *data.frame.notes_on(names, data.y), *data.frame.notes, *notes), seconds=seconds,
            device=f"{device} ({device.device_kind})",
        )  # fmt: skip
