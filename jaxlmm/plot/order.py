"""Limits of order statistics: bands of quantile–quantile plots."""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray

TAILS = (0.025, 0.975)


def order_statistic_limits(
    rank: Float[NumpyArray, "*b"], n: int
) -> tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]:
    """Return limits between which 95 % of an order statistic fall, by ``rank``, of n independent uniform values.

    Its distribution is Beta(rank, n + 1 − rank); a ``rank`` between whole numbers interpolates.

    Examples
    --------
    >>> [round(float(limit), 3) for limit in order_statistic_limits(np.array(1.0), 20)]
    [0.001, 0.168]
    """
    low, high = (scipy.special.betaincinv(rank, n + 1.0 - rank, share) for share in TAILS)
    return np.asarray(low), np.asarray(high)
