"""A likelihood without bound. Where a residual variance goes to zero the limit is reported, not a point on the way.

Where a response is the same in all rows of each group (or is any other exact sum of fixed and random effects), and
there are more rows than effects, the likelihood grows without bound as sigma goes to zero. The other variances have a
limit: their estimates, and all inference, given a residual that is very small. So it is given one, as a sum of squares
that the rows do not have; what goes on shrinking with it is zero in the limit.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from jaxlmm._util import Array, NumpyArray
from jaxlmm.engine.compiled import prepare_around, values
from jaxlmm.engine.problems import Problems, batches, in_batches, take
from jaxlmm.families import LIMIT_BETWEEN
from jaxlmm.inference import OptimumDerivatives
from jaxlmm.likelihood import Response

NO_RESIDUAL_SHARE = 1e-12
"""Relative to the response, a residual of least squares of this length is rounding."""

RESIDUAL_MEAN_SQUARES = (1e-8, 1e-10)
"""Mean squares of the residuals that are put in place of none, relative to that of least squares: the limit is as far
away from the second, and rounding, 1e-17, as far below it."""


SMALL_RESIDUAL = 1e-5
"""Below this residual standard deviation, relative to that of least squares, a response is prepared more closely."""


def has_residual(responses: Response, degrees: Real[Array, "*b"] | int) -> Bool[Array, "*b"]:
    """Whether the fixed effects leave a residual of each response; ``degrees`` are rows less columns."""
    residual, explained = degrees * responses.scale**2, (responses.least_squares**2).sum(-1)
    left: Any = residual > NO_RESIDUAL_SHARE**2 * (residual + explained)
    return left


def residual_share(responses: Response, relative_sigma: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Return the residual standard deviation relative to the size of each response, infinite where one was added.

    ``relative_sigma`` is relative to the residual standard deviation of least squares.
    """
    xp = relative_sigma.__array_namespace__()
    explained = (responses.least_squares**2).sum(-1) / responses.scale**2
    size = xp.sqrt(1.0 + explained / xp.maximum(responses.count, 1.0))
    return xp.where(responses.added > 0, xp.inf, relative_sigma / size)


def residual_shares(problems: Problems, examination: OptimumDerivatives) -> Float[NumpyArray, " b"]:
    """Return :func:`residual_share` of all problems, infinite where sigma is fixed."""
    if problems.likelihood.layout.sigma is not None:
        return np.full(problems.size, np.inf)
    responses = jax.tree.map(np.asarray, problems.responses.replace(fixed=None, augmented=None))
    return residual_share(responses, np.asarray(examination.relative_sigma))


def with_residual(problems: Problems, index: Int[NumpyArray, " c"], mean_square: float) -> Problems:
    """Return the problems ``index`` with a residual of that size, relative to that of least squares."""
    some = problems if index.size == problems.size else problems.only(index)
    return some.replace(responses=some.responses.replace(added=mean_square * np.asarray(some.responses.count)))


def closely(
    problems: Problems, index: Int[NumpyArray, " c"], y: Float[NumpyArray, "N c"], beta: Float[NumpyArray, "c p"]
) -> Problems:
    """Return the problems ``index`` with their responses ``y`` prepared around coefficients ``beta``.

    Least squares leave columns that vary within groups with what is between groups; taking that away again when the
    groups are all that varies would cost the digits in which the residual is.
    """
    some = problems if index.size == problems.size else problems.only(index)
    responses = some.responses
    least_squares, scale = beta @ np.asarray(problems.likelihood.design.triangle).T, np.asarray(responses.scale)
    parts = []
    for chosen, count in batches(index.size, problems.largest):
        part = prepare_around(problems.likelihood, y[:, chosen], least_squares[chosen], scale[chosen])
        parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], part))
    augmented = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return some.replace(responses=responses.replace(augmented=augmented, least_squares=least_squares))


PLACES = np.array([8.0, 10.5, 13.0]) / LIMIT_BETWEEN
"""Places on the logistic scale of a parameter between two bounds, relative to its end: towards a limit the deviance
changes by less and less, towards a singularity by the same from one to the next."""

SMALLEST_FALL = 1e-3
"""A fall of the deviance between the last two of these that is a limit's, or rounding."""


def grows_without_bound(
    problems: Problems, theta: Float[NumpyArray, "b k"], bases: tuple[Float[NumpyArray, "b _ _"], ...]
) -> Bool[NumpyArray, " b"]:
    """Return at which optima a parameter of the family is at the end of its range because the likelihood is infinite
    there, as a Tweedie density of counts at the power 1.
    """
    layout, found = problems.likelihood.layout, np.zeros(len(theta), bool)
    for number, limit, _ in () if layout.family is None else layout.family.limits():
        entry = layout.n_theta - layout.n_family + number
        index = np.flatnonzero(theta[:, entry] / limit >= PLACES[-1]) if limit else np.zeros(0, int)
        if not index.size:
            continue
        deviances = []
        for place in PLACES:
            moved = theta[index].copy()
            moved[:, entry] = place * limit
            some = in_batches(problems.without_rows(), values, index, moved, take(bases, index))
            deviances.append(np.asarray(some))
        first, second = deviances[0] - deviances[1], deviances[1] - deviances[2]
        found[index] |= second > np.maximum(0.5 * first, SMALLEST_FALL)
    return found
