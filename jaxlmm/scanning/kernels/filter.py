"""Selection of pairs of a response and a marker: all, or by p-value, by rank, or the best marker of a response."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, bucket, program, static
from jaxlmm.scanning.kernels.counts import PairCounts
from jaxlmm.scanning.kernels.rotate import COLLINEAR_SHARE
from jaxlmm.scanning.kernels.statistics import RESIDUAL_FLOOR, f_beyond, log10_tail_chi2, log10_tail_f


class Pairs(NamedTuple):
    """Tests of k pairs of a response and a marker; the last axis of every array is over the pairs.

    ``response`` and ``marker`` are their numbers; ``status`` an index in ``STATUS``, or of a status after these
    (``NOT_TESTED``); ``degrees`` of the residual; ``frequency`` of the marker's effect allele; ``ratio`` λ and
    ``share`` of the variance that it is; ``estimate``, ``std_error`` and ``wald`` of each of c columns; ``joint``,
    ``lrt`` and ``score`` of all.
    """

    response: Int[NumpyArray, " k"]
    marker: Int[NumpyArray, " k"]
    status: Int[NumpyArray, " k"]
    degrees: Float[NumpyArray, " k"]
    frequency: Float[NumpyArray, " k"]
    ratio: Float[NumpyArray, " k"]
    share: Float[NumpyArray, " k"]
    estimate: Float[NumpyArray, "c k"]
    std_error: Float[NumpyArray, "c k"]
    wald: Float[NumpyArray, "c k"]
    joint: Float[NumpyArray, " k"]
    lrt: Float[NumpyArray, " k"]
    score: Float[NumpyArray, " k"]

    @classmethod
    def untested(
        cls, response: Int[NumpyArray, " k"], marker: Int[NumpyArray, " k"], status: Int[NumpyArray, " k"],
        frequency: Float[NumpyArray, " k"], columns: int,
    ) -> Self:  # fmt: skip
        """Return pairs without tests, with the status that says why."""
        none = np.full(marker.size, np.nan)
        each = np.full((columns, marker.size), np.nan)
        return cls(
            response, marker, status.astype(np.int8), none, frequency, none, none, each, each, each, none, none, none
        )

    def blanked(self, which: Bool[NumpyArray, " k"]) -> Self:
        """Return the pairs with NaN for the numbers of some."""
        if not which.any():
            return self
        names = ("ratio", "share", "estimate", "std_error", "wald", "joint", "lrt", "score")
        return self._replace(**{name: np.where(which, np.nan, getattr(self, name)) for name in names})

    def without_tests(self, which: Bool[NumpyArray, " k"]) -> Self:
        """Return the pairs with NaN for all numbers but the estimate of some, which have no optimum."""
        if not which.any():
            return self
        names = ("degrees", "ratio", "share", "std_error", "wald", "joint", "lrt", "score")
        return self._replace(**{name: np.where(which, np.nan, getattr(self, name)) for name in names})

    def at(self, chosen: Int[NumpyArray, " chosen"]) -> Pairs:
        """Return some of the pairs."""
        return Pairs(*(values[..., chosen] for values in self))

    def column_height(self, column: int) -> Float[NumpyArray, " k"]:
        """Return −log10 p of one column alone by its Wald test."""
        return log10_tail_f(self.wald[column], 1, self.degrees)

    def height(self, test: str) -> Float[NumpyArray, " k"]:
        """Return −log10 p of all columns by ``"wald"``, ``"lrt"`` or ``"score"``."""
        if test == "lrt":
            return log10_tail_chi2(self.lrt, len(self.estimate))
        return log10_tail_f(self.joint if test == "wald" else self.score, len(self.estimate), self.degrees)


def joined(parts: list[Pairs]) -> Pairs:
    """Return all pairs of several parts."""
    return Pairs(*(np.concatenate(values, axis=-1) for values in zip(*parts, strict=True)))


class PairFilter:
    """A filter of pairs by p-value, by rank, or by best marker of a response, block by block.

    Parameters
    ----------
    test
        By which pairs are judged.
    p_max, top, best
        The largest p-value; how many pairs with the smallest p-values; whether only each response's best marker.

    Attributes
    ----------
    counts
        Of all pairs, also those that are not kept: whoever hands pairs over counts them.
    """

    def __init__(self, test: str, p_max: float | None, top: int | None, best: bool) -> None:
        self.test, self.top, self.best = test, top, best
        self.lowest = -np.inf if p_max is None else -np.log10(p_max)
        self.parts: list[Pairs] = []
        self.counts = PairCounts()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.best and self.top is None and bool(self.lowest == -np.inf)

    def limits(self, columns: int, degrees: Float[NumpyArray, " m"]) -> Float[NumpyArray, " m"]:
        """Return the least statistic that can be kept, for residual degrees of freedom."""
        if self.lowest == -np.inf:
            return np.full(degrees.shape, -np.inf)
        p = 10.0**-self.lowest
        if self.test == "lrt":
            return np.full(degrees.shape, scipy.special.chdtri(columns, p))
        return f_beyond(p, columns, degrees) * (1.0 - 1e-9)

    def add(self, pairs: Pairs) -> None:
        """Add the pairs that pass, and drop those that cannot be kept any more."""
        if not self.everything:
            height = pairs.height(self.test)
            pairs = pairs.at(np.flatnonzero(height >= self.lowest))  # not those without a test
        if pairs.marker.size:
            self.parts.append(pairs)
        if self.parts and (
            self.best or (self.top is not None and sum(p.marker.size for p in self.parts) > 2 * self.top)
        ):
            self._prune()

    def finish(self) -> Pairs | None:
        """Return the pairs that are kept, sorted by response and marker; None if none were added."""
        if not self.parts:
            return None
        self._prune()
        pairs = self.parts[0]
        return pairs.at(np.lexsort((pairs.marker, pairs.response)))

    def _prune(self) -> None:
        pairs = joined(self.parts)
        if self.best:
            order = np.lexsort((-pairs.height(self.test), pairs.response))
            _, first = np.unique(pairs.response[order], return_index=True)
            pairs = pairs.at(order[first])
        if self.top is not None and pairs.marker.size > self.top:
            height = pairs.height(self.test)
            order = np.argsort(-height, kind="stable")[: self.top]
            if not self.best:
                self.lowest = max(self.lowest, float(height[order[-1]]))
            pairs = pairs.at(order)
        self.parts = [pairs]


def gathered(values: Float[jax.Array, "*c m S"], pair: Int[NumpyArray, "2 k"]) -> Float[NumpyArray, "*c k"]:
    """Return the sums of some pairs of a response and a marker."""
    count = pair.shape[1]
    if count * 4 > values.shape[-1] * values.shape[-2]:
        return np.asarray(np.asarray(values)[..., pair[0], pair[1]])
    padded = np.zeros((2, bucket(count, 64)), np.int32)
    padded[:, :count] = pair
    return np.asarray(_gather(values, padded))[..., :count]


@program()
def _gather(values: Float[Array, "*c m S"], pair: Int[Array, "2 k"]) -> Float[jax.Array, "*c k"]:
    return jnp.asarray(values)[..., pair[0], pair[1]]


class Rule(Struct):
    """The filter on the device: by which ``test`` pairs are judged, and whether only a response's ``best`` is kept."""

    test: str = static()
    best: bool = static()


@program()
def passing_pairs(
    rule: Rule, a: Float[Array, "c m S"], b: Float[Array, "c c m S"], squares: Float[Array, " m"],
    limits: Float[Array, " m"], left: Float[Array, " S"], s: Int[Array, ""], count: Float[Array, " m"],
    n: Float[Array, ""],
) -> Bool[jax.Array, "m S"]:  # fmt: skip
    """Return which pairs reach the least statistic of their response, or are its best; the first s markers count."""
    a, b, squares, count = jnp.asarray(a), jnp.asarray(b), jnp.asarray(squares)[:, None], jnp.asarray(count)[:, None]
    c = a.shape[0]
    if c == 1:
        explained = a[0] ** 2 / b[0, 0]
    else:
        explained = (b[1, 1] * a[0] ** 2 - 2.0 * b[0, 1] * a[0] * a[1] + b[0, 0] * a[1] ** 2) / (
            b[0, 0] * b[1, 1] - b[0, 1] ** 2
        )
    if rule.test == "wald":
        statistic = count / c * explained / jnp.maximum(squares - explained, RESIDUAL_FLOOR * squares)
    elif rule.test == "score":
        statistic = n / c * explained / squares
    else:
        statistic = -n * jnp.log1p(-jnp.minimum(explained / squares, 1.0 - RESIDUAL_FLOOR))
    usable = (jnp.asarray(left) > COLLINEAR_SHARE) & (jnp.arange(statistic.shape[1]) < s)
    good = usable[None, :] & jnp.isfinite(statistic)
    reached = good & (statistic >= jnp.asarray(limits)[:, None])
    if rule.best:
        first = jnp.argmax(jnp.where(good, statistic, -jnp.inf), axis=1)
        reached = reached & (jnp.arange(statistic.shape[1])[None, :] == first[:, None])
    return reached
