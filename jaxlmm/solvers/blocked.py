"""The solver for several grouping factors: the largest is eliminated level by level, the rest by its components."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag

from jaxlmm._shapes import bucket, pad
from jaxlmm._struct import Struct, static
from jaxlmm._typing import Array
from jaxlmm.linalg import inverse_logdet, solve
from jaxlmm.model.design import Design
from jaxlmm.model.layout import Factors
from jaxlmm.solvers.base import AbstractSolver, Effects
from jaxlmm.solvers.components import Outside, arrange, components_of, outside_of, reflect
from jaxlmm.solvers.coupling import Coupling, Entries, add_up, slices, take
from jaxlmm.solvers.moments import level_qr

DEAR = 256
"""Beyond this size of a component an exact Hessian of its log-determinant is not worth its time in every step."""

BULKY = 30_000
"""With more numbers than this in every array of an evaluation, evaluations follow one another."""

ROUNDS = 4
"""Rounds in which rows are projected on the rest's columns; each takes two to four digits off what is left."""


class Block(Struct):
    """A batch of connected components of the rest: B of them with m columns each.

    Columns stand grouping by grouping, level by level: ``counts`` levels of ``widths`` columns. ``outside`` is what
    they do outside the eliminated levels' bases, None where that is nothing. ``levels`` (B, l) per grouping are its
    levels, past the last where padded.
    """

    outside: Outside | None
    levels: tuple[Array, ...]
    counts: tuple[int, ...] = static()
    widths: tuple[int, ...] = static()

    @property
    def size(self) -> int:
        return sum(count * width for count, width in zip(self.counts, self.widths, strict=True))

    def products(self, gram: jax.Array) -> jax.Array:
        """Return ``S = C + gram`` (B, m, m), its levels reflected where the batch has reflections."""
        if self.outside is None:
            return gram
        if self.outside.turns is None:
            return self.outside.products + gram
        half = reflect(self.outside.turns, self.widths, gram).swapaxes(-1, -2)
        return self.outside.products + reflect(self.outside.turns, self.widths, half)

    def unturned(self, factors: list[jax.Array], matrix: jax.Array) -> jax.Array:
        """Return a matrix (B, r, r) on effects of reflected levels, on those of the levels themselves."""
        if self.outside is None or self.outside.turns is None:
            return matrix
        widths = [factor.shape[1] for factor in factors]
        half = reflect(self.outside.turns, widths, matrix).swapaxes(-1, -2)
        return reflect(self.outside.turns, widths, half)

    def transform(self, factors: list[jax.Array], v: jax.Array) -> jax.Array:
        """Return ``Λᵀ v`` (B, r, c) for ``v`` (B, m, c), with one factor (q, s) per grouping."""
        return self._each([factor.T for factor in factors], self.widths, v)

    def expand(self, factors: list[jax.Array], u: jax.Array) -> jax.Array:
        """Return ``Λ u`` (B, m, c) for ``u`` (B, r, c)."""
        return self._each(factors, tuple(factor.shape[1] for factor in factors), u)

    def of(self, place: int, v: jax.Array) -> jax.Array:
        """Return the part of ``v`` (B, m) that belongs to one grouping, (B, l, q)."""
        places = slices([count * width for count, width in zip(self.counts, self.widths, strict=True)])
        return v[:, places[place]].reshape(v.shape[0], self.counts[place], self.widths[place])

    def _each(self, matrices: list[jax.Array], widths: tuple[int, ...], v: jax.Array) -> jax.Array:
        if all(matrix.shape == (1, 1) for matrix in matrices):
            scale = [jnp.broadcast_to(matrix[0, 0], count) for matrix, count in zip(matrices, self.counts, strict=True)]
            return v * jnp.concatenate(scale)[None, :, None]
        parts = []
        places = slices([count * width for count, width in zip(self.counts, widths, strict=True)])
        for matrix, place, count, width in zip(matrices, places, self.counts, widths, strict=True):
            part = v[:, place].reshape(v.shape[0], count, width, v.shape[-1])
            moved = jnp.einsum("qr,blrc->blqc", matrix, part)
            parts.append(moved.reshape(v.shape[0], count * matrix.shape[0], v.shape[-1]))
        return jnp.concatenate(parts, axis=1)


class Side(NamedTuple):
    """One argument of a product: ``own`` (L, q, c) on the eliminated levels' bases, ``rest`` (M, c) its least-squares
    coefficients on the rest's columns outside them, ``left`` (M, c) what their products with it still are then.
    """

    own: jax.Array
    rest: jax.Array
    left: jax.Array


class BlockedPair(NamedTuple):
    """``within`` (i, j), outside all random effects' columns; ``b`` is None where it is ``a``."""

    within: jax.Array
    a: Side
    b: Side | None


class BlockedFactor(NamedTuple):
    """``weight`` (L, q, q), the inverse of I + R Λ Λᵀ Rᵀ per eliminated level; per batch ``inverses`` (B, r, r) of
    I + Λᵀ S Λ; ``rest`` the factors of the rest's groupings; ``logdet`` ().
    """

    weight: jax.Array
    inverses: list[jax.Array]
    rest: list[jax.Array]
    logdet: jax.Array


class Solved(NamedTuple):
    """The mixed-model equations solved for one side.

    ``effects`` per batch (B, r, c), of unit variance; ``rest`` (M, c) and ``own`` (L, q, c), what is left of the
    side's coordinates; ``coefficients`` (M, c) = Λ times the effects.
    """

    effects: list[jax.Array]
    rest: jax.Array
    own: jax.Array
    coefficients: jax.Array


class Blocked(AbstractSolver):
    """Column terms on any number of grouping factors, nested or crossed, independent residuals.

    The factor with the most effects is eliminated: per level, ``Z_j = Q_j R_j`` and ``W_j = (I + R_j Λ Λᵀ R_jᵀ)⁻¹``.
    What it leaves of the other factors' columns Z is ``S = Zᵀ(I − QQᵀ)Z + Σ_j (Q_jᵀZ)ᵀ W_j (Q_jᵀZ)``, and

        ``log|H| = Σ_j log|I + R_j Λ Λᵀ R_jᵀ| + log|I + Λᵀ S Λ|``

    S falls into connected components, small ones where factors are nested: they are batched. ``AᵀH⁻¹A`` is evaluated
    as a penalised sum of squares at the solution of the mixed-model equations (Bates et al. 2015, eq. 14), where every
    term is positive and an error of the solution counts only by its square.
    """

    name: ClassVar[str] = "blocked"

    rows: Array  # (N, q): row i of Q_j
    codes: Array  # (N,) eliminated level of each row
    triangles: Array  # (L, q, q): R_j
    columns: tuple[Array, ...]  # per grouping of the rest (N, q)
    places: tuple[Array, ...]  # per grouping of the rest (N,): the place of its level's first column
    coupling: Coupling
    blocks: tuple[Block, ...]
    eliminated: tuple[int, ...] = static()  # numbers of the terms on the eliminated grouping
    rest: tuple[tuple[int, ...], ...] = static()  # and on each grouping of the rest

    @classmethod
    def build(cls, design: Design) -> Self:
        n = int(design.n)
        eliminated, rest = _roles(design)
        joint = {
            g: np.concatenate([np.asarray(design.terms[t].z) for t in _members(design, g)], axis=1)
            for g in (eliminated, *rest)
        }
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
        coupling = Coupling.of(entries, arrangement.shapes, n_levels)
        outside = outside_of(entries, coupling, [place for _, place in columns], arrangement, widths)
        blocks = tuple(
            Block(*parts, widths) for parts in zip(outside, arrangement.tables, arrangement.counts, strict=True)
        )
        return cls(
            rows, codes[eliminated], triangles, tuple(joint[g] for g in rest),
            tuple(place.astype(np.int32) for place in places), coupling, blocks,
            _members(design, eliminated), tuple(_members(design, g) for g in rest),
        )  # fmt: skip

    @property
    def dear(self) -> bool:
        return max((block.size for block in self.blocks), default=0) > DEAR

    @property
    def one_by_one(self) -> bool:
        matrices = sum(gram.count * gram.size**2 for gram in self.coupling.grams)
        return matrices + self.triangles.shape[0] + self.coupling.level.shape[0] > BULKY

    def pair(self, a: Array, b: Array) -> BlockedPair:
        rows_a, side_a = self._side(jnp.asarray(a))
        if a is b:
            return BlockedPair(rows_a.T @ rows_a, side_a, None)
        rows_b, side_b = self._side(jnp.asarray(b))
        return BlockedPair(rows_a.T @ rows_b, side_a, side_b)

    def _side(self, a: jax.Array) -> tuple[jax.Array, Side]:
        """Return what is left of rows ``a`` (N, c) outside all random effects' columns, and their place in those."""
        own, a = self._off_levels(a)
        rest = jnp.zeros((self.coupling.places, a.shape[1]), a.dtype)
        if not any(block.outside is not None for block in self.blocks):
            return a, Side(own, rest, rest)
        for _ in range(ROUNDS):
            change = self._near_solve(self._rest_of(a))
            rest = rest + change
            _, a = self._off_levels(a - self._rows_of(change))
        return a, Side(own, rest, self._rest_of(a))

    def _off_levels(self, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Split rows (N, c) into coordinates (L, q, c) on the eliminated levels' bases and what is left."""
        rows, total = jnp.asarray(self.rows), 0.0
        for _ in range(2):
            found = add_up(rows[:, :, None] * a[:, None, :], self.codes, self.coupling.n_levels)
            a = a - jnp.sum(rows[:, :, None] * take(found, self.codes), axis=1)
            total = total + found
        return jnp.asarray(total), a

    def _rest_of(self, a: jax.Array) -> jax.Array:
        """Return ``Zᵀ a`` (M, c) for rows ``a`` (N, c)."""
        total = jnp.zeros((self.coupling.places, a.shape[1]), a.dtype)
        for z, place in zip(self.columns, self.places, strict=True):
            for c in range(z.shape[1]):
                total = total + add_up(jnp.asarray(z)[:, c, None] * a, place + c, total.shape[0])
        return total

    def _rows_of(self, b: jax.Array) -> jax.Array:
        """Return ``Z b`` (N, c) for ``b`` (M, c)."""
        total = jnp.zeros((self.codes.shape[0], b.shape[1]), b.dtype)
        for z, place in zip(self.columns, self.places, strict=True):
            for c in range(z.shape[1]):
                total = total + jnp.asarray(z)[:, c, None] * take(b, place + c)
        return total

    def _split(self, v: jax.Array) -> list[jax.Array]:
        """Cut ``v`` (M, c) into batches (B, m, c)."""
        counts = [gram.count for gram in self.coupling.grams]
        places = slices([count * block.size for count, block in zip(counts, self.blocks, strict=True)])
        return [
            v[place].reshape(count, block.size, -1)
            for place, count, block in zip(places, counts, self.blocks, strict=True)
        ]

    def _near_solve(self, v: jax.Array) -> jax.Array:
        parts = [
            jnp.zeros_like(part) if block.outside is None else block.outside.near_inverse @ part
            for block, part in zip(self.blocks, self._split(v), strict=True)
        ]
        return jnp.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])

    def factor(self, factors: Factors) -> BlockedFactor:
        own, rest = _joint(factors, self.eliminated), [_joint(factors, members) for members in self.rest]
        root = jnp.asarray(self.triangles) @ own
        weight, logdets = inverse_logdet(jnp.eye(root.shape[1])[None] + root @ root.swapaxes(-1, -2))
        logdet = jnp.sum(logdets)
        inverses = []
        for block, gram in zip(self.blocks, self.coupling.gram(weight), strict=True):
            products = block.products(gram)
            half = block.transform(rest, products).swapaxes(-1, -2)
            matrix = block.transform(rest, half)
            matrix = jnp.eye(matrix.shape[-1])[None] + 0.5 * (matrix + matrix.swapaxes(-1, -2))
            inverse, value = inverse_logdet(matrix)
            logdet = logdet + jnp.sum(value)
            inverses.append(block.unturned(rest, inverse))
        return BlockedFactor(weight, inverses, rest, logdet)

    def logdet(self, factor: BlockedFactor) -> jax.Array:
        return factor.logdet

    def inner(self, factor: BlockedFactor, pair: BlockedPair) -> jax.Array:
        """Return ``Aᵀ H⁻¹ B``: solved for B, and for both as one where B is A."""
        a, b = pair.a, pair.a if pair.b is None else pair.b
        solved = self._solved(factor, b)
        if pair.b is None:
            total = pair.within - solved.rest.T @ a.left - a.left.T @ solved.rest
            total = total + jnp.einsum("lqi,lqj->ij", solved.own, factor.weight @ solved.own)
            for u in solved.effects:
                total = total + jnp.einsum("bmi,bmj->ij", u, u)
            left = solved.rest
        else:
            total = pair.within - a.left.T @ solved.rest + a.rest.T @ b.left
            total = total + jnp.einsum("lqi,lqj->ij", a.own, factor.weight @ solved.own)
            left = -a.rest
        for block, one, other in zip(self.blocks, self._split(left), self._split(solved.rest), strict=True):
            if block.outside is not None:
                total = total + jnp.einsum("bmi,bmj->ij", one, block.outside.times(block.widths, other))
        return total

    def _solved(self, factor: BlockedFactor, side: Side) -> Solved:
        """Solve the mixed-model equations for one side: ``(I + Λᵀ S Λ) u = Λᵀ Zᵀ H₁⁻¹ a``, H₁ without the rest."""
        known = [jax.lax.stop_gradient(inverse) for inverse in factor.inverses]

        def multiply(u: list[jax.Array]) -> list[jax.Array]:
            v = self._expand(factor, u)
            return [one + moved for one, moved in zip(u, self._pull(factor, v, self.coupling.up(v)), strict=True)]

        def inverse(b: list[jax.Array]) -> list[jax.Array]:
            return [matrix @ part for matrix, part in zip(known, b, strict=True)]

        pull = self._pull(factor, side.rest, side.own, side.left)
        effects = solve(multiply, inverse, pull) if pull else pull
        coefficients = self._expand(factor, effects) if pull else side.rest
        return Solved(effects, coefficients - side.rest, side.own - self.coupling.up(coefficients), coefficients)

    def _expand(self, factor: BlockedFactor, u: list[jax.Array]) -> jax.Array:
        """Return ``Λ u`` (M, c) for batches ``u`` (B, r, c)."""
        parts = [block.expand(factor.rest, part) for block, part in zip(self.blocks, u, strict=True)]
        return jnp.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])

    def _pull(
        self, factor: BlockedFactor, rest: jax.Array, own: jax.Array, left: jax.Array | None = None
    ) -> list[jax.Array]:
        """Return ``Λᵀ (C rest + Pᵀ W own + left)`` in batches (B, r, c)."""
        total = self.coupling.down(factor.weight @ own)
        total = total if left is None else total + left
        parts = []
        for block, part, coefficients in zip(self.blocks, self._split(total), self._split(rest), strict=True):
            if block.outside is not None:
                part = part + block.outside.times(block.widths, coefficients)
            parts.append(block.transform(factor.rest, part))
        return parts

    def effects(self, design: Design, factors: Factors, factor: BlockedFactor, residual: jax.Array) -> Effects:
        own = _joint(factors, self.eliminated)
        _, side = self._side(residual[:, None])
        solved = self._solved(factor, side)
        modes: dict[int, jax.Array] = {}
        variances: dict[int, jax.Array] = {}

        def share(members: tuple[int, ...], mode: jax.Array, variance: jax.Array) -> None:
            ends = np.cumsum([factors.terms[t].shape[0] for t in members])[:-1]
            for t, b, v in zip(members, jnp.split(mode, ends, 1), jnp.split(variance, ends, 1), strict=True):
                modes[t], variances[t] = b, v

        # The covariance of the rest's coefficients given the data, and its diagonal level by level.
        spread = [
            block.expand(factor.rest, block.expand(factor.rest, inverse).swapaxes(-1, -2))
            for block, inverse in zip(self.blocks, factor.inverses, strict=True)
        ]
        coefficients = [part[..., 0] for part in self._split(solved.coefficients)]
        diagonals = [jnp.diagonal(matrix, axis1=-2, axis2=-1) for matrix in spread]
        for place, members in enumerate(self.rest):
            size = int(design.n_padded)  # at most as many levels as rows
            mode = variance = jnp.zeros((size, sum(factors.terms[t].shape[0] for t in members)))
            for block, found, known in zip(self.blocks, coefficients, diagonals, strict=True):
                levels = block.levels[place]
                mode = mode.at[levels].add(block.of(place, found), mode="drop")
                variance = variance.at[levels].add(block.of(place, known), mode="drop")
            share(members, mode, variance)

        root = jnp.asarray(self.triangles) @ own
        carried = own @ root.swapaxes(-1, -2) @ factor.weight  # (L, q, q): from a level's own residual to its modes
        shrunk, _ = inverse_logdet(jnp.eye(own.shape[1])[None] + root.swapaxes(-1, -2) @ root)
        alone = jnp.einsum("ai,lij,aj->la", own, shrunk, own)
        shared = carried @ self.coupling.sandwich(spread) @ carried.swapaxes(-1, -2) if spread else 0.0 * carried
        variance = alone + jnp.diagonal(shared, axis1=-2, axis2=-1)
        share(self.eliminated, (carried @ solved.own)[..., 0], variance)
        order = range(len(factors.terms))
        return Effects(tuple(modes[t] for t in order), tuple(jnp.sqrt(jnp.maximum(variances[t], 0.0)) for t in order))


def _roles(design: Design) -> tuple[int, tuple[int, ...]]:
    """Return the grouping with the most effects, which is eliminated, and the others."""
    effects: dict[int, int] = {}
    for term in design.terms:
        effects[term.grouping] = (
            effects.get(term.grouping, 0) + int(design.groupings[term.grouping].n_levels) * term.size
        )
    eliminated = max(effects, key=lambda g: effects[g])
    return eliminated, tuple(g for g in effects if g != eliminated)


def plan(design: Design) -> tuple[int, tuple[int, ...], int]:
    """Return the grouping to be eliminated, the others, and the number of effects in their largest component."""
    eliminated, rest = _roles(design)
    components = components_of(design, eliminated, rest)
    sizes = np.zeros(1)
    for g, labels in zip(rest, components, strict=True):
        held = np.bincount(labels) * sum(design.terms[t].size for t in _members(design, g))
        sizes = pad(sizes, max(sizes.size, held.size)) + pad(held, max(sizes.size, held.size))
    return eliminated, rest, int(sizes.max())


def _members(design: Design, grouping: int) -> tuple[int, ...]:
    return tuple(t for t, term in enumerate(design.terms) if term.grouping == grouping)


def _joint(factors: Factors, members: tuple[int, ...]) -> jax.Array:
    """Return the joint factor of the terms on one grouping."""
    return block_diag(*(factors.terms[t] for t in members))
