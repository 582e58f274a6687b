"""Optima of any number of responses of one likelihood: minimize, snap to the boundary, and leave it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.engine.again import searched_again
from jaxlmm.engine.boundary import (
    Snapped,
    boundary_curvature,
    descends,
    has_changed,
    is_weak,
    leaves_boundary,
    off_boundary,
)
from jaxlmm.engine.compiled import values
from jaxlmm.engine.descent import MAX_EVALUATIONS, MAX_EVALUATIONS_FIRST_ORDER, Bases, Descent
from jaxlmm.engine.problems import Problems, in_batches, put, take
from jaxlmm.engine.start import starts_with
from jaxlmm.engine.vanishing import grows_without_bound, residual_shares
from jaxlmm.inference import STATUS, OptimumDerivatives, Verdicts, certify
from jaxlmm.model import Natural
from jaxlmm.optimize import AbstractMinimizer, Minimum

MAX_RESTARTS = 3
"""How often optima at the boundary are minimized and, where the deviance falls off it, left and snapped again."""


class Optima(NamedTuple):
    """Optima of b responses.

    ``theta`` is written in ``bases``, one per term; ``active_set`` is 0 where a parameter is free, positive for the
    blocks kept at a boundary that have a multiplier (one number each), negative for what drops out with them; ``value``
    is the deviance, ``converged`` and ``n_evaluations`` are the minimizer's; ``at_limit`` says that the optimum is a
    limit, to which a valley was walked (:meth:`jaxlmm.engine.descent.Descent.walk`).
    """

    theta: Float[NumpyArray, "b k"]
    bases: Bases
    active_set: Int[NumpyArray, "b k"]
    value: Float[NumpyArray, " b"]
    converged: Bool[NumpyArray, " b"]
    at_limit: Bool[NumpyArray, " b"]
    n_evaluations: Int[NumpyArray, " b"]


def find_optima(
    problems: Problems, first_order: AbstractMinimizer | None = None, given: Natural | None = None
) -> Optima:
    """Minimize the deviance of every response.

    ``first_order`` is a minimizer that uses gradients alone, to find the optima with in place of Newton's method, which
    then only confirms them. ``given`` are natural parameters to begin at, in place of a start that is searched for.
    """
    layout, everyone = problems.likelihood.layout, np.arange(problems.size)
    bases = tiled(layout.bases(), everyone.size)
    if layout.n_theta == 0:
        return _without_parameters(problems, bases)
    descent, at_limit = Descent(problems, first_order), np.zeros(everyone.size, bool)
    start = starts_with(layout, given, np.asarray(problems.responses.scale))
    start = problems.likelihood.started(start, problems.responses)
    if first_order is None:
        search = given is None
        reached, bases = descent.minimize(everyone, start, bases, in_rounds=True, search=search, snaps=True)
        if search and problems.likelihood.guesses_all:
            reached, bases = searched_again(descent, reached, bases, start, tiled(layout.bases(), everyone.size))
        unconverged = np.flatnonzero(~reached.minimum.converged & np.isfinite(reached.minimum.value))
        walks = not problems.likelihood.solver.quasi_newton and layout.family is None
        if unconverged.size and walks:
            unrotated = tiled(layout.bases(), unconverged.size)
            walked, is_limit = descent.walk(unconverged, start[unconverged], unrotated, search=search)
            reached, bases = put((reached, bases), unconverged[is_limit], take((walked, unrotated), is_limit))
            at_limit[unconverged[is_limit]] = True
    else:
        steps = MAX_EVALUATIONS_FIRST_ORDER
        reached, _ = descent.minimize(everyone, start, bases, steps, method=first_order, snaps=True)
    minimum, bases, active_set = _at_boundary(descent, reached.minimum, bases, reached.snapped)
    return Optima(
        minimum.x, bases, active_set, minimum.value, minimum.converged, at_limit, descent.n_evaluations
    )  # fmt: skip


def _at_boundary(
    descent: Descent, minimum: Minimum, bases: Bases, snapped: Snapped
) -> tuple[Minimum, Bases, Int[NumpyArray, "b k"]]:
    """Minimize again from where snapping has changed something, and leave boundaries that are no optima.

    Returns the minima, the bases in which they are written, and their active sets.
    """
    newton_found = descent.first_order is None
    moving, active_set = np.arange(len(minimum.x)), np.zeros(minimum.x.shape, np.int32)
    for _ in range(MAX_RESTARTS):
        if newton_found:  # where nothing has changed Newton's method is done
            changed = has_changed(take(bases, moving), snapped.bases, snapped.active_set)
            moving, snapped = moving[changed], take(snapped, changed)
        if not moving.size:
            break
        bases, active_set = put((bases, active_set), moving, (snapped.bases, snapped.active_set))
        # Active parameters have gradient and mixed derivatives of exactly zero, so Newton's method keeps them there.
        before = minimum.converged[moving]
        # A first-order minimum off the boundary is evaluated once, for its Hessian, and does not move; one at which
        # the minimizer had given up takes a single step from the boundary.
        whole = np.any(snapped.active_set != 0, axis=1) | newton_found
        steps = np.where(whole, np.where(before, MAX_EVALUATIONS, 2), 1)
        reached, rotated = descent.minimize(
            moving, snapped.theta, snapped.bases, steps, active_set=snapped.active_set, in_rounds=True
        )
        confirmed = reached.minimum._replace(converged=np.where(whole, reached.minimum.converged, before))
        minimum, bases = put((minimum, bases), moving, (confirmed, rotated))

        at_boundary = moving[np.any(active_set[moving] > 0, axis=1)]
        if at_boundary.size and descent.problems.likelihood.solver.quasi_newton:
            there = take(bases, at_boundary)
            exact, _ = descent.minimize(at_boundary, minimum.x[at_boundary], there, 1, method=descent.exact)
            minimum = minimum._replace(hessian=put(minimum.hessian, at_boundary, exact.minimum.hessian))
        curvature, direction = boundary_curvature(minimum.hessian[at_boundary], active_set[at_boundary], _eigenpair)
        weak = is_weak(curvature)
        doubted, curvature, direction = at_boundary[weak], curvature[weak], direction[weak]
        if not doubted.size:
            break
        here = minimum.x[doubted], minimum.value[doubted]
        off, _ = descent.minimize(doubted, off_boundary(here[0], direction), take(bases, doubted), snaps=True)
        left = leaves_boundary(curvature, direction, here, (off.minimum.x, off.minimum.value))
        minimum = put(minimum, doubted[left], take(off.minimum, left))
        active_set[doubted[left]] = 0
        falls = descends(curvature)
        moving, snapped = doubted[falls], take(off.snapped, falls)
    return minimum, bases, active_set


def _eigenpair(
    matrix: Float[NumpyArray, "b k k"], _: Float[NumpyArray, " b"]
) -> tuple[Float[NumpyArray, " b"], Float[NumpyArray, "b k"]]:
    """Return the smallest eigenvalue of each matrix and its vector, by LAPACK, which needs no bound of the entries."""
    values, vectors = np.linalg.eigh(matrix)
    return values[:, 0], vectors[:, :, 0]


def tiled(bases: Sequence[Float[NumpyArray, "_ _"]], count: int) -> Bases:
    """Return ``count`` copies of each term's basis, along a new first axis."""
    return tuple(np.tile(basis, (count, 1, 1)) for basis in bases)


def _without_parameters(problems: Problems, bases: Bases) -> Optima:
    """Return the optima where theta has no entries: the deviance is evaluated once."""
    b, theta = problems.size, np.zeros((problems.size, 0))
    value = np.asarray(in_batches(problems.without_rows(), values, np.arange(b), theta, bases))
    converged, never, once = np.isfinite(value), np.zeros(b, bool), np.ones(b, int)
    return Optima(theta, bases, theta.astype(np.int32), value, converged, never, once)


def judged(
    problems: Problems,
    optima: Optima,
    examination: OptimumDerivatives,
    parameters: Sequence[Parameter],
    fixed: Natural | None = None,
) -> Verdicts:
    """Return the certificates of the optima of all problems, from the derivatives there (``examination``).

    The natural ``parameters`` that are not NaN in ``fixed`` were held.
    """
    descent = Descent(problems)

    def descend(
        index: Int[NumpyArray, " c"], theta: Float[NumpyArray, "c k"], max_evaluations: int
    ) -> tuple[Float[NumpyArray, "c k"], Float[NumpyArray, " c"]]:
        reached, _ = descent.minimize(index, theta, take(optima.bases, index), max_evaluations)
        return np.asarray(reached.minimum.x), np.asarray(reached.minimum.value)

    verdicts = certify(
        examination,
        active_set=optima.active_set,
        parameters=parameters,
        fixed=np.zeros(len(parameters), bool) if fixed is None else np.isfinite(fixed.flat),
        converged=optima.converged,
        residual_share=residual_shares(problems, examination),
        start=problems.likelihood.layout.start(),
        walked=optima.at_limit,
        descend=descend,
    )
    grows = grows_without_bound(problems, optima.theta, optima.bases)
    status = np.where(grows, STATUS.index("not_converged"), verdicts.status).astype(verdicts.status.dtype)
    return verdicts._replace(status=status, grows=grows)
