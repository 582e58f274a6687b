"""Minimize, set to zero what is zero, and look again: any number of responses of one likelihood together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.engine.boundary import ZERO_COSTS
from jaxlmm.engine.compiled import values
from jaxlmm.engine.descent import MAX_STEPS, Descent, rows
from jaxlmm.engine.problems import Problems, in_blocks, into, of, put
from jaxlmm.engine.start import starts_at
from jaxlmm.engine.vanishing import residual_share
from jaxlmm.inference import OptimumDerivatives, Verdicts, certify, duals, patterns
from jaxlmm.model import Natural
from jaxlmm.optimize import AbstractMinimizer

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

    ``theta`` (b, k) is written in ``bases``, one (b, q, q) per term; ``active_set`` (b, k) is 0 where a parameter is
    free, positive for the blocks kept at a boundary that have a multiplier (one number each), negative for what drops
    out with them; ``value`` (b,) is the deviance, ``converged`` (b,) and ``n_evaluations`` (b,) what it took;
    ``at_limit`` (b,) says that a valley was walked along until there was next to nothing to be won.
    """

    theta: NumpyArray
    bases: tuple[NumpyArray, ...]
    active_set: NumpyArray
    value: NumpyArray
    converged: NumpyArray
    at_limit: NumpyArray
    n_evaluations: NumpyArray


def solve(problems: Problems, first_order: AbstractMinimizer | None = None, given: Natural | None = None) -> Optima:
    """Minimize the deviance of every response.

    ``first_order`` is another minimizer to find the optima with; Newton's method then only confirms them. ``given`` are
    natural parameters to begin at.
    """
    likelihood, everyone = problems.likelihood, np.arange(problems.size)
    bases = [np.tile(basis, (everyone.size, 1, 1)) for basis in likelihood.layout.bases()]
    if likelihood.layout.n_theta == 0:
        nothing = np.zeros((everyone.size, 0))
        value = np.asarray(in_blocks(problems, values, everyone, nothing, bases))
        return Optima(
            nothing,
            tuple(bases),
            nothing.astype(np.int32),
            value,
            np.isfinite(value),
            np.zeros(everyone.size, bool),
            np.ones(everyone.size, int),
        )
    descent, at_limit = Descent(problems, first_order), np.zeros(everyone.size, bool)
    start = np.tile(likelihood.layout.start(), (everyone.size, 1))
    if given is not None:
        start = starts_at(likelihood.layout, given, np.asarray(problems.responses.scale))
    if first_order is None:
        reached, bases = descent.pursue(everyone, start, bases, search=given is None, snaps=True)
        lost = np.flatnonzero(~reached.minimum.converged & np.isfinite(reached.minimum.value))
        if lost.size and not likelihood.solver.hessian_is_expensive:
            own = [np.tile(basis, (lost.size, 1, 1)) for basis in likelihood.layout.bases()]
            walked, limit = descent.walk(lost, start[lost], own, search=given is None)
            reached = into(reached, lost[limit], of(walked, limit))
            bases = [put(old, lost[limit], new[limit]) for old, new in zip(bases, own, strict=True)]
            at_limit[lost[limit]] = True
    else:
        reached = descent.minimize(everyone, start, bases, MAX_STEPS_FIRST_ORDER, method=first_order, snaps=True)
    found, (theta, snapped, holds) = reached.minimum, reached.snapped
    active_set = np.zeros(start.shape, np.int32)

    active = everyone
    for _ in range(RESTARTS):
        changed = [np.any(new != old[active], axis=(1, 2)) for new, old in zip(snapped, bases, strict=True)]
        moved = np.any([np.any(holds != 0, axis=1), *changed], axis=0)
        if first_order is None:  # what did not move is done
            active, theta, holds = active[moved], theta[moved], holds[moved]
            snapped = tuple(basis[moved] for basis in snapped)
        if not active.size:
            break
        bases = [put(old, active, new) for old, new in zip(bases, snapped, strict=True)]
        active_set = put(active_set, active, holds)
        # Held parameters have gradient and mixed derivatives of exactly zero, so Newton's method keeps them there.
        before = found.converged[active]
        full = np.any(holds != 0, axis=1) | (first_order is None)
        steps = np.where(full, np.where(before, MAX_STEPS, 2), 1)
        more, turned = descent.pursue(active, theta, snapped, steps, active_set=holds)
        bases = [put(old, active, new) for old, new in zip(bases, turned, strict=True)]
        again = more.minimum
        found = into(found, active, again._replace(converged=np.where(full, again.converged, before)))

        at_zero = active[np.any(active_set[active] > 0, axis=1)]
        if at_zero.size and likelihood.solver.hessian_is_expensive:
            looked = descent.minimize(at_zero, found.x[at_zero], rows(bases, at_zero), 1, method=descent.exact)
            found = found._replace(hessian=put(found.hessian, at_zero, looked.minimum.hessian))
        slope, direction = steepest(found.hessian[at_zero], active_set[at_zero])
        unproven = slope <= NOT_STRICT
        doubted, slope, direction = at_zero[unproven], slope[unproven], direction[unproven]
        if not doubted.size:
            break
        beside = found.x[doubted] + ASIDE * direction
        reached = descent.minimize(doubted, beside, rows(bases, doubted), snaps=True)
        aside = reached.minimum
        away = np.sum((aside.x - found.x[doubted]) * direction, axis=1) > 0.5 * ASIDE
        ridge = (aside.value <= found.value[doubted] + ZERO_COSTS) & away  # the boundary is the end of a ridge
        left = (slope < -NOT_STRICT) | ridge
        found = into(found, doubted[left], of(aside, left))
        active_set[doubted[left]] = 0
        descends = slope < -NOT_STRICT
        active, (theta, snapped, holds) = doubted[descends], of(reached.snapped, descends)
        if not active.size:
            break
    return Optima(found.x, tuple(bases), active_set, found.value, found.converged, at_limit, descent.n_evaluations)


def judged(
    problems: Problems,
    optima: Optima,
    examination: OptimumDerivatives,
    parameters: Sequence[Parameter],
    fixed: Natural | None = None,
) -> Verdicts:
    """Judge the optima of all problems; of the natural ``parameters`` some are ``fixed``."""
    descent = Descent(problems)

    def descend(numbers: NumpyArray, theta: NumpyArray, steps: int) -> tuple[NumpyArray, NumpyArray]:
        found = descent.minimize(numbers, theta, rows(optima.bases, numbers), steps).minimum
        return np.asarray(found.x), np.asarray(found.value)

    return certify(
        examination,
        active_set=optima.active_set,
        parameters=parameters,
        fixed=np.zeros(len(parameters), bool) if fixed is None else np.isfinite(fixed.flat),
        converged=optima.converged,
        residual_share=residual_share(problems, examination),
        start=problems.likelihood.layout.start(),
        walked=optima.at_limit,
        descend=descend,
    )


def steepest(hessian: NumpyArray, active_set: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """Return the smallest curvature (b,) among parameters held at zero, infinite without any, and its direction (b, k).

    ``hessian`` (b, k, k) and ``active_set`` (b, k) as in :class:`Optima`.
    """
    slope, direction = np.full(len(active_set), np.inf), np.zeros(active_set.shape)
    for same, pattern in patterns(active_set):
        for dual in duals(pattern).values():
            block = hessian[same][:, dual[:, None], dual]
            values, vectors = np.linalg.eigh(np.where(np.isfinite(block), block, 0.0))
            steeper = (values[:, 0] < slope[same]) & np.any(block, axis=(1, 2))
            chosen = same[steeper]
            slope[chosen] = values[steeper, 0]
            direction[chosen] = 0.0
            direction[np.ix_(chosen, dual)] = vectors[steeper, :, 0]
    return slope, direction
