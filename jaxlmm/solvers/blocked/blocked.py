"""The solver for several grouping factors: the largest is eliminated level by level, the rest by its components."""

from __future__ import annotations

from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, bucket, static
from jaxlmm.linalg import inverse_logdet, solve
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, Effects, QuadraticForms
from jaxlmm.solvers.blocked.block import Block, dot
from jaxlmm.solvers.blocked.components import arrange, chosen_for, components_of, members, outside_of, roles
from jaxlmm.solvers.blocked.coupling import Coupling
from jaxlmm.solvers.blocked.entries import Entries
from jaxlmm.solvers.blocked.records import BlockedAugmented, BlockedFactor, BlockedProducts, Solved
from jaxlmm.solvers.blocked.rest import Rest, VectorsByGroup
from jaxlmm.solvers.blocked.reweighting import Reweighting
from jaxlmm.solvers.blocked.rows import Rows, Side
from jaxlmm.solvers.blocked.second_moments import SecondMoments
from jaxlmm.solvers.kinds import beyond_columns
from jaxlmm.solvers.level_qr import level_qr

MAX_EFFECTS_FOR_EXACT_HESSIAN = 256
"""Beyond this size of a component an exact Hessian of its log-determinant is not worth its time in every step."""

MAX_ENTRIES_IN_PARALLEL = 30_000
"""With more entries than this in all arrays of the coupling, evaluations follow one another."""


class Blocked(AbstractSolver):
    """Column terms on any number of grouping factors, nested or crossed, independent residuals.

    The factor with the most effects is eliminated: per level, ``Z_j = Q_j R_j`` and ``W_j = (I + R_j Λ Λᵀ R_jᵀ)⁻¹``.
    What it leaves of the other factors' columns Z is ``S = Zᵀ(I − QQᵀ)Z + Σ_j (Q_jᵀZ)ᵀ W_j (Q_jᵀZ)``, and

        ``log|H| = Σ_j log|I + R_j Λ Λᵀ R_jᵀ| + log|I + Λᵀ S Λ|``

    S falls into connected components, small ones where factors are nested: those of similar size are padded to one,
    a group of components. ``AᵀH⁻¹A`` is evaluated as a penalized sum of squares at the solution of the mixed-model
    equations (Bates et al. 2015, eq. 14), where every term is positive and an error of the solution counts only by its
    square. Nothing cancels at any variance ratio, but for correlated slopes on a crossed factor, which lose the digits
    of the ratio in ``log|I + Λᵀ S Λ|``, and for components of more than 256 effects.
    """

    name: ClassVar[str] = "blocked"

    rows: Rows
    triangles: Float[Array, "L q q"]  # R_j
    # per grouping of the rest: the terms' columns are the orthogonal ones of ``rows`` times its root
    roots: tuple[Float[Array, "_q _q"], ...]
    rest: Rest
    second_moments: SecondMoments
    eliminated: tuple[int, ...] = static()  # the terms on the eliminated grouping
    others: tuple[tuple[int, ...], ...] = static()  # the terms on each grouping of the rest
    reweighting: Reweighting | None = None  # with a model of dispersion

    @classmethod
    def unsuitable(cls, design: Design) -> str:
        return beyond_columns(design) or ("" if design.terms else "no random effects")

    @classmethod
    def reason(cls, design: Design) -> str:
        return chosen_for(design)

    @classmethod
    def operations(cls, n: int) -> float:
        return 1e3 * n

    @classmethod
    def build(cls, design: Design) -> Self:
        n = int(design.n)
        eliminated, rest = roles(design)
        joint = {
            g: np.concatenate([np.asarray(design.terms[t].z) for t in members(design, g)], axis=1)
            for g in (eliminated, *rest)
        }
        roots = []
        for g in rest:  # orthogonal columns: correlated ones, such as an intercept and a year, lose digits in products
            joint[g], root = np.linalg.qr(joint[g])
            joint[g], root = joint[g] * np.sqrt(n), root / np.sqrt(n)
            roots.append(root)
        levels = {g: int(design.groupings[g].n_levels) for g in joint}
        codes = {g: np.asarray(design.groupings[g].codes) for g in joint}
        n_levels = bucket(levels[eliminated], 64)
        rows, triangles = level_qr(joint[eliminated], codes[eliminated], n_levels)

        widths = tuple(joint[g].shape[1] for g in rest)
        arrangement = arrange(components_of(design, eliminated, rest), [levels[g] for g in rest], widths)
        first_columns = [first[codes[g]] for g, first in zip(rest, arrangement.first_columns, strict=True)]
        starting = zip(rest, first_columns, strict=True)
        columns = [(joint[g][:n, c], first[:n] + c) for g, first in starting for c in range(joint[g].shape[1])]
        entries = Entries.of(rows[:n], codes[eliminated][:n], columns, arrangement.n_columns)

        def project(a: Float[NumpyArray, " n"]) -> Float[NumpyArray, " n"]:
            """Return ``a − QQᵀa``."""
            for _ in range(2):
                projected = [np.bincount(codes[eliminated][:n], q * a, minlength=n_levels) for q in rows[:n].T]
                a = a - sum(q * part[codes[eliminated][:n]] for q, part in zip(rows[:n].T, projected, strict=True))
            return a

        outside = outside_of(entries, [index for _, index in columns], arrangement, widths, project)
        coupling = Coupling.of(entries, arrangement.shapes, n_levels)
        described = zip(outside, arrangement.tables, arrangement.counts, strict=True)
        blocks = tuple(Block(*parts, widths) for parts in described)
        firsts = tuple(first.astype(np.int32) for first in first_columns)
        by_row = Rows(rows, codes[eliminated], tuple(joint[g] for g in rest), firsts)
        by_level = Rest(coupling, blocks)
        return cls(
            by_row, triangles, tuple(roots), by_level,
            SecondMoments.of(design, {g: members(design, g) for g in (eliminated, *rest)}),
            members(design, eliminated), tuple(members(design, g) for g in rest),
            None if design.dispersion is None else Reweighting.of(entries, by_row, by_level),
        )  # fmt: skip

    def reweighted(self, root_weight: Float[Array, " N"]) -> Self:
        assert self.reweighting is not None
        parts = self.reweighting(self.rows, self.triangles, self.rest, jnp.asarray(root_weight))
        return self.replace(**parts._asdict())

    def unpadded(self) -> Self:
        if self.reweighting is not None:
            return self
        levels = int(np.max(self.rows.codes, initial=0)) + 1
        coupling = self.rest.coupling
        if isinstance(coupling, Coupling):
            coupling = coupling.replace(n_levels=levels)
        rest, renumbered = self.rest.replace(coupling=coupling).with_dense_coupling()
        rows = self.rows.replace(
            first_columns=tuple(renumbered[first].astype(np.int32) for first in self.rows.first_columns)
        )
        return self.replace(triangles=self.triangles[:levels], rest=rest, rows=rows)

    def without_rows(self) -> Self:
        if self.reweighting is not None:
            return self
        return self.replace(rows=self.rows.none(), second_moments=self.second_moments.without_rows())

    @property
    def quasi_newton(self) -> bool:
        return self.rest.largest > MAX_EFFECTS_FOR_EXACT_HESSIAN

    @property
    def sequential(self) -> bool:
        return self.rest.coupling.bulk + self.triangles.shape[0] > MAX_ENTRIES_IN_PARALLEL

    def cross_products(self, a: Float[Array, "N i"], b: Float[Array, "N j"]) -> BlockedProducts:
        outside_a, side_a = self.rows.split(self.rest, jnp.asarray(a))
        if a is b:
            return BlockedProducts(outside_a.T @ outside_a, side_a, None)
        outside_b, side_b = self.rows.split(self.rest, jnp.asarray(b))
        return BlockedProducts(outside_a.T @ outside_b, side_a, side_b)

    def augmented(self, a: Float[Array, "N i"], e: Float[Array, "N m"]) -> BlockedAugmented:
        outside, side = self.rows.split(self.rest, jnp.asarray(e))
        side = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0)[..., None], side)
        return BlockedAugmented(outside.T @ a, jnp.sum(outside**2, axis=0), side, self.second_moments.observe(e))

    @property
    def guesses(self) -> bool:
        return True

    def guess(self, augmented: BlockedAugmented, count: Float[jax.Array, ""]) -> Float[jax.Array, "q q"]:
        return self.second_moments.guess(augmented.moments, count)

    def quadratic_forms(
        self, factor: BlockedFactor, products: BlockedProducts, augmented: BlockedAugmented
    ) -> QuadraticForms:
        # e becomes the last column of A: the three forms are blocks of one ``[A e]ᵀ H⁻¹ [A e]``.
        last = augmented.outside.shape[0]
        cross = augmented.outside  # of e with A; below, with the residual of A on the random effects' columns
        for coefficients, remainders in zip(products.a.coefficients, augmented.side.remainders, strict=True):
            cross = cross - dot(coefficients, remainders)[:, 0]
        outside = jnp.pad(products.outside, (0, 1)).at[last, :last].set(cross).at[:last, last].set(cross)
        outside = outside.at[last, last].set(augmented.square)
        side = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), products.a, augmented.side)
        forms = self.inner(factor, BlockedProducts(outside, side, None))
        return forms[:last, :last], forms[:last, last], forms[last, last]

    def factor(self, factors: Factors) -> BlockedFactor:
        eliminated = factors.joint(self.eliminated)
        rest = [jnp.asarray(root) @ factors.joint(terms) for root, terms in zip(self.roots, self.others, strict=True)]
        root = jnp.asarray(self.triangles) @ eliminated
        weight, logdets = inverse_logdet(jnp.eye(root.shape[1])[None] + root @ root.swapaxes(-1, -2))
        logdet = jnp.sum(logdets)
        matrices, inverses = [], []
        for block, products in zip(self.rest.blocks, self.rest.products(weight), strict=True):
            matrix = block.transform_both(rest, products)
            matrix = jnp.eye(matrix.shape[-1])[None] + matrix
            inverse, value = inverse_logdet(matrix)
            logdet = logdet + jnp.sum(value)
            matrices.append(matrix)
            inverses.append(inverse)
        return BlockedFactor(weight, matrices, inverses, rest, logdet)

    def logdet(self, factor: BlockedFactor) -> Float[jax.Array, ""]:
        return factor.logdet

    def inner(self, factor: BlockedFactor, products: BlockedProducts) -> Float[jax.Array, "i j"]:
        """Return ``Aᵀ H⁻¹ B``: a penalized sum of squares where B is A, else from the solution for B."""
        a, b = products.a, products.a if products.b is None else products.b
        solved = self._solved(factor, b)
        if products.b is None:
            total = products.outside + jnp.einsum("lqi,lqj->ij", solved.projected, factor.weight @ solved.projected)
            for u, difference, remainder, block in zip(
                solved.effects, solved.differences, a.remainders, self.rest.blocks, strict=True
            ):
                cross = dot(difference, remainder)
                total = total + dot(u, u) - cross - cross.T
                if block.outside is not None:
                    total = total + dot(difference, block.outside.products @ difference)
            return total
        total = products.outside + jnp.einsum("lqi,lqj->ij", a.projected, factor.weight @ solved.projected)
        for coefficients, a_remainder, difference, b_remainder, block in zip(
            a.coefficients, a.remainders, solved.differences, b.remainders, self.rest.blocks, strict=True
        ):
            total = total + dot(coefficients, b_remainder) - dot(a_remainder, difference)
            if block.outside is not None:
                total = total - dot(coefficients, block.outside.products @ difference)
        return total

    def _solved(self, factor: BlockedFactor, side: Side) -> Solved:
        """Solve the mixed-model equations for one side: ``(I + Λᵀ S Λ) u = Λᵀ Zᵀ H₁⁻¹ a``, H₁ without the rest."""
        if not self.rest.blocks:
            return Solved([], [], [], side.projected)
        inverses = [jax.lax.stop_gradient(inverse) for inverse in factor.inverses]

        def multiply(u: VectorsByGroup) -> VectorsByGroup:
            return [matrix @ part for matrix, part in zip(factor.matrices, u, strict=True)]

        def inverse(b: VectorsByGroup) -> VectorsByGroup:
            return [matrix @ part for matrix, part in zip(inverses, b, strict=True)]

        pulled = self.rest.pull(factor.factors, factor.weight, side.coefficients, side.projected)
        remainders = [
            block.transform(factor.factors, part) for block, part in zip(self.rest.blocks, side.remainders, strict=True)
        ]
        effects = solve(multiply, inverse, [one + more for one, more in zip(pulled, remainders, strict=True)])
        coefficients = self.rest.expand(factor.factors, effects)
        differences = [one - other for one, other in zip(coefficients, side.coefficients, strict=True)]
        return Solved(effects, coefficients, differences, side.projected - self.rest.up(coefficients, side.projected))

    def effects(
        self, design: Design, factors: Factors, factor: BlockedFactor, residual: Float[jax.Array, " N"]
    ) -> Effects:
        eliminated = factors.joint(self.eliminated)
        _, side = self.rows.split(self.rest, residual[:, None])
        solved = self._solved(factor, side)
        modes: dict[int, jax.Array] = {}
        variances: dict[int, jax.Array] = {}

        def assign(terms: tuple[int, ...], mode: Float[jax.Array, "L q"], variance: Float[jax.Array, "L q"]) -> None:
            """Split the columns of one grouping by term."""
            ends = np.cumsum([factors.terms[t].shape[0] for t in terms])[:-1]
            for t, b, v in zip(terms, jnp.split(mode, ends, 1), jnp.split(variance, ends, 1), strict=True):
                modes[t], variances[t] = b, v

        # The covariance of the rest's coefficients given the data: on the orthogonal columns, and on the terms' own.
        in_terms = [factors.joint(terms) for terms in self.others]

        def covariance(rest: list[Float[jax.Array, "_q _s"]]) -> list[Float[jax.Array, "_B _m _m"]]:
            return [
                block.expand(rest, block.expand(rest, inverse).swapaxes(-1, -2))
                for block, inverse in zip(self.rest.blocks, factor.inverses, strict=True)
            ]

        on_columns = covariance(factor.factors)
        diagonals = [
            jnp.diagonal(block.reflect_both(matrix), axis1=-2, axis2=-1)
            for block, matrix in zip(self.rest.blocks, covariance(in_terms), strict=True)
        ]
        coefficients = [
            block.reflect(block.expand(in_terms, u))[..., 0]
            for block, u in zip(self.rest.blocks, solved.effects, strict=True)
        ]
        for index, terms in enumerate(self.others):
            size = int(design.n_padded)  # at most as many levels as rows
            mode = variance = jnp.zeros((size, sum(factors.terms[t].shape[0] for t in terms)))
            for block, part, diagonal in zip(self.rest.blocks, coefficients, diagonals, strict=True):
                levels = block.levels[index]
                mode = mode.at[levels].add(block.of_grouping(index, part), mode="drop")
                variance = variance.at[levels].add(block.of_grouping(index, diagonal), mode="drop")
            assign(terms, mode, variance)

        root = jnp.asarray(self.triangles) @ eliminated
        to_modes = eliminated @ root.swapaxes(-1, -2) @ factor.weight  # per level, from its residual to its modes
        conditional, _ = inverse_logdet(jnp.eye(eliminated.shape[1])[None] + root.swapaxes(-1, -2) @ root)
        # Var(b_j | y): given the rest's coefficients, and what their own uncertainty adds.
        given_rest = jnp.einsum("ai,lij,aj->la", eliminated, conditional, eliminated)
        added = to_modes @ self.rest.sandwich(on_columns) @ to_modes.swapaxes(-1, -2) if on_columns else 0.0 * to_modes
        variance = given_rest + jnp.diagonal(added, axis1=-2, axis2=-1)
        assign(self.eliminated, (to_modes @ solved.projected)[..., 0], variance)
        order = range(len(factors.terms))
        return Effects(tuple(modes[t] for t in order), tuple(jnp.sqrt(jnp.maximum(variances[t], 0.0)) for t in order))
