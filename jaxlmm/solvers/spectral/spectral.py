"""The solver for one random effect per level with a known matrix across levels: its eigenbasis serves all responses."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, static
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.spectral.eigen import EigenBatch, eigen_batches, trimmed
from jaxlmm.solvers.spectral.weighted import Beside, Columns, log_determinant, weighted

GRID = np.geomspace(0.05, 40.0, 33) ** 2
"""Ratios at which a start is looked for: for all responses a product of two matrices."""


class SpectralPair(NamedTuple):
    """``within`` (i, j), what no random effect touches; the ``columns`` on the eigenbasis."""

    within: Array
    columns: Columns


class SpectralBorder(NamedTuple):
    """For each of m responses: ``within`` (m, i) and ``square`` (m,), what no random effect touches; ``own`` (m, r) on
    the eigenbasis.
    """

    within: Array
    square: Array
    own: Array


class SpectralFactor(NamedTuple):
    """The ``ratio`` () of the effects' variance to the residual's, 1 / (1 + ratio × eigenvalue) (r,), and log|H|."""

    ratio: jax.Array
    weights: jax.Array
    logdet: jax.Array


class Spectral(AbstractSolver):
    """One random term of one column, a known matrix K across its levels, independent residuals.

    With ``Z = Q D``, a unit column of Q for each level, and ``D K D = U S Uᵀ``, decomposed once,

        ``Aᵀ H⁻¹ B = (A − QQᵀA)ᵀ(B − QQᵀB) + (UᵀQᵀA)ᵀ (I + θ² S)⁻¹ (UᵀQᵀB)``
        ``log|H| = Σ log(1 + θ² S)``

    (Kang et al. 2008, "Efficient control of population structure in model organism association mapping", eq. 6;
    Lippert et al. 2011 for K of low rank.) Every term is positive, and eigenvalues that are zero up to rounding are
    exactly zero, so nothing cancels at any variance ratio. U is block-diagonal in the clusters of levels that covary.
    One theta costs as many operations as there are levels, times p².
    """

    name: ClassVar[str] = "spectral"

    rows: Array  # (N,): what of each row is in Q
    codes: Array  # (N,)
    values: Array  # (r,): S of all batches, in their order
    batches: tuple[EigenBatch, ...]
    beyond: int = static()  # the number of a level that does not exist

    @classmethod
    def build(cls, design: Design) -> Self:
        (term,) = design.terms
        n, codes, z = int(design.n), np.asarray(design.groupings[term.grouping].codes), np.asarray(term.z)[:, 0]
        levels = int(design.groupings[term.grouping].n_levels)
        lengths = np.sqrt(np.bincount(codes, z**2, minlength=levels))
        rows = np.divide(z, lengths[codes], where=lengths[codes] > 0, out=np.zeros_like(z))
        alone = n == levels and np.count_nonzero(rows) == n and np.bincount(codes[:n], minlength=levels).max() == 1
        level_rows = np.argsort(codes[:n]) if alone else None
        return cls._of(rows, codes, eigen_batches(design, lengths, level_rows), design.n_padded)

    @classmethod
    def _of(cls, rows: Array, codes: Array, batches: tuple[EigenBatch, ...], beyond: int) -> Self:
        values = np.concatenate([np.asarray(batch.values).reshape(-1) for batch in batches])
        return cls(rows, codes, values, batches, beyond)

    def exact(self) -> Self:
        batches = tuple(trimmed(batch, self.beyond) for batch in self.batches)
        return self._of(self.rows, self.codes, batches, self.beyond)

    @property
    def alone(self) -> bool:
        """Whether every row is the only one of its level, so that no row has a part outside the eigenbasis."""
        return all(batch.rows is not None for batch in self.batches)

    def cross_products(self, a: Array, b: Array) -> SpectralPair:
        left, rest_a = self._parted(jnp.asarray(a))
        right, rest_b = (left, rest_a) if a is b else self._parted(jnp.asarray(b))
        return SpectralPair(rest_a.T @ rest_b, Columns.of(left, right))

    def augmented(self, a: Array, e: Array) -> SpectralBorder:
        a, e = jnp.asarray(a), jnp.asarray(e)
        own, rest = self._parted(e)
        return SpectralBorder(rest.T @ self._parted(a)[1], jnp.sum(rest**2, axis=0), own.T)

    def _parted(self, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return A (N, i) on the eigenbasis (r, i), and what is left of it (N, i); no row where nothing can be."""
        rows = jnp.asarray(self.rows)
        if self.alone:
            signed = rows[:, None] * a
            chosen = [signed.at[batch.rows].get(mode="fill", fill_value=0.0) for batch in self.batches]
            return self._rotated(chosen), jnp.zeros((0, a.shape[1]))
        projected = jax.ops.segment_sum(rows[:, None] * a, self.codes, self.beyond)
        chosen = [projected.at[batch.levels].get(mode="fill", fill_value=0.0) for batch in self.batches]
        return self._rotated(chosen), a - rows[:, None] * projected[self.codes]

    def _rotated(self, chosen: list[jax.Array]) -> jax.Array:
        parts = [
            jnp.einsum("blk,bli->bki", batch.vectors, part).reshape(np.size(batch.values), part.shape[-1])
            for batch, part in zip(self.batches, chosen, strict=True)
        ]
        return jnp.concatenate(parts)

    def factor(self, factors: Factors) -> SpectralFactor:
        (root,) = factors.terms
        ratio, values = jnp.sum(root**2), jnp.asarray(self.values)
        return SpectralFactor(ratio, 1.0 / (1.0 + ratio * values), log_determinant(ratio, values))

    def logdet(self, factor: SpectralFactor) -> jax.Array:
        return factor.logdet

    def inner(self, factor: SpectralFactor, pair: SpectralPair) -> jax.Array:
        (reached,) = weighted(0, factor.ratio, jnp.asarray(self.values), [pair.columns])
        return pair.within + reached

    def quadratic_forms(
        self, factor: SpectralFactor, pair: SpectralPair, augmented: SpectralBorder
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        parts = [pair.columns, Beside(pair.columns.a, augmented.own)]
        reached, (cross, square) = weighted(0, factor.ratio, jnp.asarray(self.values), parts)
        return pair.within + reached, augmented.within + cross, augmented.square + square

    @property
    def guesses(self) -> bool:
        return True

    def guess(self, augmented: SpectralBorder, count: jax.Array) -> jax.Array | None:
        """Return the best of a grid of ratios, and of the parabola there, as if the fixed effects were known."""
        step = np.log(GRID[1] / GRID[0])
        inverse = 1.0 / (1.0 + GRID[:, None] * jnp.asarray(self.values)[None, :])
        square = augmented.square + inverse @ jnp.square(jnp.asarray(augmented.own))
        value = count * jnp.log(square) - jnp.sum(jnp.log(inverse), axis=1)
        best = jnp.clip(jnp.argmin(value), 1, GRID.size - 2)
        before, at, after = (value[best + shift] for shift in (-1, 0, 1))
        bend = before - 2.0 * at + after
        vertex = jnp.where(bend > 0, 0.5 * (before - after) / jnp.where(bend > 0, bend, 1.0), 0.0)
        found = jnp.asarray(GRID)[best] * jnp.exp(step * jnp.clip(vertex, -1.0, 1.0))
        return jnp.reshape(found, (1, 1))

    def effects(self, design: Design, factors: Factors, factor: SpectralFactor, residual: jax.Array) -> Effects:
        ratio, values = factor.ratio, jnp.asarray(self.values)
        explained = jnp.sqrt(values) * factor.weights * self._parted(residual[:, None])[0][:, 0]
        mode = variance = jnp.zeros(design.n_padded)
        first = 0
        for batch in self.batches:
            place, shape = slice(first, first + np.size(batch.values)), np.shape(batch.values)
            first = place.stop
            score, weights = explained[place].reshape(shape), factor.weights[place].reshape(shape)
            own = batch.vectors * jnp.sqrt(batch.values)[:, None, :] * batch.inverse_lengths[:, :, None]
            for levels, loadings, free in ((batch.levels, own, 0.0), (batch.others, batch.loadings, batch.free)):
                mode = mode.at[levels].set(jnp.einsum("blk,bk->bl", loadings, score), mode="drop")
                spread = free + jnp.einsum("blk,bk->bl", jnp.square(loadings), weights)
                variance = variance.at[levels].set(spread, mode="drop")
        return Effects(((ratio * mode)[:, None],), (jnp.sqrt(ratio * variance)[:, None],))
