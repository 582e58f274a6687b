"""The work of a scan: each pattern of rows with its responses, in the engine that its model takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.api.many import run_many
from jaxlmm.api.scan_data import ScanData
from jaxlmm.api.values import natural
from jaxlmm.engine import AnyScanner, Keeper, NullPoint, Pairs, Scanner, ScanRows, Traits, block_size, has_one_ratio
from jaxlmm.genetics.blocks import STATUSES, Block
from jaxlmm.inference import STATUS
from jaxlmm.model.design import Design
from jaxlmm.results import FitMany, words_of
from jaxlmm.results.many_rows import patterns_of
from jaxlmm.solvers import select

WORDS = words_of(tuple(STATUSES)[1:])
"""The words of a scan's status codes."""

TOGETHER = 64
"""Responses whose variance ratios are refitted in one pass over the markers."""

READ = 2**23
"""Values (samples × markers) that are read at once: 64 MB."""

PERFECT = 1e-12
"""A response of which the fixed effects leave no larger share has nothing to explain."""


class BlockScanner(Protocol):
    """What tests a block of markers and hands the pairs to a keeper."""

    columns: int

    def scan(self, values: NumpyArray, markers: NumpyArray, frequency: NumpyArray, keeper: Keeper) -> None:
        """Test markers ``values`` (q, s) with numbers and frequencies (s,)."""


@dataclasses.dataclass(eq=False)
class NullFits:
    """Fits of all responses without a marker, made when they are needed: by the criterion asked for, and by ML."""

    laid: ScanData
    one_ratio: bool
    _made: dict[str, FitMany]

    @classmethod
    def of(cls, laid: ScanData, variances: str, tests: Sequence[str]) -> Self:
        """Fit what a scan needs; with one variance ratio, nothing, since it finds the same optimum itself."""
        found = cls(laid, has_one_ratio(laid.frame.design) and laid.call.fixed is None, {})
        if not found.one_ratio:
            if variances != "refit":
                found.by(laid.call.method)
            if {"lrt", "score"} & set(tests):
                found.by("ML")
        return found

    def by(self, method: str) -> FitMany:
        """Return the fits by a criterion."""
        if method not in self._made:
            laid = self.laid
            data = laid.call.data
            rows = data.reset_index(drop=True) if isinstance(data, pd.DataFrame) else data
            frame = pd.DataFrame(laid.read.values[laid.matched.kept], columns=list(laid.read.names))
            self._made[method] = run_many(dataclasses.replace(laid.call, data=rows, method=method), frame, None, False)
        return self._made[method]

    def wanted(self) -> FitMany:
        """Return the fits by the criterion that was asked for."""
        return self.by(self.laid.call.method)

    def point(self, place: int, method: str) -> NullPoint | None:
        """Return the optimum of one response, if it was made."""
        if method not in self._made:
            return None
        found = self._made[method].estimates
        frames = tuple(frame[place] for frame in found.frames)
        return NullPoint(found.theta[place], frames, float(found.deviance[place]), int(found.status[place]))


class Task:
    """A scan at work; ``patterns`` are rows with their responses, ``untested`` says which of these have no test."""

    def __init__(self, laid: ScanData, nulls: NullFits, tests: tuple[str, ...], precision: str) -> None:
        self.laid, self.nulls, self.tests, self.precision = laid, nulls, tests, precision
        self.reml = laid.call.method == "REML"
        self.solver = select(laid.frame.design)
        self.given = natural("fixed", laid.call.fixed, laid.frame.labels, laid.frame.design)
        y = laid.y
        infinite, missing = np.isinf(y).any(axis=0), np.isnan(y).all(axis=0)
        self.untested = {int(place): "infinite" for place in np.flatnonzero(infinite)}
        self.untested |= {int(place): "all_missing" for place in np.flatnonzero(missing)}
        self.patterns = patterns_of(y, np.flatnonzero(~(infinite | missing)))

    @property
    def engine(self) -> str:
        """Say how markers are tested."""
        if not self.nulls.one_ratio:
            return f"{self.solver.name} ({self.solver.reason}); refitted markers are fits of their own"
        return "one variance ratio, diagonalised once" if self.laid.frame.design.terms else "linear model"

    def scan(
        self, rows: NumpyArray, places: NumpyArray, keeper: Keeper, refit: bool, done: Callable[[int], None]
    ) -> list[str]:
        """Scan all markers for the responses of one pattern; return what became of each marker."""
        genotypes, words = self.laid.genotypes, []
        samples = np.unique(self.laid.persons[rows])
        size = _block(len(genotypes.variants), samples.size)
        for number, (scanner, own) in enumerate(self._scanners(rows, places, refit)):
            for block in genotypes.blocks(self.laid.sample_ids[samples], size=size):
                _scan_block(scanner, block, own, keeper)
                if number == 0:
                    words += [status or "tested" for status in block.status]
                    done(block.markers.size)
        return words

    def refitted(self, pairs: Pairs) -> Pairs:
        """Return the same pairs with variances refitted for each."""
        keeper = Keeper(self.tests[0], None, None, False)
        for rows, everyone in self.patterns:
            samples = np.unique(self.laid.persons[rows])
            for place in np.intersect1d(everyone, pairs.response):
                markers = np.sort(pairs.marker[pairs.response == place])
                chosen = np.zeros(len(self.laid.genotypes.variants), bool)
                chosen[markers] = True
                ((scanner, _),) = self._scanners(rows, np.array([place]), True)
                for block in self.laid.genotypes.select(chosen).blocks(self.laid.sample_ids[samples]):
                    scanner.scan(block.values, markers[block.markers], block.frequency, keeper)
        found = keeper.finish()
        assert found is not None
        return found

    def _scanners(self, rows: NumpyArray, places: NumpyArray, refit: bool) -> Iterator[tuple[BlockScanner, NumpyArray]]:
        """Yield what scans some of the responses of a pattern, one after the other, and which."""
        laid, every = self.laid, self.laid.frame.design
        design, kept = every.at_rows(rows) if rows.size < int(every.n) else (every, None)
        fixed = every.n_fixed if kept is None else int(kept.sum())
        samples, persons = np.unique(laid.persons[rows], return_inverse=True)
        moderator = None if laid.moderator is None else laid.moderator[rows]
        if rows.size - fixed <= 1 + (moderator is not None):
            self.untested |= {int(place): "too_few_rows" for place in places}
            return
        y = laid.y[np.ix_(rows, places)]
        varying = _varying(design, y)
        for place, own in zip(places[~varying], y[:, ~varying].T, strict=True):
            self.untested[int(place)] = "constant" if np.ptp(own) == 0 else "perfect_fit"
        y, places = y[:, varying], places[varying]
        if not places.size:
            return
        if not self.nulls.one_ratio:
            yield from self._by_solver(design, y, places, persons, moderator, refit)
            return
        panel = ScanRows.of(design, persons, samples.size, moderator, dtype=self.precision)
        traits = Traits.of(panel, y, reml=self.reml, ml=bool({"lrt", "score"} & set(self.tests)))
        refit = refit and bool(design.terms)
        size, step = block_size(len(laid.genotypes.variants)), TOGETHER if refit else places.size
        for first in range(0, places.size, step):
            chosen = np.arange(first, min(first + step, places.size))
            some = traits.only(chosen)
            yield (
                Scanner(some, places[chosen], refit=refit, reml=self.reml, tests=self.tests, size=size),
                places[chosen],
            )

    def _by_solver(
        self,
        design: Design,
        y: NumpyArray,
        places: NumpyArray,
        persons: NumpyArray,
        moderator: NumpyArray | None,
        refit: bool,
    ) -> Iterator[tuple[BlockScanner, NumpyArray]]:
        method, failed = self.laid.call.method, STATUS.index("failed")
        for own, place in zip(y.T, places, strict=True):
            null, likely = self.nulls.point(place, method), self.nulls.point(place, "ML")
            if failed in [point.status for point in (null, likely) if point is not None]:
                self.untested[int(place)] = "no optimum without a marker"
                continue
            likely = likely if {"lrt", "score"} & set(self.tests) else None
            scanner = AnyScanner(
                design, own, solver=self.solver.name, method=method, names=self.laid.frame.labels.parameters,
                persons=persons, moderator=moderator, number=int(place), null=null, likely=likely, refit=refit,
                tests=self.tests, given=self.given,
            )  # fmt: skip
            yield scanner, np.array([place])


def _varying(design: Design, y: NumpyArray) -> NumpyArray:
    """Return which responses (n, m) the fixed effects leave something of, (m,) bool."""
    n = len(y)
    basis = np.asarray(design.basis)[:n]
    weighted = np.asarray(design.root_weight)[:n, None] * (y - np.asarray(design.offset)[:n, None])
    rest = weighted - basis @ (basis.T @ weighted)
    rest -= basis @ (basis.T @ rest)
    return np.asarray(np.sum(rest**2, axis=0) > PERFECT**2 * np.sum(weighted**2, axis=0))


def _block(markers: int, samples: int) -> int:
    """Return how many markers are read at once: a multiple of those that are worked on."""
    size = block_size(markers)
    return size * max(1, READ // (size * max(samples, 1)))


def _scan_block(scanner: BlockScanner, block: Block, places: NumpyArray, keeper: Keeper) -> None:
    usable = block.keep
    if usable.all():
        scanner.scan(block.values, block.markers, block.frequency, keeper)
        return
    scanner.scan(block.values[:, usable], block.markers[usable], block.frequency[usable], keeper)
    if keeper.everything:
        codes = np.array([WORDS.index(word) for word in block.status[~usable]])
        for place in places:
            markers = block.markers[~usable]
            response = np.full(markers.size, place)
            keeper.add(Pairs.untested(response, markers, codes, block.frequency[~usable], scanner.columns))
