"""Scales on which the limits of an interval are symmetric about the estimate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

ScaleName = Literal["identity", "log", "fisher-z", "logit"]
"""The scales of intervals: the value itself; the logarithm of its distance from the lower bound; Fisher's z, and the
logit, of its place between both bounds."""

Map: TypeAlias = Callable[[Any, float, float], Any]
"""A function of values of any shape and of the lower and upper bound; a value for each."""


class Scale(NamedTuple):
    """A monotone map of the values between two bounds to all numbers: ``forward``, its ``inverse`` and ``derivative``.

    ``bounds`` says which bounds must be finite, the lower and the upper one.

    Examples
    --------
    >>> logit = SCALES["logit"]
    >>> round(float(logit.inverse(logit.forward(0.25, 0.0, 1.0), 0.0, 1.0)), 12), logit.derivative(0.5, 0.0, 1.0)
    (0.25, 4.0)
    """

    forward: Map
    inverse: Map
    derivative: Map
    bounds: tuple[bool, bool]


class BoundedScale(NamedTuple):
    """A scale between two bounds: its maps as functions of values alone."""

    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]
    derivative: Callable[[Any], Any]

    @classmethod
    def of(cls, name: ScaleName, lower: float, upper: float) -> BoundedScale:
        """Return the scale of a name between bounds."""
        return cls(*(lambda value, own=own: own(value, lower, upper) for own in SCALES[name][:3]))


def _place(value: Any, lower: float, upper: float) -> Any:
    """Return where values are between the bounds, from -1 to 1."""
    return (2.0 * value - (lower + upper)) / (upper - lower)


SCALES: dict[ScaleName, Scale] = {
    "identity": Scale(
        lambda value, lower, upper: value,
        lambda scaled, lower, upper: scaled,
        lambda value, lower, upper: np.ones_like(value),
        (False, False),
    ),
    "log": Scale(
        lambda value, lower, upper: np.log(value - lower),
        lambda scaled, lower, upper: lower + np.exp(scaled),
        lambda value, lower, upper: 1.0 / (value - lower),
        (True, False),
    ),
    "fisher-z": Scale(
        lambda value, lower, upper: np.arctanh(_place(value, lower, upper)),
        lambda scaled, lower, upper: 0.5 * (lower + upper) + 0.5 * (upper - lower) * np.tanh(scaled),
        lambda value, lower, upper: 2.0 / (upper - lower) / (1.0 - _place(value, lower, upper) ** 2),
        (True, True),
    ),
    "logit": Scale(
        lambda value, lower, upper: np.log((value - lower) / (upper - value)),
        lambda scaled, lower, upper: lower + (upper - lower) / (1.0 + np.exp(-scaled)),
        lambda value, lower, upper: (upper - lower) / ((value - lower) * (upper - value)),
        (True, True),
    ),
}
"""The scales by name."""

assert tuple(SCALES) == get_args(ScaleName)
