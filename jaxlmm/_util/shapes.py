"""Array sizes are rounded up to a few buckets, so that another data set of the same model compiles nothing."""

from __future__ import annotations

import numpy as np

from jaxlmm._util.typing import NumpyArray

MAX_COARSE_SIZE = 16_384
"""Above this size, padding to powers of four costs more than compiling more often."""


MIN_PADDED_ROWS = 256
"""Number of rows to which smaller data sets are padded, so that they share their compiled functions."""


def bucket(size: int, smallest: int = 1) -> int:
    """Return the padded size of ``size``.

    Up to 16,384 it is ``smallest`` times a power of four; above, one of four sizes per doubling.

    >>> [bucket(n, 64) for n in (1, 64, 65, 300, 40_000, 50_000)]
    [64, 64, 256, 1024, 40960, 57344]
    """
    if size > MAX_COARSE_SIZE:
        step = 1 << (size.bit_length() - 3)
        return -(-size // step) * step
    padded = smallest
    while padded < size:
        padded *= 4
    return padded


def pad(values: NumpyArray, size: int, axis: int = 0) -> NumpyArray:
    """Pad ``values`` with zeros at the end of ``axis`` to ``size``, which is no smaller.

    >>> pad(np.ones((2, 1)), 2, axis=-1).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    axis %= values.ndim
    if values.shape[axis] == size:
        return values
    shape = list(values.shape)
    shape[axis] = size
    padded = np.zeros(shape, values.dtype)  # np.pad takes ten times as long on small arrays
    padded[(slice(None),) * axis + (slice(values.shape[axis]),)] = values
    return padded
