"""The solver for repeated measures: clusters with the same pattern share one inverse and sums of products."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, Effects, QuadraticForms
from jaxlmm.solvers.clusters import describe, stacked
from jaxlmm.solvers.dense import ClusterGroup, effects_of, group_of
from jaxlmm.solvers.repeated.members import Members, members_of

MAX_ROWS_OF_PATTERN = 64
"""The most rows of a cluster: sums of products take the square of it for each pattern."""

MIN_REPEATS = 2.0
"""The mean number of clusters of a pattern from which its sums of products cost less than the rows."""

MAX_SUMS = 10**7
"""The most sums of products, 80 megabytes."""

CHUNK = 32
"""The number of clusters of one pattern whose products are formed at once."""


class Sums(NamedTuple):
    """Sums of products ``Σ a_k b_lᵀ`` over the clusters of a pattern, for its pairs of rows k ≤ l, in both orders."""

    values: Float[jax.Array, "*b CE i j"]


class SymmetricSums(NamedTuple):
    """The same of A with itself, as matrices' upper ``triangles``, row by row."""

    triangles: Float[jax.Array, "*b CE t"]


class SumsOfResponse(NamedTuple):
    """Sums of products of one response: with A, ``cross``, and with itself, ``square``."""

    cross: Float[jax.Array, "*b CE i"]
    square: Float[jax.Array, "*b CE"]


class PatternFactor(NamedTuple):
    """The ``inverses`` of H for each pattern, their entries k ≤ l in one vector ``entries``, and ``log|H|``."""

    inverses: Float[jax.Array, "C m m"]
    entries: Float[jax.Array, " CE"]
    logdet: Float[jax.Array, ""]


class Repeated(AbstractSolver):
    """Repeated measures: residuals, or effects, along positions that levels share.

    Clusters whose rows have the same positions and columns have the same H, of m rows: its inverse is computed once for
    each of the C patterns, and ``AᵀH⁻¹B = Σ_c ⟨H_c⁻¹, T_c⟩`` with the sums of products T_c over the clusters of a
    pattern, which do not depend on theta. So an evaluation costs C m² (m + p²), however many clusters there are.

    ``group`` has a cluster of each pattern, ``counts`` (C,) their numbers. ``index`` (B, m) are the rows of all
    clusters, ``real`` (B, m) 1 on those that exist. ``chunks`` (K, CHUNK) are clusters of one pattern, ``of_chunk``
    (K,). ``whole`` are all clusters, for the modes of random effects, whose patterns are ``pattern`` (B,).
    """

    name: ClassVar[str] = "repeated"

    group: ClusterGroup
    counts: Float[Array, " C"]
    index: Int[Array, "B m"]
    real: Float[Array, "B m"]
    chunks: Int[Array, "K c"]
    of_chunk: Int[Array, " K"]
    whole: ClusterGroup | None
    pattern: Int[Array, " B"]
    n_positions: int = static()  # of the residual structure, 0 without one

    @classmethod
    def unsuitable(cls, design: Design) -> str:
        along = [term for term in (*design.terms, design.residual) if term is not None and term.over_positions]
        if not along:
            return "no structure along positions"
        if any(grouping.relation is not None for grouping in design.groupings):
            return "a known matrix across levels"
        if any(term.own_positions for term in along):
            return "positions that levels do not share"
        members = members_of(design)
        if members.largest > MAX_ROWS_OF_PATTERN:
            return f"clusters of {members.largest} rows"
        pairs = members.largest * (members.largest + 1) // 2
        if len(members.clusters) < MIN_REPEATS * members.n_patterns:
            return f"{members.n_patterns} patterns of rows in {len(members.clusters)} clusters"
        if members.n_patterns * pairs * (design.basis.shape[1] + 1) ** 2 > MAX_SUMS:
            return f"{members.n_patterns} patterns of rows, too many for the sums of their products"
        return ""

    @classmethod
    def reason(cls, design: Design) -> str:
        members = members_of(design)
        return f"{len(members.clusters)} clusters of {members.n_patterns} patterns of at most {members.largest} rows"

    @classmethod
    def build(cls, design: Design) -> Self:
        members = members_of(design)
        size, count = members.largest, _padded(members.n_patterns)
        described = [describe(design, rows)._replace(basis=np.eye(rows.size)) for rows in members.first]
        index = stacked([rows.astype(np.int32) for rows in members.clusters], len(members.clusters), (size,))
        real = stacked([np.ones(rows.size) for rows in members.clusters], len(members.clusters), (size,))
        chunks, of_chunk = _chunks(members)
        whole = None
        if design.terms:
            every = [describe(design, rows)._replace(basis=np.eye(rows.size)) for rows in members.clusters]
            whole = group_of(design, every, (len(every), size))
        return cls(
            group_of(design, described, (count, size)),
            np.bincount(members.pattern, minlength=count).astype(float),
            index, real, chunks, of_chunk, whole, members.pattern,
            0 if design.residual is None else design.residual.size,
        )  # fmt: skip

    def without_rows(self) -> Self:
        empty = np.zeros((0, self.index.shape[1]))
        none = np.zeros((0, CHUNK), np.int32)
        return self.replace(
            index=empty.astype(np.int32), real=empty, chunks=none, of_chunk=none[:, 0], whole=None,
            pattern=none[:, 0],
        )  # fmt: skip

    def reweighted(self, root_weight: Float[Array, " N"]) -> Self:
        weight = jnp.asarray(root_weight)
        whole = None if self.whole is None else self.whole.reweighted(weight)
        return self.replace(group=self.group.reweighted(weight), whole=whole)

    def cross_products(self, a: Float[Array, "N i"], b: Float[Array, "N j"]) -> Sums | SymmetricSums:
        left = self._by_cluster(a)
        if a is b:
            return SymmetricSums(self._sums(left, left)[:, *np.triu_indices(left.shape[-1])])
        return Sums(self._sums(left, self._by_cluster(b)))

    def augmented(self, a: Float[Array, "N i"], e: Float[Array, "N m"]) -> SumsOfResponse:
        left = self._by_cluster(a)

        def one(column: Float[jax.Array, " N"]) -> SumsOfResponse:
            right = self._by_cluster(column[:, None])
            return SumsOfResponse(self._sums(left, right)[..., 0], self._sums(right, right)[..., 0, 0])

        return jax.lax.map(one, jnp.asarray(e).T)

    def _by_cluster(self, a: Float[Array, "N i"]) -> Float[jax.Array, "B1 m i"]:
        """Return the rows of each cluster, zero where padded, and one more cluster of zeros."""
        rows = jnp.asarray(a)[self.index] * jnp.asarray(self.real)[:, :, None]
        return jnp.concatenate([rows, jnp.zeros_like(rows[:1])])

    def _sums(self, left: Float[jax.Array, "B1 m i"], right: Float[jax.Array, "B1 m j"]) -> Float[jax.Array, "CE i j"]:
        """Return the sums of products over the clusters of each pattern."""
        (_, m, i), j = left.shape, right.shape[-1]
        if not len(left):
            return jnp.zeros((len(self.counts) * (m * (m + 1) // 2), i, j), left.dtype)
        flat_left, flat_right = left.reshape(len(left), m * i), right.reshape(len(right), m * j)

        def add(
            total: Float[jax.Array, "C mi mj"], chunk: tuple[Int[jax.Array, " c"], Int[jax.Array, ""]]
        ) -> tuple[Float[jax.Array, "C mi mj"], None]:
            clusters, pattern = chunk
            return total.at[pattern].add(flat_left[clusters].T @ flat_right[clusters]), None

        zeros = jnp.zeros((len(self.counts), m * i, m * j), left.dtype)
        total, _ = jax.lax.scan(add, zeros, (jnp.asarray(self.chunks), jnp.asarray(self.of_chunk)))
        by_row = total.reshape(len(total), m, i, m, j)
        first, second = np.triu_indices(m)
        twice = (first != second).astype(float)[:, None, None, None]
        both = by_row[:, first, :, second] + twice * by_row[:, second, :, first]  # (pairs, C, i, j)
        return jnp.moveaxis(both, 0, 1).reshape(len(total) * len(first), i, j)

    def factor(self, factors: Factors) -> PatternFactor:
        inverses, logdets = inverse_logdet(self.group.covariance(factors))
        entries = inverses[:, *np.triu_indices(inverses.shape[-1])].reshape(-1)
        return PatternFactor(inverses, entries, jnp.asarray(self.counts) @ logdets)

    def logdet(self, factor: PatternFactor) -> Float[jax.Array, ""]:
        return factor.logdet

    def inner(self, factor: PatternFactor, products: Sums | SymmetricSums) -> Float[jax.Array, "i j"]:
        if isinstance(products, SymmetricSums):
            triangle = factor.entries @ jnp.asarray(products.triangles)
            size = int(np.sqrt(2 * triangle.size))
            upper = jnp.zeros((size, size), triangle.dtype).at[np.triu_indices(size)].set(triangle)
            return upper + jnp.triu(upper, 1).T
        values = jnp.asarray(products.values)
        size, i, j = values.shape
        return (factor.entries @ values.reshape(size, i * j)).reshape(i, j)

    def quadratic_forms(
        self, factor: PatternFactor, products: Sums | SymmetricSums, augmented: SumsOfResponse
    ) -> QuadraticForms:
        entries = factor.entries
        return self.inner(factor, products), entries @ augmented.cross, entries @ augmented.square

    @property
    def guesses_residual(self) -> bool:
        return self.n_positions > 0

    def guess_residual(self, augmented: SumsOfResponse) -> Float[jax.Array, "q q"] | None:
        """Return the mean products of two positions' residuals over the levels that have both."""
        levels, positions = self.group.levels, self.group.positions
        if levels is None or positions is None:
            return None
        levels, positions = jnp.asarray(levels), jnp.asarray(positions)
        real = self.group.basis.sum(axis=1) > 0
        first, second = np.triu_indices(positions.shape[1])
        together = real[:, first] & real[:, second] & (levels[:, first] == levels[:, second])
        clusters = jnp.where(together, jnp.asarray(self.counts)[:, None], 0.0)
        once = augmented.square.reshape(clusters.shape) * np.where(first == second, 1.0, 0.5)[None, :]

        def total(values: Float[jax.Array, "C e"]) -> Float[jax.Array, "q q"]:
            empty = jnp.zeros((self.n_positions, self.n_positions))
            one = empty.at[positions[:, first], positions[:, second]].add(jnp.where(together, values, 0.0))
            return one + one.T

        return total(once) / jnp.maximum(total(clusters), 1.0)

    def effects(
        self, design: Design, factors: Factors, factor: PatternFactor, residual: Float[jax.Array, " N"]
    ) -> Effects:
        if self.whole is None:
            return Effects((), ())
        return effects_of(design, factors, [self.whole], [factor.inverses[self.pattern]], residual)


def _padded(count: int) -> int:
    """Return a padded number of patterns, or of chunks, so that another trial of about as many compiles nothing.

    >>> [_padded(count) for count in (1, 9, 70)]
    [8, 16, 96]
    """
    step = 8 if count <= 64 else 32
    return -(-count // step) * step


def _chunks(members: Members) -> tuple[Int[NumpyArray, "K c"], Int[NumpyArray, " K"]]:
    """Return clusters of each pattern in chunks, padded with a cluster past the last, and the pattern of each chunk."""
    chunks, of_chunk = [], []
    order = np.argsort(members.pattern, kind="stable")
    edges = np.flatnonzero(np.diff(members.pattern[order])) + 1
    for pattern, own in enumerate(np.split(order.astype(np.int32), edges)):
        for first in range(0, own.size, CHUNK):
            chunks.append(own[first : first + CHUNK])
            of_chunk.append(pattern)
    count = _padded(len(chunks))
    stacked_chunks = stacked(chunks, count, (CHUNK,), fill=len(members.clusters))
    return stacked_chunks, np.array(of_chunk + [0] * (count - len(chunks)), np.int32)
