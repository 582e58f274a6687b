"""Positions in whole steps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError


def check_steps(coords: Float[NumpyArray, "q d"], name: str) -> None:
    """Raise unless positions are whole steps apart along one coordinate; ``name`` is that of the structure."""
    if coords.shape[1] != 1:
        raise OptionError(f"{name}: expected one coordinate, got {coords.shape[1]}.")
    gaps = np.diff(np.unique(coords[:, 0]))
    uneven = gaps[np.abs(gaps - np.round(gaps)) > 1e-9 * np.maximum(1.0, np.abs(gaps))]
    if uneven.size:
        raise OptionError(
            f"{name}: expected positions that are whole steps apart, got a gap of {uneven[0]:g}; at any spacing use "
            "ou(time | g), whose correlation is rho ** gap, or give the visits as a factor."
        )


def whole_steps(coords: Float[NumpyArray, "q d"]) -> tuple[int, ...]:
    """Return sorted positions in units of the largest step that divides all gaps, the first at 0.

    >>> whole_steps(np.array([[2.0], [6.0], [8.0]]))
    (0, 2, 3)
    """
    from_first = np.round(coords[:, 0] - coords[0, 0]).astype(np.int64)
    unit = max(int(np.gcd.reduce(from_first)), 1)
    return tuple(int(step) for step in from_first // unit)
