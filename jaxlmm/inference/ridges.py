"""Directions along which the deviance is flat at an optimum: ridges, and ways to a limit of a structure."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray

RIDGE_STEP = 1.5
"""Length of a step along a ridge, relative to max(|θ|, 0.1): far enough to tell it from the way to a limit, and short
of the point's mirror image −θ, the same covariance, at 2."""

MAX_FLAT_CHANGE = 1e-7
"""Change of the deviance after a step along a ridge, minimized again from there, below which it is constant."""

MAX_STEP_HALVINGS = 3
"""How often such a step is cut in half where it ends at no finite deviance."""

MAX_EVALUATIONS_BACK = 50
"""Evaluations in which a step along the tangent of a ridge must be back on it."""


@runtime_checkable
class Descend(Protocol):
    """A minimizer that is handed to the certificate, which looks along ridges with it.

    Called with the ``indices`` of responses, ``theta`` and a number of evaluations, it returns theta where it
    stops and the deviances there; with one evaluation, theta does not move.
    """

    def __call__(
        self, indices: Int[NumpyArray, " c"], theta: Float[NumpyArray, "c k"], max_evaluations: int, /
    ) -> tuple[Float[NumpyArray, "c k"], Float[NumpyArray, " c"]]:
        """Minimize from ``theta``."""


def flat_sides(
    indices: Int[NumpyArray, " c"],
    displacements: Float[NumpyArray, "c k"],
    theta: Float[NumpyArray, "c k"],
    deviance: Float[NumpyArray, " c"],
    descend: Descend,
) -> Int[NumpyArray, " c"]:
    """Return on how many sides of ``theta``, 0 to 2, the ``deviance`` is constant along ``displacements``, or a curve.

    ``indices`` are those of the responses. A ridge may be curved: a step along its tangent is brought back to it by
    minimizing. A direction that is flat on one side only leads to a limit of the structure.
    """
    sides = np.zeros(indices.size, int)
    for away in (displacements.copy(), -displacements):
        there = descend(indices, theta + away, 1)[1]
        for _ in range(MAX_STEP_HALVINGS):  # the factor of a covariance that is singular by rounding may be NaN
            beyond = ~np.isfinite(there)
            if not beyond.any():
                break
            away[beyond] /= 2.0
            there = descend(indices, theta + away, 1)[1]
        straight = np.abs(there - deviance) < MAX_FLAT_CHANGE
        sides += straight
        for i in np.flatnonzero(~straight):
            end, value = (part[0] for part in descend(indices[[i]], theta[[i]] + away[[i]], MAX_EVALUATIONS_BACK))
            min_displacement = 0.02 * (away[i] @ away[i])
            stayed_away = (end - theta[i]) @ away[i] > min_displacement
            # The same optimum with other signs is no ridge.
            mirrored = np.abs(np.abs(end) - np.abs(theta[i])) @ np.abs(away[i]) <= min_displacement
            sides[i] += bool(stayed_away and not mirrored and abs(value - deviance[i]) < MAX_FLAT_CHANGE)
    return sides
