"""Blocks of markers against the responses of one pattern of rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, Struct, bucket, pad, program, static
from jaxlmm.inference import STATUS
from jaxlmm.scanning.kernels.criterion import REACHED
from jaxlmm.scanning.kernels.filter import PairFilter, Pairs
from jaxlmm.scanning.kernels.null_models import Traits, has_optimum, judged
from jaxlmm.scanning.kernels.rotate import COLLINEAR, fixed_sums, products, refitted
from jaxlmm.scanning.kernels.statistics import LEAST, log_likelihood_ratio, solved, wald

NOT_TESTED = len(STATUS)
"""The status of a marker that the fixed effects determine."""

AT_ONCE = 2**22
"""Pairs of a response and a marker that are held at once."""


class Scanner:
    """Tests blocks of markers for the responses of one pattern.

    Parameters
    ----------
    traits, numbers
        m responses, and their numbers (m,) among all.
    refit
        Whether the variance ratio is refitted for every marker, or kept at each response's null.
    reml
        Whether estimates are by REML.
    tests
        Of ``"wald" "lrt" "score"``.
    size
        Markers that are worked on at once; blocks are padded to it.
    """

    def __init__(
        self, traits: Traits, numbers: NumpyArray, *, refit: bool, reml: bool, tests: Sequence[str], size: int
    ) -> None:
        self.traits, self.numbers, self.refit, self.size = traits, numbers, refit, size
        self.tests = tuple(tests)
        basis, self.panel = traits.rows.basis, traits.rows.panel
        self.columns = int(self.panel.rotations.shape[0])
        self.degrees = float(basis.degrees - self.columns)
        self.count = self.degrees if reml else float(basis.n)
        limit = self.degrees - basis.n_zero(reml=True)
        self.in_limit = limit, limit if reml else float(basis.n - basis.n_zero(reml=False))
        self.n = float(basis.n)
        self.by_ml, self.zero = not reml, basis.zero
        self._nulls = {"wald": traits.wald, "likelihood": traits.likelihood}
        self._numerators: dict[object, jax.Array] = {}

    def scan(self, values: NumpyArray, markers: NumpyArray, frequency: NumpyArray, keeper: PairFilter) -> None:
        """Test markers ``values`` (q, s) with numbers and frequencies (s,), and hand the pairs to a keeper."""
        before: Callable[[], None] | None = None
        for finish in self._begun(values, markers, frequency, keeper):
            if before is not None:  # the device is at work on what has been begun since
                before()
            before = finish
        if before is not None:
            before()

    def _begun(
        self, values: NumpyArray, markers: NumpyArray, frequency: NumpyArray, keeper: PairFilter
    ) -> Iterator[Callable[[], None]]:
        """Hand work to the device, part by part; what is yielded waits for a part's results and keeps them."""
        for start in range(0, markers.size, self.size):
            chosen = slice(start, start + self.size)
            g = values[:, chosen].T  # as blocks are read, without a copy
            if g.shape[0] < self.size:
                g = pad(np.asarray(g), self.size)
            block = _Block(markers[chosen], frequency[chosen], *products(self.panel, g))
            if self.refit:
                for t in range(self.numbers.size):
                    yield self._refitted(t, block, keeper)
                continue
            yield functools.partial(self._count, block, keeper)
            step = max(AT_ONCE // self.size, 1)
            for first in range(0, self.numbers.size, step):
                yield self._fixed(np.arange(first, min(first + step, self.numbers.size)), block, keeper)

    def _count(self, block: _Block, keeper: PairFilter) -> None:
        collinear = block.collinear
        keeper.tally.add(block.markers[collinear], np.full(int(collinear.sum()), NOT_TESTED), self.numbers.size)
        for code, count in zip(*np.unique(self.traits.wald.status, return_counts=True), strict=True):
            tested = block.markers[~collinear]
            keeper.tally.add(tested, np.full(tested.size, code), int(count))

    # ---- refitted for every marker ---------------------------------------------------------------------------

    def _refitted(self, t: int, block: _Block, keeper: PairFilter) -> Callable[[], None]:
        if t not in self._numerators:
            self._numerators[t] = jnp.asarray(self.traits.refit_numerators(t))
        numerators, wanted = self._numerators[t], {self.by_ml} | ({True} if "lrt" in self.tests else set())
        optima = {ml: refitted(self.traits.criterion(t, ml=ml), numerators, block.star, block.kept) for ml in wanted}
        sums = self._sums("likelihood", np.array([t]), block) if "score" in self.tests else None

        def finish() -> None:
            s = block.markers.size
            lrt = score = np.full(s, np.nan)
            found = jax.tree.map(lambda leaf: np.asarray(leaf)[..., :s], optima[self.by_ml])
            degrees, count = self._counts(found.falls)
            tested = wald(found.sums.a, found.sums.b, found.sums.squares, count)
            if "lrt" in self.tests:
                by_ml = jax.tree.map(lambda leaf: np.asarray(leaf)[..., :s], optima[True])
                lrt = np.maximum(self.traits.likelihood.value[t] - by_ml.value, 0.0)
                finite = has_optimum(judged(by_ml, self.traits.rows.related)) & ~by_ml.falls
                lrt = np.where(self.traits.likelihood.finite[t] & finite, lrt, np.nan)
            if sums is not None:
                a, b = (np.asarray(part)[..., 0, :s] for part in sums)
                score = self._score(solved(a, b)[2], self.traits.likelihood.squares[t])
                score = np.where(self.traits.likelihood.finite[t], score, np.nan)
            status = judged(found, self.traits.rows.related)
            ratio = np.where(found.falls, np.inf, np.exp(found.log_ratio))
            pairs = Pairs(
                np.full(s, self.numbers[t]), block.markers, status, degrees, block.frequency, ratio,
                self._share(ratio), tested.estimate, tested.std_error, tested.statistic, tested.joint, lrt, score,
            )  # fmt: skip
            pairs = pairs.without_tests(~has_optimum(status) | (found.falls & (found.reached > 0)))
            pairs = _without(pairs, block.collinear)
            keeper.tally.add(block.markers, pairs.status)
            keeper.add(pairs)

        return finish

    def _counts(self, limit: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        """Return the degrees of freedom of tests, and the number that the variance's sum is divided by.

        In the ``limit`` (s,) in which no residual is left, rows count that do not repeat others.
        """
        degrees, count = self.in_limit
        return np.where(limit, degrees, self.degrees), np.where(limit, count, self.count)

    def _share(self, ratio: NumpyArray) -> NumpyArray:
        """Return the share of variance that a ratio is, averaged over the rows."""
        own = self.traits.rows.mean_diagonal * ratio
        return np.where(np.isinf(ratio), 1.0, own / (1.0 + np.where(np.isinf(ratio), 0.0, own)))

    # ---- at each response's null -----------------------------------------------------------------------------

    def _sums(self, which: str, chosen: NumpyArray, block: _Block) -> tuple[jax.Array, jax.Array]:
        null = self._nulls[which]
        key = (which, int(chosen[0]), chosen.size)
        if key not in self._numerators:
            own = self.traits.only(chosen).fixed_numerators(ml=which == "likelihood")
            self._numerators[key] = jnp.asarray(own)
        return fixed_sums(null.mixing[:, chosen], self._numerators[key], block.star, block.kept)

    def _score(self, explained: NumpyArray, squares: NumpyArray) -> NumpyArray:
        """F form of the score test at the ML null (GEMMA's: n yᵀPg(gᵀPg)⁻¹gᵀPy / (c yᵀPy) on n − p − c)."""
        return self.n * explained / (self.columns * squares)

    def _fixed(self, chosen: NumpyArray, block: _Block, keeper: PairFilter) -> Callable[[], None]:
        s, m = block.markers.size, chosen.size
        wanted = {"wald" if test == "wald" else "likelihood" for test in (*self.tests, "wald")}
        sums = {which: self._sums(which, chosen, block) for which in sorted(wanted)}
        reaching: jax.Array | None = None
        if not keeper.everything:
            which = "wald" if keeper.test == "wald" else "likelihood"
            usable = self.traits.wald.proven[chosen] & (which == "wald" or self.traits.likelihood.finite[chosen])
            squares = np.where(usable, self._nulls[which].squares[chosen], np.nan)  # nothing of the others is reached
            degrees, count = self._counts(self._nulls[which].limit[chosen])
            rule, limits = Rule(keeper.test, keeper.best), keeper.limits(self.columns, degrees)
            numbers = np.int64(s), count, np.float64(self.n)
            reaching = _reaching(rule, *sums[which], squares, limits, block.left, *numbers)

        def finish() -> None:
            if reaching is None:
                pair = np.indices((m, s)).reshape(2, -1)
            else:
                mask = np.asarray(reaching)
                pair = np.array(np.unravel_index(np.flatnonzero(mask), mask.shape))  # faster than np.nonzero by far
            if not pair.shape[1]:
                return
            taken = {which: [_taken(part, pair) for part in parts] for which, parts in sums.items()}
            t, j = chosen[pair[0]], pair[1]
            (a, b), null = taken["wald"], self.traits.wald
            degrees, count = self._counts(null.limit[t])
            tested = wald(a, b, null.squares[t], count)
            lrt = score = np.full(t.size, np.nan)
            if "likelihood" in taken:
                explained, squares = solved(*taken["likelihood"])[2], self.traits.likelihood.squares[t]
                lrt, score = (
                    np.where(self.traits.likelihood.finite[t], test, np.nan)
                    for test in (log_likelihood_ratio(explained, squares, self.n), self._score(explained, squares))
                )
            ratio = null.ratio[t]
            pairs = Pairs(
                self.numbers[t], block.markers[j], null.status[t], degrees, block.frequency[j], ratio,
                self._share(ratio), tested.estimate, tested.std_error, tested.statistic, tested.joint, lrt, score,
            )  # fmt: skip
            undone = ~null.proven[t]
            if null.limit[t].any():
                undone |= null.limit[t] & block.reaches(self.zero)[j]
            pairs = pairs.without_tests(undone)
            keeper.add(_without(pairs, block.collinear[j]))

        return finish


class _Block(NamedTuple):
    """Numbers ``markers`` (s,) and frequencies (s,), and what :func:`products` returned of them, padded."""

    markers: NumpyArray
    frequency: NumpyArray
    star: jax.Array
    kept: jax.Array
    left: jax.Array

    def reaches(self, zero: NumpyArray) -> NumpyArray:
        """Return which markers (s,) are not zero where M is, by the combination ``zero`` (r,) of kept weights."""
        c = self.kept.shape[0]
        own = np.array([zero @ np.asarray(self.kept[i, i]) for i in range(c)])[:, : self.markers.size]
        whole = np.array([np.sum(np.asarray(self.star[i]) ** 2, axis=0) for i in range(c)])[:, : self.markers.size]
        return np.asarray((own > REACHED * whole).any(axis=0))

    @property
    def collinear(self) -> NumpyArray:
        """Which markers (s,) the fixed effects determine."""
        return np.logical_not(np.asarray(self.left)[: self.markers.size] > COLLINEAR)


def block_size(markers: int, largest: int = 1024) -> int:
    """Return how many markers are worked on at once.

    >>> block_size(3), block_size(100_000)
    (64, 1024)
    """
    return min(bucket(markers, 64), largest)


def _without(pairs: Pairs, collinear: NumpyArray) -> Pairs:
    """Take the numbers of markers that are collinear away, and say why."""
    return pairs.blanked(collinear)._replace(status=np.where(collinear, NOT_TESTED, pairs.status).astype(np.int8))


def _taken(values: jax.Array, pair: NumpyArray) -> NumpyArray:
    """Return entries (..., k) of sums (..., m, s) for pairs (2, k)."""
    count = pair.shape[1]
    if count * 4 > values.shape[-1] * values.shape[-2]:
        return np.asarray(np.asarray(values)[..., pair[0], pair[1]])
    padded = np.zeros((2, bucket(count, 64)), np.int32)
    padded[:, :count] = pair
    return np.asarray(_gathered(values, padded))[..., :count]


@program()
def _gathered(values: Array, pair: Array) -> jax.Array:
    return jnp.asarray(values)[..., pair[0], pair[1]]


class Rule(Struct):
    """How pairs are judged on the device: by which test, and whether only a response's best is kept."""

    test: str = static()
    best: bool = static()


@program()
def _reaching(
    rule: Rule, a: Array, b: Array, squares: Array, limits: Array, left: Array, s: Array, count: Array, n: Array
) -> jax.Array:
    """Return which pairs (m, ·) reach the least statistic of their response, or are its best; ``s`` markers count."""
    a, b, squares, count = jnp.asarray(a), jnp.asarray(b), jnp.asarray(squares)[:, None], jnp.asarray(count)[:, None]
    c = a.shape[0]
    if c == 1:
        explained = a[0] ** 2 / b[0, 0]
    else:
        explained = (b[1, 1] * a[0] ** 2 - 2.0 * b[0, 1] * a[0] * a[1] + b[0, 0] * a[1] ** 2) / (
            b[0, 0] * b[1, 1] - b[0, 1] ** 2
        )
    if rule.test == "wald":
        statistic = count / c * explained / jnp.maximum(squares - explained, LEAST * squares)
    elif rule.test == "score":
        statistic = n / c * explained / squares
    else:
        statistic = -n * jnp.log1p(-jnp.minimum(explained / squares, 1.0 - LEAST))
    usable = (jnp.asarray(left) > COLLINEAR) & (jnp.arange(statistic.shape[1]) < s)
    good = usable[None, :] & jnp.isfinite(statistic)
    reached = good & (statistic >= jnp.asarray(limits)[:, None])
    if rule.best:
        first = jnp.argmax(jnp.where(good, statistic, -jnp.inf), axis=1)
        reached = reached & (jnp.arange(statistic.shape[1])[None, :] == first[:, None])
    return reached
