"""The verdict on a structure from its values and derivatives at several theta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.contract.explain import BrokenContractError
from jaxlmm.covariance.parameters import Parameter

MAX_DERIVATIVE_ERROR = 1e-3
"""Relative difference of a derivative from central differences above which it is wrong: not rounding, nor the step."""

MAX_ENTRY_ERROR = 1e-8
"""Size, relative to the largest entry, up to which entries above the diagonal, asymmetry and negative eigenvalues are
rounding."""

SHOWN_ROWS = 4
"""Rows and columns of a matrix that a message shows."""

BOUND_ROUNDING = 1e-9
"""How far beyond a bound rounding may take a value, relative to the value, or absolute where it is below 1."""


class Trials(NamedTuple):
    """Values and derivatives of a structure at t theta: ``covariance`` as its author wrote it or from the ``factor``.

    ``slope`` is the derivative of the covariance, ``differences`` along one direction the derivative and central
    differences, ``second`` a Hessian through the factor; ``is_covariance`` says that the author wrote the covariance,
    not the factor. ``reports`` are the natural parameters where sigma is 1, and where it is 2.
    """

    covariance: Float[Array, "*t q q"]
    factor: Float[Array, "*t q q"]
    slope: Float[Array, "*t k q q"]
    differences: Float[Array, "*t 2 q q"]
    second: Float[Array, "*t k k"]
    is_covariance: Bool[Array, "*t"]
    reports: Float[Array, "*t 2 r"] | None = None


def judge(thetas: Float[NumpyArray, "t k"], trials: Trials) -> None:
    """Raise with the first property that does not hold at some theta."""
    usable = np.isfinite(trials.covariance).all(axis=(1, 2)) & np.isfinite(trials.factor).all(axis=(1, 2))
    is_covariance, ends = bool(trials.is_covariance[0]), _ends(thetas, trials.factor, usable)
    for index, theta in enumerate(thetas):
        at = f"at theta = {theta.round(4).tolist()}"
        matrix, factor = trials.covariance[index], trials.factor[index]
        if is_covariance and np.isfinite(matrix).all():
            _check_covariance(matrix, at)
        if index == 0 and not usable[0]:
            raise BrokenContractError(
                f"is not finite {at}, where the search starts: expected a finite factor or covariance there, got "
                f"{(matrix if is_covariance else factor).tolist()}. Return another start, or avoid 0/0, logarithms "
                "and roots of what may be 0 (jnp.where on their argument)."
            )
        if not usable[index]:  # a step to there is not taken
            continue
        if not is_covariance:
            _check_factor(trials.factor[usable], factor, at)
        finite = np.isfinite(trials.slope[index]).all() and np.isfinite(trials.second[index]).all()
        if not finite and (index == 0 or np.all(theta != 0.0) or index in ends):
            which = ", the second ones," if np.isfinite(trials.slope[index]).all() else ""
            raise BrokenContractError(
                f"has derivatives that are not finite{which} {at}, though its value is: avoid roots and norms of what "
                "is 0 there (theta[0] in place of sqrt(theta[0]**2); jnp.where on the argument of a root, too). A "
                "covariance may be exactly singular: jaxlmm.linalg.semidefinite_cholesky takes such, "
                "jnp.linalg.cholesky does not."
            )
        derivative, differences = trials.differences[index]
        size = np.abs(differences).max() + np.abs(matrix).max()
        compared = np.all(theta != 0.0) and np.isfinite(differences).all()  # a kink at zero is allowed
        if compared and np.abs(derivative - differences).max() > MAX_DERIVATIVE_ERROR * size:
            raise BrokenContractError(
                f"has derivatives {at} that are not those of its values: expected a smooth function of theta in double "
                "precision; leave out rounding, stop_gradient, float32 and rules of differentiation that are wrong."
            )
    q, k = trials.factor.shape[-1], thetas.shape[1]
    idle = np.flatnonzero(~np.any(trials.slope[usable] != 0.0, axis=(0, 2, 3))) if k else np.zeros(0, int)
    if q > 1 and idle.size:
        raise BrokenContractError(
            f"declares {k} parameters, of which theta[{idle[0]}] changes nothing at any theta that was tried: expected "
            "n_params to count those that are read."
        )


def judge_reports(parameters: Sequence[Parameter], thetas: Float[NumpyArray, "t k"], trials: Trials) -> None:
    """Raise with the first natural parameter that has another unit, or other values, than is declared.

    What is not finite, as a correlation beside a variance of zero, and theta at which there is no covariance are left
    out, and so are units of plain numbers, of which nothing is declared.
    """
    assert trials.reports is not None
    usable = np.isfinite(trials.factor).all(axis=(1, 2))
    for number, parameter in enumerate(parameters):
        values = trials.reports[:, :, number]
        for index in np.flatnonzero(usable & np.isfinite(values).all(axis=1)):
            at, (value, doubled) = f"at theta = {thetas[index].round(4).tolist()}", values[index]
            rounding = MAX_ENTRY_ERROR * max(abs(value), 1e-300)
            slack = BOUND_ROUNDING * max(abs(value), 1.0)
            if not parameter.lower - slack <= value <= parameter.upper + slack:
                raise BrokenContractError(
                    f"reports {parameter.label} = {value:.6g} {at}: expected {parameter.expected}, as it is declared."
                )
            if parameter.declares_unit and abs(doubled - (2.0 if parameter.has_unit else 1.0) * value) > rounding:
                said = "in units of the response" if parameter.has_unit else "without a unit"
                raise BrokenContractError(
                    f"declares {parameter.label} as a number {said}, and reports {value:.6g} where sigma is 1 and "
                    f"{doubled:.6g} where it is 2, {at}: expected "
                    f"{'twice as much' if parameter.has_unit else 'the same'}; declare its unit=, 'response' or None."
                )


def _ends(
    thetas: Float[NumpyArray, "t k"], factor: Float[NumpyArray, "t q q"], usable: Bool[NumpyArray, " t"]
) -> set[int]:
    """Return the indices of theta at which a search may end: the fewest zeros that make a factor singular."""
    singular = []
    for index in np.flatnonzero(usable & np.any(thetas == 0.0, axis=1)):
        values = np.linalg.svd(factor[index], compute_uv=False)
        if values[-1] <= MAX_ENTRY_ERROR * values[0]:
            singular.append(int(index))
    fewest = min((np.count_nonzero(thetas[index] == 0.0) for index in singular), default=0)
    return {index for index in singular if np.count_nonzero(thetas[index] == 0.0) == fewest}


def _check_covariance(matrix: Float[NumpyArray, "q q"], at: str) -> None:
    largest = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > MAX_ENTRY_ERROR * largest:
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise BrokenContractError(
            f"returns no covariance: expected a symmetric covariance matrix, got {_shown(matrix)} {at}, with "
            f"{matrix[i, j]:.10g} at [{i}, {j}] and {matrix[j, i]:.10g} at [{j}, {i}]."
        )
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < -MAX_ENTRY_ERROR * largest:
        raise BrokenContractError(
            f"returns no covariance: expected a positive semidefinite matrix at any theta, got {_shown(matrix)} {at}, "
            f"with an eigenvalue of {smallest:.4g}. theta is unconstrained: write a variance as theta[0]**2, a "
            "correlation as jnp.tanh(theta[1]), a range as jnp.exp(theta[2])."
        )


def _shown(matrix: Float[NumpyArray, "q q"]) -> str:
    """Return the numbers of a matrix, of a large one its corner.

    >>> _shown(np.diag([1.0, 1.0 / 3.0]))
    '[[1.0, 0.0], [0.0, 0.3333]]'
    """
    some = matrix[:SHOWN_ROWS, :SHOWN_ROWS]
    values = [[float(f"{value:.4g}") for value in row] for row in some]
    return f"{values}" if len(some) == len(matrix) else f"{values} (the first {SHOWN_ROWS} of {len(matrix)})"


def _check_factor(factors: Float[NumpyArray, "t q q"], factor: Float[NumpyArray, "q q"], at: str) -> None:
    largest = np.abs(factor).max()
    if np.abs(np.triu(factor, 1)).max(initial=0.0) <= MAX_ENTRY_ERROR * largest:
        return
    advice = "return the lower factor, with covariance factor @ factor.T"
    if np.allclose(factors, factors.swapaxes(1, 2)):
        advice = (
            "a symmetric matrix is probably the covariance itself: return "
            "jaxlmm.linalg.semidefinite_cholesky(matrix), or hand the function to lmm.covariance.Custom"
        )
    elif np.abs(np.tril(factor, -1)).max() <= MAX_ENTRY_ERROR * largest:
        advice = "an upper triangle is probably the transpose of the factor: return factor.T"
    i, j = np.unravel_index(np.abs(np.triu(factor, 1)).argmax(), factor.shape)
    raise BrokenContractError(
        f"returns no lower triangular factor, got {_shown(factor)} {at}, with {factor[i, j]:.4g} at [{i}, {j}]: "
        f"{advice}."
    )
