"""The minimizer at work on many problems: rounds of re-batched problems, and walks along valleys to a limit.

A problem is one response with its likelihood.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.engine.compiled import Reached, run
from jaxlmm.engine.problems import Problems, in_batches, put, take
from jaxlmm.engine.start import ExpectedCurvature, Plan
from jaxlmm.optimize import AbstractMinimizer, Newton, QuasiNewton

Bases: TypeAlias = tuple[Float[NumpyArray, "b _ _"], ...]
"""One basis (q, q) per term and problem."""

EVALUATIONS_PER_ROUND = (5, 8, 17, 64, 106)
"""Evaluations in each round, after which converged problems leave the batch and the rest are re-batched; in all
``MAX_EVALUATIONS``. From a start guessed by second moments most need four."""

EVALUATIONS_PER_ROUND_OF_FAMILY = (7, 8, 17, 28)
"""The same for generalized models, whose evaluations are dear: most need six."""

EVALUATIONS_PER_ROUND_FROM_NODES = (8, 8, 17, 64, 103)
"""The same where the start is the best of the plan's nodes: most need seven."""

EVALUATIONS_PER_ROUND_OF_ONE = (20, 40, 140)
"""The same for a single problem, and where a Hessian is expensive."""

MAX_EVALUATIONS, MAX_EVALUATIONS_FIRST_ORDER = 200, 100_000
"""Evaluations after which Newton's method, and a first-order method, give up."""

EVALUATIONS_BEFORE_WALK, MAX_LONG_STEPS, EVALUATIONS_PER_LONG_STEP = 40, 15, 15
"""Evaluations before the first long step along a valley, the most long steps, and evaluations after each."""

LONG_STEP_LENGTH = 0.7
"""The length of a long step, relative to the parameters' size."""

NEGLIGIBLE_GAIN = 3e-4
"""A valley has been walked to its end when a step lowers the deviance by no more than this, and by clearly less than
the one before: further away, the rounding of the deviance, which grows with the parameters, is larger than what is left
to fall."""

FADING_GAIN = 0.7
"""The ratio of one gain to the one before below which it is clearly less."""


class Descent:
    """The minimizer at work on some problems, and the evaluations spent on each.

    Newton's method, or where a Hessian is expensive a quasi-Newton one, whose Hessian starts from a rough expected
    second derivative (each term as if it were the only one). Both return a last step shorter than 1e-3 (relative)
    without an evaluation there: the value is the predicted one, gradient and Hessian are those of the point before.

    ``first_order`` is another minimizer, which callers hand to :meth:`minimize` as ``method``; afterwards Newton's, or
    the quasi-Newton one, only confirms its optima.
    """

    def __init__(self, problems: Problems, first_order: AbstractMinimizer | None = None) -> None:
        self.problems, self.first_order = problems, first_order
        self._without_rows = problems.without_rows()
        self.n_evaluations = np.zeros(problems.size, int)

    @functools.cached_property
    def plan(self) -> Plan:
        """Where a start is looked for."""
        return Plan.of(self.problems.likelihood)

    @functools.cached_property
    def exact(self) -> Newton:
        """Newton's method."""
        likelihood = self.problems.likelihood
        # Sequential: one response, and one direction of differentiation, at a time, to save memory.
        sequential = likelihood.solver.sequential
        return Newton(likelihood.layout.blocks(), self._n, evaluates_last=False, sequential=sequential)

    @functools.cached_property
    def method(self) -> AbstractMinimizer:
        """Newton's method, or where a Hessian is expensive a quasi-Newton one."""
        likelihood = self.problems.likelihood
        if not likelihood.solver.quasi_newton:
            return self.exact
        curvature = ExpectedCurvature.of(likelihood.design, likelihood.layout)
        return QuasiNewton(likelihood.layout.blocks(), self._n, evaluates_last=False, curvature=curvature)

    @property
    def _n(self) -> np.float64:
        """The number of rows, by which the deviance grows."""
        return np.float64(int(self.problems.likelihood.design.n))

    def minimize(
        self,
        index: Int[NumpyArray, " b"],
        theta: Float[NumpyArray, "b k"],
        bases: Bases,
        max_steps: int | Int[NumpyArray, " b"] = MAX_EVALUATIONS,
        *,
        method: AbstractMinimizer | None = None,
        active_set: Int[NumpyArray, "b k"] | None = None,
        in_rounds: bool = False,
        search: bool = False,
        snaps: bool = False,
    ) -> tuple[Reached, Bases]:
        """Minimize the problems ``index`` from ``theta`` in at most ``max_steps`` evaluations.

        With ``search`` the minimization begins at the best of the start's nodes, or of values along the axes of theta,
        or at the solver's guess by moments, not at ``theta``; with ``snaps`` the point reached is also returned
        ``snapped`` to the boundary. ``in_rounds`` re-batches problems that need more than a round, so that slow
        problems do not stall fast ones; they go on in bases rotated to the principal axes of each term's present
        covariance. A problem with parameters in the ``active_set`` keeps its bases: in them the gradient and mixed
        derivatives of those parameters are exactly zero, which keeps them at the boundary. Returns the points reached,
        and the bases in which the minimum is written.
        """
        limit = np.broadcast_to(np.asarray(max_steps, np.int32), index.shape)
        method, plan = self.method if method is None else method, self.plan
        reached, left, spent = None, np.arange(index.size), np.zeros(index.shape, np.int32)
        for steps in self._rounds(index.size) if in_rounds else (MAX_EVALUATIONS_FIRST_ORDER,):
            allowed = np.minimum(limit[left] - spent[left], steps).astype(np.int32)
            searches = np.bool_(search and reached is None)
            minimized = functools.partial(run, method=method, plan=plan, search=searches, snaps=np.bool_(snaps))
            part = in_batches(self._without_rows, minimized, index[left], theta[left], take(bases, left), allowed)
            reached = part if reached is None else put(reached, left, part)
            spent[left] += part.minimum.n_steps
            theta = reached.minimum.x
            undone = ~part.minimum.converged & (part.minimum.n_steps == allowed) & (spent[left] < limit[left])
            left = left[undone]
            if not left.size:
                break
            inactive = left if active_set is None else left[np.all(active_set[left] == 0, axis=1)]
            theta, bases = put((theta, bases), inactive, take(reached.rotated, inactive))
        assert reached is not None
        self.n_evaluations[index] += spent
        return reached._replace(minimum=reached.minimum._replace(n_steps=spent)), bases

    def _rounds(self, size: int) -> tuple[int, ...]:
        """Return the evaluations of each round, for so many problems."""
        solver, family = self.problems.likelihood.solver, self.problems.likelihood.layout.family
        if size == 1 or solver.quasi_newton:
            return EVALUATIONS_PER_ROUND_OF_ONE
        if family is not None:
            return EVALUATIONS_PER_ROUND_OF_FAMILY
        return EVALUATIONS_PER_ROUND if solver.guesses else EVALUATIONS_PER_ROUND_FROM_NODES

    def walk(
        self, unconverged: Int[NumpyArray, " b"], start: Float[NumpyArray, "b k"], bases: Bases, *, search: bool
    ) -> tuple[Reached, Bool[NumpyArray, " b"]]:
        """Walk to the limit of structures where the minimizer gave up; return the points reached, and which are at a
        limit.

        On the way to a limit (a range that grows without end, with the standard deviation) the deviance falls ever more
        slowly along a curved valley, in which the minimizer's steps are short. A long step along the direction of the
        smallest curvature, after which the minimizer falls back into the valley, replaces many of them. The walk begins
        with a new minimization from ``start``, the original start, not from where the batch's minimizer gave up, so
        that its end does not depend on the other responses of the batch.
        """
        reached, _ = self.minimize(unconverged, start, bases, EVALUATIONS_BEFORE_WALK, search=search, snaps=True)
        limit, walking, gains = (
            np.zeros(unconverged.size, bool),
            np.arange(unconverged.size),
            np.full(unconverged.size, np.nan),
        )
        for _ in range(MAX_LONG_STEPS):
            walking = walking[np.isfinite(reached.minimum.hessian[walking]).all(axis=(1, 2))]
            if not walking.size:
                break
            minimum = take(reached.minimum, walking)
            size = np.maximum(np.abs(minimum.x), 0.1)
            along = np.linalg.eigh(minimum.hessian * size[:, :, None] * size[:, None, :])[1][:, :, 0]
            along = along * np.where(np.sum(along * size * minimum.gradient, axis=1) > 0, -1.0, 1.0)[:, None]
            ahead = minimum.x + LONG_STEP_LENGTH * size * along / np.abs(along).max(axis=1, keepdims=True)
            further, _ = self.minimize(
                unconverged[walking], ahead, take(bases, walking), EVALUATIONS_PER_LONG_STEP, snaps=True
            )
            gain = np.asarray(minimum.value - further.minimum.value)
            lower = gain > 0
            reached = put(reached, walking[lower], take(further, lower))
            limit[walking] = lower & (gain < FADING_GAIN * gains[walking]) & (gain < NEGLIGIBLE_GAIN)
            gains[walking] = gain
            walking = walking[lower & ~limit[walking]]
        return reached, limit
