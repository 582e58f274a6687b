"""Array sizes are rounded up to a few buckets, so that another data set of the same model compiles nothing."""

from __future__ import annotations

import numpy as np

from jaxlmm._util.typing import NumpyArray

LARGE = 16_384
"""Beyond this size, padding costs more than compiling now and then."""


def bucket(size: int, smallest: int = 1) -> int:
    """Return the padded size: ``smallest`` times a power of four up to 16,384, then four sizes per doubling.

    >>> [bucket(n, 64) for n in (1, 64, 65, 300, 40_000, 50_000)]
    [64, 64, 256, 1024, 40960, 57344]
    """
    if size > LARGE:
        step = 1 << (size.bit_length() - 3)
        return -(-size // step) * step
    padded = smallest
    while padded < size:
        padded *= 4
    return padded


def pad(values: NumpyArray, size: int, axis: int = 0) -> NumpyArray:
    """Pad ``values`` with zeros at the end of ``axis`` to ``size``."""
    if values.shape[axis] == size:
        return values
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, size - values.shape[axis])
    return np.pad(values, widths)
