"""The search of a limit of a profile interval: guarded secants in ζ."""

from __future__ import annotations

import numpy as np
import scipy

from jaxlmm.covariance import Parameter

TOLERANCE = 1e-5
"""How far ζ of a limit may be from its quantile."""

USUAL_STEP = 0.3
"""The first step relative to the parameter's size, where there is no standard error."""

AT_BOUND = 1e-6
"""A distance from a bound that cannot be attained, relative to the estimate's, at which the search ends there."""

MAX_GROWTH = 3.0
"""By how much the distance from the estimate grows at most in one step outwards."""


class LimitSearch:
    """The search of the value nearest to an ``estimate``, on one side, at which ζ reaches ``critical``.

    ``trial`` is the value to evaluate next; :meth:`learn` takes ζ there, without its sign. Once it is ``done``,
    ``limit`` is the value, or the bound where ζ stays below up to a bound that the parameter can attain.

    Parameters
    ----------
    estimate, first
        Where ζ is zero, and the first trial, NaN where there is none.
    size
        The size of the parameter.
    bound, attained
        The end of the parameter's range on that side, and whether it can be equal to it.
    side
        0 for the lower limit, 1 for the upper one.
    critical
        The quantile.

    Examples
    --------
    >>> search = LimitSearch(2.0, 3.0, 2.0, np.inf, attained=False, side=1, critical=1.96)
    >>> while not search.done:
    ...     search.learn(2.0 * (search.trial - 2.0))
    >>> round(search.limit, 4)
    2.98
    """

    def __init__(
        self, estimate: float, first: float, size: float, bound: float, *, attained: bool, side: int, critical: float
    ) -> None:
        self.estimate, self.bound, self.attained, self.critical = estimate, bound, attained, critical
        self.sign, self.limit, self.done = 2 * side - 1, np.nan, False
        self.inner, self.inner_zeta = estimate, 0.0
        self.outer: float | None = None
        self.outer_zeta = np.inf
        self.trial = estimate
        if np.isfinite(bound) and abs(estimate - bound) <= 1e-12 * max(abs(bound), 1.0):
            self._end(bound)
            return
        if not np.isfinite(first) or first == estimate:
            room = 0.5 * abs(bound - estimate) if np.isfinite(bound) else np.inf
            first = estimate + self.sign * USUAL_STEP * min(size, room)
        self.trial = self._inside(first)

    def learn(self, zeta: float) -> None:
        """Take ζ at the trial; choose the next one, or end."""
        if abs(zeta - self.critical) <= TOLERANCE or (zeta < self.critical and self.trial == self.bound):
            self._end(self.trial)
            return
        near = np.isfinite(self.bound) and abs(self.trial - self.bound) <= AT_BOUND * abs(self.estimate - self.bound)
        if zeta < self.critical and near:
            self._end(self.bound)  # which it cannot attain, but comes as near to as one likes
            return
        if zeta < self.critical:
            self.inner, self.inner_zeta = self.trial, zeta
        else:
            self.outer, self.outer_zeta = self.trial, zeta
        if self.outer is None:
            growth = min(1.05 * self.critical / max(self.inner_zeta, 1e-3), MAX_GROWTH)
            self.trial = self._inside(self.estimate + growth * (self.inner - self.estimate))
            return
        if abs(self.outer - self.inner) <= 1e-9 * max(abs(self.inner), abs(self.outer)):
            self._end(self.outer if np.isfinite(self.outer_zeta) else np.nan)  # no minimum was found beyond
            return
        share = 0.5
        if np.isfinite(self.outer_zeta):
            share = (self.critical - self.inner_zeta) / (self.outer_zeta - self.inner_zeta)
        self.trial = self.inner + float(np.clip(share, 0.02, 0.98)) * (self.outer - self.inner)

    def _end(self, limit: float) -> None:
        self.limit, self.done = limit, True

    def _inside(self, value: float) -> float:
        """Return the value, or where it is beyond the bound, the bound if it is attained, else half way to it."""
        if not np.isfinite(self.bound) or (value - self.bound) * self.sign < 0:
            return value
        return self.bound if self.attained else 0.5 * (self.inner + self.bound)


MAX_ROUNDS = 60
"""Rounds after which a limit that was not found is NaN."""


def search_from_wald(
    parameter: Parameter | None, estimate: float, std_error: float, size: float, *, side: int, critical: float
) -> LimitSearch:
    """Return the search of a limit that begins at Wald's; of a coefficient, which is no ``parameter``, None.

    ``size`` is that of the parameter where its estimate is zero.
    """
    size = abs(estimate) if estimate else size
    if parameter is None:
        first, attained, bound = estimate + (2 * side - 1) * critical * std_error, False, (2 * side - 1) * np.inf
    else:
        level = 2.0 * float(scipy.special.ndtr(critical)) - 1.0
        first = float(parameter.interval(estimate, std_error, level)[side])
        attained, bound = parameter.attained[side], (parameter.lower, parameter.upper)[side]
    return LimitSearch(estimate, first, size, bound, attained=attained, side=side, critical=critical)
