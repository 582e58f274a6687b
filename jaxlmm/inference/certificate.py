"""The certificate of an optimum: not a warning but a proof, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.inference.active_set import duals, patterns
from jaxlmm.inference.derivatives import OptimumDerivatives
from jaxlmm.inference.status import STATUS
from jaxlmm.inference.verdict import Verdicts

DECREMENT = 1e-6
"""A point is an optimum when a full Newton step would lower the deviance by less than this."""

WALKED_DECREMENT = 1e-4
"""The same off the direction that leads to a limit, where large parameters cost digits."""

AWAY = 1.5
"""How far a ridge is walked, relative to the parameters' size: far enough to tell it from the way to a limit, and not
to the point's mirror image, at 2."""

FLAT = 1e-7
"""At the end of a walk along a ridge, minimized again from there, the deviance differs by less."""

ESCAPED = 1e4
"""A parameter so much larger than where it began is on its way to a limit, not on a ridge, if it moves at no cost."""

HALVINGS = 3
"""How often such a walk is cut in half where it ends at no finite deviance."""

SATURATED = 0.5
"""At a limit, a natural parameter is there if so much of its derivative is along the way; the derivative itself
vanishes where the parameter has an end, as a correlation has."""

RIDGE_STEPS = 50
"""Evaluations in which a step along a ridge must be back on it."""

ROUNDING = 1e-12
"""A residual standard deviation below this, relative to the response, is rounding: the deviance falls without bound."""

LOST = 1e-7
"""Where no optimum is found, one below this is lost in rounding."""

VANISHING = 1e-3
"""Where a ridge moves nothing but a residual standard deviation smaller than this, relative to that of least squares,
it is the way to a residual variance of zero: with a known matrix of full rank the deviance has a limit there."""

NEARLY_SINGULAR = 1e-4
"""Only directions of a smaller curvature than this, per relative change of the parameters, are tried as ridges."""


@runtime_checkable
class Descend(Protocol):
    """A minimizer that is handed to the certificate, which looks along ridges with it.

    Called with the ``numbers`` (c,) of responses, ``theta`` (c, k) and the number of ``steps`` (one evaluates alone),
    it returns theta (c, k) where it stops and the deviances (c,) there.
    """

    def __call__(self, numbers: NumpyArray, theta: NumpyArray, steps: int, /) -> tuple[NumpyArray, NumpyArray]:
        """Minimize from ``theta``."""


def certify(
    examination: OptimumDerivatives,
    *,
    active_set: NumpyArray,
    parameters: Sequence[Parameter],
    fixed: NumpyArray,
    converged: NumpyArray,
    residual_share: NumpyArray,
    start: NumpyArray,
    walked: NumpyArray,
    descend: Descend,
) -> Verdicts:
    """Judge the optima of b responses.

    Parameters
    ----------
    examination
        The optima and their derivatives.
    held
        ``(b, k)``: 0 for a free parameter; parameters of the same positive number are a block held at zero.
    parameters, fixed
        The natural parameters, and which of them ``(r,)`` are held at given values: these are nowhere at a
        boundary.
    converged
        ``(b,)`` whether the minimizer says that it is done; the certificate does not rely on it alone.
    residual_share
        ``(b,)`` the residual standard deviation relative to the size of the response; infinite where it is fixed.
    start
        ``(k,)`` where the search began, if nothing better was known.
    walked
        ``(b,)`` whether the direction of the smallest curvature was followed to a limit of the structure.
    descend
        Minimizes responses, by their numbers (c,), from other thetas (c, k) in the same bases for a number of
        evaluations; returns the thetas reached and the deviances (c,) there. A ridge may be curved: a step along its
        tangent is brought back to it by minimizing. A direction that is flat on one side only leads to a limit of the
        structure (a correlation that dies at once, or never): that is a boundary.
    """
    b, r = examination.values.report.shape
    verdicts = Verdicts.failed(b, active_set.shape[1], examination.psi.shape[1], r)
    finite = np.isfinite(examination.hessian).all(axis=(1, 2)) & np.isfinite(examination.gradient).all(axis=1)
    finite &= np.isfinite(examination.sigma)
    for places, pattern in patterns(active_set):
        chosen = places[finite[places]]
        if chosen.size:
            _judge(
                verdicts,
                chosen,
                pattern,
                examination,
                parameters,
                fixed,
                converged,
                residual_share,
                start,
                walked,
                descend,
            )
    return verdicts


def _judge(
    verdicts: Verdicts,
    chosen: NumpyArray,
    pattern: NumpyArray,
    examination: OptimumDerivatives,
    parameters: Sequence[Parameter],
    fixed: NumpyArray,
    converged: NumpyArray,
    residual_share: NumpyArray,
    start: NumpyArray,
    walked: NumpyArray,
    descend: Descend,
) -> None:
    """Write the verdicts on the ``chosen`` (c,) responses, which hold the same parameters."""
    free = np.asarray(pattern == 0)
    k, singular = free.size, not free.all()
    hessian, gradient, deviance = examination.hessian[chosen], examination.gradient[chosen, :k], examination.deviance
    theta, report = examination.psi[chosen, :k], examination.values.report[chosen]
    profiled = hessian.shape[1] > k  # log sigma, the last of psi, is not in theta
    profile = hessian[:, :k, :k]
    if profiled:
        profile = profile - hessian[:, :k, k, None] * hessian[:, None, k, :k] / hessian[:, k, k, None, None]
    size = np.maximum(np.abs(theta), 0.1)[:, free]
    values, vectors = np.linalg.eigh(profile[:, free][:, :, free] * size[:, :, None] * size[:, None, :])

    sides = np.zeros(values.shape, int)
    ends = walked[chosen, None] & (np.arange(values.shape[1]) == 0)
    whose, which = np.nonzero((values < NEARLY_SINGULAR) & ~ends)
    if whose.size:
        steps, along = np.zeros((whose.size, k)), vectors[whose, :, which]
        steps[:, free] = AWAY * size[whose] * along / np.abs(along).max(axis=1, keepdims=True)
        sides[whose, which] = _flat_sides(chosen[whose], steps, theta[whose], deviance[chosen[whose]], descend)
    escaped = np.abs(theta[:, free]) > ESCAPED * np.maximum(np.abs(start[free]), 1.0)
    runs_off = np.any(escaped[:, :, None] & (np.abs(vectors) > 0.1), axis=1)
    sides = np.where(ends | ((sides == 2) & runs_off), 1, sides)
    flat = sides > 0
    ridged = flat.any(axis=1)
    at_limit = ridged & np.all((sides == 1) | ~flat, axis=1)

    slope = np.einsum("cij,ci->cj", vectors, gradient[:, free] * size)
    curved = np.all((values > 0) | flat, axis=1)
    rise = np.where(flat, 0.0, slope**2 / np.where(values > 0, values, 1.0))
    at_optimum = curved & (0.5 * rise.sum(axis=1) < np.where(walked[chosen], WALKED_DECREMENT, DECREMENT))
    for number, dual in duals(pattern).items():
        multiplier = np.linalg.eigvalsh(0.5 * profile[:, dual][:, :, dual])[:, 0]
        for i in np.flatnonzero(multiplier == 0.0):  # a factor that has no second derivative at zero
            aside = theta[i] + 1e-3 * (pattern == number)
            multiplier[i] = (descend(chosen[[i]], aside[None], 1)[1][0] - deviance[chosen[i]]) / 1e-6
        verdicts.multipliers[chosen, number - 1] = multiplier
        at_optimum &= multiplier > -1e-5

    kinds = np.array([parameter.kind for parameter in parameters])
    correlation = kinds == "corr"
    extreme_value = np.where(correlation, singular & (np.abs(report) >= 1.0 - 1e-9), report == 0.0)
    at_boundary = np.asarray((extreme_value | np.isnan(report)) & ~fixed)
    residual = np.array([parameter.is_residual_sd for parameter in parameters])
    on_ridge = np.zeros(report.shape, bool)
    for i in np.flatnonzero(ridged):
        null = np.zeros((int(flat[i].sum()), len(hessian[i])))
        null[:, :k][:, free] = (size[i, :, None] * vectors[i][:, flat[i]]).T
        if profiled:
            null[:, k] = -(null[:, :k] @ hessian[i, k, :k]) / hessian[i, k, k]
        verdicts.null_directions[chosen[i], : len(null)] = null
        movement = examination.derivatives.report[chosen[i]] @ null.T
        movement = np.where(np.isfinite(movement), movement, 0.0)
        moves = np.abs(movement).max(axis=1) > 1e-6 * max(np.nanmax(np.abs(report[i])), 1e-300)
        change = np.abs(movement).max(axis=1) / np.maximum(np.abs(report[i]), 1e-300)
        vanishing = examination.relative_sigma[chosen[i]] < VANISHING and not np.any(fixed & residual)
        if vanishing and np.all((change < VANISHING) | residual):
            at_limit[i], at_boundary[i] = True, at_boundary[i] | residual
            continue
        if at_limit[i]:
            depends = examination.derivatives.report[chosen[i]].copy()
            depends[:, np.flatnonzero(free)] *= size[i]
            along = np.linalg.norm(movement, axis=1)
            saturated = (along > 0) & (along > SATURATED * np.linalg.norm(depends, axis=1))
            at_boundary[i] |= (moves | saturated) & ~fixed
            continue
        on_ridge[i] = moves
        first = movement[:, 0] / np.abs(movement[:, 0]).max()
        verdicts.ridge[chosen[i]] = first * (1.0 if first[np.abs(first).argmax()] > 0 else -1.0)

    left = residual_share[chosen]
    proven = at_optimum & (left > ROUNDING) & (converged[chosen] | ridged)
    word = np.where(singular | at_limit, STATUS.index("boundary"), STATUS.index("interior"))
    word = np.where(ridged & ~at_limit, STATUS.index("not_identified"), word)
    verdicts.status[chosen] = np.where(proven, word, STATUS.index("not_converged"))
    verdicts.no_residual[chosen] = ~proven & (left < LOST)
    verdicts.gradient[chosen] = np.abs(gradient).max(axis=1, initial=0.0)
    verdicts.min_eigenvalue[chosen] = values[:, 0] if free.any() else np.inf
    verdicts.at_boundary[chosen] = at_boundary
    verdicts.on_ridge[chosen] = on_ridge


def _flat_sides(
    numbers: NumpyArray, steps: NumpyArray, theta: NumpyArray, deviance: NumpyArray, descend: Descend
) -> NumpyArray:
    """Return on how many sides (c,) of ``theta`` (c, k) the ``deviance`` (c,) of the responses ``numbers`` (c,) is
    constant along ``steps`` (c, k) or a curve near it.
    """
    sides = np.zeros(numbers.size, int)
    for away in (steps.copy(), -steps):
        there = descend(numbers, theta + away, 1)[1]
        for _ in range(HALVINGS):  # a factor of a matrix that rounding makes singular may have no value
            beyond = ~np.isfinite(there)
            if not beyond.any():
                break
            away[beyond] /= 2.0
            there = descend(numbers, theta + away, 1)[1]
        straight = np.abs(there - deviance) < FLAT
        sides += straight
        for i in np.flatnonzero(~straight):
            reached, value = (part[0] for part in descend(numbers[[i]], theta[[i]] + away[[i]], RIDGE_STEPS))
            enough = 0.02 * (away[i] @ away[i])
            stayed_away = (reached - theta[i]) @ away[i] > enough
            # The same optimum with signs turned is no ridge.
            mirrored = np.abs(np.abs(reached) - np.abs(theta[i])) @ np.abs(away[i]) <= enough
            sides[i] += bool(stayed_away and not mirrored and abs(value - deviance[i]) < FLAT)
    return sides
