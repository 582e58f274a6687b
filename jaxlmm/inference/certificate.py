"""The certificate of an optimum: a numerical check of its first- and second-order (Karush-Kuhn-Tucker) conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.inference.active_set import blocks_with_multiplier, patterns
from jaxlmm.inference.derivatives import MIN_SIZE, OptimumDerivatives
from jaxlmm.inference.extremes import at_extremes
from jaxlmm.inference.ridges import RIDGE_STEP, Descend, flat_sides
from jaxlmm.inference.status import STATUS
from jaxlmm.inference.verdict import Verdicts

MAX_DECREMENT = 1e-6
"""A point is an optimum when a full Newton step would lower the deviance by less than this."""

MAX_DECREMENT_AT_LIMIT = 1e-4
"""The same off the direction that leads to a limit, where large parameters cost digits."""

MIN_MULTIPLIER = -1e-5
"""A multiplier above this is not negative, but for rounding."""

LIMIT_RATIO = 1e4
"""Ratio of a parameter to max(|start|, 1) above which a direction of constant deviance in which it moves leads to a
limit, and is no ridge."""

SATURATED_SHARE = 0.5
"""Share of the norm of a natural parameter's gradient that lies in the flat directions, above which it is reported at
its boundary; the size of the gradient is no guide, since it goes to 0 at the end of a bounded range, as of a
correlation."""

MIN_RESIDUAL_SHARE = 1e-12
"""Residual standard deviation, relative to the response, below which it is rounding: no lower bound."""

LOST_RESIDUAL_SHARE = 1e-7
"""The same below which a response without a proven optimum is said to have no residual."""

VANISHING_SIGMA = 1e-3
"""Where a ridge moves nothing but a residual standard deviation smaller than this, relative to that of least squares,
it is the way to a residual variance of zero: with a known matrix of full rank the deviance has a limit there. The same
bound says what moves, as a relative change of natural parameters."""

MAX_RIDGE_CURVATURE = 1e-4
"""Only directions of a smaller curvature than this, per relative change of the parameters, are tried as ridges."""


class SameActiveSet(NamedTuple):
    """The optima of c responses with the same active set, ``pattern``; ``indices`` are those of the responses.

    The other fields are as in :class:`~jaxlmm.inference.derivatives.OptimumDerivatives`, ``theta`` and ``gradient``
    with the entries of theta alone, and as in :func:`certify`.
    """

    indices: Int[NumpyArray, " c"]
    pattern: Int[NumpyArray, " k"]
    theta: Float[NumpyArray, "c k"]
    deviance: Float[NumpyArray, " c"]
    gradient: Float[NumpyArray, "c k"]
    hessian: Float[NumpyArray, "c s s"]
    report: Float[NumpyArray, "c r"]
    report_derivative: Float[NumpyArray, "c r s"]
    relative_sigma: Float[NumpyArray, " c"]
    converged: Bool[NumpyArray, " c"]
    residual_share: Float[NumpyArray, " c"]
    walked: Bool[NumpyArray, " c"]

    @property
    def free(self) -> Bool[NumpyArray, " k"]:
        """Which parameters are not in the active set."""
        return np.asarray(self.pattern == 0)

    @property
    def profiled(self) -> bool:
        """Whether log sigma, the last of psi, is not in theta."""
        return self.hessian.shape[1] > self.pattern.size


class Curvature(NamedTuple):
    """The Hessian in theta, profiled over sigma, and its eigenvectors in units of the free parameters' ``size``."""

    profile: Float[NumpyArray, "c k k"]
    size: Float[NumpyArray, "c free"]
    values: Float[NumpyArray, "c free"]
    vectors: Float[NumpyArray, "c free free"]


class Flat(NamedTuple):
    """Flat directions of c optima, as fields of :class:`Verdicts`; ``at_limit`` where all lead to a limit."""

    at_limit: Bool[NumpyArray, " c"]
    null_directions: Float[NumpyArray, "c k s"]
    ridge: Float[NumpyArray, "c r"]
    at_boundary: Bool[NumpyArray, "c r"]
    on_ridge: Bool[NumpyArray, "c r"]


def certify(
    optimum: OptimumDerivatives,
    *,
    active_set: Int[NumpyArray, "b k"],
    parameters: Sequence[Parameter],
    fixed: Bool[NumpyArray, " r"],
    converged: Bool[NumpyArray, " b"],
    residual_share: Float[NumpyArray, " b"],
    start: Float[NumpyArray, " k"],
    walked: Bool[NumpyArray, " b"],
    descend: Descend,
) -> Verdicts:
    """Return the verdicts on the optima of b responses.

    Parameters
    ----------
    optimum
        The optima and their derivatives.
    active_set
        0 for a free parameter; parameters of the same positive number are a block kept at zero.
    parameters, fixed
        The natural parameters, and which of them are fixed: these are never reported at a boundary.
    converged
        Whether the minimizer converged; the certificate does not rely on it alone.
    residual_share
        The residual standard deviation relative to the size of the response; infinite where it is fixed.
    start
        The start of the search, if nothing better was known.
    walked
        Whether the direction of the smallest curvature was followed to a limit of the structure.
    descend
        Minimizes responses from other thetas in the same bases.
    """
    k, s, r = active_set.shape[1], optimum.psi.shape[1], optimum.values.report.shape[1]
    verdicts = Verdicts.failed(len(active_set), k, s, r)
    finite = np.isfinite(optimum.hessian).all(axis=(1, 2)) & np.isfinite(optimum.gradient).all(axis=1)
    finite &= np.isfinite(optimum.sigma)
    for same, pattern in patterns(active_set):
        indices = same[finite[same]]
        if not indices.size:
            continue
        group = SameActiveSet(
            indices,
            pattern,
            optimum.psi[indices, :k],
            optimum.deviance[indices],
            optimum.gradient[indices, :k],
            optimum.hessian[indices],
            optimum.values.report[indices],
            optimum.derivatives.report[indices],
            optimum.relative_sigma[indices],
            converged[indices],
            residual_share[indices],
            walked[indices],
        )
        for field, own in zip(verdicts, _judge(group, parameters, fixed, start, descend), strict=True):
            field[indices] = own
    return verdicts


def _judge(
    group: SameActiveSet,
    parameters: Sequence[Parameter],
    fixed: Bool[NumpyArray, " r"],
    start: Float[NumpyArray, " k"],
    descend: Descend,
) -> Verdicts:
    """Return the verdicts on optima with the same active set."""
    curvature = _curvature(group)
    sides = _sides(group, curvature, start, descend)
    flat = _flat_directions(group, curvature, sides, parameters, fixed)
    has_flat_direction = np.any(sides > 0, axis=1)
    multipliers = _multipliers(group, curvature, descend)
    at_optimum = _is_stationary(group, curvature, sides)
    for number in blocks_with_multiplier(group.pattern):
        at_optimum &= multipliers[:, number - 1] > MIN_MULTIPLIER

    proven = at_optimum & (group.residual_share > MIN_RESIDUAL_SHARE) & (group.converged | has_flat_direction)
    any_active = not group.free.all()
    code = np.where(any_active | flat.at_limit, STATUS.index("boundary"), STATUS.index("interior"))
    code = np.where(has_flat_direction & ~flat.at_limit, STATUS.index("not_identified"), code)
    extreme = at_extremes(group.report, group.report_derivative, group.free, parameters) & ~fixed
    return Verdicts(
        status=np.where(proven, code, STATUS.index("not_converged")),
        gradient=np.abs(group.gradient).max(axis=1, initial=0.0),
        min_eigenvalue=curvature.values[:, 0] if group.free.any() else np.full(len(proven), np.inf),
        multipliers=multipliers,
        ridge=flat.ridge,
        null_directions=flat.null_directions,
        at_boundary=extreme | flat.at_boundary,
        on_ridge=flat.on_ridge,
        no_residual=~proven & (group.residual_share < LOST_RESIDUAL_SHARE),
        grows=np.zeros(len(proven), bool),
    )


def _curvature(group: SameActiveSet) -> Curvature:
    k, free, hessian = group.pattern.size, group.free, group.hessian
    profile = hessian[:, :k, :k]
    if group.profiled:
        profile = profile - hessian[:, :k, k, None] * hessian[:, None, k, :k] / hessian[:, k, k, None, None]
    size = np.maximum(np.abs(group.theta), MIN_SIZE)[:, free]
    return Curvature(profile, size, *np.linalg.eigh(profile[:, free][:, :, free] * size[:, :, None] * size[:, None, :]))


def _sides(
    group: SameActiveSet, curvature: Curvature, start: Float[NumpyArray, " k"], descend: Descend
) -> Int[NumpyArray, "c free"]:
    """Return on how many sides the deviance is flat along each eigenvector: 2 on a ridge, 1 on the way to a limit."""
    _, size, values, vectors = curvature
    free = group.free
    sides = np.zeros(values.shape, int)
    walked_direction = group.walked[:, None] & (np.arange(values.shape[1]) == 0)
    response, direction = np.nonzero((values < MAX_RIDGE_CURVATURE) & ~walked_direction)
    if response.size:
        steps, along = np.zeros((response.size, free.size)), vectors[response, :, direction]
        steps[:, free] = RIDGE_STEP * size[response] * along / np.abs(along).max(axis=1, keepdims=True)
        sides[response, direction] = flat_sides(
            group.indices[response], steps, group.theta[response], group.deviance[response], descend
        )
    escaped = np.abs(group.theta[:, free]) > LIMIT_RATIO * np.maximum(np.abs(start[free]), 1.0)
    runs_off = np.any(escaped[:, :, None] & (np.abs(vectors) > 0.1), axis=1)
    return np.where(walked_direction | ((sides == 2) & runs_off), 1, sides)


def _is_stationary(
    group: SameActiveSet, curvature: Curvature, sides: Int[NumpyArray, "c free"]
) -> Bool[NumpyArray, " c"]:
    """Return where the curvature is positive and the Newton decrement small, off the flat directions."""
    _, size, values, vectors = curvature
    flat = sides > 0
    slope = np.einsum("cij,ci->cj", vectors, group.gradient[:, group.free] * size)
    curved = np.all((values > 0) | flat, axis=1)
    decrease = np.where(flat, 0.0, slope**2 / np.where(values > 0, values, 1.0))
    return curved & (0.5 * decrease.sum(axis=1) < np.where(group.walked, MAX_DECREMENT_AT_LIMIT, MAX_DECREMENT))


def _multipliers(group: SameActiveSet, curvature: Curvature, descend: Descend) -> Float[NumpyArray, "c k"]:
    """Return the multiplier of the block of number j in column j − 1, NaN elsewhere."""
    multipliers = np.full(group.theta.shape, np.nan)
    for number, dual in blocks_with_multiplier(group.pattern).items():
        multiplier = np.linalg.eigvalsh(0.5 * curvature.profile[:, dual][:, :, dual])[:, 0]
        for i in np.flatnonzero(
            multiplier == 0.0
        ):  # no second derivative at zero: the forward difference in the variance, (1e-3)²
            aside = group.theta[i] + 1e-3 * (group.pattern == number)
            multiplier[i] = (descend(group.indices[[i]], aside[None], 1)[1][0] - group.deviance[i]) / 1e-6
        multipliers[:, number - 1] = multiplier
    return multipliers


def _flat_directions(
    group: SameActiveSet,
    curvature: Curvature,
    sides: Int[NumpyArray, "c free"],
    parameters: Sequence[Parameter],
    fixed: Bool[NumpyArray, " r"],
) -> Flat:
    """Return the flat directions, the natural parameters that they change, and whether they lead to a limit."""
    k, free, hessian, report = group.pattern.size, group.free, group.hessian, group.report
    residual = np.array([parameter.is_residual_sd for parameter in parameters])
    flat = sides > 0
    has_flat_direction = flat.any(axis=1)
    at_limit = has_flat_direction & np.all((sides == 1) | ~flat, axis=1)
    null_directions = np.zeros((len(report), k, hessian.shape[1]))
    ridge, at_boundary, on_ridge = np.zeros(report.shape), np.zeros(report.shape, bool), np.zeros(report.shape, bool)
    for i in np.flatnonzero(has_flat_direction):
        null = np.zeros((int(flat[i].sum()), len(hessian[i])))
        null[:, :k][:, free] = (curvature.size[i, :, None] * curvature.vectors[i][:, flat[i]]).T
        if group.profiled:
            null[:, k] = -(null[:, :k] @ hessian[i, k, :k]) / hessian[i, k, k]
        null_directions[i, : len(null)] = null
        movement = group.report_derivative[i] @ null.T
        movement = np.where(np.isfinite(movement), movement, 0.0)
        moves = np.abs(movement).max(axis=1) > 1e-6 * max(np.nanmax(np.abs(report[i])), 1e-300)
        change = np.abs(movement).max(axis=1) / np.maximum(np.abs(report[i]), 1e-300)
        vanishing = group.relative_sigma[i] < VANISHING_SIGMA and not np.any(fixed & residual)
        if vanishing and np.all((change < VANISHING_SIGMA) | residual):
            at_limit[i], at_boundary[i] = True, residual
        elif at_limit[i]:
            depends = group.report_derivative[i].copy()
            depends[:, np.flatnonzero(free)] *= curvature.size[i]
            along = np.linalg.norm(movement, axis=1)
            saturated = (along > 0) & (along > SATURATED_SHARE * np.linalg.norm(depends, axis=1))
            at_boundary[i] = (moves | saturated) & ~fixed
        else:
            on_ridge[i] = moves
            first = movement[:, 0] / np.abs(movement[:, 0]).max()
            ridge[i] = first * (1.0 if first[np.abs(first).argmax()] > 0 else -1.0)
    return Flat(at_limit, null_directions, ridge, at_boundary, on_ridge)
