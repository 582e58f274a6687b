"""The random part of the linear predictor: one Newton step of its mode, for one grouping factor or by any solver."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, Struct, bucket
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design, Factors, random_part
from jaxlmm.solvers import AbstractSolver, Effects

SMALLEST_WEIGHT = 1e-20
"""In place of a weight of zero, as of a row with a prior weight of zero, where weights are to be positive."""


class AbstractEffects(Struct, abc.ABC):
    """Random effects ``b = Λ u`` with standard normal u, in blocks that are independent of each other given the data.

    ``codes`` are the blocks of the rows.
    """

    codes: Int[Array, " N"]

    @property
    @abc.abstractmethod
    def n_blocks(self) -> int:
        """The number of blocks, L."""

    @abc.abstractmethod
    def step(
        self, factors: Factors, weight: Float[jax.Array, " N"], score: Float[jax.Array, " N"],
        predictor: Float[jax.Array, " N"],
    ) -> Float[jax.Array, " N"]:  # fmt: skip
        """Return Z Λ u where ``(I + Λᵀ Zᵀ W Z Λ) u = Λᵀ Zᵀ (W r + s)``, from the ``predictor`` r with scores s.

        It is Newton's step for ``log f − ½ uᵀu``, the penalized log-likelihood of a block.
        """

    @abc.abstractmethod
    def logdet(self, factors: Factors, weight: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        """Return ``log|I + Λᵀ Zᵀ W Z Λ|`` of each block, NaN where it is not positive definite."""

    @abc.abstractmethod
    def effects(
        self, design: Design, factors: Factors, weight: Float[jax.Array, " N"], predictor: Float[jax.Array, " N"],
        score: Float[jax.Array, " N"],
    ) -> Effects:  # fmt: skip
        """Return the effects b = Λ u of each term at a mode, where ``u = Λᵀ Zᵀ s``, and their conditional standard
        deviations, from ``Λ (I + Λᵀ Zᵀ W Z Λ)⁻¹ Λᵀ``.
        """

    def total(self, rows: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        """Return the sums over the rows of each block."""
        if self.n_blocks == 1:
            return jnp.sum(rows, axis=0)[None]
        return jax.ops.segment_sum(rows, self.codes, self.n_blocks)

    def largest(self, rows: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        """Return the largest of each block's rows that are positive, 0 without one."""
        if self.n_blocks == 1:
            return jnp.maximum(jnp.max(rows), 0.0)[None]
        return jnp.maximum(jax.ops.segment_max(rows, self.codes, self.n_blocks), 0.0)

    def spread(self, levels: jax.Array) -> jax.Array:
        """Return values of blocks, a first axis, for each of their rows."""
        if self.n_blocks == 1:
            return jnp.broadcast_to(levels, (np.shape(self.codes)[0], *levels.shape[1:]))
        return levels[self.codes]


class EffectsByLevel(AbstractEffects):
    """Column terms on one grouping factor: the levels are the blocks, and weights may have any sign.

    ``z`` are the columns of all terms, ``present`` is 1 for each level, with padding to the number of blocks unless the
    rows have none.
    """

    z: Float[Array, "N q"]
    present: Float[Array, " L"]

    @classmethod
    def of(cls, design: Design) -> Self:
        """Return the effects of a design whose terms are on one grouping factor, or that has none."""
        assert len({term.grouping for term in design.terms}) <= 1
        codes, levels = np.zeros(design.n_padded, np.int32), 1
        if design.terms:
            grouping = design.groupings[design.terms[0].grouping]
            codes, levels = np.asarray(grouping.codes), int(grouping.n_levels)
        z = np.concatenate([np.zeros((design.n_padded, 0)), *(np.asarray(term.z) for term in design.terms)], axis=1)
        padded = levels if int(design.n) == design.n_padded else bucket(levels, 64)
        present = np.arange(padded) < levels
        return cls(codes, z, present.astype(float))

    @property
    def n_blocks(self) -> int:
        return int(self.present.shape[0])

    def systems(self, lam: Float[jax.Array, "q r"], weight: Float[jax.Array, " N"]) -> Float[jax.Array, "L r r"]:
        """Return ``I + Λᵀ Zᵀ W Z Λ`` of each level."""
        z, q = jnp.asarray(self.z), self.z.shape[1]
        upper = {(k, j): self.total(weight * z[:, k] * z[:, j]) for k in range(q) for j in range(k, q)}
        products = [jnp.stack([upper[min(k, j), max(k, j)] for j in range(q)], axis=-1) for k in range(q)]
        return jnp.eye(lam.shape[1])[None] + lam.T @ jnp.stack(products, axis=-2) @ lam

    def pulled(self, lam: Float[jax.Array, "q r"], rows: Float[jax.Array, " N"]) -> Float[jax.Array, "L r"]:
        """Return ``Λᵀ Zᵀ`` times the rows, by level."""
        z = jnp.asarray(self.z)
        return jnp.stack([self.total(z[:, k] * rows) for k in range(z.shape[1])], axis=1) @ lam

    def predictor(self, lam: Float[jax.Array, "q r"], u: Float[jax.Array, "L r"]) -> Float[jax.Array, " N"]:
        """Return ``Z Λ u``."""
        return jnp.sum(jnp.asarray(self.z) * self.spread(u @ lam.T), axis=1)

    def step(
        self, factors: Factors, weight: Float[jax.Array, " N"], score: Float[jax.Array, " N"],
        predictor: Float[jax.Array, " N"],
    ) -> Float[jax.Array, " N"]:  # fmt: skip
        if not self.z.shape[1]:
            return jnp.zeros_like(predictor)
        lam = factors.joint()
        inverse, _ = inverse_logdet(self.systems(lam, weight))
        u = jnp.einsum("lij,lj->li", inverse, self.pulled(lam, weight * predictor + score))
        return self.predictor(lam, u)

    def logdet(self, factors: Factors, weight: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        if not self.z.shape[1]:
            return jnp.zeros(self.n_blocks)
        return inverse_logdet(self.systems(factors.joint(), weight))[1]

    def effects(
        self, design: Design, factors: Factors, weight: Float[jax.Array, " N"], predictor: Float[jax.Array, " N"],
        score: Float[jax.Array, " N"],
    ) -> Effects:  # fmt: skip
        if not self.z.shape[1]:
            return Effects((), ())
        lam = factors.joint()
        inverse, _ = inverse_logdet(self.systems(lam, weight))
        modes = self.pulled(lam, score) @ lam.T
        return by_term(factors, range(len(factors.terms)), modes, jnp.einsum("ij,ljk,ik->li", lam, inverse, lam))


class EffectsBySolver(AbstractEffects):
    """Any model, by a solver that can be reweighted: all rows are one block, and weights are positive."""

    design: Design
    solver: AbstractSolver

    @classmethod
    def of(cls, design: Design, solver: AbstractSolver) -> Self:
        """Return the effects of a design with unit weights, for which the solver was built."""
        return cls(np.zeros(design.n_padded, np.int32), design.without_relations(), solver)

    @property
    def n_blocks(self) -> int:
        return 1

    def step(
        self, factors: Factors, weight: Float[jax.Array, " N"], score: Float[jax.Array, " N"],
        predictor: Float[jax.Array, " N"],
    ) -> Float[jax.Array, " N"]:  # fmt: skip
        return random_part(self.design, self.effects(self.design, factors, weight, predictor, score).modes)

    def logdet(self, factors: Factors, weight: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        solver = self.solver.reweighted(self._roots(weight)[0])
        return solver.logdet(solver.factor(factors))[None]

    def effects(
        self, design: Design, factors: Factors, weight: Float[jax.Array, " N"], predictor: Float[jax.Array, " N"],
        score: Float[jax.Array, " N"],
    ) -> Effects:  # fmt: skip
        root_weight, positive = self._roots(weight)
        working = jnp.where(self._real, root_weight * (predictor + score / positive), 0.0)
        solver = self.solver.reweighted(root_weight)
        return solver.effects(self.design, factors, solver.factor(factors), working)

    @property
    def _real(self) -> Bool[jax.Array, " N"]:
        return jnp.asarray(self.design.root_weight) > 0

    def _roots(self, weight: Float[jax.Array, " N"]) -> tuple[Float[jax.Array, " N"], Float[jax.Array, " N"]]:
        """Return the roots of the weights, and these; 1 on padded rows, NaN where a weight is negative."""
        raised = jnp.where(weight >= 0.0, jnp.maximum(weight, SMALLEST_WEIGHT), jnp.nan)
        positive = jnp.where(self._real, raised, 1.0)
        return jnp.sqrt(positive), positive


def by_term(
    factors: Factors,
    terms: Iterable[int],
    modes: Float[jax.Array, "L q"],
    variances: Float[jax.Array, "L q"],
) -> Effects:
    """Return effects of one grouping's columns, of which ``terms`` have some each."""
    ends = np.cumsum([factors.terms[t].shape[0] for t in terms])[:-1]
    sds = jnp.sqrt(jnp.maximum(variances, 0.0))
    return Effects(*(tuple(jnp.split(part, ends, axis=1)) for part in (modes, sds)))
