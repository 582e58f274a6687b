"""Newton's method in a trust region, without an eigensolver, for a handful of parameters and thousands of problems.

The Hessian is exact, or learned from gradients where an exact one is expensive.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, static
from jaxlmm.linalg import inverse_logdet, shifted_solutions
from jaxlmm.optimize.loop import AbstractMinimizer, Minimum, Objective, second_order

SHIFT_LADDER = np.concatenate([[0.0], 10.0 ** np.arange(-6.0, 3.5, 0.5)])
"""Shifts of the Hessian that are tried at once, relative to its largest scaled diagonal entry."""

NEARLY_UNSHIFTED_RUNG = 3
"""Rungs of the ladder below this one (shifts under 1e-5) only steady a Hessian that is singular."""

OBJECTIVE_ROUNDING = 1e-13
"""Relative rounding error of the objective."""

LAST_STEP_MAX_RISE = 1e-7
"""A step that promises less than the tolerance is taken unless the objective rises by more than this: that would not be
rounding, which near a residual variance of zero is far above ``OBJECTIVE_ROUNDING``."""

MAX_SHORT_STEP = 1e-3
"""A step of less than this, as a relative change, errs in what it promises by as small a share of it."""

NEGLIGIBLE_DECREASE = 1e-6
"""Where a short step on an exact Hessian promises no more than this and the objective rises, that is rounding, however
far above ``OBJECTIVE_ROUNDING``: variances that are a million times the residual's lose as many digits."""


class NewtonState(NamedTuple):
    """``x`` with ``value``, ``gradient``, ``hessian`` there, and the next ``step`` with its ``predicted`` decrease.

    The step is ``sound`` if it is a whole Newton step, and the ``last`` if its predicted decrease is negligible too.
    """

    x: Float[jax.Array, " k"]
    value: Float[jax.Array, ""]
    gradient: Float[jax.Array, " k"]
    hessian: Float[jax.Array, "k k"]
    radius: Float[jax.Array, ""]
    step: Float[jax.Array, " k"]
    predicted: Float[jax.Array, ""]
    sound: Bool[jax.Array, ""]
    last: Bool[jax.Array, ""]
    converged: Bool[jax.Array, ""]
    failed: Bool[jax.Array, ""]


class _Evaluation(NamedTuple):
    """The objective at a trial point, and ``learned``, the Hessian at the old point if the trial is rejected."""

    value: Float[jax.Array, ""]
    gradient: Float[jax.Array, " k"]
    hessian: Float[jax.Array, "k k"]
    learned: Float[jax.Array, "k k"]


class TrustRegion(AbstractMinimizer):
    """Steps on a quadratic model of the objective; its Hessian is the subclass's.

    A step solves ``(H + μD) s = -g`` for a ladder of μ at once and takes the smallest that is positive definite and
    stays inside the radius (or the rung below, scaled to the radius). ``D`` measures each parameter by the root mean
    square of its block, so a step is a relative change. It stops when the unshifted step would win less than
    ``tolerance``, or less than rounding: that step is taken and evaluated, and becomes the answer. A gradient norm is
    no criterion: rounding keeps it up. At a stationary point with negative curvature it steps along that curvature.

    Where ``evaluates_last`` is False that step is not evaluated if it is short besides: then gradient and Hessian are
    those before it, and the value is less the predicted decrease; whoever needs derivatives there evaluates them.

    ``blocks`` numbers the block of each parameter. Differences of the objective f below
    ``OBJECTIVE_ROUNDING * (|f| + size)`` mean nothing; for a deviance ``size`` is the number of observations.
    """

    blocks: Int[Array, "*b k"]
    size: Float[Array, "*b"]
    tolerance: float = static(default=1e-9)
    first_radius: float = static(default=0.7)
    evaluates_last: bool = static(default=True)

    exact: ClassVar[bool]

    @abc.abstractmethod
    def evaluate(self, objective: Objective, state: NewtonState, trial: Float[jax.Array, " k"]) -> _Evaluation:
        """Evaluate the objective at ``trial``."""

    def init(self, objective: Objective, x: Float[jax.Array, " k"]) -> NewtonState:
        k = x.shape[0]
        zero = jnp.zeros((), x.dtype)
        false = jnp.zeros((), bool)
        radius = zero + self.first_radius
        infinite = zero + jnp.inf
        return NewtonState(
            x, infinite, jnp.zeros(k, x.dtype), jnp.eye(k, dtype=x.dtype), radius, jnp.zeros(k, x.dtype),
            infinite, false, false, false, false,
        )  # fmt: skip

    def step(self, objective: Objective, state: NewtonState) -> NewtonState:
        trial = state.x + state.step
        value, gradient, hessian, learned = self.evaluate(objective, state, trial)
        first = jnp.isinf(state.value)
        noise = OBJECTIVE_ROUNDING * (self.size + jnp.abs(value))
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(hessian))
        ratio = jnp.where(first, 1.0, (state.value - value) / jnp.maximum(state.predicted, 1e-300))
        within_noise = (state.predicted < 100.0 * noise) & (value - state.value < 100.0 * noise)
        last = state.last & (value - state.value < LAST_STEP_MAX_RISE)
        accepted = finite & (first | (ratio > 1e-3) | within_noise | last)

        length = self._norm(state.x, state.step)
        shrunk = jnp.where(accepted, length / 2.0, jnp.minimum(state.radius, length) / 4.0)
        grown = jnp.where((ratio > 0.75) & (length > 0.8 * state.radius), 3.0 * state.radius, state.radius)
        changed = jnp.where(accepted & ((ratio >= 0.25) | within_noise), grown, shrunk)
        radius = jnp.where(first, state.radius, jnp.maximum(changed, 1e-10))

        x = jnp.where(accepted, trial, state.x)
        value = jnp.where(accepted, value, state.value)
        gradient = jnp.where(accepted, gradient, state.gradient)
        hessian = jnp.where(accepted, hessian, learned)
        step, predicted, sound = self._propose(x, gradient, hessian, radius, noise)
        hopeless = (state.predicted < 100.0 * noise) | (
            self.exact & (length < MAX_SHORT_STEP) & (state.predicted < NEGLIGIBLE_DECREASE)
        )
        refused = finite & ~accepted & state.sound & hopeless  # nothing more can be won
        last = sound & (predicted < jnp.maximum(self.tolerance, noise))
        return NewtonState(
            x, value, gradient, hessian, radius, step, predicted,
            sound, last, (state.last & accepted) | refused, first & ~finite,
        )  # fmt: skip

    def done(self, state: NewtonState) -> Bool[jax.Array, ""]:
        return state.converged | state.failed | self._certain(state)

    def result(self, objective: Objective, state: NewtonState, n_steps: Int[jax.Array, ""]) -> Minimum:
        certain = self._certain(state)
        x = state.x + jnp.where(certain, state.step, 0.0)
        value = state.value - jnp.where(certain, state.predicted, 0.0)
        return Minimum(x, value, state.gradient, state.hessian, state.converged | certain, n_steps)

    def _certain(self, state: NewtonState) -> Bool[jax.Array, ""]:
        """Return whether the next step need not be evaluated."""
        if self.evaluates_last:
            return jnp.zeros((), bool)
        return state.last & ~state.converged & (self._norm(state.x, state.step) < MAX_SHORT_STEP)

    def _metric(self, x: Float[jax.Array, " k"]) -> Float[jax.Array, " k"]:
        """Return the diagonal of D."""
        same = (self.blocks[:, None] == self.blocks[None, :]).astype(x.dtype)
        return 1.0 / jnp.maximum(same @ x**2 / jnp.sum(same, axis=1), 0.01)

    def _norm(self, x: Float[jax.Array, " k"], step: Float[jax.Array, " k"]) -> Float[jax.Array, ""]:
        """Return the length of a step in the metric at ``x``."""
        return jnp.sqrt(jnp.sum(self._metric(x) * step**2))

    def _propose(
        self,
        x: Float[jax.Array, " k"],
        gradient: Float[jax.Array, " k"],
        hessian: Float[jax.Array, "k k"],
        radius: Float[jax.Array, ""],
        noise: Float[jax.Array, ""],
    ) -> tuple[Float[jax.Array, " k"], Float[jax.Array, ""], Bool[jax.Array, ""]]:
        """Return a step, its predicted decrease, and whether the Hessian needed no shift.

        A curvature below the objective's rounding ``noise`` counts as zero: along a ridge no step is taken.
        """
        metric = self._metric(x)
        scale = jnp.maximum(jnp.max(jnp.abs(jnp.diagonal(hessian)) / metric), 1e-4)
        shifts = jnp.asarray(SHIFT_LADDER, x.dtype) * scale + noise
        solutions, definite = shifted_solutions(hessian, metric, shifts, -gradient)
        lengths = jnp.sqrt(sum(weight * one**2 for weight, one in zip(metric, solutions, strict=True)))
        definite = definite & jnp.isfinite(lengths)
        lowest, fitting = _first(definite), _first(definite & (lengths <= radius))
        any_definite, last = lowest < SHIFT_LADDER.size, SHIFT_LADDER.size - 1
        chosen = jnp.where(fitting > last, last, jnp.where(fitting > lowest, fitting - 1, fitting))
        shrink = jnp.minimum(1.0, radius / jnp.maximum(lengths[chosen], 1e-300))
        shifted = shrink * jnp.where(definite[chosen], jnp.stack([one[chosen] for one in solutions]), 0.0)
        downhill = -gradient / metric
        downhill = downhill * jnp.minimum(1.0, radius / jnp.maximum(jnp.sqrt(jnp.sum(metric * downhill**2)), 1e-300))
        step = jnp.where(any_definite, shifted, downhill)

        unshifted = lowest < NEARLY_UNSHIFTED_RUNG
        predicted = -(gradient @ step + 0.5 * step @ (hessian @ step))
        least = shifts[jnp.minimum(lowest, last)]
        inverse, _ = inverse_logdet(hessian + least * jnp.diag(metric))
        inverse = jnp.where(any_definite, inverse, jnp.eye(x.shape[0], dtype=x.dtype))
        along = inverse @ (inverse @ (inverse @ (1.0 + 0.1 * jnp.arange(x.shape[0], dtype=x.dtype))))
        along = along * jnp.where(gradient @ along > 0, -1.0, 1.0)
        along = along * 0.5 * radius / jnp.maximum(jnp.sqrt(jnp.sum(metric * along**2)), 1e-300)
        saddle = ~unshifted & (predicted < self.tolerance)
        step = jnp.where(saddle, along, step)
        gain = -(gradient @ along + 0.5 * along @ (hessian @ along))
        predicted = jnp.where(saddle, gain, predicted)
        return step, predicted, unshifted & (chosen < NEARLY_UNSHIFTED_RUNG) & (shrink >= 1.0)


def _first(rungs: Bool[jax.Array, " s"]) -> Int[jax.Array, ""]:
    """Return the number of the first of the ``rungs`` that is true, s where none is."""
    return jnp.min(jnp.where(rungs, jnp.arange(rungs.size), rungs.size))


class Newton(TrustRegion):
    """Newton steps on the exact Hessian; ``sequential`` takes its columns one after the other, to save memory."""

    sequential: bool = static(default=False)

    exact = True

    def evaluate(self, objective: Objective, state: NewtonState, trial: Float[jax.Array, " k"]) -> _Evaluation:
        return _Evaluation(*second_order(objective, trial, sequential=self.sequential), state.hessian)


class QuasiNewton(TrustRegion):
    """Steps on a Hessian that is learned from the gradients by the symmetric rank-one update.

    Without positive definiteness imposed, the update learns saddles too (Conn, Gould and Toint 1991). It starts from
    the Hessian's diagonal in relative changes of the parameters, which ``curvature`` returns from their mean squares
    over their blocks. The Hessian of the result is the learned one.
    """

    curvature: Callable[[Float[jax.Array, " k"]], Float[jax.Array, " k"]] = dataclasses.field(kw_only=True)

    exact = False

    def evaluate(self, objective: Objective, state: NewtonState, trial: Float[jax.Array, " k"]) -> _Evaluation:
        value, gradient = jax.value_and_grad(objective)(trial)
        first = jnp.isinf(state.value)
        step = jnp.where(first, 0.0, state.step)
        error = gradient - state.gradient - state.hessian @ step
        along = error @ step
        lengths = jnp.sqrt((error @ error) * (step @ step))
        safe = jnp.isfinite(along) & (jnp.abs(along) > 1e-8 * lengths)
        update = jnp.where(safe, jnp.outer(error, error) / jnp.where(safe, along, 1.0), 0.0)
        metric = self._metric(trial)
        start = jnp.diag(self.curvature(1.0 / metric) * metric)
        learned = jnp.where(first, start, state.hessian + update)
        return _Evaluation(value, gradient, learned, learned)
