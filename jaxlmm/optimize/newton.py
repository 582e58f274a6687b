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
from jaxlmm.optimize.constraint import Tangent
from jaxlmm.optimize.loop import AbstractMinimizer, Minimum, Objective, second_order

SHIFT_LADDER = np.concatenate([[0.0], 10.0 ** np.arange(-6.0, 3.5, 0.5)])
"""Values of μ in H + μD that are tried at once, relative to the largest ``|H_ii| / D_ii``."""

NEARLY_UNSHIFTED_RUNG = 3
"""Rungs of the ladder below this one (shifts under 1e-5) regularize a singular Hessian and count as no shift."""

OBJECTIVE_ROUNDING = 1e-13
"""Rounding error of the objective f, relative to |f| + size."""

ROUNDINGS_PER_DIFFERENCE = 100.0
"""Differences of the objective below so many rounding errors mean nothing."""

LAST_STEP_MAX_RISE = 1e-7
"""A last step, of a predicted decrease below the tolerance, is rejected if the objective rises by more than this, which
even rounding near a residual variance of zero, far above ``OBJECTIVE_ROUNDING``, does not explain."""

MAX_SHORT_STEP = 1e-3
"""The predicted decrease of a step shorter than this, as a relative change, has a relative error of the same order."""

NEGLIGIBLE_DECREASE = 1e-6
"""A rejected full step that is short, on an exact Hessian, with a predicted decrease below this, ends the search as
converged: variances a million times the residual's lose six digits of the objective."""


class NewtonState(NamedTuple):
    """``x`` with ``value``, ``gradient``, ``hessian`` there, and the next ``step`` with its ``predicted`` decrease.

    ``tangent`` has the derivatives along the surface of a constraint, if there is one. The step is ``sound`` if it is a
    full Newton step (μ below 1e-5 relative, not shortened to the radius), and the ``last`` if its predicted decrease is
    below the tolerance besides.
    """

    x: Float[jax.Array, " k"]
    value: Float[jax.Array, ""]
    gradient: Float[jax.Array, " k"]
    hessian: Float[jax.Array, "k k"]
    tangent: Tangent
    radius: Float[jax.Array, ""]
    step: Float[jax.Array, " k"]
    predicted: Float[jax.Array, ""]
    sound: Bool[jax.Array, ""]
    last: Bool[jax.Array, ""]
    converged: Bool[jax.Array, ""]
    failed: Bool[jax.Array, ""]


class _Evaluation(NamedTuple):
    """The objective at a trial point, and ``if_rejected``, the Hessian at the old point if the trial is rejected."""

    value: Float[jax.Array, ""]
    gradient: Float[jax.Array, " k"]
    hessian: Float[jax.Array, "k k"]
    if_rejected: Float[jax.Array, "k k"]


class TrustRegion(AbstractMinimizer):
    """Steps on a quadratic model of the objective; its Hessian is the subclass's.

    A step solves ``(H + μD) s = -g`` for a ladder of μ at once. It is that of the smallest μ for which H + μD is
    positive definite, if it stays inside the radius; else that of the rung before the first whose step does, shortened
    to the radius. ``D_ii = 1 / max(mean square of the parameter's block, 0.01)``, so a step is a relative change. It
    stops when the full step has a predicted decrease below ``tolerance``, or below rounding: that step is taken and
    evaluated, and becomes the answer. A gradient norm is no criterion: rounding keeps it up. At a stationary point with
    negative curvature it steps along that curvature.

    Where ``evaluates_last`` is False that step is not evaluated if it is shorter than ``MAX_SHORT_STEP``: then gradient
    and Hessian are those before it, and the value is that before it minus the predicted decrease; who needs derivatives
    there evaluates them.

    ``blocks`` numbers the block of each parameter, here the term that it belongs to. ``size`` is the scale of the
    objective by which rounding is judged; for a deviance the number of observations.
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
        gradient, hessian = jnp.zeros(k, x.dtype), jnp.eye(k, dtype=x.dtype)
        tangent = Tangent(gradient, hessian, None if objective.constraint is None else hessian)
        return NewtonState(
            x, infinite, gradient, hessian, tangent, radius, jnp.zeros(k, x.dtype),
            infinite, false, false, false, false,
        )  # fmt: skip

    def step(self, objective: Objective, state: NewtonState) -> NewtonState:
        trial, holds = objective.feasible(state.x + state.step, self._metric(state.x))
        value, gradient, hessian, hessian_if_rejected = self.evaluate(objective, state, trial)
        first = jnp.isinf(state.value)  # this evaluates the starting point
        unclear = ROUNDINGS_PER_DIFFERENCE * self._noise(jnp.where(first, value, state.value))
        finite = holds & jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(hessian))
        ratio = jnp.where(first, 1.0, (state.value - value) / jnp.maximum(state.predicted, 1e-300))
        within_noise = (state.predicted < unclear) & (value - state.value < unclear)
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
        hessian = jnp.where(accepted, hessian, hessian_if_rejected)
        tangent, noise = objective.along(x, gradient, hessian, self._metric(x)), self._noise(value)
        step, predicted, sound = self._propose(x, tangent, radius, noise)
        negligible = (state.predicted < unclear) | (
            self.exact & (length < MAX_SHORT_STEP) & (state.predicted < NEGLIGIBLE_DECREASE)
        )
        stalled = finite & ~accepted & state.sound & negligible  # a full step failed by rounding: converged
        last = sound & (predicted < jnp.maximum(self.tolerance, noise))
        return NewtonState(
            x, value, gradient, hessian, tangent, radius, step, predicted,
            sound, last, (state.last & accepted) | stalled, first & ~finite,
        )  # fmt: skip

    def done(self, state: NewtonState) -> Bool[jax.Array, ""]:
        return state.converged | state.failed | self._certain(state)

    def result(self, objective: Objective, state: NewtonState, n_steps: Int[jax.Array, ""]) -> Minimum:
        certain, (gradient, hessian, _) = self._certain(state), state.tangent
        x, _ = objective.feasible(state.x + jnp.where(certain, state.step, 0.0), self._metric(state.x))
        value = state.value - jnp.where(certain, state.predicted, 0.0)
        return Minimum(x, value, gradient, hessian, state.converged | certain, n_steps)

    def _certain(self, state: NewtonState) -> Bool[jax.Array, ""]:
        """Return whether the next step need not be evaluated."""
        if self.evaluates_last:
            return jnp.zeros((), bool)
        return state.last & ~state.converged & (self._norm(state.x, state.step) < MAX_SHORT_STEP)

    def _noise(self, value: Float[jax.Array, ""]) -> Float[jax.Array, ""]:
        """Return the rounding error of the objective where it has this ``value``."""
        return OBJECTIVE_ROUNDING * (self.size + jnp.abs(value))

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
        tangent: Tangent,
        radius: Float[jax.Array, ""],
        noise: Float[jax.Array, ""],
    ) -> tuple[Float[jax.Array, " k"], Float[jax.Array, ""], Bool[jax.Array, ""]]:
        """Return a step, its predicted decrease, and whether it is a full Newton step.

        Every shift has the objective's rounding ``noise`` added, so that a curvature below it does not make the step.
        """
        gradient, hessian, projection = tangent
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
        # The direction of the smallest curvature: three steps of inverse iteration from some vector.
        along = inverse @ (inverse @ (inverse @ (1.0 + 0.1 * jnp.arange(x.shape[0], dtype=x.dtype))))
        along = along if projection is None else projection @ along
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

    The update is not kept positive definite, so that it represents negative curvature too (Conn, Gould and Toint 1991).
    It starts from ``diag(curvature(s) / s)``, s the mean squares of the parameters' blocks: ``curvature`` returns
    roughly the second derivatives in relative changes of the parameters. The Hessian of the result is the learned one.
    """

    curvature: Callable[[Float[jax.Array, " k"]], Float[jax.Array, " k"]] = dataclasses.field(kw_only=True)

    exact = False

    def evaluate(self, objective: Objective, state: NewtonState, trial: Float[jax.Array, " k"]) -> _Evaluation:
        value, gradient = jax.value_and_grad(objective)(trial)
        first = jnp.isinf(state.value)
        step = jnp.where(first, 0.0, trial - state.x)
        error = gradient - state.gradient - state.hessian @ step
        denominator = error @ step
        lengths = jnp.sqrt((error @ error) * (step @ step))
        safe = jnp.isfinite(denominator) & (jnp.abs(denominator) > 1e-8 * lengths)
        update = jnp.where(safe, jnp.outer(error, error) / jnp.where(safe, denominator, 1.0), 0.0)
        metric = self._metric(trial)
        start = jnp.diag(self.curvature(1.0 / metric) * metric)
        learned = jnp.where(first, start, state.hessian + update)
        return _Evaluation(value, gradient, learned, learned)
