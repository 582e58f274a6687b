"""The solver for one random effect per level with a known matrix across levels: its eigenbasis serves all responses."""

from __future__ import annotations

from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.errors import OptionError
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, ByResponse, Effects, QuadraticForms, Route
from jaxlmm.solvers.kinds import beyond_one_known_matrix
from jaxlmm.solvers.spectral.eigen import ClusterGroup, cluster_groups, trimmed
from jaxlmm.solvers.spectral.missing import MIN_SHARING_A_PATTERN, Eigenbasis, eigen_by_response
from jaxlmm.solvers.spectral.records import SpectralAugmented, SpectralFactor, SpectralProducts
from jaxlmm.solvers.spectral.weighted import AugmentedColumns, Columns, log_determinant, weighted

MAX_LEVELS_DECOMPOSED = 20_000
"""The most levels that covary: the decomposition takes about 4 × 8 × 20,000² bytes, 13 GB, and 9 × 20,000³ operations,
once."""

RATIO_GRID = np.geomspace(0.05, 40.0, 33) ** 2
"""Variance ratios at which a start is looked for: for all responses a product of two matrices."""


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
    diagonalizes: ClassVar[bool] = True

    rows: Float[Array, "*b N"]  # the one entry of each row of Q that is not zero
    codes: Int[Array, "*b N"]
    values: Float[Array, "*b r"]  # S of all groups, in their order
    groups: tuple[ClusterGroup, ...]  # clusters of levels padded to one size: eigenvectors, and levels without rows
    padding_index: int = static()  # N, past every level and row: in padded entries, gathers give 0, scatters drop them

    @classmethod
    def unsuitable(cls, design: Design) -> str:
        why = beyond_one_known_matrix(design)
        takes = "one random term of one column whose group has a known matrix (kinship=), and independent residuals"
        return f"{why}; it takes {takes}" if why else ""

    @classmethod
    def reason(cls, design: Design) -> str:
        (term,) = design.terms
        relation = design.groupings[term.grouping].relation
        assert relation is not None
        clusters = relation.blocks()
        largest = max(cluster.size for cluster in clusters)
        if largest > MAX_LEVELS_DECOMPOSED:
            raise OptionError(
                f"solver='spectral' decomposes known matrices of up to {MAX_LEVELS_DECOMPOSED:,} levels that covary; "
                f"this model's has {largest:,}, which takes {32 * largest**2 / 1e9:.0f} GB. Use a sparser known matrix."
            )
        within = f" in {len(clusters)} clusters" if len(clusters) > 1 else ""
        return f"one known matrix{within}, independent residuals; decomposed once, {largest} levels together at most"

    def without_rows(self) -> Self:
        none = (*self.rows.shape[:-1], 0)
        return self.replace(rows=np.zeros(none), codes=np.zeros(none, np.int32), groups=(), padding_index=0)

    @classmethod
    def route(cls, design: Design, sharing: int) -> Route:
        # A pattern is decomposed either way; a design of its own is compiled besides.
        return Route.PATTERN if sharing < MIN_SHARING_A_PATTERN else Route.DESIGN

    def by_pattern(self, design: Design, y: Float[NumpyArray, "n m"]) -> ByResponse:
        own = type(self).build(design).unpadded()
        basis = Eigenbasis(own.rows, own.codes, own.values, own.groups, own.padding_index, own.alone)
        parts = eigen_by_response(basis, design, y, np.size(self.values))
        none = np.zeros((y.shape[1], 0))
        solver = own.replace(rows=none, codes=none.astype(np.int32), values=parts.values, groups=(), padding_index=0)
        return ByResponse(solver, parts.fixed, parts.augmented, parts.least_squares, parts.scale)

    @classmethod
    def build(cls, design: Design) -> Self:
        (term,) = design.terms
        n, codes, z = int(design.n), np.asarray(design.groupings[term.grouping].codes), np.asarray(term.z)[:, 0]
        levels = int(design.groupings[term.grouping].n_levels)
        lengths = np.sqrt(np.bincount(codes, z**2, minlength=levels))
        rows = np.divide(z, lengths[codes], where=lengths[codes] > 0, out=np.zeros_like(z))
        alone = n == levels and np.count_nonzero(rows) == n and np.bincount(codes[:n], minlength=levels).max() == 1
        level_rows = np.argsort(codes[:n]) if alone else None
        return cls._of(rows, codes, cluster_groups(design, lengths, level_rows), design.n_padded)

    @classmethod
    def _of(
        cls, rows: Float[Array, " N"], codes: Int[Array, " N"], groups: tuple[ClusterGroup, ...], padding_index: int
    ) -> Self:
        values = np.concatenate([np.asarray(group.values).reshape(-1) for group in groups])
        return cls(rows, codes, values, groups, padding_index)

    def unpadded(self) -> Self:
        groups = tuple(trimmed(group, self.padding_index) for group in self.groups)
        return self._of(self.rows, self.codes, groups, self.padding_index)

    @property
    def alone(self) -> bool:
        """Whether every row is the only one of its level, so that no row has a part outside the eigenbasis."""
        return all(group.rows is not None for group in self.groups)

    def cross_products(self, a: Float[Array, "N i"], b: Float[Array, "N j"]) -> SpectralProducts:
        left, outside_a = self._split(jnp.asarray(a))
        right, outside_b = (left, outside_a) if a is b else self._split(jnp.asarray(b))
        return SpectralProducts(outside_a.T @ outside_b, Columns.of(left, right))

    def augmented(self, a: Float[Array, "N i"], e: Float[Array, "N m"]) -> SpectralAugmented:
        a, e = jnp.asarray(a), jnp.asarray(e)
        right, outside = self._split(e)
        return SpectralAugmented(outside.T @ self._split(a)[1], jnp.sum(outside**2, axis=0), right.T)

    def _split(self, a: Float[jax.Array, "N i"]) -> tuple[Float[jax.Array, "r i"], Float[jax.Array, "_N i"]]:
        """Return ``UᵀQᵀ A`` and ``A − QQᵀA``, the latter without rows where it is zero."""
        rows = jnp.asarray(self.rows)
        if self.alone:
            signed = rows[:, None] * a
            chosen = [signed.at[group.rows].get(mode="fill", fill_value=0.0) for group in self.groups]
            return self._rotated(chosen), jnp.zeros((0, a.shape[1]))
        projected = jax.ops.segment_sum(rows[:, None] * a, self.codes, self.padding_index)
        chosen = [projected.at[group.levels].get(mode="fill", fill_value=0.0) for group in self.groups]
        return self._rotated(chosen), a - rows[:, None] * projected[self.codes]

    def _rotated(self, chosen: list[Float[jax.Array, "_B _l i"]]) -> Float[jax.Array, "r i"]:
        """Return ``Uᵀ`` times the rows chosen for each group."""
        parts = [
            jnp.einsum("blk,bli->bki", group.vectors, part).reshape(np.size(group.values), part.shape[-1])
            for group, part in zip(self.groups, chosen, strict=True)
        ]
        return jnp.concatenate(parts)

    def factor(self, factors: Factors) -> SpectralFactor:
        (root,) = factors.terms
        ratio, values = jnp.sum(root**2), jnp.asarray(self.values)
        return SpectralFactor(ratio, 1.0 / (1.0 + ratio * values), log_determinant(ratio, values))

    def logdet(self, factor: SpectralFactor) -> Float[jax.Array, ""]:
        return factor.logdet

    def inner(self, factor: SpectralFactor, products: SpectralProducts) -> Float[jax.Array, "i j"]:
        # Sums with the weights 1 / (1 + θ² S); 0: no derivative of them.
        (inside,) = weighted(0, factor.ratio, jnp.asarray(self.values), [products.columns])
        return products.outside + inside

    def quadratic_forms(
        self, factor: SpectralFactor, products: SpectralProducts, augmented: SpectralAugmented
    ) -> QuadraticForms:
        parts = [products.columns, AugmentedColumns(products.columns.a, augmented.right)]
        # Sums with the weights 1 / (1 + θ² S), as in ``inner``.
        inside, (cross, square) = weighted(0, factor.ratio, jnp.asarray(self.values), parts)
        return products.outside + inside, augmented.outside + cross, augmented.square + square

    @property
    def guesses(self) -> bool:
        return True

    def guess(self, augmented: SpectralAugmented, count: Float[jax.Array, ""]) -> Float[jax.Array, "q q"] | None:
        """Return the best variance ratio of a grid, refined by a parabola, as if the fixed effects were known.

        ``count`` is the number of independent observations, n, or n − p for REML.
        """
        step = np.log(RATIO_GRID[1] / RATIO_GRID[0])
        inverse = 1.0 / (1.0 + RATIO_GRID[:, None] * jnp.asarray(self.values)[None, :])
        square = augmented.square + inverse @ jnp.square(jnp.asarray(augmented.right))
        value = count * jnp.log(square) - jnp.sum(jnp.log(inverse), axis=1)
        best = jnp.clip(jnp.argmin(value), 1, RATIO_GRID.size - 2)
        before, at, after = (value[best + shift] for shift in (-1, 0, 1))
        bend = before - 2.0 * at + after
        vertex = jnp.where(bend > 0, 0.5 * (before - after) / jnp.where(bend > 0, bend, 1.0), 0.0)
        ratio = jnp.asarray(RATIO_GRID)[best] * jnp.exp(step * jnp.clip(vertex, -1.0, 1.0))
        return jnp.reshape(ratio, (1, 1))

    def effects(
        self, design: Design, factors: Factors, factor: SpectralFactor, residual: Float[jax.Array, " N"]
    ) -> Effects:
        ratio, values = factor.ratio, jnp.asarray(self.values)
        explained = jnp.sqrt(values) * factor.weights * self._split(residual[:, None])[0][:, 0]
        mode = variance = jnp.zeros(design.n_padded)
        first = 0
        # Effects are θ loadings · (independent effects on the eigenvectors) and a part of variance θ² free: D⁻¹ U S^½
        # and 0 for levels with rows; for those (almost) without, the regression on their relatives.
        for group in self.groups:
            part, shape = slice(first, first + np.size(group.values)), np.shape(group.values)
            first = part.stop
            score, weights = explained[part].reshape(shape), factor.weights[part].reshape(shape)
            with_rows = group.vectors * jnp.sqrt(group.values)[:, None, :] * group.inverse_lengths[:, :, None]
            of_relatives = (group.levels_from_relatives, group.loadings, group.free)
            for levels, loadings, free in ((group.levels, with_rows, 0.0), of_relatives):
                mode = mode.at[levels].set(jnp.einsum("blk,bk->bl", loadings, score), mode="drop")
                spread = free + jnp.einsum("blk,bk->bl", jnp.square(loadings), weights)
                variance = variance.at[levels].set(spread, mode="drop")
        return Effects(((ratio * mode)[:, None],), (jnp.sqrt(ratio * variance)[:, None],))
