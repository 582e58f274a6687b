"""The data set with missing calls that tests of genotypes share, and whether two arrays are the same."""

import numpy as np

from references import HERE

GENETICS = HERE / "genetics"
HOLES = GENETICS / "holes" / "holes.bed"


def same(one, other):
    return np.array_equal(one, other, equal_nan=True)
