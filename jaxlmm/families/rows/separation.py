"""Separation: directions of the coefficients along which the likelihood rises for ever."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray

STEPS = 25
"""Newton steps of the logistic regressions that prove that most responses are not separated."""

WEIGHT_OF_OTHERS = 1e4
"""How much more of a correction is done by rows of which any multiple serves, than by others."""

SMALLEST_GAIN = 0.5
"""A direction of separation can be scaled so that the largest movement of a row is 1; a sum below this is rounding."""

MOVES = 1e-6
"""A row, or a coefficient relative to the largest, that moves less than this along a direction does not move."""


class Separation(NamedTuple):
    """A ``direction`` of the coefficients on a basis of X, or several in rows, along which the likelihood rises for
    ever, and the ``rows`` whose linear predictors then go to infinity.
    """

    direction: Float[NumpyArray, "d p"]
    rows: Bool[NumpyArray, " n"]


def separated(
    basis: Float[NumpyArray, "n p"], sides: Float[NumpyArray, "n m"], observed: Bool[NumpyArray, "n m"]
) -> dict[int, Separation]:
    """Return the separations of those of m responses that are separated, by number.

    ``sides`` say in which direction of its linear predictor the density of an observation rises for ever: 1, −1, or 0
    where it has a maximum. A direction separates if no row moves against its side, those with a maximum do not move,
    and some move (Albert and Anderson 1984; for counts, Correia, Guimarães and Zylkin 2019). Random effects change
    nothing: the likelihood given them rises for ever whatever they are.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    >>> zero_in_second = separated(x, np.array([[0.0], [-1.0], [-1.0], [-1.0]]), np.ones((4, 1), bool))[0]
    >>> zero_in_second.direction.tolist(), zero_in_second.rows.tolist()
    ([[0.0, -1.0]], [False, False, True, True])
    """
    if not basis.shape[1]:
        return {}
    found = {}
    for number in np.flatnonzero(~_proven_apart(basis, sides, observed)).tolist():
        own = _separation(basis, sides[:, number], observed[:, number])
        if own is not None:
            found[number] = own
    return found


def _proven_apart(
    basis: Float[NumpyArray, "n p"], sides: Float[NumpyArray, "n m"], observed: Bool[NumpyArray, "n m"]
) -> Bool[NumpyArray, " m"]:
    """Return which responses are proven not to be separated.

    No direction separates where positive multiples of the rows, each with its side, and any multiples of those with
    a maximum, add up to zero. The residuals of a logistic regression on the sides are such multiples, once they are
    corrected for what is left of its gradient.
    """
    n, p = basis.shape
    x, m, weight = basis * np.sqrt(n), sides.shape[1], observed.astype(float)
    target, beta = 0.5 * (sides + 1.0), np.zeros((m, p))
    proven, left = np.zeros(m, bool), np.arange(m)
    for _ in range(STEPS):
        own_weight, own_target = weight[:, left], target[:, left]
        mean = scipy.special.expit(x @ beta[left].T)
        residual = own_weight * (own_target - mean)
        gradient = residual.T @ x
        information = np.einsum(
            "ni,nm,nj->mij", x, own_weight * np.maximum(mean * (1.0 - mean), 1e-8), x, optimize=True
        )
        ridge = 1e-12 * n * np.eye(p)
        any_multiple = own_target == 0.5
        share = own_weight * np.where(any_multiple, WEIGHT_OF_OTHERS, 1.0)
        plain = np.einsum("ni,nm,nj->mij", x, share, x, optimize=True) + ridge
        correction = share * (x @ np.linalg.solve(plain, gradient[:, :, None])[:, :, 0].T)
        small = any_multiple | (own_weight == 0.0) | (np.abs(correction) < 0.5 * np.abs(residual))
        enough = small.all(axis=0)
        proven[left[enough]] = True
        beta[left] += np.linalg.solve(information + ridge, gradient[:, :, None])[:, :, 0]
        left = left[~enough & np.isfinite(beta[left]).all(axis=1)]
        if not left.size:
            break
    return proven


def _separation(
    basis: Float[NumpyArray, "n p"], sides: Float[NumpyArray, " n"], observed: Bool[NumpyArray, " n"]
) -> Separation | None:
    """Return the separation of one response by linear programmes, until what is left is not separated."""
    left, directions = observed.copy(), []
    while left.any():
        direction = _direction(basis[left], sides[left])
        if direction is None:
            break
        moved = left & (np.abs(basis @ direction) > MOVES * np.abs(basis @ direction)[left].max())
        directions.append(direction)
        left &= ~moved
    return Separation(np.stack(directions), observed & ~left) if directions else None


def _direction(basis: Float[NumpyArray, "n p"], sides: Float[NumpyArray, " n"]) -> Float[NumpyArray, " p"] | None:
    """Return a direction that separates, None without one; its largest entry is 1 or −1."""
    extreme = sides != 0.0
    along, fixed = sides[extreme, None] * basis[extreme], _independent(basis[~extreme])
    zeros, ones = np.zeros(len(along)), np.ones(len(along))
    found = scipy.optimize.linprog(
        -along.sum(axis=0), A_ub=np.concatenate([along, -along]), b_ub=np.concatenate([ones, zeros]), A_eq=fixed,
        b_eq=np.zeros(len(fixed)), bounds=(None, None), method="highs",
    )  # fmt: skip
    if found.x is None or -found.fun < SMALLEST_GAIN:
        return None
    direction = np.asarray(found.x)
    direction = direction / np.abs(direction).max()
    return np.where(np.abs(direction) > MOVES, direction, 0.0) + 0.0


def _independent(rows: Float[NumpyArray, "k p"]) -> Float[NumpyArray, "r p"]:
    """Return an orthonormal basis of the span of rows."""
    if not len(rows):
        return np.zeros((0, rows.shape[1]))
    _, size, vectors = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(vectors[size > 1e-10 * size.max(initial=0.0)])
