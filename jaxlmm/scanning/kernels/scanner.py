"""Blocks of markers against the responses of one pattern of rows, in the eigenbasis of one variance ratio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import Array, NumpyArray, bucket, default_device, pad
from jaxlmm.engine import batches
from jaxlmm.inference import STATUS
from jaxlmm.scanning.kernels.filter import PairFilter, Pairs, Rule, gathered, passing_pairs
from jaxlmm.scanning.kernels.null_models import Null, NullModels, has_optimum, judged
from jaxlmm.scanning.kernels.refit import Optimum
from jaxlmm.scanning.kernels.rotate import Block, refitted, rotate_markers, sums_at_ratios
from jaxlmm.scanning.kernels.statistics import log_likelihood_ratio, solved, wald

NOT_TESTED = len(STATUS)
"""The status of a marker that the fixed effects determine."""

RESPONSES_PER_REFIT = 64
"""Responses that an accelerator refits at once with each marker of a block; on a CPU the sums of one fill its cache."""

PAIRS_PER_BATCH = 2**22
"""Pairs of a response and a marker that are in memory at once, at variance ratios of the null models."""


class LaunchedRefit(NamedTuple):
    """Work of the device: the optima of responses with each marker of a block, and sums at their ML nulls.

    The first ``n_counted`` of those ``chosen`` count, the others are padding.
    """

    chosen: Int[NumpyArray, " m"]
    n_counted: int
    block: Block
    optimum: Optimum
    ml_optimum: Optimum | None
    ml_sums: tuple[jax.Array, jax.Array] | None


class LaunchedTests(NamedTuple):
    """Work of the device: sums of responses ``chosen`` and a block at their null optima.

    ``passing`` (m, S) says which pairs can pass the filter, None where all do.
    """

    chosen: Int[NumpyArray, " m"]
    block: Block
    sums: tuple[jax.Array, jax.Array]
    ml_sums: tuple[jax.Array, jax.Array] | None
    passing: Bool[jax.Array, "m S"] | None


class EigenScanner:
    """Tests blocks of markers for the responses of one pattern of rows.

    The host reads the results of one piece of work while the device is at work on the next.

    Parameters
    ----------
    models, numbers
        Null models of m responses, and their numbers (m,) among all.
    refit
        Whether the variance ratio is refitted for every marker, or kept at each response's null optimum.
    reml
        Whether estimates are by REML.
    tests
        Of ``"wald" "lrt" "score"``.
    size
        Markers of a block; blocks are padded to it.
    """

    def __init__(
        self, models: NullModels, numbers: Int[NumpyArray, " m"], *, refit: bool, reml: bool, tests: Sequence[str],
        size: int,
    ) -> None:  # fmt: skip
        self.models, self.numbers, self.refit, self.size = models, numbers, refit, size
        self.tests, self.by_ml = tuple(tests), not reml
        basis, self.rotation = models.rows.basis, models.rows.rotation
        self.columns = int(self.rotation.rotations.shape[0])
        self.degrees = float(basis.degrees - self.columns)
        self.count = self.degrees if reml else float(basis.n)
        limit = self.degrees - basis.n_zero(reml=True)
        self.in_limit = limit, limit if reml else float(basis.n - basis.n_zero(reml=False))
        self.n, self.zero = float(basis.n), basis.zero
        self._refit_numerators: dict[int, jax.Array] = {}  # by first response
        self._null_numerators: dict[tuple[bool, int], jax.Array] = {}  # by whether of ML, and first response

    def scan(
        self, values: Shaped[NumpyArray, "q s"], markers: Int[NumpyArray, " s"], frequency: Float[NumpyArray, " s"],
        keep: PairFilter,
    ) -> None:  # fmt: skip
        """Test markers with ``values`` in the samples, and their numbers and frequencies; hand pairs to a filter."""
        blocks = self._blocks(values, markers, frequency)
        if self.refit:
            self._scan_refitted(blocks, keep)
        else:
            self._scan_at_null(blocks, keep)

    def _blocks(
        self, values: Shaped[NumpyArray, "q s"], markers: Int[NumpyArray, " s"], frequency: Float[NumpyArray, " s"]
    ) -> Iterator[Block]:
        for start in range(0, markers.size, self.size):
            chosen = slice(start, start + self.size)
            g = values[:, chosen].T  # as blocks are read, without a copy
            if g.shape[0] < self.size:
                g = pad(np.asarray(g), self.size)
            yield Block(markers[chosen], frequency[chosen], *rotate_markers(self.rotation, g))

    # ---- refitted for every marker ---------------------------------------------------------------------------

    def _scan_refitted(self, blocks: Iterator[Block], keep: PairFilter) -> None:
        pending: LaunchedRefit | None = None
        at_once = 1 if default_device().platform == "cpu" else RESPONSES_PER_REFIT
        for block in blocks:
            for chosen, count in batches(self.numbers.size, at_once, 1):
                launched = self._launch_refit(chosen, count, block)
                if pending is not None:
                    self._collect_refit(pending, keep)
                pending = launched
        if pending is not None:
            self._collect_refit(pending, keep)

    def _launch_refit(self, chosen: Int[NumpyArray, " m"], count: int, block: Block) -> LaunchedRefit:
        first = int(chosen[0])
        if first not in self._refit_numerators:
            self._refit_numerators[first] = jnp.asarray(self.models.refit_numerators(chosen))
        numerators = self._refit_numerators[first]
        criteria = {self.by_ml} | ({True} if "lrt" in self.tests else set())
        optima = {
            ml: refitted(*self.models.criterion_of(chosen, ml=ml), numerators, block.rotated, block.kept)
            for ml in criteria
        }
        ml_sums = self._sums(chosen, block, ml=True) if "score" in self.tests else None
        return LaunchedRefit(chosen, count, block, optima[self.by_ml], optima.get(True), ml_sums)

    def _collect_refit(self, launched: LaunchedRefit, keep: PairFilter) -> None:
        block, ml_null, related = launched.block, self.models.ml_null, self.models.rows.related
        s, chosen = block.markers.size, launched.chosen[: launched.n_counted]
        t, j = (index.ravel() for index in np.meshgrid(chosen, np.arange(s), indexing="ij"))
        lrt = score = np.full(t.size, np.nan)

        def on_host(optimum: Optimum) -> Any:
            return jax.tree.map(lambda leaf: _by_pair(leaf, launched.n_counted, s), optimum)

        optimum = on_host(launched.optimum)
        degrees, count = self._counts(optimum.falls)  # falls: without bound, to the limit without residual
        tested = wald(optimum.sums.a, optimum.sums.b, optimum.sums.squares, count)
        if "lrt" in self.tests and launched.ml_optimum is not None:
            by_ml = on_host(launched.ml_optimum)
            lrt = np.maximum(ml_null.value[t] - by_ml.value, 0.0)
            finite = has_optimum(judged(by_ml, related)) & ~by_ml.falls
            lrt = np.where(ml_null.finite[t] & finite, lrt, np.nan)
        if launched.ml_sums is not None:
            a, b = (np.asarray(part)[..., : launched.n_counted, :s] for part in launched.ml_sums)
            explained = solved(a, b)[2].ravel()
            score = np.where(ml_null.finite[t], self._score(explained, ml_null.squares[t]), np.nan)
        status = judged(optimum, related)
        ratio = np.where(optimum.falls, np.inf, np.exp(optimum.log_ratio))
        pairs = Pairs(
            self.numbers[t], block.markers[j], status, degrees, block.frequency[j], ratio,
            self._share(ratio), tested.estimate, tested.std_error, tested.statistic, tested.joint, lrt, score,
        )  # fmt: skip
        pairs = pairs.without_tests(~has_optimum(status) | (optimum.falls & (optimum.reached > 0)))
        pairs = _without(pairs, block.collinear[j])
        keep.counts.add(pairs.marker, pairs.status)
        keep.add(pairs)

    def _counts(self, limit: Bool[NumpyArray, " s"]) -> tuple[Float[NumpyArray, " s"], Float[NumpyArray, " s"]]:
        """Return the degrees of freedom of tests, and the number that the variance's sum is divided by.

        In the ``limit`` in which no residual is left, rows count that do not repeat others.
        """
        degrees, count = self.in_limit
        return np.where(limit, degrees, self.degrees), np.where(limit, count, self.count)

    def _share(self, ratio: Float[NumpyArray, " s"]) -> Float[NumpyArray, " s"]:
        """Return the share of variance that a ratio is, averaged over the rows."""
        own = self.models.rows.mean_diagonal * ratio
        return np.where(np.isinf(ratio), 1.0, own / (1.0 + np.where(np.isinf(ratio), 0.0, own)))

    # ---- at each response's null optimum ---------------------------------------------------------------------

    def _scan_at_null(self, blocks: Iterator[Block], keep: PairFilter) -> None:
        pending: LaunchedTests | None = None
        step = max(PAIRS_PER_BATCH // self.size, 1)
        for block in blocks:
            if pending is not None:  # before more is launched: what it keeps may narrow the filter
                self._collect_tests(pending, keep)
                pending = None
            for first in range(0, self.numbers.size, step):
                launched = self._launch_tests(np.arange(first, min(first + step, self.numbers.size)), block, keep)
                if pending is not None:
                    self._collect_tests(pending, keep)
                pending = launched
        if pending is not None:
            self._collect_tests(pending, keep)

    def _sums(
        self, chosen: Int[NumpyArray, " m"], block: Block, *, ml: bool
    ) -> tuple[Float[jax.Array, "c m S"], Float[jax.Array, "c c m S"]]:
        key = ml, int(chosen[0])
        if key not in self._null_numerators:
            self._null_numerators[key] = jnp.asarray(self.models.only(chosen).null_numerators(ml=ml))
        mixing = self._null(ml=ml).mixing[:, chosen]
        return sums_at_ratios(mixing, self._null_numerators[key], block.rotated, block.kept)

    def _null(self, *, ml: bool) -> Null:
        return self.models.ml_null if ml else self.models.null

    def _score(self, explained: Float[NumpyArray, " k"], squares: Float[Array, "*k"]) -> Float[NumpyArray, " k"]:
        """F form of the score test at the ML null (GEMMA's: n yᵀPg(gᵀPg)⁻¹gᵀPy / (c yᵀPy) on n − p − c)."""
        return self.n * explained / (self.columns * squares)

    def _launch_tests(self, chosen: Int[NumpyArray, " m"], block: Block, keep: PairFilter) -> LaunchedTests:
        ml_sums = self._sums(chosen, block, ml=True) if {"lrt", "score"} & set(self.tests) else None
        sums = self._sums(chosen, block, ml=False)
        passing: jax.Array | None = None
        if not keep.everything:
            ml = keep.test != "wald"
            null, judged_by = self._null(ml=ml), ml_sums if ml else sums
            assert judged_by is not None
            usable = self.models.null.proven[chosen] & (not ml or self.models.ml_null.finite[chosen])
            squares = np.where(usable, null.squares[chosen], np.nan)  # nothing of the others passes
            degrees, count = self._counts(null.limit[chosen])
            rule, limits = Rule(keep.test, keep.best), keep.limits(self.columns, degrees)
            numbers = np.int64(block.markers.size), count, np.float64(self.n)
            passing = passing_pairs(rule, *judged_by, squares, limits, block.left, *numbers)
        return LaunchedTests(chosen, block, sums, ml_sums, passing)

    def _collect_tests(self, launched: LaunchedTests, keep: PairFilter) -> None:
        chosen, block, null, ml_null = launched.chosen, launched.block, self.models.null, self.models.ml_null
        self._count(chosen, block, keep)
        if launched.passing is None:
            pair = np.indices((chosen.size, block.markers.size)).reshape(2, -1)
        else:
            mask = np.asarray(launched.passing)
            pair = np.array(np.unravel_index(np.flatnonzero(mask), mask.shape))  # faster than np.nonzero by far
        if not pair.shape[1]:
            return
        ml_a_b = None if launched.ml_sums is None else [gathered(part, pair) for part in launched.ml_sums]
        a, b = (gathered(part, pair) for part in launched.sums)
        t, j = chosen[pair[0]], pair[1]
        degrees, count = self._counts(null.limit[t])
        tested = wald(a, b, null.squares[t], count)
        lrt = score = np.full(t.size, np.nan)
        if ml_a_b is not None:
            explained, squares = solved(*ml_a_b)[2], ml_null.squares[t]
            lrt, score = (
                np.where(ml_null.finite[t], test, np.nan)
                for test in (log_likelihood_ratio(explained, squares, self.n), self._score(explained, squares))
            )
        ratio = null.ratio[t]
        pairs = Pairs(
            self.numbers[t], block.markers[j], null.status[t], degrees, block.frequency[j], ratio,
            self._share(ratio), tested.estimate, tested.std_error, tested.statistic, tested.joint, lrt, score,
        )  # fmt: skip
        without_optimum = ~null.proven[t]
        if null.limit[t].any():
            without_optimum |= null.limit[t] & block.reaches(self.zero)[j]
        pairs = pairs.without_tests(without_optimum)
        keep.add(_without(pairs, block.collinear[j]))

    def _count(self, chosen: Int[NumpyArray, " m"], block: Block, keep: PairFilter) -> None:
        """Count the pairs of some responses with a block, also those that do not pass."""
        collinear = block.collinear
        keep.counts.add(block.markers[collinear], np.full(int(collinear.sum()), NOT_TESTED), chosen.size)
        for code, count in zip(*np.unique(self.models.null.status[chosen], return_counts=True), strict=True):
            tested = block.markers[~collinear]
            keep.counts.add(tested, np.full(tested.size, code), int(count))


def block_size(markers: int, largest: int = 1024) -> int:
    """Return how many markers are worked on at once.

    >>> block_size(3), block_size(100_000)
    (64, 1024)
    """
    return min(bucket(markers, 64), largest)


def _without(pairs: Pairs, collinear: Bool[NumpyArray, " k"]) -> Pairs:
    """Blank the numbers of collinear markers, and give these the status ``NOT_TESTED``."""
    return pairs.blanked(collinear)._replace(status=np.where(collinear, NOT_TESTED, pairs.status).astype(np.int8))


def _by_pair(leaf: Shaped[Array, "m *c S"], count: int, s: int) -> Shaped[NumpyArray, "*c k"]:
    """Return an array over pairs, those of the first response first, without padded responses and markers."""
    by_response = np.asarray(leaf)[:count, ..., :s]
    return np.moveaxis(by_response, 0, -2).reshape(*by_response.shape[1:-1], count * s)
