"""The exact test of Hardy–Weinberg proportions."""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray

REACH = 12.0
"""Numbers of heterozygotes farther from the expected one than this many times the root of the number of samples have
no probability in double precision."""

AS_RARE = 1e-8
"""Numbers whose probability is larger by less than this share are as rare: the others are rounding."""


def hardy_weinberg(
    heterozygotes: Int[NumpyArray, " s"], first: Int[NumpyArray, " s"], second: Int[NumpyArray, " s"]
) -> Float[NumpyArray, " s"]:
    """Return the p-values of markers, given the numbers of their heterozygotes and of either homozygotes.

    That of all numbers of heterozygotes that are as rare, given the numbers of the alleles (Wigginton, Cutler and
    Abecasis 2005, doi:10.1086/429864). 1 without a genotype.

    >>> hardy_weinberg(np.array([57, 2]), np.array([14, 0]), np.array([50, 98])).round(4).tolist()
    [0.8423, 1.0]
    """
    found = np.ones(len(heterozygotes))
    for place, (own, one, other) in enumerate(
        zip(heterozygotes.tolist(), first.tolist(), second.tolist(), strict=True)
    ):
        n, rare = own + one + other, own + 2 * min(one, other)
        if rare == 0:
            continue
        middle, reach = rare * (2.0 * n - rare) / (2.0 * n), REACH * np.sqrt(n) + 4.0
        lowest, highest = max(rare % 2, int(middle - reach)), min(rare, int(middle + reach))
        lowest += (lowest - rare) % 2
        numbers = np.arange(min(lowest, own), max(highest, own) + 1, 2, dtype=float)
        fewer = (rare - numbers) / 2.0
        log = numbers * np.log(2.0) - sum(
            scipy.special.gammaln(part + 1.0) for part in (numbers, fewer, n - numbers - fewer)
        )
        probability = np.exp(log - log.max())
        at_own = probability[int((own - numbers[0]) // 2)]
        found[place] = probability[probability <= at_own * (1.0 + AS_RARE)].sum() / probability.sum()
    return np.minimum(found, 1.0)
