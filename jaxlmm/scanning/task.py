"""A scan by chunks: responses of one pattern of rows against markers that share a relationship matrix."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.engine import patterns_of
from jaxlmm.genetics import STATUSES, Block
from jaxlmm.inference import STATUS
from jaxlmm.model import Design
from jaxlmm.results import CIRCULAR
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.kernels import EigenScanner, NullModels, PairFilter, Pairs, ScanRows, SolverScanner, has_one_ratio
from jaxlmm.scanning.null_fits import NullFits
from jaxlmm.scanning.options import ScanOptions
from jaxlmm.scanning.output import words_of
from jaxlmm.solvers import Choice, select

WORDS = words_of(tuple(STATUSES)[1:])
"""The words of a scan's status codes."""

RESPONSES_PER_PASS = 64
"""Responses whose variance ratios are refitted in one pass over the markers."""

VALUES_PER_READ = 2**23
"""Values (samples × markers) that are read at once: 64 MB."""

MIN_SHARE_UNEXPLAINED = 1e-12
"""A response of which the fixed effects leave no larger share has nothing to explain."""

FAILED = STATUS.index("failed")


T = TypeVar("T")


class Pattern(NamedTuple):
    """Rows (n,) of the design, and the numbers (m,) of the responses that are there on just these and can be tested."""

    rows: NumpyArray
    places: NumpyArray


class Chunk(NamedTuple):
    """Responses ``first`` to ``last`` of a pattern against markers ``start`` to ``stop`` of a group, by number."""

    marker_group: int
    pattern: int
    first: int
    last: int
    start: int
    stop: int

    @property
    def n_pairs(self) -> int:
        """Pairs of a response and a marker."""
        return (self.last - self.first) * (self.stop - self.start)


@runtime_checkable
class Scanner(Protocol):
    """What tests a block of markers and hands the pairs to a keep."""

    columns: int

    def scan(self, values: NumpyArray, markers: NumpyArray, frequency: NumpyArray, keep: PairFilter) -> None:
        """Test markers ``values`` (q, s) with numbers and frequencies (s,)."""


class Engine(NamedTuple):
    """Whether a model has one variance ratio, to be diagonalized once; its solver, if not; and its words."""

    one_ratio: bool
    solver: Choice

    @classmethod
    def of(cls, laid: ScanData) -> Engine:
        """Choose: a solver, an optimizer and what is fixed are honoured."""
        options, design = laid.call.options, laid.frame.design
        as_usual = options.solver in ("auto", "spectral") and options.first_order is None and options.fixed is None
        one = has_one_ratio(design) and as_usual
        return cls(one, select(design, options.solver))

    def kind(self, variances: str) -> str:
        """Say what a pair costs: with ``"one ratio"`` the least, with ``"refit"`` the most."""
        return "one ratio" if self.one_ratio else "refit" if variances == "refit" else "null"

    def words(self, design: Design, variances: str) -> str:
        """Say how markers are tested."""
        if self.one_ratio:
            return "one variance ratio, diagonalized once" if design.terms else "linear model"
        how = {
            "refit": "refitted markers are fits of their own, thousands of times slower than with one variance ratio",
            "null": "products with the inverse of the covariance",
            "kept": "products with the inverse of the covariance; refitted markers are fits of their own",
        }[variances]
        return f"{self.solver.name} ({self.solver.reason}); {how}"


def testable(laid: ScanData) -> tuple[list[Pattern], dict[int, str]]:
    """Return the patterns of missing values with their responses, and why the other responses cannot be tested."""
    y, every = laid.y, laid.frame.design
    infinite, missing = np.isinf(y).any(axis=0), np.isnan(y).all(axis=0)
    untested = {int(place): "infinite" for place in np.flatnonzero(infinite)}
    untested |= {int(place): "all_missing" for place in np.flatnonzero(missing)}
    circular = laid.read.is_circular
    untested |= {int(place): CIRCULAR for place in np.flatnonzero(circular)}
    patterns = []
    for rows, places in patterns_of(y, np.flatnonzero(~(infinite | missing | circular))):
        design = _at(every, rows)
        if rows.size - design.n_fixed <= 1 + (laid.moderator is not None):
            untested |= {int(place): "too_few_rows" for place in places}
            continue
        own = y[np.ix_(rows, places)]
        varying = _varying(design, own)
        for place, values in zip(places[~varying], own[:, ~varying].T, strict=True):
            untested[int(place)] = "constant" if np.ptp(values) == 0 else "perfect_fit"
        if varying.any():
            patterns.append(Pattern(rows, places[varying]))
    return patterns, untested


class Rows(NamedTuple):
    """What the responses of a pattern share: rows, and with one variance ratio their decomposition, in ``models``.

    ``y`` (n, m); ``samples`` (q,) are numbers among the analyzed ones, ``sample_of_row`` (n,) numbers among these.
    """

    design: Design
    y: NumpyArray
    samples: NumpyArray
    sample_of_row: NumpyArray
    moderator: NumpyArray | None
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


class Task:
    """Scans chunks of one group of markers; what they share is prepared once for chunks that follow each other.

    Parameters
    ----------
    laid
        The rows, responses and markers of the marker_group.
    size
        Markers that are worked on at once.
    cache
        Of the loops: level 0 holds this, 1 the rows of a pattern, 2 the scanner of a chunk's responses.
    """

    def __init__(
        self, laid: ScanData, nulls: NullFits, patterns: list[Pattern], engine: Engine, wanted: ScanOptions, size: int,
        cache: LoopCache,
    ) -> None:  # fmt: skip
        self.laid, self.nulls, self.patterns, self.engine = laid, nulls, patterns, engine
        self.wanted, self.size = wanted, size
        self.reml = laid.call.options.method == "REML"
        self.failed: dict[int, str] = {}
        self._cache = cache

    def scan(self, chunk: Chunk, keep: PairFilter, done: Callable[[int], None]) -> None:
        """Test the pairs of a chunk and hand them to a filter."""
        laid, pattern = self.laid, self.patterns[chunk.pattern]
        places = pattern.places[chunk.first : chunk.last]
        scanner = self._scanner_of(chunk.pattern, chunk.first, chunk.last, self.wanted.variances == "refit")
        if scanner is None:
            markers = laid.numbers[chunk.start : chunk.stop]
            keep.counts.add(markers, np.full(markers.size, FAILED), places.size)
            done(chunk.n_pairs)
            return
        genotypes, numbers = laid.genotypes, laid.numbers[chunk.start : chunk.stop]
        if numbers.size < laid.numbers.size:
            chosen = np.zeros(laid.numbers.size, bool)
            chosen[chunk.start : chunk.stop] = True
            genotypes = genotypes.select(chosen)
        samples = laid.sample_ids[self._prepared(chunk.pattern).samples]
        read = self.size * max(1, VALUES_PER_READ // (self.size * max(samples.size, 1)))
        for block in genotypes.blocks(samples, size=read):
            _scan_block(scanner, block, numbers[block.markers], places, keep)
            done(block.markers.size * places.size)

    def refitted(self, pairs: Pairs, keep: PairFilter) -> None:
        """Hand pairs of this group of markers to a filter with variances refitted for each."""
        laid = self.laid
        for number, pattern in enumerate(self.patterns):
            for at, place in enumerate(pattern.places):
                own = np.isin(laid.numbers, pairs.marker[pairs.response == place])
                if not own.any():
                    continue
                scanner = self._scanner_of(number, at, at + 1, True)
                assert scanner is not None
                numbers, samples = laid.numbers[own], laid.sample_ids[self._prepared(number).samples]
                for block in laid.genotypes.select(own).blocks(samples):
                    scanner.scan(block.values, numbers[block.markers], block.frequency, keep)

    def _prepared(self, number: int) -> Rows:
        return self._cache.at(1, number, lambda: self._rows_of(self.patterns[number]))

    def _rows_of(self, pattern: Pattern) -> Rows:
        laid, nulls = self.laid, self.nulls
        design, y = _at(laid.frame.design, pattern.rows), laid.y[np.ix_(pattern.rows, pattern.places)]
        samples, sample_of_row = np.unique(laid.persons[pattern.rows], return_inverse=True)
        moderator = None if laid.moderator is None else laid.moderator[pattern.rows]
        if not self.engine.one_ratio:
            return Rows(design, y, samples, sample_of_row, moderator, None)
        scan_rows = ScanRows.of(design, sample_of_row, samples.size, moderator, dtype=self.wanted.precision)
        given = nulls.ratios(pattern.places)
        models = NullModels.of(scan_rows, y, reml=self.reml, ml=self.wanted.by_likelihood, given=given)
        if given is not None:
            for place, sigma in zip(pattern.places, models.sigma(reml=self.reml), strict=True):
                nulls.check_sigma(int(place), float(sigma))
        return Rows(design, y, samples, sample_of_row, moderator, models)

    def _scanner_of(self, number: int, first: int, last: int, refit: bool) -> Scanner | None:
        """Return what scans some responses of a pattern; None where they have no optimum without a marker."""
        rows, numbers = self._prepared(number), self.patterns[number].places[first:last]

        def make() -> Scanner | None:
            if rows.models is None:
                return self._by_solver(rows, first, int(numbers[0]), refit)
            some, refit_ratio = rows.models.only(np.arange(first, last)), refit and bool(rows.design.terms)
            tests, size = self.wanted.tests, self.size
            return EigenScanner(some, numbers, refit=refit_ratio, reml=self.reml, tests=tests, size=size)

        return self._cache.at(2, (first, last, refit), make)

    def _by_solver(self, rows: Rows, column: int, place: int, refit: bool) -> SolverScanner | None:
        laid, nulls, wanted, method = self.laid, self.nulls, self.wanted, self.laid.call.options.method
        nulls.make(wanted)
        null, ml_null = nulls.point(place, method), nulls.point(place, "ML")
        if FAILED in [point.status for point in (null, ml_null) if point is not None]:
            self.failed[place] = "no optimum without a marker"
            return None
        scanner = SolverScanner(
            rows.design, rows.y[:, column], solver=self.engine.solver.name, method=method,
            parameters=laid.frame.labels.natural, samples=rows.sample_of_row, moderator=rows.moderator, number=place,
            null=null, ml_null=ml_null if wanted.by_likelihood else None, refit=refit, tests=wanted.tests,
            given=laid.fixed, first_order=laid.call.options.first_order, start=nulls.start(place) if refit else None,
        )  # fmt: skip
        if nulls.given is not None and not refit:
            nulls.check_sigma(place, scanner.null_sigma())
        return scanner


def _at(design: Design, rows: NumpyArray) -> Design:
    return design.at_rows(rows)[0] if rows.size < int(design.n) else design


def _varying(design: Design, y: NumpyArray) -> NumpyArray:
    """Return which responses (n, m) the fixed effects leave something of, (m,) bool."""
    n = len(y)
    basis = np.asarray(design.basis)[:n]
    weighted = np.asarray(design.root_weight)[:n, None] * (y - np.asarray(design.offset)[:n, None])
    rest = weighted - basis @ (basis.T @ weighted)
    rest -= basis @ (basis.T @ rest)
    return np.asarray(np.sum(rest**2, axis=0) > MIN_SHARE_UNEXPLAINED**2 * np.sum(weighted**2, axis=0))


def _scan_block(scanner: Scanner, block: Block, numbers: NumpyArray, places: NumpyArray, keep: PairFilter) -> None:
    """Test the usable markers of a block, whose ``numbers`` (s,) are those among all, and count the others."""
    usable = block.keep
    if usable.all():
        scanner.scan(block.values, numbers, block.frequency, keep)
        return
    scanner.scan(block.values[:, usable], numbers[usable], block.frequency[usable], keep)
    codes = np.array([WORDS.index(word) for word in block.status[~usable]])
    keep.counts.add(numbers[~usable], codes, places.size)
    if keep.everything:
        for place in places:
            markers = numbers[~usable]
            response = np.full(markers.size, place)
            keep.add(Pairs.untested(response, markers, codes, block.frequency[~usable], scanner.columns))
