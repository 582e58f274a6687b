"""Blocks of markers against the responses of one pattern of rows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._compile import program
from jaxlmm._shapes import bucket, pad
from jaxlmm._struct import Struct, static
from jaxlmm._typing import Array, NumpyArray
from jaxlmm.engine.scan_keep import Keeper, Pairs
from jaxlmm.engine.scan_panel import COLLINEAR, fixed_sums, products, refitted
from jaxlmm.engine.scan_refit import Optimum
from jaxlmm.engine.scan_tests import LEAST, log_likelihood_ratio, solved, wald
from jaxlmm.engine.scan_traits import BOUNDARY, INTERIOR, NOT_CONVERGED, Traits
from jaxlmm.inference import STATUS

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
        self.n = float(basis.n)
        self.by_ml = not reml
        self._nulls = {"wald": traits.wald, "likelihood": traits.likelihood}
        self._numerators: dict[object, jax.Array] = {}

    def scan(self, values: NumpyArray, markers: NumpyArray, frequency: NumpyArray, keeper: Keeper) -> None:
        """Test markers ``values`` (q, s) with numbers and frequencies (s,), and hand the pairs to a keeper."""
        for start in range(0, markers.size, self.size):
            some, share = markers[start : start + self.size], frequency[start : start + self.size]
            g = values[:, start : start + self.size].T  # as blocks are read, without a copy
            if some.size < self.size:
                g = pad(np.asarray(g), self.size)
            centred, kept, left = products(self.panel, g)
            collinear = np.logical_not(np.asarray(left)[: some.size] > COLLINEAR)
            if self.refit:
                for t in range(self.numbers.size):
                    pairs = self._refitted(t, some, share, centred, kept, collinear)
                    keeper.tally.add(some, pairs.status)
                    keeper.add(pairs)
            else:
                keeper.tally.add(some[collinear], np.full(int(collinear.sum()), NOT_TESTED), self.numbers.size)
                for code, count in zip(*np.unique(self.traits.wald.status, return_counts=True), strict=True):
                    keeper.tally.add(some[~collinear], np.full(int((~collinear).sum()), code), int(count))
                step = max(AT_ONCE // self.size, 1)
                for first in range(0, self.numbers.size, step):
                    chosen = np.arange(first, min(first + step, self.numbers.size))
                    self._fixed(chosen, some, share, centred, kept, collinear, keeper)

    # ---- refitted for every marker ---------------------------------------------------------------------------

    def _refitted(
        self,
        t: int,
        markers: NumpyArray,
        frequency: NumpyArray,
        g: jax.Array,
        kept: jax.Array,
        collinear: NumpyArray,
    ) -> Pairs:
        s, nothing = markers.size, np.full(markers.size, np.nan)
        if t not in self._numerators:
            self._numerators[t] = jnp.asarray(self.traits.refit_numerators(t))
        numerators = self._numerators[t]

        def optimum(ml: bool) -> Optimum:
            found = refitted(self.traits.criterion(t, ml=ml), numerators, g, kept)
            return jax.tree.map(lambda leaf: np.asarray(leaf)[..., :s], found)

        found = optimum(self.by_ml)
        a, b, squares = (np.asarray(part) for part in found.sums)
        tested = wald(a, b, squares, self.count)
        lrt, score = nothing, nothing
        if "lrt" in self.tests:
            likely = found if self.by_ml else optimum(True)
            lrt = np.maximum(self.traits.likelihood.value[t] - likely.value, 0.0)
        if "score" in self.tests:
            chosen = np.array([t])
            a, b = (np.asarray(part)[..., 0, :s] for part in self._sums("likelihood", chosen, g, kept))
            score = self._score(solved(a, b)[2], self.traits.likelihood.squares[t])
        status = np.where(found.converged, np.where(found.at_end, BOUNDARY, INTERIOR), NOT_CONVERGED)
        ratio = np.exp(found.log_ratio)
        pairs = Pairs(
            np.full(s, self.numbers[t]), markers, status.astype(np.int8), np.full(s, self.degrees), frequency,
            ratio, self._share(ratio), tested.estimate, tested.std_error, tested.statistic, tested.joint, lrt, score,
        )  # fmt: skip
        return _without(pairs, collinear)

    def _share(self, ratio: NumpyArray) -> NumpyArray:
        """Return the share of variance that a ratio is, averaged over the rows."""
        own = self.traits.rows.mean_diagonal * ratio
        return np.where(np.isinf(ratio), 1.0, own / (1.0 + np.where(np.isinf(ratio), 0.0, own)))

    # ---- at each response's null -----------------------------------------------------------------------------

    def _sums(self, which: str, chosen: NumpyArray, g: jax.Array, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        null = self._nulls[which]
        key = (which, int(chosen[0]), chosen.size)
        if key not in self._numerators:
            own = self.traits.only(chosen).fixed_numerators(ml=which == "likelihood")
            self._numerators[key] = jnp.asarray(own)
        return fixed_sums(null.mixing[:, chosen], self._numerators[key], g, kept)

    def _score(self, explained: NumpyArray, squares: NumpyArray) -> NumpyArray:
        """F form of the score test at the ML null (GEMMA's: n yᵀPg(gᵀPg)⁻¹gᵀPy / (c yᵀPy) on n − p − c)."""
        return self.n * explained / (self.columns * squares)

    def _fixed(
        self,
        chosen: NumpyArray,
        markers: NumpyArray,
        frequency: NumpyArray,
        g: jax.Array,
        kept: jax.Array,
        collinear: NumpyArray,
        keeper: Keeper,
    ) -> None:
        s, m = markers.size, chosen.size
        wanted = {"wald" if test == "wald" else "likelihood" for test in (*self.tests, "wald")}
        sums = {which: self._sums(which, chosen, g, kept) for which in sorted(wanted)}
        if keeper.everything:
            pair = np.indices((m, s)).reshape(2, -1)
        else:
            which = "wald" if keeper.test == "wald" else "likelihood"
            squares, limits = self._nulls[which].squares[chosen], keeper.limits(self.columns, np.full(m, self.degrees))
            usable = np.zeros(self.size, bool)
            usable[:s] = ~collinear
            rule = Rule(keeper.test, keeper.best)
            count, n = np.float64(self.count), np.float64(self.n)
            mask = _reaching(rule, *sums[which], squares, limits, usable, count, n)
            pair = np.array(np.nonzero(np.asarray(mask)))
        if not pair.shape[1]:
            return
        taken = {which: [_taken(part, pair) for part in parts] for which, parts in sums.items()}
        t, j = chosen[pair[0]], pair[1]
        a, b = taken["wald"]
        tested = wald(a, b, self.traits.wald.squares[t], self.count)
        lrt = score = np.full(t.size, np.nan)
        if "likelihood" in taken:
            explained, squares = solved(*taken["likelihood"])[2], self.traits.likelihood.squares[t]
            lrt, score = log_likelihood_ratio(explained, squares, self.n), self._score(explained, squares)
        ratio = self.traits.wald.ratio[t]
        pairs = Pairs(
            self.numbers[t], markers[j], self.traits.wald.status[t], np.full(t.size, self.degrees), frequency[j],
            ratio, self._share(ratio), tested.estimate, tested.std_error, tested.statistic, tested.joint, lrt, score,
        )  # fmt: skip
        keeper.add(_without(pairs, collinear[j]))


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
    rule: Rule, a: Array, b: Array, squares: Array, limits: Array, usable: Array, count: Array, n: Array
) -> jax.Array:
    """Return which pairs (m, s) reach the least statistic of their response, or are its best."""
    a, b, squares = jnp.asarray(a), jnp.asarray(b), jnp.asarray(squares)[:, None]
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
    good = jnp.asarray(usable)[None, :] & jnp.isfinite(statistic)
    reached = good & (statistic >= jnp.asarray(limits)[:, None])
    if rule.best:
        first = jnp.argmax(jnp.where(good, statistic, -jnp.inf), axis=1)
        reached = reached & (jnp.arange(statistic.shape[1])[None, :] == first[:, None])
    return reached
