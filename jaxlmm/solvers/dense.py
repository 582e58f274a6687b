"""The solver for everything else: independent clusters of rows, padded and batched, their matrices inverted whole."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._shapes import bucket
from jaxlmm._struct import Struct, static
from jaxlmm._typing import Array, NumpyArray
from jaxlmm.linalg import BLOCK, inverse_logdet
from jaxlmm.model.design import Design, Grouping, Term
from jaxlmm.model.layout import Factors
from jaxlmm.solvers.base import AbstractSolver, Effects


class Rows(Struct):
    """The rows of one term in a batch of clusters: ``z`` (B, M, q), ``levels`` and ``positions`` (B, M)."""

    z: Array
    levels: Array
    positions: Array | None

    def roots(self, factor: jax.Array) -> jax.Array:
        """Return ``F`` (B, M, r): the term's covariance between two rows of one level is ``F_i · F_j``."""
        if self.positions is None:
            return jnp.asarray(self.z) @ factor
        return jnp.asarray(self.z) * factor[self.levels, self.positions]


class Batch(Struct):
    """Clusters of similar size, padded to M rows.

    ``index`` (B, M) are row numbers, ``real`` (B, M) is 1 on real rows; ``relations`` (B, M, M), per grouping, is the
    known covariance between the levels of two rows (1 and 0 for independent levels).
    """

    index: Array
    real: Array
    relations: tuple[Array, ...]
    terms: tuple[Rows, ...]
    residual: Rows | None


class Dense(AbstractSolver):
    """Any model. Clusters are the connected components of the covariance; each costs the cube of its size.

    ``H`` of a cluster is the sum over terms of ``(F Fᵀ) ∘ (relation of the levels)`` and the residual matrix, which is
    the identity or a structure within its groups.
    """

    name: ClassVar[str] = "dense"

    batches: tuple[Batch, ...]
    places: tuple[int, ...] = static()  # the grouping of each term, the residual's last

    @classmethod
    def build(cls, design: Design) -> Self:
        acting = (*design.terms, *((design.residual,) if design.residual else ()))
        batches = [_gather(design, clusters) for clusters in batched(clusters_of(design))]
        return cls(tuple(batches), tuple(term.grouping for term in acting))

    def pair(self, a: Array, b: Array) -> list[tuple[jax.Array, jax.Array]]:
        a, b = jnp.asarray(a), jnp.asarray(b)
        return [
            (a[batch.index] * batch.real[..., None], b[batch.index] * batch.real[..., None]) for batch in self.batches
        ]

    def factor(self, factors: Factors) -> list[tuple[jax.Array, jax.Array]]:
        return [inverse_logdet(self._matrix(batch, factors)) for batch in self.batches]

    def _matrix(self, batch: Batch, factors: Factors) -> jax.Array:
        eye = jnp.eye(batch.real.shape[1])
        if batch.residual is None:
            total = jnp.broadcast_to(eye, (*batch.real.shape, eye.shape[0]))
        else:
            roots = batch.residual.roots(factors.residual)
            total = (roots @ roots.swapaxes(-1, -2)) * batch.relations[self.places[-1]]
            total = total + eye[None] * (1.0 - batch.real)[..., None]
        for rows, factor, place in zip(batch.terms, factors.terms, self.places, strict=False):
            roots = rows.roots(factor)
            total = total + (roots @ roots.swapaxes(-1, -2)) * batch.relations[place]
        return total

    def logdet(self, factor: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
        return sum((jnp.sum(logdet) for _, logdet in factor), start=jnp.zeros(()))

    def inner(
        self, factor: list[tuple[jax.Array, jax.Array]], pair: list[tuple[jax.Array, jax.Array]]
    ) -> jax.Array:
        parts = [
            jnp.einsum("bmi,bmj->ij", a, inverse @ b) for (inverse, _), (a, b) in zip(factor, pair, strict=True)
        ]
        return sum(parts[1:], start=parts[0])

    def solve(self, factor: list[tuple[jax.Array, jax.Array]], b: jax.Array) -> jax.Array:
        """Return ``H⁻¹ B`` by rows, (N, j)."""
        solved = jnp.zeros_like(b)
        for batch, (inverse, _) in zip(self.batches, factor, strict=True):
            part = inverse @ (b[batch.index] * batch.real[..., None])
            solved = solved.at[batch.index].add(part * batch.real[..., None])
        return solved

    def effects(self, design: Design, factors: Factors, residual: jax.Array) -> Effects:
        factor = self.factor(factors)
        weighted = self.solve(factor, residual[:, None])
        modes, sds = [], []
        for t, term in enumerate(design.terms):
            grouping = design.groupings[term.grouping]
            z = _expanded(term)
            size = _n_levels(grouping, factors.terms[t])
            covariance = factors.terms[t] @ factors.terms[t].swapaxes(-1, -2)
            score = jax.ops.segment_sum(z * weighted, grouping.codes, size)
            information = self._information(factor, t, z, size, grouping)
            if grouping.relation is not None:
                score = grouping.relation @ score
            prior = covariance if covariance.ndim == 3 else covariance[None]
            variance = jnp.diagonal(prior, axis1=-2, axis2=-1)
            if grouping.relation is not None:
                variance = jnp.diagonal(jnp.asarray(grouping.relation))[:, None] * variance
            explained = jnp.diagonal(prior @ information @ prior, axis1=-2, axis2=-1)
            modes.append((prior @ score[..., None])[..., 0])
            sds.append(jnp.sqrt(jnp.maximum(variance - explained, 0.0)))
        return Effects(tuple(modes), tuple(sds))

    def _information(
        self,
        factor: list[tuple[jax.Array, jax.Array]],
        t: int,
        z: jax.Array,
        size: int,
        grouping: Grouping,
    ) -> jax.Array:
        """Return, per level, ``Z̃ᵀ H⁻¹ Z̃`` (G, q, q) with ``Z̃`` the rows that covary with that level."""
        q = z.shape[1]
        if grouping.relation is None:
            information = jnp.zeros((size, q, q), z.dtype)
            for batch, (inverse, _) in zip(self.batches, factor, strict=True):
                rows = z[batch.index] * batch.real[..., None]
                product = (inverse * batch.relations[self.places[t]]) @ rows
                information = information.at[batch.terms[t].levels].add(rows[..., :, None] * product[..., None, :])
            return information
        joint = jnp.zeros((size, size, q, q), z.dtype)
        for batch, (inverse, _) in zip(self.batches, factor, strict=True):
            rows = z[batch.index] * batch.real[..., None]
            level = jnp.asarray(batch.terms[t].levels)
            between = inverse[..., None, None] * rows[:, :, None, :, None] * rows[:, None, :, None, :]
            joint = joint.at[level[:, :, None], level[:, None, :]].add(between)
        relation = jnp.asarray(grouping.relation)
        return jnp.einsum("jk,klab,jl->jab", relation, joint, relation, optimize=True)


def _expanded(term: Term) -> jax.Array:
    if term.positions is None:
        return jnp.asarray(term.z)
    return jnp.asarray(term.z) * jax.nn.one_hot(term.positions, term.size, dtype=term.z.dtype)


def _n_levels(grouping: Grouping, factor: jax.Array) -> int:
    if factor.ndim == 3:
        return factor.shape[0]
    if grouping.relation is not None:
        return int(grouping.relation.shape[0])
    return int(grouping.codes.shape[0])  # a bound that is the same for all data sets of one bucket


class Clusters(NamedTuple):
    """Row numbers of clusters padded to one size: ``index`` and ``real``, (B, M)."""

    index: NumpyArray
    real: NumpyArray


def clusters_of(design: Design) -> list[NumpyArray]:
    """Return the row numbers of each independent cluster: the connected components of the covariance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, nodes = int(design.n), int(design.n)
    starts, ends = [np.zeros(0, int)], [np.zeros(0, int)]
    for grouping in design.groupings:
        starts.append(np.arange(n))
        ends.append(np.asarray(grouping.codes)[:n] + nodes)
        if grouping.relation is not None:
            one, other = np.nonzero(np.asarray(grouping.relation))
            starts.append(one + nodes)
            ends.append(other + nodes)
        nodes += int(grouping.n_levels)
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(start.size, np.int8), (start, end)), shape=(nodes, nodes))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label[:n], kind="stable")
    edges = np.flatnonzero(np.diff(label[:n][order])) + 1
    return np.split(order, edges)


def batched(clusters: list[NumpyArray]) -> list[Clusters]:
    """Group clusters of similar size and pad them: sizes 4, 8, 16, 32, then multiples of 32."""
    sizes = np.array([cluster.size for cluster in clusters])
    left, found = np.ones(sizes.size, bool), []
    while left.any():
        largest = sizes[left].max()
        if largest > BLOCK:
            size = -(-largest // BLOCK) * BLOCK
            chosen = left & (sizes > max(0.6 * largest, BLOCK))
        else:
            size = next(power for power in (4, 8, 16, 32) if power >= largest)
            chosen = left & (sizes > (size // 2 if size > 4 else 0))
        members = np.flatnonzero(chosen)
        count = bucket(members.size) if size <= BLOCK else members.size
        index, real = np.zeros((count, size), np.int32), np.zeros((count, size))
        for place, member in enumerate(members):
            index[place, : sizes[member]] = clusters[member]
            real[place, : sizes[member]] = 1.0
        found.append(Clusters(index, real))
        left &= ~chosen
    return found


def _gather(design: Design, clusters: Clusters) -> Batch:
    index, real = clusters

    def rows(term: Term) -> Rows:
        positions = None if term.positions is None else np.asarray(term.positions)[index]
        levels = np.asarray(design.groupings[term.grouping].codes)[index]
        return Rows(np.asarray(term.z)[index] * real[..., None], levels, positions)

    def relation(grouping: Grouping) -> NumpyArray:
        levels = np.asarray(grouping.codes)[index]
        one, other = levels[:, :, None], levels[:, None, :]
        known = (one == other).astype(float) if grouping.relation is None else np.asarray(grouping.relation)[one, other]
        return known * real[:, :, None] * real[:, None, :]

    return Batch(
        index,
        real,
        tuple(relation(grouping) for grouping in design.groupings),
        tuple(rows(term) for term in design.terms),
        rows(design.residual) if design.residual else None,
    )
