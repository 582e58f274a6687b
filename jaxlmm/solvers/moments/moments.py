"""The solver for one grouping factor: levels with the same within-level design are pooled into classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, bucket, pad, static
from jaxlmm.linalg import MAX_SIZE_UNROLLED, entries, inverse_logdet
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, ByResponse, Effects, QuadraticForms, Route
from jaxlmm.solvers.kinds import beyond_columns, beyond_one_factor
from jaxlmm.solvers.level_qr import level_qr, level_qr_traced
from jaxlmm.solvers.moments.classes import MAX_CLASSES_BY_PRODUCT, Classes, Span, both_ways, entries_of, span_of
from jaxlmm.solvers.moments.missing import MIN_SHARING_A_PATTERN, moments_by_response
from jaxlmm.solvers.moments.records import MomentsAugmented, MomentsFactor, MomentsProducts


class Moments(AbstractSolver):
    """One grouping factor with any number of terms on it, independent residuals.

    Per level j, ``Z_j = Q_j R_j`` with orthonormal ``Q_j``; levels of equal ``R_j`` form a class c. Then

        ``Aᵀ H⁻¹ B = (A − QQᵀA)ᵀ(B − QQᵀB) + Σ_j (Q_jᵀA)ᵀ (I + R_c Λ Λᵀ R_cᵀ)⁻¹ (Q_jᵀB)``
        ``log|H| = Σ_c m_c log|I + R_c Λ Λᵀ R_cᵀ|``

    with m_c levels in class c. Every term is positive, so nothing cancels between them at any variance ratio; but where
    one direction of a level's effects has v times the variance of the others and of the residual, the inverse loses
    log10(v) digits.

    The cost of one theta does not depend on the number of rows, nor, where classes are pooled, on the number of levels:
    for each entry (k, l), k ≤ l, of the small inverses, the products of rows k and l of ``Q_jᵀA`` and ``Q_jᵀB``, both
    ways, are summed over the levels of each class, for the range of classes in which both columns of Q are nonzero: E
    sums in all.
    """

    name: ClassVar[str] = "moments"

    rows: Float[Array, "*b N q"]  # row i of Q_j
    codes: Int[Array, "*b N"]  # level of each row
    level_class: Int[Array, "*b L"]  # class of each level
    triangles: Float[Array, "*b C q q"]  # R_c
    multiplicity: Float[Array, "*b C"]  # m_c
    pooled: bool = static()  # whether products are summed by class; else each level is a class of its own
    by_entry: bool = static()  # whether small inverses are taken entry by entry: runs faster, compiles more slowly
    spans: tuple[Span, ...] = static(default=())  # per entry k ≤ l of the inverses: its range of classes

    @classmethod
    def unsuitable(cls, design: Design) -> str:
        return beyond_columns(design) or beyond_one_factor(design)

    @classmethod
    def reason(cls, design: Design) -> str:
        return "one grouping factor, independent residuals" if design.terms else "no random effects"

    @classmethod
    def operations(cls, n: int) -> float:
        return 1e3 * n

    @classmethod
    def route(cls, design: Design, sharing: int) -> Route:
        by_response = len(design.terms) > 0 and design.basis.shape[1] > 0 and sharing < MIN_SHARING_A_PATTERN
        return Route.RESPONSE if by_response else Route.DESIGN

    def by_response(
        self, design: Design, y: Float[Array, "N m"], present: Float[Array, "N m"]
    ) -> tuple[ByResponse, Float[jax.Array, "m p p"], Float[jax.Array, " m"]]:
        own, to_basis, logdet = moments_by_response(design, self.codes, self.level_class.shape[0], y, present)
        solver = self.replace(
            rows=jnp.zeros((y.shape[1], 0, own.triangles.shape[-1])), codes=jnp.zeros((y.shape[1], 0), jnp.int32),
            level_class=jnp.broadcast_to(jnp.arange(own.triangles.shape[1], dtype=jnp.int32), own.triangles.shape[:2]),
            triangles=own.triangles, multiplicity=jnp.ones(own.triangles.shape[:2]),
            pooled=False, by_entry=True, spans=(),
        )  # fmt: skip
        return ByResponse(solver, own.fixed, own.augmented, own.least_squares, own.scale), to_basis, logdet

    @classmethod
    def build(cls, design: Design) -> Self:
        codes, levels = np.zeros(design.n_padded, np.int32), 1
        if design.terms:
            grouping = design.groupings[design.terms[0].grouping]
            codes, levels = np.asarray(grouping.codes), int(grouping.n_levels)
        z = np.concatenate([np.zeros((design.n_padded, 0)), *(np.asarray(term.z) for term in design.terms)], axis=1)
        rows, triangles = level_qr(z, codes, levels)
        largest = np.abs(triangles).max(axis=(0, 1), keepdims=True, initial=0.0)
        keys = np.round(triangles / np.where(largest > 0, largest, 1.0), 12).reshape(levels, -1) + 0.0
        _, first, level_class, count = np.unique(
            keys, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        n_classes, q = first.size, z.shape[1]
        padded_levels = bucket(levels, 64)
        if q > 0 and design.dispersion is None and (n_classes <= MAX_CLASSES_BY_PRODUCT or n_classes * q <= levels):
            classes = bucket(n_classes, 16)
            level_class = pad(level_class.reshape(-1).astype(np.int32), padded_levels)
            spans = ((0, classes),) * len(entries_of(q))
            triangles, multiplicity = pad(triangles[first], classes), pad(count.astype(float), classes)
            return cls(rows, codes, level_class, triangles, multiplicity, pooled=True, by_entry=False, spans=spans)
        level_class = np.arange(padded_levels, dtype=np.int32)  # each level is a class of its own
        triangles, multiplicity = pad(triangles, padded_levels), pad(np.ones(levels), padded_levels)
        return cls(rows, codes, level_class, triangles, multiplicity, pooled=False, by_entry=True)

    def unpadded(self) -> Self:
        classes = max(int(np.count_nonzero(self.multiplicity)), 1)
        levels = max(int(np.max(self.codes, initial=0)) + 1, 1)
        if not self.pooled:  # each level is a class; the last ones may have no row
            classes = levels
        q = self.rows.shape[1]
        # Judged by Q, not by R_c: levels of a class have equal triangles but for rounding, which may be zero or not.
        nonzero = np.zeros((classes, q), bool)
        if self.pooled:
            np.logical_or.at(nonzero, self.level_class[self.codes], self.rows != 0)
        spans = [span_of(nonzero[:, k] & nonzero[:, j]) for k, j in entries_of(q)]
        return self.replace(
            level_class=self.level_class[:levels],
            triangles=self.triangles[:classes],
            multiplicity=self.multiplicity[:classes],
            by_entry=True,
            spans=tuple(spans) if self.pooled else (),
        )

    def without_rows(self) -> Self:
        *axes, _, q = self.rows.shape
        return self.replace(rows=np.zeros((*axes, 0, q)), codes=np.zeros((*axes, 0), np.int32))

    def reweighted(self, root_weight: Float[Array, " N"]) -> Self:
        """Decompose each level anew; levels are not pooled, since weights make them differ."""
        rows, triangles = jnp.asarray(self.rows), jnp.asarray(self.triangles)[self.level_class]
        size = self.level_class.shape[0]
        z = jnp.einsum("ik,ikj->ij", rows, triangles[self.codes]) * jnp.asarray(root_weight)[:, None]
        new_rows, new_triangles = level_qr_traced(z, self.codes, size)
        each = np.arange(size, dtype=np.int32)
        return self.replace(
            rows=new_rows, level_class=each, triangles=new_triangles, multiplicity=np.ones(size), pooled=False, spans=()
        )

    def project(self, a: Float[Array, "N i"]) -> Float[jax.Array, "L q i"]:
        """Return ``Q_jᵀ A`` for every level."""
        size = self.level_class.shape[0]
        if self.rows.shape[1] == 0:
            return jnp.zeros((size, 0, a.shape[1]))
        columns = [
            jax.ops.segment_sum(jnp.asarray(self.rows[:, k, None] * a), self.codes, size)
            for k in range(self.rows.shape[1])
        ]
        return jnp.stack(columns, axis=1)

    def cross_products(self, a: Float[Array, "N i"], b: Float[Array, "N j"]) -> MomentsProducts:
        left, outside_a = self._split(a)
        right, outside_b = (left, outside_a) if a is b else self._split(b)
        outside = outside_a.T @ outside_b
        if not self.pooled:
            return MomentsProducts(outside, None, left, right)
        total = self._classes.total
        sums = [total(both_ways(left[..., None], right[:, :, None], k, j), span) for (k, j), span in self._entries()]
        return MomentsProducts(outside, jnp.concatenate(sums), None, None)

    def augmented(self, a: Float[Array, "N i"], e: Float[Array, "N m"]) -> MomentsAugmented:
        left, outside_a = self._split(a)
        right, outside_e = self._split(e)
        outside, square = outside_e.T @ outside_a, jnp.sum(outside_e**2, axis=0)
        if not self.pooled:
            return MomentsAugmented(outside, square, None, None, jnp.moveaxis(right, -1, 0))
        classes, cross, pooled = self._classes, [], []
        for (k, j), span in self._entries():
            pooled.append(classes.total(both_ways(right, right, k, j), span))
            ways = [(k, j)] if k == j else [(k, j), (j, k)]
            cross.append(sum(classes.total_outer(left[:, row], right[:, column], span) for row, column in ways))
        return MomentsAugmented(
            outside, square, jnp.moveaxis(jnp.concatenate(cross), -1, 0), jnp.concatenate(pooled).T, None
        )

    def quadratic_forms(
        self, factor: MomentsFactor, products: MomentsProducts, augmented: MomentsAugmented
    ) -> QuadraticForms:
        if augmented.right is None:
            weights = self._weights(factor)
            cross = augmented.outside + weights @ jnp.asarray(augmented.cross)
            square = augmented.square + weights @ jnp.asarray(augmented.pooled)
        else:
            weighted = factor.multiply(augmented.right, self.level_class)
            cross = augmented.outside + jnp.einsum("lki,lk->i", products.left, weighted)
            square = augmented.square + jnp.sum(augmented.right * weighted)
        return self.inner(factor, products), cross, square

    @property
    def guesses(self) -> bool:
        return int(np.shape(self.triangles)[1]) > 0

    def guess(self, augmented: MomentsAugmented, count: Float[jax.Array, ""]) -> Float[jax.Array, "q q"] | None:
        """Return the moment estimate of G = ΛΛᵀ: it solves ``Σ Z_jᵀ e eᵀ Z_j = σ² Σ (A_j + A_j G A_j)``, the
        expectation of the left side, with ``A_j = Z_jᵀZ_j`` and σ² from the residuals outside the levels' bases.
        """
        triangles, weight = jnp.asarray(self.triangles), jnp.asarray(self.multiplicity)
        q = triangles.shape[1]
        if not self.guesses:
            return None
        squares = triangles.swapaxes(-1, -2) @ triangles
        if augmented.right is None:
            outer = [triangles[a:b, k, :, None] * triangles[a:b, j, None, :] for (k, j), (a, b) in self._entries()]
            moments = jnp.tensordot(jnp.asarray(augmented.pooled), jnp.concatenate(outer), axes=1)
            moments = 0.5 * (moments + moments.T)
        else:
            scores = jnp.einsum("lki,lk->li", triangles, augmented.right)  # Z_jᵀ e
            moments = scores.T @ scores
        rank = jnp.sum(jnp.sign(jnp.diagonal(triangles, axis1=-2, axis2=-1)), axis=-1)
        degrees = jnp.maximum(count - jnp.sum(weight * rank), 1.0)
        excess = moments * degrees / jnp.maximum(augmented.square, 1e-12) - jnp.tensordot(weight, squares, axes=1)
        system = jnp.einsum("c,cij,ckl->ikjl", weight, squares, squares).reshape(q * q, q * q)
        regularization = 1e-8 * jnp.trace(system) * jnp.eye(q * q)
        inverse, _ = inverse_logdet(0.5 * (system + system.T) + regularization)
        covariance = (inverse @ excess.reshape(-1)).reshape(q, q)
        return 0.5 * (covariance + covariance.T)

    def _entries(self) -> Iterable[tuple[tuple[int, int], Span]]:
        """Return the entries k ≤ j of the inverses, each with its range of classes."""
        return zip(entries_of(int(np.shape(self.triangles)[1])), self.spans, strict=True)

    @property
    def _classes(self) -> Classes:
        return Classes(self.level_class, int(np.shape(self.triangles)[0]))

    def _weights(self, factor: MomentsFactor) -> Float[jax.Array, " E"]:
        """Return the entries of the inverses by which pooled products are multiplied, ordered as :meth:`_entries`."""
        return jnp.concatenate([factor.entry(k, j)[a:b] for (k, j), (a, b) in self._entries()])

    def _split(self, a: Float[Array, "N i"]) -> tuple[Float[Array, "L q i"], Float[Array, "N i"]]:
        """Return ``Q_jᵀ A`` and ``A − QQᵀA``."""
        rows, projected = jnp.asarray(self.rows), self.project(a)
        inside = sum(rows[:, k, None] * projected[self.codes, k, :] for k in range(rows.shape[1]))
        return projected, a - inside

    def factor(self, factors: Factors) -> MomentsFactor:
        triangles = jnp.asarray(self.triangles)
        q = triangles.shape[1]
        if not (self.by_entry and 0 < q <= MAX_SIZE_UNROLLED):
            root = triangles @ factors.joint()
            inverse, logdet = inverse_logdet(jnp.eye(q, dtype=root.dtype)[None] + root @ root.swapaxes(-1, -2))
            return MomentsFactor(inverse, None, jnp.sum(self.multiplicity * logdet))
        rows = entries.upper_times_diagonal(entries.of(triangles), [entries.of(term) for term in factors.terms])
        inverse_entries, logdet = entries.gram_inverse_logdet(rows)
        return MomentsFactor(None, inverse_entries, jnp.sum(self.multiplicity * logdet))

    def logdet(self, factor: MomentsFactor) -> Float[jax.Array, ""]:
        return factor.logdet

    def inner(self, factor: MomentsFactor, products: MomentsProducts) -> Float[jax.Array, "i j"]:
        if products.pooled is not None:
            return products.outside + jnp.tensordot(self._weights(factor), products.pooled, axes=1)
        total, left, right = products.outside, jnp.asarray(products.left), jnp.asarray(products.right)
        if factor.entries is None:
            inverse = factor.matrices[self.level_class]
            return total + jnp.einsum("lki,lkj->ij", left, inverse @ right)
        for i, row in enumerate(factor.entries):
            for j, entry in enumerate(row):
                total = total + jnp.tensordot(entry, left[:, i, :, None] * right[:, j, None, :], axes=1)
        return total

    def effects(
        self, design: Design, factors: Factors, factor: MomentsFactor, residual: Float[jax.Array, " N"]
    ) -> Effects:
        if not factors.terms:
            return Effects((), ())
        lam = factors.joint()
        triangles = jnp.asarray(self.triangles)
        root = triangles @ lam
        inverse = factor.matrices
        gain = jnp.einsum("cki,ckl->cil", root, inverse)[self.level_class]
        modes = jnp.einsum("lik,lk->li", gain, self.project(residual[:, None])[..., 0]) @ lam.T
        conditional, _ = inverse_logdet(jnp.eye(lam.shape[1], dtype=lam.dtype)[None] + root.swapaxes(-1, -2) @ root)
        variance = jnp.einsum("ai,cij,aj->ca", lam, conditional, lam)[self.level_class]
        ends = np.cumsum([term.shape[0] for term in factors.terms])[:-1]
        return Effects(tuple(jnp.split(modes, ends, axis=1)), tuple(jnp.split(jnp.sqrt(variance), ends, axis=1)))
