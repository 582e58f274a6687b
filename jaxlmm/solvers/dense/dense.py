"""The solver for any model: independent clusters of rows, padded and grouped, with dense matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, static
from jaxlmm.errors import OptionError
from jaxlmm.linalg import apply_inverse, inverse_logdet
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, Effects, QuadraticForms
from jaxlmm.solvers.clusters import clusters_of, describe, grouped
from jaxlmm.solvers.dense.group import ClusterGroup, GroupTerm, TermFactor, group_of
from jaxlmm.solvers.dense.records import DenseAugmented, DenseFactor, DenseProducts
from jaxlmm.solvers.kinds import beyond_columns, beyond_one_factor

MAX_ROWS_OF_CLUSTER = 3_000
"""The most rows of one cluster: its inverse costs 2 × 3000³ operations per evaluation."""

MAX_MULTIPLICATIONS_FOR_MANY_NODES = 10**6
"""Multiplications of the inverses of one evaluation beyond which a start is looked for at few nodes."""

MAX_CLUSTER_FOR_EXACT_HESSIAN = 256
"""With a cluster of more dimensions a Hessian costs several gradients: two products of whole matrices per parameter."""

MAX_MATRIX_ENTRIES_IN_PARALLEL = 2**19
"""Entries of the matrices of all clusters beyond which evaluations follow one another."""


class Dense(AbstractSolver):
    """Any model. Clusters are the connected components of the covariance.

    Within a cluster, random effects move the rows only in the range of their columns, of dimension m. On an
    orthonormal basis U of it, ``H = I + Uᵀ Z Λ Λᵀ Zᵀ U``; off it, H is the identity and its part of ``AᵀB`` is formed
    once. Nothing large is added to the identity there, so nothing cancels. A cluster costs m³, at most the cube of
    its rows. Under a residual structure, or a model of dispersion, the basis is that of the rows; the structure's
    matrix takes the identity's place.
    """

    name: ClassVar[str] = "dense"

    groups: tuple[ClusterGroup, ...]
    has_outside: bool = static()  # whether any row may have a part outside the bases
    by_levels: bool = static()  # whether all parameters are of covariances of columns, none along positions

    @property
    def quasi_newton(self) -> bool:
        # Where it is expensive it is learned, from an expected curvature that is known only for covariances of columns;
        # along positions the exact Hessian is used at any cost.
        return self.by_levels and max((size for _, size in self._sizes), default=0) > MAX_CLUSTER_FOR_EXACT_HESSIAN

    @property
    def coarse_start(self) -> bool:
        return sum(count * size**3 for count, size in self._sizes) > MAX_MULTIPLICATIONS_FOR_MANY_NODES

    @property
    def sequential(self) -> bool:
        return sum(count * size**2 for count, size in self._sizes) > MAX_MATRIX_ENTRIES_IN_PARALLEL

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        return [(np.shape(group.basis)[0], np.shape(group.basis)[2]) for group in self.groups]

    @classmethod
    def unsuitable(cls, design: Design) -> str:
        return ""

    @classmethod
    def reason(cls, design: Design) -> str:
        why = beyond_columns(design) or beyond_one_factor(design) or "asked for"
        largest = max(cluster.size for cluster in clusters_of(design))
        if largest > MAX_ROWS_OF_CLUSTER:
            raise OptionError(
                f"solver='dense' takes clusters of up to {MAX_ROWS_OF_CLUSTER:,} dependent rows; the largest cluster "
                f"of this model has {largest:,} of {int(design.n):,} rows ({why}). Use fewer crossed factors, or a "
                "sparser known matrix."
            )
        return f"{why}; largest cluster {largest} rows"

    @classmethod
    def build(cls, design: Design) -> Self:
        clusters = [describe(design, rows) for rows in clusters_of(design)]
        groups = tuple(group_of(design, group) for group in grouped(clusters))
        by_levels = design.residual is None and all(not term.over_positions for term in design.terms)
        return cls(groups, design.residual_is_white, by_levels)

    def reweighted(self, root_weight: Float[Array, " N"]) -> Self:
        """Put the rows that random effects move in the bases' place: a cluster costs the cube of its rows."""
        return self.replace(groups=tuple(group.reweighted(jnp.asarray(root_weight)) for group in self.groups))

    def cross_products(self, a: Float[Array, "N i"], b: Float[Array, "N j"]) -> DenseProducts:
        a, b = jnp.asarray(a), jnp.asarray(b)
        left, right = (self._on_bases(c) for c in (a, b))
        if not self.has_outside:
            return DenseProducts(jnp.zeros((a.shape[1], b.shape[1])), left, right)
        return DenseProducts(self._outside(a, left).T @ self._outside(b, right), left, right)

    def augmented(self, a: Float[Array, "N i"], e: Float[Array, "N m"]) -> DenseAugmented:
        a, e = jnp.asarray(a), jnp.asarray(e)
        left, right = (self._on_bases(c) for c in (a, e))
        by_response = [jnp.moveaxis(part, -1, 0) for part in right]
        if not self.has_outside:
            return DenseAugmented(jnp.zeros((e.shape[1], a.shape[1])), jnp.zeros(e.shape[1]), by_response)
        outside = self._outside(e, right)
        return DenseAugmented(outside.T @ self._outside(a, left), jnp.sum(outside**2, axis=0), by_response)

    def quadratic_forms(
        self, factor: DenseFactor, products: DenseProducts, augmented: DenseAugmented
    ) -> QuadraticForms:
        cross, square = augmented.outside, augmented.square
        for matrix, inverse, left, right in zip(
            factor.matrices, factor.inverses, products.left, augmented.right, strict=True
        ):
            solved = apply_inverse(matrix, inverse, right[..., None])[..., 0]
            cross = cross + jnp.einsum("bmi,bm->i", left, solved)
            square = square + jnp.sum(right * solved)
        return self.inner(factor, products), cross, square

    def _on_bases(self, a: Float[jax.Array, "N i"]) -> list[Float[jax.Array, "_B _m i"]]:
        """Return ``UᵀA`` per group."""
        return [group.basis.swapaxes(-1, -2) @ a[group.index] for group in self.groups]

    def _outside(
        self, a: Float[jax.Array, "N i"], projected: list[Float[jax.Array, "_B _m i"]]
    ) -> Float[jax.Array, "N i"]:
        """Return ``A − UUᵀA`` given UᵀA."""
        for group, part in zip(self.groups, projected, strict=True):
            a = a.at[group.index].add(-(group.basis @ part))
        return a

    def factor(self, factors: Factors) -> DenseFactor:
        matrices = [group.covariance(factors) for group in self.groups]
        parts = [inverse_logdet(matrix) for matrix in matrices]
        logdet = sum((jnp.sum(d) for _, d in parts), start=jnp.zeros(()))
        return DenseFactor(matrices, [inverse for inverse, _ in parts], logdet)

    def logdet(self, factor: DenseFactor) -> Float[jax.Array, ""]:
        return factor.logdet

    def inner(self, factor: DenseFactor, products: DenseProducts) -> Float[jax.Array, "i j"]:
        total = products.outside
        for matrix, inverse, left, right in zip(
            factor.matrices, factor.inverses, products.left, products.right, strict=True
        ):
            total = total + jnp.einsum("bmi,bmj->ij", left, apply_inverse(matrix, inverse, right))
        return total

    def effects(
        self, design: Design, factors: Factors, factor: DenseFactor, residual: Float[jax.Array, " N"]
    ) -> Effects:
        return effects_of(design, factors, self.groups, factor.inverses, residual)


def effects_of(
    design: Design,
    factors: Factors,
    groups: Sequence[ClusterGroup],
    inverses: Sequence[Float[jax.Array, "_B _m _m"]],
    residual: Float[jax.Array, " N"],
) -> Effects:
    """Return the modes of all terms from groups of clusters and the inverses of H on their bases."""
    modes, sds = [], []
    for t, term in enumerate(design.terms):
        root = factors.terms[t]
        size = root.shape[0] if term.own_positions else design.n_padded  # at most as many levels as rows
        mode = variance = jnp.zeros((size, term.size))
        for group, inverse in zip(groups, inverses, strict=True):
            local = group.terms[t]
            local_mode, local_variance = _modes(group, local, root, inverse, residual)
            mode = mode.at[local.levels].add(local_mode, mode="drop")
            variance = variance.at[local.levels].add(local_variance, mode="drop")
        modes.append(mode)
        sds.append(jnp.sqrt(jnp.maximum(variance, 0.0)))
    return Effects(tuple(modes), tuple(sds))


def _modes(
    group: ClusterGroup,
    term: GroupTerm,
    factor: TermFactor,
    inverse: Float[jax.Array, "B m m"],
    residual: Float[jax.Array, " N"],
) -> tuple[Float[jax.Array, "B L q"], Float[jax.Array, "B L q"]]:
    """Return modes and conditional variances of one term in a group.

    Those of a term over columns are computed from its factor Λ, ``Λ (K − SᵀH⁻¹S) Λᵀ``, S the columns times Λ; along
    positions from the covariance.
    """
    along = factor.ndim == 3
    spread = jnp.asarray(term.columns) if along else term.columns @ factor
    prior = jnp.ones(spread.shape[:1] + spread.shape[2:3])
    if term.root is not None:
        spread = jnp.einsum("bmjr,blj->bmlr", spread, term.root)
        prior = jnp.sum(jnp.asarray(term.root) ** 2, axis=-1)
    on_basis = jnp.einsum("bnm,bn->bm", group.basis, residual[group.index])
    weighted = jnp.einsum("bmn,bn->bm", inverse, on_basis)
    score = jnp.einsum("bmlr,bm->blr", spread, weighted)
    flat = spread.reshape(*spread.shape[:2], -1)
    solved = (inverse @ flat).reshape(spread.shape)
    explained = jnp.einsum("bmlr,bmls->blrs", spread, solved)
    local = term.by_level(factor)
    mode = jnp.sum(local * score[..., None, :], axis=-1)
    if along:
        own = prior[..., None] * jnp.diagonal(local, axis1=-2, axis2=-1)
        return mode, own - jnp.sum((local @ explained) * local, axis=-1)
    conditional = prior[..., None, None] * jnp.eye(spread.shape[-1])[None, None] - explained
    return mode, jnp.sum((local @ conditional) * local, axis=-1)
