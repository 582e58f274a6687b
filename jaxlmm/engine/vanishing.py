"""A residual variance that goes to zero without bound: the limit is reported, not a point on the way there.

Where a response is the same in all rows of each group (or is any other exact sum of fixed and random effects), and
there are more rows than effects, the likelihood grows without bound as sigma goes to zero. The other variances have a
limit: their estimates, and all inference, given a residual that is very small. So it is given one, as a sum of squares
that the rows do not have; what goes on shrinking with it is zero in the limit.
"""

from __future__ import annotations

import jax
import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.engine.compiled import prepare_around
from jaxlmm.engine.problems import Problems, blocks
from jaxlmm.inference import OptimumDerivatives

MEAN_SQUARES = (1e-8, 1e-10)
"""Mean squares of the residuals that are put in place of none, relative to that of least squares: the limit is as far
away from the second, and rounding, 1e-17, as far below it."""


TINY = 1e-5
"""Below this residual standard deviation, relative to that of least squares, a response is prepared more closely."""


def residual_share(problems: Problems, examination: OptimumDerivatives) -> NumpyArray:
    """Return residual standard deviations (b,) relative to the sizes of the responses, infinite where one is given."""
    if problems.likelihood.layout.sigma is not None:
        return np.full(problems.size, np.inf)
    responses = problems.responses
    explained = np.sum(np.asarray(responses.least_squares) ** 2, axis=-1) / np.asarray(responses.scale) ** 2
    size = np.sqrt(1.0 + explained / np.maximum(np.asarray(responses.count), 1.0))
    return np.where(np.asarray(responses.added) > 0, np.inf, examination.relative_sigma / size)


def with_residual(problems: Problems, index: NumpyArray, mean_square: float) -> Problems:
    """Return the problems ``index`` (c,) with a residual of that size, relative to that of least squares."""
    some = problems if index.size == problems.size else problems.only(index)
    return some.replace(responses=some.responses.replace(added=mean_square * np.asarray(some.responses.count)))


def closely(problems: Problems, index: NumpyArray, y: NumpyArray, beta: NumpyArray) -> Problems:
    """Return the problems ``index`` (c,) with their responses ``y`` (N, c) prepared around coefficients (c, p).

    Least squares leave columns that vary within groups with what is between groups; taking that away again when the
    groups are all that varies would cost the digits in which the residual is.
    """
    some = problems if index.size == problems.size else problems.only(index)
    responses = some.responses
    least_squares, scale = beta @ np.asarray(problems.likelihood.design.triangle).T, np.asarray(responses.scale)
    parts = []
    for places, count in blocks(index.size, problems.largest):
        part = prepare_around(problems.likelihood, y[:, places], least_squares[places], scale[places])
        parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], part))
    augmented = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return some.replace(responses=responses.replace(augmented=augmented, least_squares=least_squares))
