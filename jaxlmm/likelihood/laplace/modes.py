"""Laplace's approximation: modes of the random effects by Newton's method, exact derivatives without its steps.

``−2 log L ≈ −2 Σ w log f(y | η̂) + ûᵀû + log|I + Λᵀ Zᵀ W Z Λ|`` with ``η = Xβ + Z Λ u + offset``, û the mode, and the
observed curvature W = −w ∂² log f / ∂η² there (Bates et al. 2015, section 7; Brooks et al. 2017).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, Struct
from jaxlmm.families import AbstractFamily, has_unit, row_derivatives
from jaxlmm.likelihood.laplace.effects import AbstractEffects
from jaxlmm.likelihood.laplace.sums import sum_of_rows
from jaxlmm.model import Design, Factors
from jaxlmm.solvers import Effects

MAX_STEPS, MAX_HALVINGS = 100, 30
"""Newton steps, and halvings of one step, after which the search for a mode fails: the deviance is then NaN."""

LONGEST = 10.0
"""The longest step of a linear predictor without a unit: where the curvature at its start says little, as of log
means far away."""

SMALL_DECREMENT = 1e-7
"""The search in a block ends when the Newton decrement, the square of the distance in conditional standard deviations,
is below this; that step and another one are taken, each of which squares the distance."""

ROUNDING = 1e-12
"""How much lower the penalized log-likelihood may be after a step, relative to one plus the sizes of its rows."""

RAISED_WEIGHT = 1e-10
"""Weights below this are raised to it where a matrix is not positive definite with those that there are."""


class Observations(Struct):
    """Observations ``y``, as the family takes them, with prior weights, which are zero on padded rows.

    A weight multiplies the log-density; rows of weight zero are not looked at. ``offset``, one number or one for each
    row, is added to the linear predictor beside that of the design. Many responses have a first axis over them.
    """

    y: Float[Array, "*y"]
    weight: Float[Array, "*b"]
    offset: Float[Array, "*o"]


class Modes(NamedTuple):
    """The random part of the linear predictor: ``predictor`` r = Z Λ u, ``dual`` v with u = Λᵀ Zᵀ v, so that
    uᵀu = rᵀv whatever Λ is. At the mode the dual is the score.
    """

    predictor: Float[jax.Array, " N"]
    dual: Float[jax.Array, " N"]


class Conditional(NamedTuple):
    """The kernels of the log-densities of the rows given the random effects, with derivatives, times prior weights."""

    value: Float[jax.Array, " N"]
    score: Float[jax.Array, " N"]
    weight: Float[jax.Array, " N"]


class Given(NamedTuple):
    """What modes depend on: covariance ``factors``, natural ``dispersion``, and ``fixed``, Xβ with the offset."""

    factors: Factors
    dispersion: Float[jax.Array, " d"]
    fixed: Float[jax.Array, " N"]


class SearchState(NamedTuple):
    """The search for the modes: the ``rows`` there, the ``value`` of each block, whether it is ``moving`` still, or has
    ``failed``.
    """

    modes: Modes
    rows: Conditional
    value: Float[jax.Array, " L"]
    moving: Bool[jax.Array, " L"]
    failed: Bool[jax.Array, " L"]
    steps: Int[jax.Array, ""]


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
        return self.with_modes(given, observed)[0]

    def with_modes(self, given: Given, observed: Observations) -> tuple[Float[jax.Array, ""], Modes, Conditional]:
        """Return :meth:`deviance` with the modes, exact to first order in what is given, and the rows there."""
        settled = jax.lax.stop_gradient((given, observed))
        modes = self.modes(*settled)
        at = settled[0].fixed + modes.predictor
        effect = jax.lax.stop_gradient(self._effect_on_logdet(*settled, modes))
        modes = self._towards(given, modes, self.conditional(given, observed, modes.predictor, near=at))
        rows = self.conditional(given, observed, modes.predictor, near=at)
        logdet = self.effects.logdet(given.factors, rows.weight)
        corrected = jnp.sum(logdet) + jnp.sum(effect * (rows.score - modes.dual))
        penalized = -2.0 * jnp.sum(rows.value) + jnp.sum(modes.predictor * modes.dual)
        return penalized + corrected - 2.0 * self.normalizer(given, observed), modes, rows

    def normalizer(self, given: Given, observed: Observations) -> Float[jax.Array, ""]:
        """Return the sum of the rows' normalizers, times prior weights."""
        return sum_of_rows(self.family.normalizer, 0, jnp.asarray(observed.y), observed.weight, given.dispersion)

    def curvature_at(self, given: Given, observed: Observations) -> Float[jax.Array, " N"]:
        """Return the observed curvature of each row at the modes, times its weight."""
        modes = self._stepped(given, observed, self.modes(given, observed))
        return self.conditional(given, observed, modes.predictor).weight

    def effects_at(self, design: Design, given: Given, observed: Observations) -> Effects:
        """Return modes and conditional standard deviations of the random effects of a design."""
        modes = self._stepped(given, observed, self.modes(given, observed))
        weight = self.conditional(given, observed, modes.predictor).weight
        return self.effects.effects(design, given.factors, weight, modes.predictor, modes.dual)

    def _effect_on_logdet(self, given: Given, observed: Observations, modes: Modes) -> Float[jax.Array, " N"]:
        """Return, for each row, how the log-determinant changes with its score by one Newton step from the modes."""

        def logdet(predictor: Float[jax.Array, " N"]) -> Float[jax.Array, ""]:
            weight = self.conditional(given, observed, predictor).weight
            return jnp.sum(self.effects.logdet(given.factors, weight))

        slope, weight = jax.grad(logdet)(modes.predictor), self.conditional(given, observed, modes.predictor).weight
        return self.effects.step(given.factors, weight, slope, jnp.zeros_like(slope))

    def conditional(
        self,
        given: Given,
        observed: Observations,
        predictor: Float[jax.Array, " N"],
        near: Float[jax.Array, " N"] | None = None,
    ) -> Conditional:
        """Evaluate the rows at a random part of the linear predictor; those of weight zero as one that has a weight.

        ``near``, a linear predictor that differs by rounding alone, is where they are evaluated if it is given.
        """
        prior = jnp.asarray(observed.weight)
        counts, y, eta = prior > 0, jnp.asarray(observed.y), given.fixed + predictor
        other = jnp.argmax(counts)
        eta = jnp.where(counts, eta, eta[other])
        near = None if near is None else jnp.where(counts, near, near[other])
        y = jnp.where(counts.reshape(counts.shape + (1,) * (y.ndim - 1)), y, y[other][None])
        found = row_derivatives(self.family, y, eta, given.dispersion, near)
        value, score, curvature = (jnp.where(counts, prior * part, 0.0) for part in found)
        return Conditional(value, score, curvature)

    def modes(self, given: Given, observed: Observations) -> Modes:
        """Return the modes: Newton's method from zero, each block with steps halved until it does not descend.

        NaN, where it has not found all.
        """
        total, spread = self.effects.total, self.effects.spread

        def at(modes: Modes) -> Conditional:
            return self.conditional(given, observed, modes.predictor)

        def penalized(modes: Modes, rows: Conditional) -> tuple[Float[jax.Array, " L"], Float[jax.Array, " L"]]:
            """Return the penalized log-likelihood of each block, and the size of its parts."""
            penalty = modes.predictor * modes.dual
            return total(rows.value - 0.5 * penalty), total(jnp.abs(rows.value) + 0.5 * jnp.abs(penalty))

        def unfinished(state: SearchState) -> Bool[jax.Array, ""]:
            return jnp.any(state.moving) & (state.steps < MAX_STEPS)

        def advance(state: SearchState) -> SearchState:
            modes, value, moving = state.modes, state.value, state.moving
            towards = self._towards(given, modes, state.rows, definite=not self.family.concave)
            change = towards.predictor - modes.predictor
            decrement = total((state.rows.score - modes.dual) * change)
            size = self.effects.largest(jnp.abs(change))
            longest = np.inf if has_unit(self.family) else LONGEST
            whole = jnp.where(moving, jnp.minimum(1.0, longest / jnp.maximum(size, LONGEST)), 0.0)

            def between(length: Float[jax.Array, " L"]) -> Modes:
                own = spread(length)
                pairs = zip(modes, towards, strict=True)
                return Modes(*(jnp.where(own > 0.0, old + own * (new - old), old) for old, new in pairs))

            def lower(after: Float[jax.Array, " L"], size: Float[jax.Array, " L"]) -> Bool[jax.Array, " L"]:
                return moving & ~(after >= value - ROUNDING * (1.0 + size))

            def tried(length: Float[jax.Array, " L"]) -> tuple[Modes, Conditional, Any]:
                there = between(length)
                rows = at(there)
                return there, rows, penalized(there, rows)

            def halve(part: tuple[jax.Array, Any, jax.Array]) -> tuple[jax.Array, Any, jax.Array]:
                length, (_, _, after), halvings = part
                length = jnp.where(lower(*after), 0.5 * length, length)
                return length, tried(length), halvings + 1

            def descends(part: tuple[jax.Array, Any, jax.Array]) -> Bool[jax.Array, ""]:
                return jnp.any(lower(*part[1][2])) & (part[2] < MAX_HALVINGS)

            _, (there, rows, after), _ = jax.lax.while_loop(
                descends, halve, (whole, tried(whole), jnp.zeros((), jnp.int32))
            )
            stuck = lower(*after)
            back = spread(stuck)
            there = Modes(*(jnp.where(back, old, new) for old, new in zip(modes, there, strict=True)))
            rows = Conditional(*(jnp.where(back, old, new) for old, new in zip(state.rows, rows, strict=True)))
            at_mode = moving & (decrement < SMALL_DECREMENT)
            return SearchState(
                there, rows, jnp.where(stuck, value, after[0]), moving & ~at_mode & ~stuck,
                state.failed | (stuck & ~at_mode), state.steps + 1,
            )  # fmt: skip

        nothing = jnp.zeros_like(given.fixed)
        start = Modes(nothing, nothing)
        rows = at(start)
        value, _ = penalized(start, rows)
        possible = jnp.isfinite(value)
        state = SearchState(start, rows, value, possible, ~possible, jnp.zeros((), jnp.int32))
        state = jax.lax.while_loop(unfinished, advance, state)
        found = ~jnp.any(state.failed | state.moving)
        modes = self._towards(given, state.modes, state.rows)
        return Modes(*(jnp.where(found, part, jnp.nan) for part in modes))

    def _stepped(self, given: Given, observed: Observations, modes: Modes) -> Modes:
        """Return the end of a whole Newton step."""
        return self._towards(given, modes, self.conditional(given, observed, modes.predictor))

    def _towards(self, given: Given, modes: Modes, rows: Conditional, *, definite: bool = False) -> Modes:
        """Return the end of a whole Newton step from modes at which the ``rows`` are known.

        ``definite``: where a block's matrix is not positive definite, negative weights count as nothing.
        """
        _, score, weight = rows
        if definite:
            known = self.effects.spread(jnp.isfinite(self.effects.logdet(given.factors, weight)))
            weight = jnp.where(known, weight, jnp.maximum(weight, RAISED_WEIGHT))
        predictor = self.effects.step(given.factors, weight, score, modes.predictor)
        return Modes(predictor, score + weight * (modes.predictor - predictor))
