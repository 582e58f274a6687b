"""The solver for everything else: independent clusters of rows, padded and batched, their matrices inverted whole."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.linalg import BLOCK, applied, inverse_logdet
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.clusters import Cluster, batched, clusters_of, describe, padded_count, rounded, stacked

EXPENSIVE_EFFECTS = 10**6
"""Multiplications of one inverse beyond which a start is looked for in few places."""

EXPENSIVE_SIZE = 256
"""With a cluster of more dimensions a Hessian costs several gradients: two products of whole matrices per parameter."""

LARGE = 2**19
"""Numbers in the matrices of all clusters beyond which evaluations follow one another."""


class BatchTerm(Struct):
    """One term in a batch of clusters.

    ``columns`` (B, m, L, q) maps the term's independent effects to the cluster's basis; ``levels`` (B, L) are their
    levels, past the last where padded; ``root`` (B, L, L) is the root of a known matrix across them, or None.
    ``products`` (q (q + 1) / 2, B, m, m) are what each entry of the upper triangle of the term's covariance does on the
    basis, where that is less work than ``columns``; else None.
    """

    columns: Array
    levels: Array
    root: Array | None
    products: Array | None

    def covariance(self, factor: jax.Array) -> jax.Array:
        """Return what the term does on the basis, (B, m, m)."""
        if self.products is not None:
            entries = (factor @ factor.T)[np.triu_indices(factor.shape[0])]
            return jnp.tensordot(entries, jnp.asarray(self.products), axes=1)
        spread = self.spread(factor)
        spread = spread.reshape(*spread.shape[:2], -1)
        return spread @ spread.swapaxes(-1, -2)

    def spread(self, factor: jax.Array) -> jax.Array:
        """Return what effects of unit variance do, (B, m, L, r)."""
        if factor.ndim == 2:
            return jnp.asarray(self.columns) @ factor
        return jnp.einsum("bmlq,blqr->bmlr", self.columns, factor.at[self.levels].get(mode="fill", fill_value=0.0))


class Batch(Struct):
    """Clusters of similar size, padded to N rows.

    ``index`` (B, N) are row numbers, ``basis`` (B, N, m) an orthonormal basis of what random effects can do to the
    rows (zero on padding; the identity under a residual structure), ``levels`` and ``positions`` (B, N) those of the
    residual structure.
    """

    index: Array
    basis: Array
    terms: tuple[BatchTerm, ...]
    levels: Array | None
    positions: Array | None


class DensePair(NamedTuple):
    """``within`` (i, j), what no random effect touches; per batch ``left``, ``right`` (B, m, ·) on the basis."""

    within: jax.Array
    left: list[jax.Array]
    right: list[jax.Array]


class DenseBorder(NamedTuple):
    """For each of m responses: ``within`` (m, i) and ``square`` (m,), what no random effect touches; per batch
    ``own`` (m, B, r) on the basis.
    """

    within: jax.Array
    square: jax.Array
    own: list[jax.Array]


class DenseFactor(NamedTuple):
    """Per batch H on the basis in ``matrices`` (B, m, m), its ``inverses``, and the ``logdet`` () over all clusters."""

    matrices: list[jax.Array]
    inverses: list[jax.Array]
    logdet: jax.Array


class Dense(AbstractSolver):
    """Any model. Clusters are the connected components of the covariance.

    Within a cluster, random effects move the rows only in the range of their columns, of dimension m. On an
    orthonormal basis U of it, ``H = I + Uᵀ Z Λ Λᵀ Zᵀ U``; off it, H is the identity and its part of ``AᵀB`` is formed
    once. Nothing large is added to the identity there, so nothing cancels. A cluster costs m³, at most the cube of
    its rows. Under a residual structure the basis is that of the rows, and its matrix takes the identity's place.
    """

    name: ClassVar[str] = "dense"

    batches: tuple[Batch, ...]
    pairwise: bool = static()  # whether any row lies outside the bases
    by_levels: bool = static()  # whether what is estimated are covariances of columns, no structures along positions

    @property
    def hessian_is_expensive(self) -> bool:
        # The expected curvature that steps would be learned from is known of variances alone.
        return self.by_levels and max((size for _, size in self._sizes), default=0) > EXPENSIVE_SIZE

    @property
    def coarse_start(self) -> bool:
        return sum(count * size**3 for count, size in self._sizes) > EXPENSIVE_EFFECTS

    @property
    def sequential(self) -> bool:
        return sum(count * size**2 for count, size in self._sizes) > LARGE

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        return [(np.shape(batch.basis)[0], np.shape(batch.basis)[2]) for batch in self.batches]

    @classmethod
    def build(cls, design: Design) -> Self:
        clusters = [describe(design, rows) for rows in clusters_of(design)]
        batches = tuple(_batch(design, group) for group in batched(clusters))
        by_levels = design.residual is None and all(not term.over_positions for term in design.terms)
        return cls(batches, design.residual is None, by_levels)

    def cross_products(self, a: Array, b: Array) -> DensePair:
        a, b = jnp.asarray(a), jnp.asarray(b)
        left, right = (self._on_bases(c) for c in (a, b))
        if not self.pairwise:
            return DensePair(jnp.zeros((a.shape[1], b.shape[1])), left, right)
        return DensePair(self._remainder(a, left).T @ self._remainder(b, right), left, right)

    def augmented(self, a: Array, e: Array) -> DenseBorder:
        a, e = jnp.asarray(a), jnp.asarray(e)
        left, own = (self._on_bases(c) for c in (a, e))
        leading = [jnp.moveaxis(part, -1, 0) for part in own]
        if not self.pairwise:
            return DenseBorder(jnp.zeros((e.shape[1], a.shape[1])), jnp.zeros(e.shape[1]), leading)
        rest = self._remainder(e, own)
        return DenseBorder(rest.T @ self._remainder(a, left), jnp.sum(rest**2, axis=0), leading)

    def quadratic_forms(
        self, factor: DenseFactor, pair: DensePair, augmented: DenseBorder
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        cross, square = augmented.within, augmented.square
        for matrix, inverse, left, own in zip(factor.matrices, factor.inverses, pair.left, augmented.own, strict=True):
            pulled = applied(matrix, inverse, own[..., None])[..., 0]
            cross = cross + jnp.einsum("bmi,bm->i", left, pulled)
            square = square + jnp.sum(own * pulled)
        return self.inner(factor, pair), cross, square

    def _on_bases(self, a: jax.Array) -> list[jax.Array]:
        return [batch.basis.swapaxes(-1, -2) @ a[batch.index] for batch in self.batches]

    def _remainder(self, a: jax.Array, projected: list[jax.Array]) -> jax.Array:
        for batch, part in zip(self.batches, projected, strict=True):
            a = a.at[batch.index].add(-(batch.basis @ part))
        return a

    def factor(self, factors: Factors) -> DenseFactor:
        matrices = [self._matrix(batch, factors) for batch in self.batches]
        parts = [inverse_logdet(matrix) for matrix in matrices]
        logdet = sum((jnp.sum(d) for _, d in parts), start=jnp.zeros(()))
        return DenseFactor(matrices, [inverse for inverse, _ in parts], logdet)

    def _matrix(self, batch: Batch, factors: Factors) -> jax.Array:
        size = batch.basis.shape[-1]
        total = jnp.broadcast_to(jnp.eye(size), (batch.basis.shape[0], size, size))
        if batch.levels is not None and factors.residual is not None:
            root = factors.residual[batch.levels, batch.positions]
            together = (batch.levels[:, :, None] == batch.levels[:, None, :]) & (batch.basis.sum(axis=1) > 0)[
                :, None, :
            ]
            total = jnp.where(together & together.swapaxes(-1, -2), root @ root.swapaxes(-1, -2), total)
        for term, factor in zip(batch.terms, factors.terms, strict=True):
            total = total + term.covariance(factor)
        return total

    def logdet(self, factor: DenseFactor) -> jax.Array:
        return factor.logdet

    def inner(self, factor: DenseFactor, pair: DensePair) -> jax.Array:
        total = pair.within
        for matrix, inverse, left, right in zip(factor.matrices, factor.inverses, pair.left, pair.right, strict=True):
            total = total + jnp.einsum("bmi,bmj->ij", left, applied(matrix, inverse, right))
        return total

    def effects(self, design: Design, factors: Factors, factor: DenseFactor, residual: jax.Array) -> Effects:
        modes, sds = [], []
        for t, term in enumerate(design.terms):
            root = factors.terms[t]
            size = root.shape[0] if root.ndim == 3 else design.n_padded  # at most as many levels as rows
            mode = variance = jnp.zeros((size, term.size))
            for batch, inverse in zip(self.batches, factor.inverses, strict=True):
                local = batch.terms[t]
                found, explained = _modes(batch, local, root, inverse, residual)
                mode = mode.at[local.levels].add(found, mode="drop")
                variance = variance.at[local.levels].add(explained, mode="drop")
            modes.append(mode)
            sds.append(jnp.sqrt(jnp.maximum(variance, 0.0)))
        return Effects(tuple(modes), tuple(sds))


def _modes(
    batch: Batch, term: BatchTerm, factor: jax.Array, inverse: jax.Array, residual: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return modes and conditional variances (B, L, q) of one term in a batch."""
    spread = term.spread(factor)
    own = jnp.ones(spread.shape[:1] + spread.shape[2:3])
    if term.root is not None:
        spread = jnp.einsum("bmjr,blj->bmlr", spread, term.root)
        own = jnp.sum(jnp.asarray(term.root) ** 2, axis=-1)
    on_basis = jnp.einsum("bnm,bn->bm", batch.basis, residual[batch.index])
    weighted = jnp.einsum("bmn,bn->bm", inverse, on_basis)
    score = jnp.einsum("bmlr,bm->blr", spread, weighted)
    flat = spread.reshape(*spread.shape[:2], -1)
    solved = (inverse @ flat).reshape(spread.shape)
    left = own[..., None, None] * jnp.eye(spread.shape[-1])[None, None] - jnp.einsum("bmlr,bmls->blrs", spread, solved)
    local = factor[None, None] if factor.ndim == 2 else factor.at[term.levels].get(mode="fill", fill_value=0.0)
    mode = jnp.sum(local * score[..., None, :], axis=-1)
    return mode, jnp.sum((local @ left) * local, axis=-1)


def _products(columns: NumpyArray) -> NumpyArray:
    """Return the products (e, B, m, m) of ``columns`` (B, m, L, q): one for each entry of a covariance's triangle."""
    found = []
    for i, j in zip(*np.triu_indices(columns.shape[-1]), strict=True):
        product = columns[..., i] @ columns[..., j].swapaxes(-1, -2)
        found.append(product if i == j else product + product.swapaxes(-1, -2))
    return np.stack(found)


def _batch(design: Design, clusters: list[Cluster]) -> Batch:
    n, m = (rounded(max(max(c.basis.shape[axis] for c in clusters), 1)) for axis in (0, 1))
    if design.residual is None:
        n = max(n, BLOCK)
    count = padded_count(len(clusters), m)
    index = stacked([cluster.rows.astype(np.int32) for cluster in clusters], count, (n,))
    terms = []
    for t, term in enumerate(design.terms):
        parts = [cluster.terms[t] for cluster in clusters]
        wide = rounded(max(part.levels.size for part in parts))
        columns = [
            (c.basis.T @ p.columns.reshape(c.rows.size, -1)).reshape(-1, *p.columns.shape[1:])
            for c, p in zip(clusters, parts, strict=True)
        ]
        levels = stacked([p.levels.astype(np.int32) for p in parts], count, (wide,), fill=design.n_padded + 1)
        roots = [part.root for part in parts if part.root is not None]
        root = stacked(roots, count, (wide, wide)) if roots else None
        padded = stacked(columns, count, (m, wide, term.size))
        products = None if term.over_positions or (term.size > 1 and root is None) else _products(padded)
        terms.append(BatchTerm(padded, levels, root, products))
    own_levels: NumpyArray | None = None
    own_positions: NumpyArray | None = None
    if design.residual is not None:
        own_levels = np.asarray(design.groupings[design.residual.grouping].codes)[index]
        own_positions = np.asarray(design.residual.positions)[index]
    basis = stacked([cluster.basis for cluster in clusters], count, (n, m))
    return Batch(index, basis, tuple(terms), own_levels, own_positions)
