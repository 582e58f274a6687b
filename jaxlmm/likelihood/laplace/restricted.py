"""The restricted likelihood: coefficients and random effects are integrated out, by Laplace's approximation."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array
from jaxlmm.likelihood.laplace.effects import AbstractEffects
from jaxlmm.likelihood.laplace.modes import Given, Laplace, Observations
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design, Factors
from jaxlmm.solvers import Effects


class EffectsWithCoefficients(AbstractEffects):
    """Random effects, and coefficients of the columns ``x`` beside them, whose prior density is constant.

    With the penalized log-likelihood's second derivatives ``H = I + Λᵀ Zᵀ W Z Λ`` of the effects alone, those of the
    coefficients are ``S = Xᵀ W X − Xᵀ W Z Λ H⁻¹ Λᵀ Zᵀ W X``. The last columns beyond ``n_fixed`` are zero, and
    their coefficients are kept at zero. All rows are one block.
    """

    others: AbstractEffects
    x: Float[Array, "N p"]
    n_fixed: Int[Array, ""]

    @classmethod
    def of(cls, others: AbstractEffects, x: Float[Array, "N p"], n_fixed: Int[Array, ""]) -> Self:
        """Return the coefficients of ``x`` beside other effects."""
        return cls(np.zeros(x.shape[0], np.int32), others, x, n_fixed)

    @property
    def n_blocks(self) -> int:
        return 1

    def information(
        self, factors: Factors, weight: Float[jax.Array, " N"]
    ) -> tuple[Float[jax.Array, "p p"], Float[jax.Array, "N p"]]:
        """Return S, and what a step of the others makes of ``W X``."""
        x, nothing = jnp.asarray(self.x), jnp.zeros_like(weight)

        def absorbed(column: Float[jax.Array, " N"]) -> Float[jax.Array, " N"]:
            return self.others.step(factors, weight, weight * column, nothing)

        of_others = jax.vmap(absorbed, in_axes=1, out_axes=1)(x)
        found = x.T @ (weight[:, None] * (x - of_others))
        padding = jnp.arange(x.shape[1]) >= jnp.asarray(self.n_fixed)
        return 0.5 * (found + found.T) + jnp.diag(padding.astype(found.dtype)), of_others

    def solved(
        self, factors: Factors, weight: Float[jax.Array, " N"], score: Float[jax.Array, " N"],
        predictor: Float[jax.Array, " N"],
    ) -> tuple[Float[jax.Array, " p"], Float[jax.Array, " N"]]:  # fmt: skip
        """Return the coefficients at the end of a Newton step, and the linear predictor there."""
        x = jnp.asarray(self.x)
        information, of_others = self.information(factors, weight)
        alone = self.others.step(factors, weight, score, predictor)
        left = weight * (predictor - alone) + score
        coefficients = inverse_logdet(information)[0] @ (x.T @ left)
        return coefficients, alone + (x - of_others) @ coefficients

    def step(
        self, factors: Factors, weight: Float[jax.Array, " N"], score: Float[jax.Array, " N"],
        predictor: Float[jax.Array, " N"],
    ) -> Float[jax.Array, " N"]:  # fmt: skip
        return self.solved(factors, weight, score, predictor)[1]

    def logdet(self, factors: Factors, weight: Float[jax.Array, " N"]) -> Float[jax.Array, " L"]:
        own = inverse_logdet(self.information(factors, weight)[0])[1]
        return (jnp.sum(self.others.logdet(factors, weight)) + own)[None]

    def effects(
        self, design: Design, factors: Factors, weight: Float[jax.Array, " N"], predictor: Float[jax.Array, " N"],
        score: Float[jax.Array, " N"],
    ) -> Effects:  # fmt: skip
        """Return those of the others given the coefficients."""
        coefficients, _ = self.solved(factors, weight, score, predictor)
        return self.others.effects(design, factors, weight, predictor - jnp.asarray(self.x) @ coefficients, score)


class Restricted(NamedTuple):
    """−2 log of the restricted likelihood, the coefficients at the joint mode, and their information S given theta."""

    deviance: Float[jax.Array, ""]
    coefficients: Float[jax.Array, " p"]
    information: Float[jax.Array, "p p"]


class RestrictedLaplace(Laplace):
    """Laplace's approximation of the integral over the random effects and the coefficients.

    ``−2 log L_R ≈ −2 Σ w log f(y | η̂) + ûᵀû + log|H| + log|S| − p log 2π`` at the joint mode of the effects and of the
    coefficients that the columns ``x`` multiply (as glmmTMB's, Brooks et al. 2017).
    """

    effects: EffectsWithCoefficients

    def restricted(self, given: Given, observed: Observations) -> Restricted:
        """Return the criterion with the coefficients; the derivatives of their information are exact to first order."""
        deviance, modes, rows = self.with_modes(given, observed)
        at_modes = given.factors, rows.weight
        coefficients, _ = self.effects.solved(*at_modes, rows.score, modes.predictor)
        p = jnp.asarray(self.effects.n_fixed, deviance.dtype)
        return Restricted(deviance - p * np.log(2.0 * np.pi), coefficients, self.effects.information(*at_modes)[0])
