"""Natural parameters at the end of their range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter

ROUNDING = 1e-9
"""Relative distance from an end that can be attained, as a correlation of 1, within which a value is there: it is
computed from a singular factor."""


def at_extremes(
    report: Float[NumpyArray, "c r"],
    derivative: Float[NumpyArray, "c r s"],
    free: Bool[NumpyArray, " k"],
    parameters: Sequence[Parameter],
) -> Bool[NumpyArray, "c r"]:
    """Return which natural parameters are at an end, undefined, or determined by the active set, at c optima.

    A correlation beside zero is undefined. A parameter is determined where all that it depends on is kept at a
    boundary: one without bounds too, as an entry of theta at zero.

    Parameters
    ----------
    report, derivative
        The natural ``parameters`` and their derivatives in psi, theta and what is beyond it.
    free
        Which entries of theta are not in the active set.
    """
    any_active, beyond = not free.all(), derivative.shape[2] - free.size
    extreme = np.isnan(report)
    for column, parameter in enumerate(parameters):
        extreme[:, column] |= parameter.at_end(report[:, column], ROUNDING if any_active else 0.0)
    if any_active:
        kept = np.append(free, np.ones(beyond, bool))
        extreme |= ~np.any(derivative[:, :, kept] != 0.0, axis=2)
    return extreme
