"""The certificate of an optimum: not a warning but a proof, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.inference.examine import Examination

STATUS = ("interior", "boundary", "not_identified", "not_converged", "failed")
"""The status words; their places are the codes of array-level results."""

HELP = {
    "interior": "The optimum is inside the parameter space: the gradient is zero and the Hessian positive definite.",
    "boundary": (
        "A covariance matrix is exactly singular at the optimum (a variance of zero, a correlation of ±1, a rank below "
        "its size), or a parameter of a structure is at its limit. Each multiplier is the rate at which the deviance "
        "rises off the boundary. Standard errors of such parameters are not given; the others hold them fixed."
    ),
    "not_identified": (
        "The data do not determine all parameters: the deviance is constant along the ridge. What moves along it has "
        "no standard error. Remove a term, or collect data that tell the parameters apart."
    ),
    "not_converged": (
        "The minimiser stopped before an optimum was reached. Look for a predictor or a response on an extreme scale, "
        "a nearly saturated model, or a structure whose start is far off."
    ),
    "failed": "The deviance is not finite at any point that was tried, so there is no optimum to report.",
}

DECREMENT = 1e-6
"""A point is an optimum when a full Newton step would lower the deviance by less than this."""

AWAY = 1.5
"""How far a ridge is walked, relative to the parameters' size: far enough to tell it from the way to a limit, and not
to the point's mirror image, at 2."""

FLAT = 1e-7
"""At the end of a walk along a ridge, minimised again from there, the deviance differs by less."""

RIDGE_STEPS = 50
"""Evaluations in which a step along a ridge must be back on it."""

PERFECT = 1e-6
"""A residual standard deviation below this, relative to that of least squares, is on its way to zero."""

NEARLY_SINGULAR = 1e-4
"""Only directions of a smaller curvature than this, per relative change of the parameters, are tried as ridges."""


class Verdict(NamedTuple):
    """What is proven about an optimum.

    Attributes
    ----------
    status
        One of ``interior``, ``boundary``, ``not_identified``, ``not_converged``, ``failed``.
    gradient
        The largest absolute entry of the deviance's gradient in theta.
    min_eigenvalue
        The smallest eigenvalue of the Hessian in relative changes of the free parameters.
    multipliers
        For what is held at the boundary, the rate at which the deviance rises with the variance that is let in,
        averaged over the rows, in units of the residual variance (for a covariance matrix the smallest eigenvalue).
        Positive at an optimum.
    ridge
        Where the parameters are not identified, the direction in which they can move together at no cost, by
        parameter name; otherwise empty.
    help
        What the status means and what to do.
    null_directions, at_boundary, on_ridge
        ``(d, k + 1)`` directions of psi in which the deviance is constant; ``(r,)`` which natural parameters are at a
        boundary, and which move along a ridge.
    """

    status: str
    gradient: float
    min_eigenvalue: float
    multipliers: dict[str, float]
    ridge: dict[str, float]
    help: str
    null_directions: NumpyArray
    at_boundary: NumpyArray
    on_ridge: NumpyArray


def certify(
    examination: Examination,
    *,
    free: NumpyArray,
    duals: Sequence[NumpyArray],
    dual_names: Sequence[str],
    names: Sequence[str],
    deviance: float,
    converged: bool,
    descend: Callable[[NumpyArray, int], tuple[NumpyArray, float]],
) -> Verdict:
    """Judge an optimum.

    Parameters
    ----------
    examination
        The optimum and its derivatives.
    free, duals, dual_names
        ``(k,)`` which parameters are not held at a boundary; the blocks of theta that are held, and their names.
    names
        The names of the natural parameters.
    deviance
        Its deviance.
    converged
        Whether the minimiser says that it is done; the certificate does not rely on it alone.
    descend
        Minimises from another theta in the same frames for a number of evaluations; returns the theta reached and the
        deviance there. A ridge may be curved: a step along its tangent is brought back to it by minimising. A
        direction that is flat on one side only leads to a limit of the structure (a correlation that dies at once, or
        never): that is a boundary.
    """
    report = np.asarray(examination.values.report)
    hessian, gradient = np.asarray(examination.hessian), np.asarray(examination.gradient)
    k = gradient.size - 1
    nothing = np.zeros(report.size, bool)
    if not (np.isfinite(hessian).all() and np.isfinite(gradient).all() and np.isfinite(report[-1])):
        empty = np.zeros((0, k + 1))
        return Verdict("failed", np.nan, np.nan, {}, {}, HELP["failed"], empty, nothing, nothing)

    theta = np.asarray(examination.psi)[:k]
    profile = hessian[:k, :k] - np.outer(hessian[:k, k], hessian[k, :k]) / hessian[k, k]
    size = np.maximum(np.abs(theta), 0.1)[free]
    scaled = profile[np.ix_(free, free)] * np.outer(size, size)
    values, vectors = np.linalg.eigh(scaled)

    def flat_sides(direction: NumpyArray) -> int:
        step = np.zeros(k)
        step[free] = AWAY * size * direction / np.abs(direction).max()
        sides = 0
        for away in (step, -step):
            if abs(descend(theta + away, 1)[1] - deviance) < FLAT:
                sides += 1
                continue
            reached, value = descend(theta + away, RIDGE_STEPS)
            stayed_away = (reached - theta) @ away > 0.02 * (away @ away)
            sides += bool(stayed_away and abs(value - deviance) < FLAT)
        return sides

    sides = [flat_sides(vectors[:, i]) if values[i] < NEARLY_SINGULAR else 0 for i in range(values.size)]
    flat = [i for i, count in enumerate(sides) if count > 0]
    steep = [i for i, count in enumerate(sides) if count == 0]
    at_limit = bool(flat) and all(sides[i] == 1 for i in flat)
    null = np.zeros((len(flat), k + 1))
    for row, i in enumerate(flat):
        null[row, :k][free] = size * vectors[:, i]
        null[row, k] = -hessian[k, :k] @ null[row, :k] / hessian[k, k]

    slope = vectors.T @ (gradient[:k][free] * size)
    curved = all(values[i] > 0 for i in steep)
    decrement = 0.5 * sum(slope[i] ** 2 / values[i] for i in steep) if curved else np.inf
    multipliers = {}
    for name, dual in zip(dual_names, duals, strict=True):
        multipliers[name] = float(np.linalg.eigvalsh(0.5 * profile[np.ix_(dual, dual)])[0])
        if multipliers[name] == 0.0:  # a factor that has no second derivative at zero
            aside = theta + 1e-3 * np.isin(np.arange(k), dual)
            multipliers[name] = (descend(aside, 1)[1] - deviance) / 1e-6
    at_optimum = curved and (decrement < DECREMENT) and all(m > -1e-5 for m in multipliers.values())

    movement = np.asarray(examination.derivatives.report) @ null.T
    movement = np.where(np.isfinite(movement), movement, 0.0)
    on_ridge = np.abs(movement).max(axis=1, initial=0.0) > 1e-6 * max(np.nanmax(np.abs(report)), 1e-300)
    ridge = {}
    if flat and not at_limit:
        first = movement[:, 0] / np.abs(movement[:, 0]).max()
        first = first * (1.0 if first[np.abs(first).argmax()] > 0 else -1.0)
        ridge = {name: float(w) for name, w in zip(names, first, strict=True) if abs(w) > 1e-6}

    correlation = np.array([name.split(": ")[-1].startswith("corr(") for name in names])
    singular = not free.all()
    at_boundary = np.where(correlation, singular & (np.abs(report) >= 1.0 - 1e-9), report == 0.0) | np.isnan(report)
    if at_limit:
        extreme = np.array([name.endswith(": rho") for name in names]) & (np.abs(report - 0.5) > 0.5 - 1e-6)
        at_boundary, on_ridge = at_boundary | on_ridge | extreme, nothing
    perfect = examination.psi[-1] < np.log(PERFECT)
    if perfect or not (at_optimum and (converged or flat)):
        status = "not_converged"
    elif flat and not at_limit:
        status = "not_identified"
    else:
        status = "boundary" if singular or at_limit else "interior"
    return Verdict(
        status, float(np.abs(gradient[:k]).max(initial=0.0)), float(values[0]) if values.size else np.inf,
        multipliers, ridge, HELP[status], null, at_boundary, on_ridge,
    )  # fmt: skip
