"""Minimise, set to zero what is zero, and look again: any number of responses of one likelihood together."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.engine.problems import Problems, in_blocks
from jaxlmm.engine.programmes import Reached, run, values
from jaxlmm.engine.settling import ZERO_COSTS
from jaxlmm.engine.starting import ExpectedCurvature, Plan, starts_at
from jaxlmm.inference import Examination, Verdicts, certify, duals, patterns
from jaxlmm.model import Natural
from jaxlmm.optimise import AbstractMinimiser, Newton, QuasiNewton

T = TypeVar("T")

STEPS = (5, 8, 17, 64, 106)
"""Evaluations after which what is not done goes on in a smaller company: from a guessed start most need four."""

STEPS_UNGUIDED = (8, 8, 17, 64, 103)
"""The same where a start is looked for among nodes alone: most need seven."""

STEPS_ALONE = (20, 40, 140)
"""The same where nobody waits."""

MAX_STEPS = 200
"""Evaluations after which Newton's method gives up."""

MAX_STEPS_FIRST_ORDER = 100_000
"""Evaluations after which a first-order method gives up."""

RESTARTS = 3
"""How often a point that only looked like a boundary optimum is left along its direction of descent."""

NOT_STRICT = 1e-6
"""A multiplier this small proves nothing: the deviance may be as low away from the boundary."""

ASIDE = 0.3
"""How far from a boundary that is not strict another optimum is looked for."""


class Optima(NamedTuple):
    """Optima of b responses.

    ``theta`` (b, k) is written in ``frames``, one (b, q, q) per term; ``held`` (b, k) is 0 where a parameter is free,
    positive for the blocks held at a boundary that have a multiplier (one number each), negative for what is held with
    them; ``value`` (b,) is the deviance, ``converged`` (b,) and ``n_evaluations`` (b,) what it took.
    """

    theta: NumpyArray
    frames: tuple[NumpyArray, ...]
    held: NumpyArray
    value: NumpyArray
    converged: NumpyArray
    n_evaluations: NumpyArray


class Solver:
    """The minimiser at work on some problems: which method, and how many evaluations were spent on each."""

    def __init__(self, problems: Problems, first_order: AbstractMinimiser | None = None) -> None:
        likelihood = problems.likelihood
        layout, size = likelihood.layout, np.float64(int(likelihood.design.n))
        one_by_one, dear = likelihood.solver.one_by_one, likelihood.solver.dear
        self.problems, self.first_order = problems, first_order
        self.plan = Plan.of(likelihood)
        self.exact = Newton(layout.blocks(), size, evaluates_last=False, one_by_one=one_by_one)
        self.method: AbstractMinimiser = self.exact
        if dear:
            curvature = ExpectedCurvature.of(likelihood.design, layout)
            self.method = QuasiNewton(layout.blocks(), size, evaluates_last=False, curvature=curvature)
        self.n_evaluations = np.zeros(problems.size, int)

    def minimise(
        self,
        index: NumpyArray,
        theta: NumpyArray,
        frames: Sequence[NumpyArray],
        max_steps: int | NumpyArray = MAX_STEPS,
        *,
        method: AbstractMinimiser | None = None,
        search: bool = False,
        settles: bool = False,
    ) -> Reached:
        """Minimise the problems ``index`` (b,) from ``theta`` (b, k) in at most ``max_steps`` (b,) evaluations.

        With ``settles``, also set to exactly zero what the deviance does not miss.
        """
        method = self.method if method is None else method
        limit = np.broadcast_to(np.asarray(max_steps, np.int32), index.shape)
        given = functools.partial(
            run, method=method, plan=self.plan, search=np.bool_(search), settles=np.bool_(settles)
        )
        found: Reached = in_blocks(self.problems, given, index, theta, list(frames), limit)
        self.n_evaluations[index] += found.minimum.n_steps
        return found

    def pursue(
        self,
        index: NumpyArray,
        theta: NumpyArray,
        frames: Sequence[NumpyArray],
        max_steps: int | NumpyArray = MAX_STEPS,
        *,
        held: NumpyArray | None = None,
        search: bool = False,
        settles: bool = False,
    ) -> tuple[Reached, list[NumpyArray]]:
        """Minimise in rounds; return what is reached and the frames in which the minimum is written.

        Problems that need more than a round go on with others of their kind, so that they do not hold up the rest, and
        in frames that are turned to where they are, unless something is ``held`` (b, k) in the frames they have.
        """
        limit = np.broadcast_to(np.asarray(max_steps, np.int32), index.shape)
        solver = self.problems.likelihood.solver
        rounds: tuple[int, ...] = STEPS if solver.guesses else STEPS_UNGUIDED
        rounds = STEPS_ALONE if index.size == 1 or solver.dear else rounds
        found, frames = None, list(frames)
        left, spent = np.arange(index.size), np.zeros(index.shape, np.int32)
        for steps in rounds:
            allowed = np.minimum(limit[left] - spent[left], steps).astype(np.int32)
            part = self.minimise(
                index[left],
                theta[left],
                _rows(frames, left),
                allowed,
                search=search and found is None,
                settles=settles,
            )
            found = part if found is None else _into(found, left, part)
            spent[left] += part.minimum.n_steps
            theta = found.minimum.x
            undone = ~part.minimum.converged & (part.minimum.n_steps == allowed) & (spent[left] < limit[left])
            left = left[undone]
            if not left.size:
                break
            loose = left if held is None else left[np.all(held[left] == 0, axis=1)]
            further, turned = found.turned
            theta = _put(theta, loose, further[loose])
            frames = [_put(old, loose, new[loose]) for old, new in zip(frames, turned, strict=True)]
        assert found is not None
        return found._replace(minimum=found.minimum._replace(n_steps=spent)), frames


def solve(problems: Problems, first_order: AbstractMinimiser | None = None, given: Natural | None = None) -> Optima:
    """Minimise the deviance of every response.

    ``first_order`` is another minimiser to find the optima with; Newton's method then only confirms them. ``given`` are
    natural parameters to begin at.
    """
    likelihood, everyone = problems.likelihood, np.arange(problems.size)
    frames = [np.tile(frame, (everyone.size, 1, 1)) for frame in likelihood.layout.frames()]
    if likelihood.layout.n_theta == 0:
        nothing = np.zeros((everyone.size, 0))
        value = np.asarray(in_blocks(problems, values, everyone, nothing, frames))
        return Optima(
            nothing, tuple(frames), nothing.astype(np.int32), value, np.isfinite(value), np.ones(everyone.size, int)
        )
    solver = Solver(problems, first_order)
    start = np.tile(likelihood.layout.start(), (everyone.size, 1))
    if given is not None:
        start = starts_at(likelihood.layout, given, np.asarray(problems.responses.scale))
    if first_order is None:
        reached, frames = solver.pursue(everyone, start, frames, search=given is None, settles=True)
    else:
        reached = solver.minimise(everyone, start, frames, MAX_STEPS_FIRST_ORDER, method=first_order, settles=True)
    found, (theta, settled, holds) = reached.minimum, reached.settled
    held = np.zeros(start.shape, np.int32)

    active = everyone
    for _ in range(RESTARTS):
        changed = [np.any(new != old[active], axis=(1, 2)) for new, old in zip(settled, frames, strict=True)]
        moved = np.any([np.any(holds != 0, axis=1), *changed], axis=0)
        if first_order is None:  # what did not move is done
            active, theta, holds = active[moved], theta[moved], holds[moved]
            settled = tuple(frame[moved] for frame in settled)
        if not active.size:
            break
        frames = [_put(old, active, new) for old, new in zip(frames, settled, strict=True)]
        held = _put(held, active, holds)
        # Held parameters have gradient and mixed derivatives of exactly zero, so Newton's method keeps them there.
        before = found.converged[active]
        full = np.any(holds != 0, axis=1) | (first_order is None)
        steps = np.where(full, np.where(before, MAX_STEPS, 2), 1)
        more, turned = solver.pursue(active, theta, settled, steps, held=holds)
        frames = [_put(old, active, new) for old, new in zip(frames, turned, strict=True)]
        again = more.minimum
        found = _into(found, active, again._replace(converged=np.where(full, again.converged, before)))

        at_zero = active[np.any(held[active] > 0, axis=1)]
        if at_zero.size and likelihood.solver.dear:
            looked = solver.minimise(at_zero, found.x[at_zero], _rows(frames, at_zero), 1, method=solver.exact)
            found = found._replace(hessian=_put(found.hessian, at_zero, looked.minimum.hessian))
        slope, direction = steepest(found.hessian[at_zero], held[at_zero])
        unproven = slope <= NOT_STRICT
        doubted, slope, direction = at_zero[unproven], slope[unproven], direction[unproven]
        if not doubted.size:
            break
        beside = found.x[doubted] + ASIDE * direction
        reached = solver.minimise(doubted, beside, _rows(frames, doubted), settles=True)
        aside = reached.minimum
        away = np.sum((aside.x - found.x[doubted]) * direction, axis=1) > 0.5 * ASIDE
        ridge = (aside.value <= found.value[doubted] + ZERO_COSTS) & away  # the boundary is the end of a ridge
        left = (slope < -NOT_STRICT) | ridge
        found = _into(found, doubted[left], _of(aside, left))
        held[doubted[left]] = 0
        descends = slope < -NOT_STRICT
        active, (theta, settled, holds) = doubted[descends], _of(reached.settled, descends)
        if not active.size:
            break
    return Optima(found.x, tuple(frames), held, found.value, found.converged, solver.n_evaluations)


def judged(
    problems: Problems,
    optima: Optima,
    examination: Examination,
    parameters: Sequence[Parameter],
    fixed: Natural | None = None,
) -> Verdicts:
    """Judge the optima of all problems; of the natural ``parameters`` some are ``fixed``."""
    solver = Solver(problems)

    def descend(numbers: NumpyArray, theta: NumpyArray, steps: int) -> tuple[NumpyArray, NumpyArray]:
        found = solver.minimise(numbers, theta, _rows(optima.frames, numbers), steps).minimum
        return np.asarray(found.x), np.asarray(found.value)

    return certify(
        examination,
        held=optima.held,
        parameters=parameters,
        fixed=np.zeros(len(parameters), bool) if fixed is None else np.isfinite(fixed.flat),
        converged=optima.converged,
        descend=descend,
    )


def steepest(hessian: NumpyArray, held: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """Return the smallest curvature (b,) among parameters held at zero, infinite without any, and its direction (b, k).

    ``hessian`` (b, k, k) and ``held`` (b, k) as in :class:`Optima`.
    """
    slope, direction = np.full(len(held), np.inf), np.zeros(held.shape)
    for same, pattern in patterns(held):
        for dual in duals(pattern).values():
            block = hessian[same][:, dual[:, None], dual]
            values, vectors = np.linalg.eigh(np.where(np.isfinite(block), block, 0.0))
            steeper = (values[:, 0] < slope[same]) & np.any(block, axis=(1, 2))
            chosen = same[steeper]
            slope[chosen] = values[steeper, 0]
            direction[chosen] = 0.0
            direction[np.ix_(chosen, dual)] = vectors[steeper, :, 0]
    return slope, direction


def _put(old: NumpyArray, index: NumpyArray, new: NumpyArray) -> NumpyArray:
    changed = np.array(old)
    changed[index] = new
    return changed


def _rows(frames: Sequence[NumpyArray], index: NumpyArray) -> list[NumpyArray]:
    return [frame[index] for frame in frames]


def _of(found: T, index: NumpyArray) -> T:
    part: T = jax.tree.map(lambda leaf: leaf[index], found)
    return part


def _into(old: T, index: NumpyArray, new: T) -> T:
    changed: T = jax.tree.map(lambda one, other: _put(one, index, other), old, new)
    return changed
