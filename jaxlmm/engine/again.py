"""Another search for responses whose search from a guessed start found no optimum."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.engine.compiled import Reached, values
from jaxlmm.engine.descent import Bases, Descent
from jaxlmm.engine.problems import in_batches, put, take
from jaxlmm.optimize import WORTHWHILE


def searched_again(
    descent: Descent, reached: Reached, bases: Bases, start: Float[NumpyArray, "b k"], own_bases: Bases
) -> tuple[Reached, Bases]:
    """Minimize again what has not converged, from the best of values along the axes of theta, one after the other.

    ``start`` is the usual one, in ``own_bases``. The lower of both points reached is returned, in its bases.
    """
    again = np.flatnonzero(~reached.minimum.converged)
    if not again.size:
        return reached, bases
    problems, theta, unrotated = descent.problems.without_rows(), start[again].copy(), take(own_bases, again)
    for axis, nodes in zip(*descent.plan.axes, strict=True):
        nodes = np.asarray(nodes)
        candidates = np.repeat(theta[:, None], nodes.size + 1, axis=1)
        candidates[:, 1:, int(axis)] = nodes
        which = np.repeat(np.arange(again.size), nodes.size + 1)
        flat = candidates.reshape(which.size, -1)
        found = np.asarray(in_batches(problems, values, again[which], flat, take(unrotated, which)))
        found = np.where(np.isfinite(found), found, np.inf).reshape(again.size, -1)
        found[:, 0] -= WORTHWHILE
        theta = candidates[np.arange(again.size), np.argmin(found, axis=1)]
    other, other_bases = descent.minimize(again, theta, unrotated, in_rounds=True, snaps=True)
    before, after = reached.minimum.value[again], other.minimum.value
    better = other.minimum.converged | ~np.isfinite(before) | (after < before)
    return put((reached, bases), again[better], take((other, other_bases), better))
