"""The minimizer at work on any number of problems: in rounds, and on along valleys that lead to a limit."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.engine.compiled import Reached, run
from jaxlmm.engine.problems import Problems, in_blocks, into, of, put
from jaxlmm.engine.start import ExpectedCurvature, Plan
from jaxlmm.optimize import AbstractMinimizer, Newton, QuasiNewton

STEPS = (5, 8, 17, 64, 106)
"""Evaluations after which what is not done goes on in a smaller company: from a guessed start most need four."""

STEPS_UNGUIDED = (8, 8, 17, 64, 103)
"""The same where a start is looked for among nodes alone: most need seven."""

STEPS_ALONE = (20, 40, 140)
"""The same where nobody waits."""

MAX_STEPS = 200
"""Evaluations after which Newton's method gives up."""

FIRST_STEPS, WALKS, WALK_STEPS = 40, 15, 15
"""Evaluations before a valley is walked along, long steps along it, and evaluations after each."""

STRIDE = 0.7
"""The length of such a step, relative to the parameters' size."""

LAST_GAIN = 3e-4
"""A valley has been walked to its end when a step lowers the deviance by no more than this, and by clearly less than
the one before: further away, the parameters' size costs more digits than there are to be won."""

FADING = 0.7
"""What is clearly less."""


class Descent:
    """The minimizer at work on some problems: which method, and how many evaluations were spent on each."""

    def __init__(self, problems: Problems, first_order: AbstractMinimizer | None = None) -> None:
        likelihood = problems.likelihood
        layout, size = likelihood.layout, np.float64(int(likelihood.design.n))
        sequential, expensive = likelihood.solver.sequential, likelihood.solver.hessian_is_expensive
        self.problems, self.first_order = problems, first_order
        self.plan = Plan.of(likelihood)
        self.exact = Newton(layout.blocks(), size, evaluates_last=False, sequential=sequential)
        self.method: AbstractMinimizer = self.exact
        if expensive:
            curvature = ExpectedCurvature.of(likelihood.design, layout)
            self.method = QuasiNewton(layout.blocks(), size, evaluates_last=False, curvature=curvature)
        self.n_evaluations = np.zeros(problems.size, int)

    def minimize(
        self,
        index: NumpyArray,
        theta: NumpyArray,
        bases: Sequence[NumpyArray],
        max_steps: int | NumpyArray = MAX_STEPS,
        *,
        method: AbstractMinimizer | None = None,
        search: bool = False,
        snaps: bool = False,
    ) -> Reached:
        """Minimize the problems ``index`` (b,) from ``theta`` (b, k) in at most ``max_steps`` (b,) evaluations.

        With ``snaps``, also set to exactly zero what the deviance does not miss.
        """
        method = self.method if method is None else method
        limit = np.broadcast_to(np.asarray(max_steps, np.int32), index.shape)
        given = functools.partial(run, method=method, plan=self.plan, search=np.bool_(search), snaps=np.bool_(snaps))
        found: Reached = in_blocks(self.problems, given, index, theta, list(bases), limit)
        self.n_evaluations[index] += found.minimum.n_steps
        return found

    def pursue(
        self,
        index: NumpyArray,
        theta: NumpyArray,
        bases: Sequence[NumpyArray],
        max_steps: int | NumpyArray = MAX_STEPS,
        *,
        active_set: NumpyArray | None = None,
        search: bool = False,
        snaps: bool = False,
    ) -> tuple[Reached, list[NumpyArray]]:
        """Minimize in rounds; return what is reached and the bases in which the minimum is written.

        Problems that need more than a round go on with others of their kind, so that they do not hold up the rest, and
        in bases that are turned to where they are, unless something is ``active_set`` (b, k) in the bases they have.
        """
        limit = np.broadcast_to(np.asarray(max_steps, np.int32), index.shape)
        solver = self.problems.likelihood.solver
        rounds: tuple[int, ...] = STEPS if solver.guesses else STEPS_UNGUIDED
        rounds = STEPS_ALONE if index.size == 1 or solver.hessian_is_expensive else rounds
        found, bases = None, list(bases)
        left, spent = np.arange(index.size), np.zeros(index.shape, np.int32)
        for steps in rounds:
            allowed = np.minimum(limit[left] - spent[left], steps).astype(np.int32)
            part = self.minimize(
                index[left],
                theta[left],
                rows(bases, left),
                allowed,
                search=search and found is None,
                snaps=snaps,
            )
            found = part if found is None else into(found, left, part)
            spent[left] += part.minimum.n_steps
            theta = found.minimum.x
            undone = ~part.minimum.converged & (part.minimum.n_steps == allowed) & (spent[left] < limit[left])
            left = left[undone]
            if not left.size:
                break
            loose = left if active_set is None else left[np.all(active_set[left] == 0, axis=1)]
            further, turned = found.turned
            theta = put(theta, loose, further[loose])
            bases = [put(old, loose, new[loose]) for old, new in zip(bases, turned, strict=True)]
        assert found is not None
        return found._replace(minimum=found.minimum._replace(n_steps=spent)), bases

    def walk(
        self, lost: NumpyArray, start: NumpyArray, bases: Sequence[NumpyArray], *, search: bool
    ) -> tuple[Reached, NumpyArray]:
        """Look for the limit of structures where the minimizer gave up; return what is reached, and where it is one.

        On the way to a limit (a range that grows without end, with the standard deviation) the deviance falls ever more
        slowly along a curved valley, in which the minimizer's steps are short. A long step along the direction of the
        smallest curvature, from which it falls back into the valley, is many of them. All begin at ``start`` (b, k)
        again, so that the place at which a walk ends does not depend on what is fitted beside.
        """
        reached = self.minimize(lost, start, bases, FIRST_STEPS, search=search, snaps=True)
        limit, walking, gains = np.zeros(lost.size, bool), np.arange(lost.size), np.full(lost.size, np.nan)
        for _ in range(WALKS):
            walking = walking[np.isfinite(reached.minimum.hessian[walking]).all(axis=(1, 2))]
            if not walking.size:
                break
            minimum = of(reached.minimum, walking)
            size = np.maximum(np.abs(minimum.x), 0.1)
            along = np.linalg.eigh(minimum.hessian * size[:, :, None] * size[:, None, :])[1][:, :, 0]
            along = along * np.where(np.sum(along * size * minimum.gradient, axis=1) > 0, -1.0, 1.0)[:, None]
            beyond = minimum.x + STRIDE * size * along / np.abs(along).max(axis=1, keepdims=True)
            further = self.minimize(lost[walking], beyond, rows(bases, walking), WALK_STEPS, snaps=True)
            gain = np.asarray(minimum.value - further.minimum.value)
            lower = gain > 0
            reached = into(reached, walking[lower], of(further, lower))
            limit[walking] = lower & (gain < FADING * gains[walking]) & (gain < LAST_GAIN)
            gains[walking] = gain
            walking = walking[lower & ~limit[walking]]
        return reached, limit


def rows(bases: Sequence[NumpyArray], index: NumpyArray) -> list[NumpyArray]:
    """Return the bases of the problems ``index``."""
    return [basis[index] for basis in bases]
