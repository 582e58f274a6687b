"""One response: search a start, minimise, set to zero what is zero, and look again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._compile import program
from jaxlmm._shapes import pad
from jaxlmm._typing import Array, NumpyArray
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.model.design import Design
from jaxlmm.model.layout import frames_of
from jaxlmm.optimise import AbstractMinimiser, Minimum, Newton, QuasiNewton, minimise, search_axes
from jaxlmm.solvers import SOLVERS

SWEEPS = 2
"""Rounds of the search for a start over the axes of theta."""

MAX_STEPS = 200
"""Evaluations after which Newton's method gives up; the reference models need about six."""

MAX_STEPS_FIRST_ORDER = 100_000
"""Evaluations after which a first-order method gives up."""

RESTARTS = 3
"""How often a point that only looked like a boundary optimum is left along its direction of descent."""

NOT_STRICT = 1e-6
"""A multiplier this small proves nothing: the deviance may be as low away from the boundary."""

ASIDE = 0.3
"""How far from a boundary that is not strict another optimum is looked for."""

LEARNT_FROM = 4.0
"""The deviance's second derivative per level, in relative changes of theta, where a Hessian is learnt."""

ZERO_COSTS = 1e-9
"""A parameter is set to exactly zero when that raises the deviance by no more than this and rounding."""


class Solution(NamedTuple):
    """An optimum and where it lies.

    ``theta`` (k,) is written in ``frames``, one (q, q) per term; ``free`` (k,) marks parameters that are not held at
    a boundary, ``duals`` lists the blocks of those that are. ``minimum`` is the deviance there with its derivatives.
    """

    likelihood: Likelihood
    response: Response
    theta: NumpyArray
    frames: tuple[NumpyArray, ...]
    free: NumpyArray
    duals: tuple[NumpyArray, ...]
    minimum: Minimum
    n_evaluations: int

    def descend(self, theta: NumpyArray, steps: int = MAX_STEPS) -> tuple[NumpyArray, float]:
        """Minimise from another ``theta`` (k,) in the same frames; return where that leads, and the deviance there."""
        found = _newton(self.likelihood, self.response, self.frames, theta, sweeps=0, max_steps=steps)
        return found.x, float(found.value)


_Run = Callable[[NumpyArray, tuple[NumpyArray, ...], int, int], Minimum]


@program(once=True)
def _prepare(likelihood: Likelihood, y: Array) -> Response:
    return likelihood.observe(jnp.asarray(y))


@program(once=True)
def _value(likelihood: Likelihood, response: Response, frames: Sequence[Array], theta: Array) -> jax.Array:
    return likelihood.deviance(likelihood.layout.factors(jnp.asarray(theta), frames), response)


@program()
def _run(
    likelihood: Likelihood,
    response: Response,
    frames: Sequence[Array],
    method: AbstractMinimiser,
    start: Array,
    axes: tuple[Array, Array],
    sweeps: Array,
    max_steps: Array,
) -> Minimum:
    @jax.jit
    def objective(theta: jax.Array) -> jax.Array:
        return likelihood.deviance(likelihood.layout.factors(theta, frames), response)

    found = search_axes(objective, jnp.asarray(start), *axes, sweeps, one_by_one=likelihood.solver.one_by_one)
    return minimise(method, objective, found, max_steps)


def _newton(
    likelihood: Likelihood,
    response: Response,
    frames: Sequence[NumpyArray],
    start: NumpyArray,
    *,
    sweeps: int,
    max_steps: int,
) -> Minimum:
    """Minimise by Newton's method from ``start`` (k,), after ``sweeps`` rounds of search for a better start.

    Where an exact Hessian is dear, the Hessian is learnt and the result's is not exact; nor is a start searched for.
    """
    layout, size = likelihood.layout, np.float64(int(likelihood.design.n))
    method: AbstractMinimiser = Newton(layout.blocks(), size, one_by_one=likelihood.solver.one_by_one)
    if likelihood.solver.dear:
        method, sweeps = QuasiNewton(layout.blocks(), size, curvature=_expected_curvature(likelihood)), 0
    return _evaluate(likelihood, response, frames, method, start, sweeps, max_steps)


def _evaluate(
    likelihood: Likelihood,
    response: Response,
    frames: Sequence[NumpyArray],
    method: AbstractMinimiser,
    start: NumpyArray,
    sweeps: int,
    max_steps: int,
) -> Minimum:
    axes = likelihood.layout.search_axes()
    return _on_host(_run(likelihood, response, frames, method, start, axes, np.int32(sweeps), np.int32(max_steps)))


def _expected_curvature(likelihood: Likelihood) -> NumpyArray:
    """Return roughly the second derivatives (k,) of the deviance in relative changes of theta.

    With L levels of a variance ratio well above its standard error, ``L log(theta²) + A/theta²`` has 4 L there.
    """
    design = likelihood.design
    levels = [int(design.groupings[term.grouping].n_levels) for term in design.terms]
    return np.repeat(np.array(levels, float), likelihood.layout.counts[: len(levels)]) * LEARNT_FROM


def _on_host(minimum: Minimum) -> Minimum:
    return Minimum(*(np.asarray(part) for part in minimum))


def solve_single(
    design: Design, y: NumpyArray, *, solver: str, method: str, first_order: AbstractMinimiser | None = None
) -> Solution:
    """Minimise the deviance of one response.

    Parameters
    ----------
    design, y
        The design and a response ``(n,)`` in its own units.
    solver, method
        A solver's name and ``"REML"`` or ``"ML"``.
    first_order
        Another minimiser to find the optimum with; Newton's method then only confirms it.
    """
    likelihood = Likelihood.of(design, SOLVERS[solver].build(design), method)
    if likelihood.solver.one_by_one:
        likelihood = jax.device_put(likelihood)  # large arrays travel once, small ones faster with each call
    response = _prepare(likelihood, pad(y, design.n_padded))
    layout, frames = likelihood.layout, frames_of(design.terms)
    if layout.n_theta == 0:
        value = _value(likelihood, response, frames, np.zeros(0))
        minimum = Minimum(np.zeros(0), value, np.zeros(0), np.zeros((0, 0)), np.isfinite(value), np.int32(1))
        return Solution(likelihood, response, np.zeros(0), frames, np.zeros(0, bool), (), minimum, 1)

    evaluations = 0

    def run(theta: NumpyArray, frames: tuple[NumpyArray, ...], sweeps: int, max_steps: int) -> Minimum:
        nonlocal evaluations
        found = _newton(likelihood, response, frames, theta, sweeps=sweeps, max_steps=max_steps)
        evaluations += int(found.n_steps)
        return found

    if first_order is None:
        minimum = run(layout.start(), frames, SWEEPS, MAX_STEPS)
    else:
        minimum = _evaluate(likelihood, response, frames, first_order, layout.start(), 0, MAX_STEPS_FIRST_ORDER)
        evaluations += int(minimum.n_steps)

    for _ in range(RESTARTS):
        before = frames
        theta, frames, free, duals = _settle(minimum, layout.slices(), design, frames, run)
        moved = not free.all() or any(not np.array_equal(new, old) for new, old in zip(frames, before, strict=True))
        # Held parameters have gradient and mixed derivatives of exactly zero, so Newton's method keeps them there.
        if first_order is None and not moved:
            break
        if first_order is None or not free.all():
            minimum = run(theta, frames, 0, MAX_STEPS if minimum.converged else 2)
        else:
            minimum = run(theta, frames, 0, 1)._replace(converged=minimum.converged)
        if duals and likelihood.solver.dear:
            exact = Newton(layout.blocks(), np.float64(int(design.n)), one_by_one=True)
            minimum = minimum._replace(hessian=_evaluate(likelihood, response, frames, exact, minimum.x, 0, 1).hessian)
        slope, direction = _steepest(minimum.hessian, duals)
        if slope > NOT_STRICT:
            break
        inside = run(minimum.x + ASIDE * direction, frames, 0, MAX_STEPS)
        if slope < -NOT_STRICT:
            minimum, free, duals = inside, np.ones(inside.x.size, bool), ()
            continue
        if inside.value <= minimum.value + ZERO_COSTS and (inside.x - minimum.x) @ direction > 0.5 * ASIDE:
            minimum, free, duals = inside, np.ones(inside.x.size, bool), ()  # the boundary is the end of a ridge
        break
    return Solution(likelihood, response, minimum.x, frames, free, duals, minimum, evaluations)


def _settle(
    minimum: Minimum, slices: Sequence[slice], design: Design, frames: tuple[NumpyArray, ...], run: _Run
) -> tuple[NumpyArray, tuple[NumpyArray, ...], NumpyArray, tuple[NumpyArray, ...]]:
    """Set to exactly zero what the deviance does not miss, term by term; return theta, frames, free, duals."""
    theta, free = minimum.x.copy(), np.ones(minimum.x.size, bool)
    duals: list[NumpyArray] = []
    if not np.isfinite(minimum.value):
        return theta, frames, free, ()
    allowed = float(minimum.value) + ZERO_COSTS + 1e-12 * (abs(float(minimum.value)) + int(design.n))
    for t, (term, place) in enumerate(zip(design.terms, slices, strict=False)):
        placements = term.structure.placements(theta[place], frames[t], term.root)
        for placement in placements:
            trial, trial_frames = theta.copy(), (*frames[:t], placement.frame, *frames[t + 1 :])
            trial[place] = placement.theta
            if placement is placements[-1] or run(trial, trial_frames, 0, 1).value <= allowed:
                theta, frames = trial, trial_frames
                free[place] = placement.free
                duals += [place.start + dual for dual in placement.duals]
                break
    return theta, frames, free, tuple(duals)


def _steepest(hessian: NumpyArray, duals: Sequence[NumpyArray]) -> tuple[float, NumpyArray]:
    """Return the smallest curvature among parameters held at zero (infinite without any), and its direction (k,)."""
    slope, direction = np.inf, np.zeros(hessian.shape[0])
    for dual in duals:
        values, vectors = np.linalg.eigh(hessian[np.ix_(dual, dual)])
        if values[0] < slope and np.any(hessian[np.ix_(dual, dual)]):
            slope, direction = values[0], np.zeros(hessian.shape[0])
            direction[dual] = vectors[:, 0]
    return slope, direction
