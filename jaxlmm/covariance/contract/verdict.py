"""What a structure's values at several theta say of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.contract.explain import BrokenContractError

DIFFERENT = 1e-3
"""Relative difference between a derivative and those differences that is neither rounding nor the step's length."""

ROUNDING = 1e-8
"""Entries above the diagonal, asymmetry and negative eigenvalues below this, relative to the largest, are rounding."""


class Tried(NamedTuple):
    """A structure at t theta: ``covariance`` (t, q, q) as its author wrote it or from the ``factor`` (t, q, q).

    ``slope`` (t, k, q, q) is the derivative of the covariance, ``differences`` (t, 2, q, q) along one direction the
    derivative and central differences, ``second`` (t, k, k) a Hessian through the factor; ``stated`` (t,) says that the
    covariance is what its author wrote.
    """

    covariance: Array
    factor: Array
    slope: Array
    differences: Array
    second: Array
    stated: Array


def judge(thetas: NumpyArray, found: Tried) -> None:
    """Raise with the first property that does not hold at some theta."""
    usable = np.isfinite(found.covariance).all(axis=(1, 2)) & np.isfinite(found.factor).all(axis=(1, 2))
    stated, ends = bool(found.stated[0]), _ends(thetas, found.factor, usable)
    for place, theta in enumerate(thetas):
        at = f"at theta = {theta.round(4).tolist()}"
        matrix, factor = found.covariance[place], found.factor[place]
        if stated and np.isfinite(matrix).all():
            _check_covariance(matrix, at)
        if place == 0 and not usable[0]:
            raise BrokenContractError(
                f"is not finite {at}, where the search starts: expected a finite factor or covariance there, got "
                f"{(matrix if stated else factor).tolist()}. Return another start, or avoid 0/0, logarithms and roots "
                "of what may be 0 (jnp.where on their argument)."
            )
        if not usable[place]:  # a step to there is not taken
            continue
        if not stated:
            _check_factor(found.factor[usable], factor, at)
        finite = np.isfinite(found.slope[place]).all() and np.isfinite(found.second[place]).all()
        if not finite and (place == 0 or np.all(theta != 0.0) or place in ends):
            which = ", the second ones," if np.isfinite(found.slope[place]).all() else ""
            raise BrokenContractError(
                f"has derivatives that are not finite{which} {at}, though its value is: avoid roots and norms of what "
                "is 0 there (theta[0] in place of sqrt(theta[0]**2); jnp.where on the argument of a root, too). A "
                "covariance may be exactly singular: jaxlmm.linalg.semidefinite_cholesky takes such, "
                "jnp.linalg.cholesky does not."
            )
        derivative, differences = found.differences[place]
        size = np.abs(differences).max() + np.abs(matrix).max()
        compared = np.all(theta != 0.0) and np.isfinite(differences).all()  # a kink at zero is allowed
        if compared and np.abs(derivative - differences).max() > DIFFERENT * size:
            raise BrokenContractError(
                f"has derivatives {at} that are not those of its values: expected a smooth function of theta in double "
                "precision; leave out rounding, stop_gradient, float32 and rules of differentiation that are wrong."
            )
    q, k = found.factor.shape[-1], thetas.shape[1]
    idle = np.flatnonzero(~np.any(found.slope[usable] != 0.0, axis=(0, 2, 3))) if k else np.zeros(0, int)
    if q > 1 and idle.size:
        raise BrokenContractError(
            f"declares {k} parameters, of which theta[{idle[0]}] changes nothing at any theta that was tried: expected "
            "n_params to count those that are read."
        )


def _ends(thetas: NumpyArray, factor: NumpyArray, usable: NumpyArray) -> set[int]:
    """Return the places at which a search may end exactly: where zeros, as few as it takes, make a factor singular."""
    found = []
    for place in np.flatnonzero(usable & np.any(thetas == 0.0, axis=1)):
        values = np.linalg.svd(factor[place], compute_uv=False)
        if values[-1] <= ROUNDING * values[0]:
            found.append(int(place))
    fewest = min((np.count_nonzero(thetas[place] == 0.0) for place in found), default=0)
    return {place for place in found if np.count_nonzero(thetas[place] == 0.0) == fewest}


def _check_covariance(matrix: NumpyArray, at: str) -> None:
    largest = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > ROUNDING * largest:
        raise BrokenContractError(
            f"returns no covariance: expected a symmetric covariance matrix, got {matrix.tolist()} {at}."
        )
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < -ROUNDING * largest:
        raise BrokenContractError(
            f"returns no covariance: expected a positive semidefinite matrix at any theta, got {matrix.tolist()} {at}, "
            f"with an eigenvalue of {smallest:.4g}. theta is unconstrained: write a variance as theta[0]**2, a "
            "correlation as jnp.tanh(theta[1]), a range as jnp.exp(theta[2])."
        )


def _check_factor(all_of_them: NumpyArray, factor: NumpyArray, at: str) -> None:
    largest = np.abs(factor).max()
    if np.abs(np.triu(factor, 1)).max(initial=0.0) <= ROUNDING * largest:
        return
    advice = "return the lower factor, with covariance factor @ factor.T"
    if np.allclose(all_of_them, all_of_them.swapaxes(1, 2)):
        advice = (
            "a symmetric matrix is probably the covariance itself: return "
            "jaxlmm.linalg.semidefinite_cholesky(matrix), or hand the function to lmm.covariance.Custom"
        )
    elif np.abs(np.tril(factor, -1)).max() <= ROUNDING * largest:
        advice = "an upper triangle is probably the transpose of the factor: return factor.T"
    raise BrokenContractError(f"returns no lower triangular factor, got {factor.tolist()} {at}: {advice}.")
