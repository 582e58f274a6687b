"""An effect of each row of its own beside other random effects, which is eliminated in closed form."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, static
from jaxlmm.likelihood.laplace.effects import AbstractEffects
from jaxlmm.model import Design, Factors, Term
from jaxlmm.solvers import Effects


class EffectsWithRows(AbstractEffects):
    """Effects of one column with a level for each row, the ``term`` of that number, and all ``others``.

    With K₁ the covariance of the other effects' part of the linear predictor and D, diagonal, that of this one,
    ``W⁻¹ + K₁ + D`` is ``W₁⁻¹ + K₁`` with the weights ``W₁ = W / (1 + D W)``: a step and a log-determinant of the
    others, at these weights, are all that is needed. ``column`` (N,) multiplies the effects, ``levels`` are their
    numbers.
    """

    others: AbstractEffects
    column: Float[Array, " N"]
    levels: Int[Array, " N"]
    term: int = static()

    @classmethod
    def of(cls, design: Design, term: int, others: AbstractEffects) -> Self:
        """Return the effects of a design, of which ``others`` are all but those of a ``term``."""
        own = design.terms[term]
        column, levels = np.asarray(own.z)[:, 0], np.asarray(design.groupings[own.grouping].codes)
        return cls(others.codes, others, column, levels, term)

    @staticmethod
    def term_of(design: Design) -> int | None:
        """Return the number of a term of one column with a level for each row, None without one."""
        found = (number for number, term in enumerate(design.terms) if _has_a_level_for_each_row(design, term))
        return next(found, None)

    @property
    def n_blocks(self) -> int:
        return self.others.n_blocks

    def total(self, rows: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        return self.others.total(rows)

    def largest(self, rows: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        return self.others.largest(rows)

    def spread(self, levels: jax.Array) -> jax.Array:
        return self.others.spread(levels)

    def _split(self, factors: Factors) -> tuple[Factors, Float[jax.Array, " N"]]:
        """Return the factors of the others, and the variance D of the rows."""
        terms = (*factors.terms[: self.term], *factors.terms[self.term + 1 :])
        own = jnp.sum(jnp.asarray(factors.terms[self.term]) ** 2)
        return factors._replace(terms=terms), own * jnp.asarray(self.column) ** 2

    def step(
        self, factors: Factors, weight: Float[jax.Array, " N"], score: Float[jax.Array, " N"],
        predictor: Float[jax.Array, " N"],
    ) -> Float[jax.Array, " N"]:  # fmt: skip
        rest, variance = self._split(factors)
        shrunken = 1.0 / (1.0 + variance * weight)
        of_others = self.others.step(rest, weight * shrunken, score * shrunken, predictor)
        return of_others + variance * shrunken * (weight * (predictor - of_others) + score)

    def logdet(self, factors: Factors, weight: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        rest, variance = self._split(factors)
        grown = 1.0 + variance * weight
        own = jnp.log(jnp.where(grown > 0.0, grown, jnp.nan))
        return self.others.logdet(rest, weight / grown) + self.total(own)

    def effects(
        self, design: Design, factors: Factors, weight: Float[jax.Array, " N"], predictor: Float[jax.Array, " N"],
        score: Float[jax.Array, " N"],
    ) -> Effects:  # fmt: skip
        (rest, variance), column = self._split(factors), jnp.asarray(self.column)
        shrunken = weight / (1.0 + variance * weight)
        fewer = design.replace(terms=(*design.terms[: self.term], *design.terms[self.term + 1 :]))
        found = self.others.effects(fewer, rest, shrunken, predictor - variance * score, score)
        # The conditional variances of the others' part of the rows are derivatives of its log-determinant.
        apart = jax.grad(lambda own: jnp.sum(self.others.logdet(rest, own)))(shrunken)
        scale = jnp.sum(jnp.asarray(factors.terms[self.term]) ** 2)
        variances = scale - scale * variance * (shrunken - shrunken**2 * apart)
        real, levels = column != 0.0, jnp.asarray(self.levels)
        count = int(np.shape(self.levels)[0])
        modes = jnp.zeros(count).at[levels].add(jnp.where(real, scale * column * score, 0.0))
        sds = jnp.zeros(count).at[levels].add(jnp.where(real, jnp.sqrt(jnp.maximum(variances, 0.0)), 0.0))

        def inserted(parts: tuple[jax.Array, ...], own: Float[jax.Array, " L"]) -> tuple[jax.Array, ...]:
            return (*parts[: self.term], own[:, None], *parts[self.term :])

        return Effects(inserted(tuple(found.modes), modes), inserted(tuple(found.sds), sds))


def _has_a_level_for_each_row(design: Design, term: Term) -> bool:
    grouping, n = design.groupings[term.grouping], int(design.n)
    if term.over_positions or term.size != 1 or grouping.relation is not None or int(grouping.n_levels) != n:
        return False
    alone = sum(other.grouping == term.grouping for other in design.terms) == 1
    return alone and bool((np.asarray(term.z)[:n] != 0.0).all())
