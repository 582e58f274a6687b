"""The solver for several grouping factors: the largest is eliminated level by level, the rest by its components."""

from __future__ import annotations

from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag

from jaxlmm._util import Array, NumpyArray, bucket, static
from jaxlmm.linalg import inverse_logdet, solve
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.blocked.block import Block
from jaxlmm.solvers.blocked.components import arrange, components_of, members, outside_of, roles
from jaxlmm.solvers.blocked.coupling import Coupling, Entries
from jaxlmm.solvers.blocked.records import BlockedBorder, BlockedFactor, BlockedPair, Solved
from jaxlmm.solvers.blocked.rest import Rest
from jaxlmm.solvers.blocked.rows import Rows, Side
from jaxlmm.solvers.blocked.second_moments import SecondMoments
from jaxlmm.solvers.level_qr import level_qr

EXPENSIVE_EFFECTS = 256
"""Beyond this size of a component an exact Hessian of its log-determinant is not worth its time in every step."""

BULKY = 30_000
"""With more numbers than this in every array of an evaluation, evaluations follow one another."""


class Blocked(AbstractSolver):
    """Column terms on any number of grouping factors, nested or crossed, independent residuals.

    The factor with the most effects is eliminated: per level, ``Z_j = Q_j R_j`` and ``W_j = (I + R_j Λ Λᵀ R_jᵀ)⁻¹``.
    What it leaves of the other factors' columns Z is ``S = Zᵀ(I − QQᵀ)Z + Σ_j (Q_jᵀZ)ᵀ W_j (Q_jᵀZ)``, and

        ``log|H| = Σ_j log|I + R_j Λ Λᵀ R_jᵀ| + log|I + Λᵀ S Λ|``

    S falls into connected components, small ones where factors are nested: they are batched. ``AᵀH⁻¹A`` is evaluated
    as a penalized sum of squares at the solution of the mixed-model equations (Bates et al. 2015, eq. 14), where every
    term is positive and an error of the solution counts only by its square. Nothing cancels at any variance ratio,
    but for correlated slopes on a crossed factor, which lose the digits of the ratio in ``log|I + Λᵀ S Λ|``, and for
    components of more than 256 effects.
    """

    name: ClassVar[str] = "blocked"

    rows: Rows
    triangles: Array  # (L, q, q): R_j
    roots: tuple[Array, ...]  # per grouping of the rest (q, q): its own columns are those of its rows times its root
    rest: Rest
    second_moments: SecondMoments
    eliminated: tuple[int, ...] = static()  # numbers of the terms on the eliminated grouping
    others: tuple[tuple[int, ...], ...] = static()  # and on each grouping of the rest

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
        places = [first[codes[g]] for g, first in zip(rest, arrangement.first_places, strict=True)]
        columns = [
            (joint[g][:n, c], place[:n] + c)
            for g, place in zip(rest, places, strict=True)
            for c in range(joint[g].shape[1])
        ]
        entries = Entries.of(rows[:n], codes[eliminated][:n], columns, arrangement.n_places)

        def project(a: NumpyArray) -> NumpyArray:
            for _ in range(2):
                own = [np.bincount(codes[eliminated][:n], q * a, minlength=n_levels) for q in rows[:n].T]
                a = a - sum(q * part[codes[eliminated][:n]] for q, part in zip(rows[:n].T, own, strict=True))
            return a

        with jax.ensure_compile_time_eval():  # on the host, also where the caller is being traced
            outside = outside_of(entries, [p for _, p in columns], arrangement, widths, project)
        coupling = Coupling.of(entries, arrangement.shapes, n_levels)  # while the device still works on what is outside
        blocks = tuple(
            Block(*parts, widths) for parts in zip(outside, arrangement.tables, arrangement.counts, strict=True)
        )
        return cls(
            Rows(rows, codes[eliminated], tuple(joint[g] for g in rest), tuple(p.astype(np.int32) for p in places)),
            triangles, tuple(roots), Rest(coupling, blocks),
            SecondMoments.of(design, {g: members(design, g) for g in (eliminated, *rest)}),
            members(design, eliminated), tuple(members(design, g) for g in rest),
        )  # fmt: skip

    def exact(self) -> Self:
        levels = int(np.max(self.rows.codes, initial=0)) + 1
        coupling = self.rest.coupling
        if isinstance(coupling, Coupling):
            coupling = coupling.replace(n_levels=levels)
        rest, renumbered = self.rest.replace(coupling=coupling).whole()
        places = tuple(renumbered[place].astype(np.int32) for place in self.rows.places)
        return self.replace(triangles=self.triangles[:levels], rest=rest, rows=self.rows.replace(places=places))

    @property
    def hessian_is_expensive(self) -> bool:
        return self.rest.largest > EXPENSIVE_EFFECTS

    @property
    def sequential(self) -> bool:
        return self.rest.coupling.bulk + self.triangles.shape[0] > BULKY

    def cross_products(self, a: Array, b: Array) -> BlockedPair:
        rows_a, side_a = self.rows.part(self.rest, jnp.asarray(a))
        if a is b:
            return BlockedPair(rows_a.T @ rows_a, side_a, None)
        rows_b, side_b = self.rows.part(self.rest, jnp.asarray(b))
        return BlockedPair(rows_a.T @ rows_b, side_a, side_b)

    def augmented(self, a: Array, e: Array) -> BlockedBorder:
        rows, side = self.rows.part(self.rest, jnp.asarray(e))
        side = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0)[..., None], side)
        return BlockedBorder(rows.T @ a, jnp.sum(rows**2, axis=0), side, self.second_moments.observe(e))

    @property
    def guesses(self) -> bool:
        return True

    def guess(self, augmented: BlockedBorder, count: jax.Array) -> jax.Array:
        return self.second_moments.guess(augmented.moments, count)

    def quadratic_forms(
        self, factor: BlockedFactor, pair: BlockedPair, augmented: BlockedBorder
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        last = augmented.products.shape[0]
        cross = augmented.products  # less the columns' own part in those of the random effects
        for rest, left in zip(pair.a.rest, augmented.side.left, strict=True):
            cross = cross - _dot(rest, left)[:, 0]
        within = jnp.pad(pair.within, (0, 1)).at[last, :last].set(cross).at[:last, last].set(cross)
        within = within.at[last, last].set(augmented.square)
        side = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), pair.a, augmented.side)
        products = self.inner(factor, BlockedPair(within, side, None))
        return products[:last, :last], products[:last, last], products[last, last]

    def factor(self, factors: Factors) -> BlockedFactor:
        own = _joint(factors, self.eliminated)
        rest = [jnp.asarray(root) @ _joint(factors, terms) for root, terms in zip(self.roots, self.others, strict=True)]
        root = jnp.asarray(self.triangles) @ own
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

    def logdet(self, factor: BlockedFactor) -> jax.Array:
        return factor.logdet

    def inner(self, factor: BlockedFactor, pair: BlockedPair) -> jax.Array:
        """Return ``Aᵀ H⁻¹ B``: solved for B, and for both as one where B is A."""
        a, b = pair.a, pair.a if pair.b is None else pair.b
        solved = self._solved(factor, b)
        if pair.b is None:
            total = pair.within + jnp.einsum("lqi,lqj->ij", solved.own, factor.weight @ solved.own)
            for u, rest, left, block in zip(solved.effects, solved.rest, a.left, self.rest.blocks, strict=True):
                cross = _dot(rest, left)
                total = total + _dot(u, u) - cross - cross.T
                if block.outside is not None:
                    total = total + _dot(rest, block.outside.products @ rest)
            return total
        total = pair.within + jnp.einsum("lqi,lqj->ij", a.own, factor.weight @ solved.own)
        for one, one_left, other, other_left, block in zip(
            a.rest, a.left, solved.rest, b.left, self.rest.blocks, strict=True
        ):
            total = total + _dot(one, other_left) - _dot(one_left, other)
            if block.outside is not None:
                total = total - _dot(one, block.outside.products @ other)
        return total

    def _solved(self, factor: BlockedFactor, side: Side) -> Solved:
        """Solve the mixed-model equations for one side: ``(I + Λᵀ S Λ) u = Λᵀ Zᵀ H₁⁻¹ a``, H₁ without the rest."""
        if not self.rest.blocks:
            return Solved([], [], [], side.own)
        known = [jax.lax.stop_gradient(inverse) for inverse in factor.inverses]

        def multiply(u: list[jax.Array]) -> list[jax.Array]:
            return [matrix @ part for matrix, part in zip(factor.matrices, u, strict=True)]

        def inverse(b: list[jax.Array]) -> list[jax.Array]:
            return [matrix @ part for matrix, part in zip(known, b, strict=True)]

        pull = self.rest.pull(factor.rest, factor.weight, side.rest, side.own)
        left = [block.transform(factor.rest, part) for block, part in zip(self.rest.blocks, side.left, strict=True)]
        effects = solve(multiply, inverse, [one + more for one, more in zip(pull, left, strict=True)])
        coefficients = self.rest.expand(factor.rest, effects)
        rest = [one - other for one, other in zip(coefficients, side.rest, strict=True)]
        return Solved(effects, coefficients, rest, side.own - self.rest.up(coefficients, side.own))

    def effects(self, design: Design, factors: Factors, factor: BlockedFactor, residual: jax.Array) -> Effects:
        own = _joint(factors, self.eliminated)
        _, side = self.rows.part(self.rest, residual[:, None])
        solved = self._solved(factor, side)
        modes: dict[int, jax.Array] = {}
        variances: dict[int, jax.Array] = {}

        def share(terms: tuple[int, ...], mode: jax.Array, variance: jax.Array) -> None:
            ends = np.cumsum([factors.terms[t].shape[0] for t in terms])[:-1]
            for t, b, v in zip(terms, jnp.split(mode, ends, 1), jnp.split(variance, ends, 1), strict=True):
                modes[t], variances[t] = b, v

        # The covariance of the rest's coefficients given the data: on the orthogonal columns, and on the terms' own.
        in_terms = [_joint(factors, terms) for terms in self.others]

        def covariance(rest: list[jax.Array]) -> list[jax.Array]:
            found = []
            for block, inverse in zip(self.rest.blocks, factor.inverses, strict=True):
                found.append(block.expand(rest, block.expand(rest, inverse).swapaxes(-1, -2)))
            return found

        spread = covariance(factor.rest)
        diagonals = [
            jnp.diagonal(block.turn_both(matrix), axis1=-2, axis2=-1)
            for block, matrix in zip(self.rest.blocks, covariance(in_terms), strict=True)
        ]
        coefficients = [
            block.turn(block.expand(in_terms, u))[..., 0]
            for block, u in zip(self.rest.blocks, solved.effects, strict=True)
        ]
        for place, terms in enumerate(self.others):
            size = int(design.n_padded)  # at most as many levels as rows
            mode = variance = jnp.zeros((size, sum(factors.terms[t].shape[0] for t in terms)))
            for block, found, known in zip(self.rest.blocks, coefficients, diagonals, strict=True):
                levels = block.levels[place]
                mode = mode.at[levels].add(block.of(place, found), mode="drop")
                variance = variance.at[levels].add(block.of(place, known), mode="drop")
            share(terms, mode, variance)

        root = jnp.asarray(self.triangles) @ own
        carried = own @ root.swapaxes(-1, -2) @ factor.weight  # (L, q, q): from a level's own residual to its modes
        shrunk, _ = inverse_logdet(jnp.eye(own.shape[1])[None] + root.swapaxes(-1, -2) @ root)
        alone = jnp.einsum("ai,lij,aj->la", own, shrunk, own)
        shared = carried @ self.rest.sandwich(spread) @ carried.swapaxes(-1, -2) if spread else 0.0 * carried
        variance = alone + jnp.diagonal(shared, axis1=-2, axis2=-1)
        share(self.eliminated, (carried @ solved.own)[..., 0], variance)
        order = range(len(factors.terms))
        return Effects(tuple(modes[t] for t in order), tuple(jnp.sqrt(jnp.maximum(variances[t], 0.0)) for t in order))


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return ``aᵀ b`` (i, j) summed over batches (B, m, ·)."""
    return jnp.einsum("bmi,bmj->ij", a, b)


def _joint(factors: Factors, members: tuple[int, ...]) -> jax.Array:
    """Return the joint factor of the terms on one grouping."""
    return block_diag(*(factors.terms[t] for t in members))
