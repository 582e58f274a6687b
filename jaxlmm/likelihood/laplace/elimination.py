"""The random part of the linear predictor for several grouping factors: the largest is eliminated level by level."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, Struct, bucket, static
from jaxlmm.likelihood.laplace.effects import AbstractEffects, by_term
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design, Factors
from jaxlmm.solvers import Effects


class Group(Struct):
    """The column ``terms`` of one grouping factor: their columns ``z``, ``codes`` of the rows, and ``n_levels`` with
    padding.
    """

    z: Float[Array, "N q"]
    codes: Int[Array, " N"]
    terms: tuple[int, ...] = static()
    n_levels: int = static()

    @classmethod
    def of(cls, design: Design, grouping: int) -> Self:
        """Return the terms of a design on one of its groupings."""
        terms = tuple(t for t, term in enumerate(design.terms) if term.grouping == grouping)
        z = np.concatenate([np.asarray(design.terms[t].z) for t in terms], axis=1)
        own = design.groupings[grouping]
        return cls(z, np.asarray(own.codes), terms, bucket(int(own.n_levels), 16))

    @property
    def size(self) -> int:
        """The number of effects."""
        return self.n_levels * int(self.z.shape[1])

    def rows(self, factors: Factors) -> Float[jax.Array, "N r"]:
        """Return ``Z Λ``, of each row its level's columns alone."""
        return jnp.asarray(self.z) @ factors.joint(self.terms)

    def index(self, rows: Float[jax.Array, "N r"]) -> Int[jax.Array, "N r"]:
        """Return the number of the effect that each entry of ``Z Λ`` multiplies."""
        columns = jnp.arange(rows.shape[1], dtype=jnp.int32)
        return jnp.asarray(self.codes, jnp.int32)[:, None] * rows.shape[1] + columns[None]


class System(NamedTuple):
    """``I + Λᵀ Zᵀ W Z Λ`` with a first grouping eliminated.

    Of that the ``inverse`` of each level's block, and the ``coupling`` with the m other effects; of what is left the
    inverse ``rest``; ``logdet`` of all.
    """

    inverse: Float[jax.Array, "L r r"]
    coupling: Float[jax.Array, "L r m"]
    rest: Float[jax.Array, "m m"]
    logdet: Float[jax.Array, ""]


class EffectsByElimination(AbstractEffects):
    """Column terms on several grouping factors, nested or crossed; weights may have any sign, all rows are one block.

    With D the block diagonal part of the ``first`` grouping, C its coupling with the ``others`` and E their part, what
    is left is ``E − Cᵀ D⁻¹ C``, a matrix of all other effects.
    """

    first: Group
    others: tuple[Group, ...]

    @classmethod
    def of(cls, design: Design) -> Self:
        """Return the effects of a design; the grouping with most effects is the first."""
        numbers = dict.fromkeys(term.grouping for term in design.terms)
        groups = sorted((Group.of(design, number) for number in numbers), key=lambda group: -group.size)
        return cls(np.zeros(design.n_padded, np.int32), groups[0], tuple(groups[1:]))

    @staticmethod
    def coupled(design: Design) -> int:
        """Return how many entries the coupling of a design has."""
        counts: dict[int, int] = {}
        for term in design.terms:
            levels = bucket(int(design.groupings[term.grouping].n_levels), 16)
            counts[term.grouping] = counts.get(term.grouping, 0) + levels * term.size
        first = max(counts.values(), default=0)
        return first * (sum(counts.values()) - first)

    @property
    def n_blocks(self) -> int:
        return 1

    def step(
        self, factors: Factors, weight: Float[jax.Array, " N"], score: Float[jax.Array, " N"],
        predictor: Float[jax.Array, " N"],
    ) -> Float[jax.Array, " N"]:  # fmt: skip
        system, right = self._system(factors, weight), weight * predictor + score
        first, (others, index) = self.first.rows(factors), self._others(factors)
        of_first = jax.ops.segment_sum(right[:, None] * first, jnp.asarray(self.first.codes), self.first.n_levels)
        of_others = jnp.zeros(system.rest.shape[0]).at[index].add(right[:, None] * others)
        solved = jnp.einsum("lij,lj->li", system.inverse, of_first)
        u = system.rest @ (of_others - jnp.einsum("lim,li->m", system.coupling, solved))
        remaining = solved - jnp.einsum("lij,lj->li", system.inverse, system.coupling @ u)
        return jnp.sum(first * remaining[jnp.asarray(self.first.codes)], axis=1) + jnp.sum(others * u[index], axis=1)

    def logdet(self, factors: Factors, weight: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        return self._system(factors, weight).logdet[None]

    def effects(
        self, design: Design, factors: Factors, weight: Float[jax.Array, " N"], predictor: Float[jax.Array, " N"],
        score: Float[jax.Array, " N"],
    ) -> Effects:  # fmt: skip
        system = self._system(factors, weight)
        gain = system.inverse @ system.coupling
        conditional = system.inverse + jnp.einsum("lim,mn,ljn->lij", gain, system.rest, gain)
        found, before = {}, 0
        for group in (self.first, *self.others):
            lam, rows = factors.joint(group.terms), group.rows(factors)
            u = jax.ops.segment_sum(score[:, None] * rows, jnp.asarray(group.codes), group.n_levels)
            if group is not self.first:
                numbers = before + jnp.arange(group.n_levels * rows.shape[1]).reshape(group.n_levels, -1)
                conditional = system.rest[numbers[:, :, None], numbers[:, None, :]]
                before += group.n_levels * rows.shape[1]
            parts = by_term(factors, group.terms, u @ lam.T, jnp.einsum("ij,ljk,ik->li", lam, conditional, lam))
            found.update(dict(zip(group.terms, zip(*parts, strict=True), strict=True)))
        modes, sds = zip(*(found[t] for t in range(len(factors.terms))), strict=True)
        return Effects(modes, sds)

    def _others(self, factors: Factors) -> tuple[Float[jax.Array, "N s"], Int[jax.Array, "N s"]]:
        """Return ``Z Λ`` of the other groupings, side by side, and the numbers of their effects."""
        rows, numbers, before = [], [], 0
        for group in self.others:
            own = group.rows(factors)
            rows.append(own)
            numbers.append(before + group.index(own))
            before += group.n_levels * own.shape[1]
        return jnp.concatenate(rows, axis=1), jnp.concatenate(numbers, axis=1)

    def _system(self, factors: Factors, weight: Float[jax.Array, " N"]) -> System:
        first, (others, index) = self.first.rows(factors), self._others(factors)
        codes, levels = jnp.asarray(self.first.codes, jnp.int32), self.first.n_levels
        r, m = first.shape[1], sum(group.n_levels * factors.joint(group.terms).shape[1] for group in self.others)
        weighted = weight[:, None] * first
        blocks = jax.ops.segment_sum(weighted[:, :, None] * first[:, None, :], codes, levels)
        inverse, logdet = inverse_logdet(jnp.eye(r)[None] + blocks)
        of_first = jnp.arange(r, dtype=jnp.int32)[None, :, None]
        coupled = jnp.zeros((levels, r, m)).at[codes[:, None, None], of_first, index[:, None, :]]
        coupling = coupled.add(weighted[:, :, None] * others[:, None, :])
        paired = jnp.eye(m).at[index[:, :, None], index[:, None, :]]
        rest = paired.add(weight[:, None, None] * others[:, :, None] * others[:, None, :])
        rest = rest - jnp.einsum("lim,lin->mn", coupling, inverse @ coupling)
        rest_inverse, rest_logdet = inverse_logdet(0.5 * (rest + rest.T)[None])
        return System(inverse, coupling, rest_inverse[0], jnp.sum(logdet) + rest_logdet[0])
