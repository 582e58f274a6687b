"""Laplace's approximation: modes of the random effects by Newton's method, exact derivatives without its steps.

``−2 log L ≈ −2 Σ w log f(y | η̂) + ûᵀû + log|I + Λᵀ Zᵀ W Z Λ|`` with ``η = Xβ + Z Λ u + offset``, û the mode, and the
observed curvature W = −w ∂² log f / ∂η² there (Bates et al. 2015, section 7; Brooks et al. 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, Struct
from jaxlmm.families import AbstractFamily
from jaxlmm.likelihood.laplace.effects import AbstractEffects
from jaxlmm.model import Factors

MAX_STEPS, MAX_HALVINGS = 100, 30
"""Newton steps after which the search for a mode gives up, and halvings of one step."""

NEGLIGIBLE_GAIN = 1e-7
"""A block is at its mode when a whole step raises its penalized log-likelihood by no more than this, relative to one
plus its size: half the squared distance to the mode, which two further steps make negligible."""

ROUNDING = 1e-12
"""How much lower the penalized log-likelihood may be after a step, relative to one plus its size."""

SMALLEST_WEIGHT = 1e-10
"""Weights below this are raised to it where a matrix is not positive definite with those that there are."""


class Observations(Struct):
    """Observations ``y``, as the family takes them, with prior weights, which are zero on padded rows.

    A weight multiplies the log-density. Padded rows repeat an observation, at which the density is finite.
    """

    y: Float[Array, "N ..."]
    weight: Float[Array, " N"]


class Modes(NamedTuple):
    """The random part of the linear predictor: ``predictor`` r = Z Λ u, ``dual`` v with u = Λᵀ Zᵀ v, so that
    uᵀu = rᵀv whatever Λ is. At the mode the dual is the score.
    """

    predictor: Float[jax.Array, " N"]
    dual: Float[jax.Array, " N"]


class Conditional(NamedTuple):
    """The log-densities of the rows given the random effects, with derivatives, times prior weights."""

    value: Float[jax.Array, " N"]
    score: Float[jax.Array, " N"]
    weight: Float[jax.Array, " N"]


class Given(NamedTuple):
    """What modes depend on: covariance ``factors``, natural ``dispersion``, and ``fixed``, Xβ with the offset."""

    factors: Factors
    dispersion: Float[jax.Array, " d"]
    fixed: Float[jax.Array, " N"]


class Laplace(Struct):
    """Laplace's approximation for one family and the random effects of one design."""

    family: AbstractFamily
    effects: AbstractEffects

    def deviance(self, given: Given, observed: Observations) -> Float[jax.Array, ""]:
        """Return −2 log L, with exact derivatives of first and second order.

        One Newton step starts at modes that are found beforehand and not differentiated: its error is of second order
        in that of its start. In −2 log f + uᵀu, which is stationary there, it counts by its square; in the
        log-determinant the next step, whose length is the gradient that is left, corrects it.
        """
        settled = jax.lax.stop_gradient((given, observed))
        modes = self.modes(*settled)
        effect = jax.lax.stop_gradient(self._effect_on_logdet(*settled, modes))
        modes = self._stepped(given, observed, modes)
        value, score, weight = self.conditional(given, observed, modes.predictor)
        logdet = self.effects.logdet(given.factors, weight)
        corrected = jnp.sum(logdet) + jnp.sum(effect * (score - modes.dual))
        return -2.0 * jnp.sum(value) + jnp.sum(modes.predictor * modes.dual) + corrected

    def _effect_on_logdet(self, given: Given, observed: Observations, modes: Modes) -> Float[jax.Array, " N"]:
        """Return, for each row, how the log-determinant changes with its score by one Newton step from the modes."""

        def logdet(predictor: Float[jax.Array, " N"]) -> Float[jax.Array, ""]:
            weight = self.conditional(given, observed, predictor).weight
            return jnp.sum(self.effects.logdet(given.factors, weight))

        slope, weight = jax.grad(logdet)(modes.predictor), self.conditional(given, observed, modes.predictor).weight
        return self.effects.step(given.factors, weight, slope, jnp.zeros_like(slope))

    def conditional(self, given: Given, observed: Observations, predictor: Float[jax.Array, " N"]) -> Conditional:
        """Evaluate the rows at a random part of the linear predictor."""
        found = self.family.derivatives(observed.y, given.fixed + predictor, given.dispersion)
        prior = jnp.asarray(observed.weight)
        value, score, curvature = (jnp.where(prior > 0, prior * part, 0.0) for part in found)
        return Conditional(value, score, curvature)

    def modes(self, given: Given, observed: Observations) -> Modes:
        """Return the modes: Newton's method from zero, each block with steps halved until it does not descend."""
        total, blocks = self.effects.total, self.effects.n_blocks

        def penalized(modes: Modes) -> Float[jax.Array, " L"]:
            rows = self.conditional(given, observed, modes.predictor).value
            return total(rows - 0.5 * modes.predictor * modes.dual)

        def unfinished(state: tuple[Modes, jax.Array, jax.Array, jax.Array]) -> Bool[jax.Array, ""]:
            _, _, done, count = state
            return ~jnp.all(done) & (count < MAX_STEPS)

        def advance(
            state: tuple[Modes, jax.Array, jax.Array, Int[jax.Array, ""]],
        ) -> tuple[Modes, jax.Array, jax.Array, Int[jax.Array, ""]]:
            modes, value, done, count = state
            towards = self._stepped(given, observed, modes, definite=True)
            length = jnp.where(done, 0.0, 1.0)

            def between(length: Float[jax.Array, " L"]) -> Modes:
                by_row = length[jnp.asarray(self.effects.codes)]
                return Modes(*(old + by_row * (new - old) for old, new in zip(modes, towards, strict=True)))

            def lower(after: Float[jax.Array, " L"]) -> Bool[jax.Array, " L"]:
                return ~(after >= value - ROUNDING * (1.0 + jnp.abs(value)))

            def halve(
                state: tuple[jax.Array, jax.Array, jax.Array],
            ) -> tuple[jax.Array, jax.Array, Int[jax.Array, ""]]:
                length, after, halvings = state
                length = jnp.where(lower(after), 0.5 * length, length)
                return length, penalized(between(length)), halvings + 1

            def descends(state: tuple[jax.Array, jax.Array, Int[jax.Array, ""]]) -> Bool[jax.Array, ""]:
                return jnp.any(lower(state[1])) & (state[2] < MAX_HALVINGS)

            start = length, penalized(between(length)), jnp.zeros((), jnp.int32)
            length, after, _ = jax.lax.while_loop(descends, halve, start)
            length = jnp.where(lower(after), 0.0, length)
            after = jnp.where(length > 0.0, after, value)
            small = after - value <= NEGLIGIBLE_GAIN * (1.0 + jnp.abs(value))
            return between(length), after, done | (small & ((length == 1.0) | (length == 0.0))), count + 1

        nothing = jnp.zeros_like(given.fixed)
        start = Modes(nothing, nothing)
        state = start, penalized(start), jnp.zeros(blocks, bool), jnp.zeros((), jnp.int32)
        return jax.lax.while_loop(unfinished, advance, state)[0]

    def _stepped(self, given: Given, observed: Observations, modes: Modes, *, definite: bool = False) -> Modes:
        """Return the end of a whole Newton step.

        ``definite``: where a block's matrix is not positive definite, negative weights count as nothing.
        """
        _, score, weight = self.conditional(given, observed, modes.predictor)
        if definite:
            known = jnp.isfinite(self.effects.logdet(given.factors, weight))[jnp.asarray(self.effects.codes)]
            weight = jnp.where(known, weight, jnp.maximum(weight, SMALLEST_WEIGHT))
        predictor = self.effects.step(given.factors, weight, score, modes.predictor)
        return Modes(predictor, score + weight * (modes.predictor - predictor))
