"""The verdict on an optimum: status, gradient, multipliers, ridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.inference.status import GROWS, HELP, NO_RESIDUAL, PROVEN, STATUS, UNBOUNDED


class Verdict(NamedTuple):
    """The verdict on one optimum, by name, a row of :class:`Verdicts`; no row of ``null_directions`` is zero.

    ``multipliers`` and ``ridge`` are by the names of parameters kept at the boundary, or moving along a ridge;
    ``help`` explains the status and what to do.
    """

    status: str
    gradient: float
    min_eigenvalue: float
    multipliers: dict[str, float]
    ridge: dict[str, float]
    help: str
    null_directions: Float[NumpyArray, "_ s"]
    at_boundary: Bool[NumpyArray, " r"]
    on_ridge: Bool[NumpyArray, " r"]


class Verdicts(NamedTuple):
    """The verdicts on the optima of b responses.

    Attributes
    ----------
    status
        Indices in ``STATUS``.
    gradient
        The largest absolute entry of the deviance's gradient in theta.
    min_eigenvalue
        The smallest eigenvalue of the Hessian in relative changes of the free parameters.
    multipliers
        For the block of number j that is kept at the boundary, in column j − 1, the rate at which the deviance rises
        with the variance that is let in, averaged over the rows, in units of the residual variance (for a covariance
        matrix the smallest eigenvalue); with the standard deviation where a correlation with it is fixed off zero,
        since the deviance has a slope in it. Where a standard deviation is fixed, units are those of least squares.
        Positive at an optimum; NaN elsewhere.
    ridge
        Where the parameters are not identified, the direction in which the natural ones can move together at no cost;
        zero elsewhere.
    null_directions
        Directions of psi in which the deviance is constant, followed by zeros.
    at_boundary, on_ridge
        Which natural parameters are at a boundary, and which move along a ridge.
    no_residual
        Whether nothing is left of the residual, and the deviance falls without bound.
    grows
        Whether the likelihood grows without bound towards the end of the range of a parameter of the family.
    """

    status: Int[NumpyArray, " b"]
    gradient: Float[NumpyArray, " b"]
    min_eigenvalue: Float[NumpyArray, " b"]
    multipliers: Float[NumpyArray, "b k"]
    ridge: Float[NumpyArray, "b r"]
    null_directions: Float[NumpyArray, "b k s"]
    at_boundary: Bool[NumpyArray, "b r"]
    on_ridge: Bool[NumpyArray, "b r"]
    no_residual: Bool[NumpyArray, " b"]
    grows: Bool[NumpyArray, " b"]

    @property
    def proven(self) -> Bool[NumpyArray, " b"]:
        """Which responses have an optimum, in the interior or at a boundary."""
        return np.isin(self.status, PROVEN)

    @classmethod
    def failed(cls, b: int, k: int, s: int, r: int) -> Self:
        """Return verdicts on responses without an optimum."""
        nothing, unknown = np.zeros((b, r), bool), np.full(b, np.nan)
        return cls(
            np.full(b, STATUS.index("failed"), np.int8), unknown, unknown.copy(), np.full((b, k), np.nan),
            np.zeros((b, r)), np.zeros((b, k, s)), nothing, nothing.copy(), np.zeros(b, bool), np.zeros(b, bool),
        )  # fmt: skip

    def one(self, i: int, names: Sequence[str], dual_names: Mapping[int, str]) -> Verdict:
        """Return the verdict on response ``i``; ``dual_names`` are those of the blocks in the active set, by number."""
        word, null = STATUS[int(self.status[i])], self.null_directions[i]
        ridge = {name: float(w) for name, w in zip(names, self.ridge[i], strict=True) if abs(w) > 1e-6}
        multipliers = {name: float(self.multipliers[i, number - 1]) for number, name in dual_names.items()}
        explanation = HELP[word]
        if self.no_residual[i]:
            explanation = NO_RESIDUAL if word == "boundary" else UNBOUNDED
        if self.grows[i]:
            explanation = GROWS
        return Verdict(
            word, float(self.gradient[i]), float(self.min_eigenvalue[i]), multipliers, ridge, explanation,
            null[null.any(axis=1)], self.at_boundary[i], self.on_ridge[i],
        )  # fmt: skip
