"""A scan of one marker group: patterns of missing values, in these chunks of responses, in these blocks of markers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.genetics import STATUSES, Block
from jaxlmm.inference import STATUS, Reason
from jaxlmm.model import Design
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.kernels import EigenScanner, NullModels, PairFilter, Pairs, ScanRows, SolverScanner
from jaxlmm.scanning.null_fits import NullFits
from jaxlmm.scanning.options import ScanOptions
from jaxlmm.scanning.output import words_of
from jaxlmm.scanning.patterns import Chunk, Pattern, ScanMethod, design_on
from jaxlmm.scanning.shared import Shared, rows_name

STATUS_WORDS = words_of(tuple(STATUSES)[1:])
"""The words of a scan's status codes, by code."""

VALUES_PER_READ = 2**23
"""Values (samples × markers) that are read at once: 64 MB."""

FAILED = STATUS.index("failed")
"""The status code of pairs whose response has no optimum without a marker."""

GROUP_LOOP, PATTERN_LOOP, RESPONSE_LOOP = 0, 1, 2
"""The loops of a scan from the outermost: marker groups, patterns of missing values, chunks of responses."""

T = TypeVar("T")


@runtime_checkable
class Scanner(Protocol):
    """Tests blocks of markers for the responses of a chunk, and hands the pairs to a filter.

    A marker has ``columns`` columns: g, and g·x with an interaction.
    """

    columns: int

    def scan(
        self, values: Shaped[NumpyArray, "q s"], markers: Int[NumpyArray, " s"], frequency: Float[NumpyArray, " s"],
        pair_filter: PairFilter, /,
    ) -> None:  # fmt: skip
        """Test s markers: ``values`` in the q samples of the pattern, indices among all markers, allele frequencies."""


class PatternRows(NamedTuple):
    """The rows of a pattern: what its m responses share, and the responses ``y`` themselves.

    ``samples`` are indices among the analyzed samples, ``sample_of_row`` among ``samples``. ``moderator`` is x of the
    interaction g·x; ``models`` are the null models in one eigenbasis, None where there is not one variance ratio.
    """

    design: Design
    y: Float[NumpyArray, "n m"]
    samples: Int[NumpyArray, " samples"]
    sample_of_row: Int[NumpyArray, " n"]
    moderator: Float[NumpyArray, " n"] | None
    models: NullModels | None


class LoopCache:
    """Values made at each level of nested loops, for the present index of each loop alone.

    A new index releases the value of its level and of all levels inside it before more is made. Nothing is pickled.

    >>> cache = LoopCache()
    >>> [cache.at(0, index, lambda: index.upper()) for index in ("a", "a", "b")]
    ['A', 'A', 'B']
    """

    def __init__(self) -> None:
        self._levels: list[tuple[Hashable, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_levels": []}

    def at(self, level: int, index: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a loop at an index, made if the loop was elsewhere; 0 is the outermost loop."""
        if len(self._levels) <= level or self._levels[level][0] != index:
            del self._levels[level:]
            self._levels.append((index, make()))
        return cast("T", self._levels[level][1])


class MarkerGroupScan:
    """Tests of the markers of one group, chunk by chunk; chunks that follow each other share what was prepared.

    Parameters
    ----------
    data, null_fits
        Rows, responses and markers of the group; fits of its responses without a marker.
    patterns, scan_method
        The plan: patterns of missing values, and how a marker is tested.
    options
        Those of ``scan`` alone.
    block_size
        Markers of a block.
    cache
        Holds, for the present index of each loop: this scan, the rows of a pattern, the scanner of a chunk's responses.
    shared, number
        What other processes have prepared, and the number of this group there.

    Attributes
    ----------
    untested
        The reason for each response whose model without a marker has no optimum, by index.
    """

    def __init__(
        self, data: ScanData, null_fits: NullFits, patterns: list[Pattern], scan_method: ScanMethod,
        options: ScanOptions, block_size: int, cache: LoopCache, shared: Shared, number: int,
    ) -> None:  # fmt: skip
        self.data, self.null_fits, self.patterns, self.scan_method = data, null_fits, patterns, scan_method
        self.options, self.block_size = options, block_size
        self.reml = data.call.options.criterion == "REML"
        self.untested: dict[int, Reason] = {}
        self._cache, self._shared, self._number = cache, shared, number

    def scan(self, chunk: Chunk, pair_filter: PairFilter, advance: Callable[[int], None]) -> None:
        """Test the pairs of a chunk, block by block of its markers, and hand them to a filter.

        ``advance`` is called after each block with its number of pairs.
        """
        data, responses = self.data, self.patterns[chunk.pattern].responses[chunk.first : chunk.last]
        genotypes, markers = data.genotypes, data.markers[chunk.start : chunk.stop]
        scanner = self._scanner(chunk.pattern, chunk.first, chunk.last, refit=self.options.variances == "refit")
        if scanner is None:
            pair_filter.counts.add(markers, np.full(markers.size, FAILED), responses.size)
            advance(chunk.n_pairs)
            return
        if markers.size < data.markers.size:
            in_chunk = np.zeros(data.markers.size, bool)
            in_chunk[chunk.start : chunk.stop] = True
            genotypes = genotypes.select(in_chunk)
        sample_ids = data.sample_ids[self.pattern_rows(chunk.pattern).samples]
        markers_per_read = self.block_size * max(1, VALUES_PER_READ // (self.block_size * max(sample_ids.size, 1)))
        for block in genotypes.blocks(sample_ids, size=markers_per_read):
            _scan_block(scanner, block, markers[block.markers], responses, pair_filter)
            advance(block.markers.size * responses.size)

    def refit(self, pairs: Pairs, pair_filter: PairFilter) -> None:
        """Test those pairs that have markers of this group with variances refitted, and hand them to a filter."""
        data = self.data
        for pattern, (_, responses) in enumerate(self.patterns):
            for column, response in enumerate(responses):
                in_pairs = np.isin(data.markers, pairs.marker[pairs.response == response])
                if not in_pairs.any():
                    continue
                scanner = self._scanner(pattern, column, column + 1, refit=True)
                assert scanner is not None
                markers, sample_ids = data.markers[in_pairs], data.sample_ids[self.pattern_rows(pattern).samples]
                for block in data.genotypes.select(in_pairs).blocks(sample_ids):
                    scanner.scan(block.values, markers[block.markers], block.frequency, pair_filter)

    def pattern_rows(self, pattern: int) -> PatternRows:
        """Return the rows of a pattern by its index, prepared unless they are the present ones or shared."""

        def make() -> PatternRows:
            name = rows_name(self._number, pattern)
            rows = self._shared.at(name, lambda: self._prepared(self.patterns[pattern]))
            return rows if rows.models is None else rows._replace(models=rows.models.on_device())

        return self._cache.at(PATTERN_LOOP, pattern, make)

    def _prepared(self, pattern: Pattern) -> PatternRows:
        """Prepare the rows of a pattern."""
        data, null_fits = self.data, self.null_fits
        design, y = design_on(data.frame.design, pattern.rows), data.y[np.ix_(pattern.rows, pattern.responses)]
        samples, sample_of_row = np.unique(data.sample_of_row[pattern.rows], return_inverse=True)
        moderator = None if data.moderator is None else data.moderator[pattern.rows]
        if not self.scan_method.one_ratio:
            return PatternRows(design, y, samples, sample_of_row, moderator, None)
        scan_rows = ScanRows.of(design, sample_of_row, samples.size, moderator, dtype=self.options.precision)
        given = null_fits.ratios(pattern.responses)
        models = NullModels.of(scan_rows, y, reml=self.reml, ml=self.options.by_likelihood, given=given)
        if given is not None:
            for response, sigma in zip(pattern.responses, models.sigma(reml=self.reml), strict=True):
                null_fits.check_sigma(int(response), float(sigma))
        return PatternRows(design, y, samples, sample_of_row, moderator, models)

    def _scanner(self, pattern: int, first: int, last: int, *, refit: bool) -> Scanner | None:
        """Return the scanner of some responses of a pattern; None where they have no optimum without a marker."""
        rows, responses = self.pattern_rows(pattern), self.patterns[pattern].responses[first:last]

        def make() -> Scanner | None:
            if rows.models is None:
                return self._solver_scanner(rows, first, int(responses[0]), refit)
            models, refit_ratio = rows.models.only(np.arange(first, last)), refit and bool(rows.design.terms)
            tests, size = self.options.tests, self.block_size
            return EigenScanner(models, responses, refit=refit_ratio, reml=self.reml, tests=tests, size=size)

        return self._cache.at(RESPONSE_LOOP, (first, last, refit), make)

    def _solver_scanner(self, rows: PatternRows, column: int, response: int, refit: bool) -> SolverScanner | None:
        """Return the scanner of one response, ``column`` of its pattern, by a solver; None without a null optimum."""
        data, null_fits, options, method = self.data, self.null_fits, self.options, self.data.call.options.criterion
        null_fits.make(options)
        null, ml_null = null_fits.point(response, method), null_fits.point(response, "ML")
        if FAILED in [point.status for point in (null, ml_null) if point is not None]:
            self.untested[response] = "no_optimum_without_marker"
            return None
        scanner = SolverScanner(
            rows.design, rows.y[:, column], solver=self.scan_method.choice.solver, method=method,
            parameters=data.frame.labels.natural, samples=rows.sample_of_row, moderator=rows.moderator,
            number=response, null=null, ml_null=ml_null if options.by_likelihood else None, refit=refit,
            tests=options.tests, given=data.fixed, first_order=data.call.options.first_order,
            start=null_fits.start(response) if refit else None,
        )  # fmt: skip
        if null_fits.given is not None and not refit:
            null_fits.check_sigma(response, scanner.null_sigma())
        return scanner


def _scan_block(
    scanner: Scanner, block: Block, markers: Int[NumpyArray, " s"], responses: Int[NumpyArray, " m"],
    pair_filter: PairFilter,
) -> None:  # fmt: skip
    """Test the usable markers of a block, whose indices among all are ``markers``, and count the others."""
    usable = block.keep
    if usable.all():
        scanner.scan(block.values, markers, block.frequency, pair_filter)
        return
    scanner.scan(block.values[:, usable], markers[usable], block.frequency[usable], pair_filter)
    unusable, frequency = markers[~usable], block.frequency[~usable]
    codes = np.array([STATUS_WORDS.index(word) for word in block.status[~usable]])
    pair_filter.counts.add(unusable, codes, responses.size)
    if pair_filter.everything:
        for response in responses:
            pair_filter.add(
                Pairs.untested(np.full(unusable.size, response), unusable, codes, frequency, scanner.columns)
            )
