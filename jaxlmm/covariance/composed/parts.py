"""Theta of a structure that is made of others, one part after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array


def split(theta: Float[Array, " k"], counts: Sequence[int]) -> list[Float[Array, " _"]]:
    """Return the parts of theta, of which the last takes all that is left.

    >>> [part.tolist() for part in split(np.arange(3.0), [1, 2])]
    [[0.0], [1.0, 2.0]]
    """
    ends = np.cumsum(counts)[:-1]
    starts = [0, *ends.tolist()]
    return [theta[start:end] for start, end in zip(starts, [*ends.tolist(), theta.size], strict=True)]
