"""Products of markers, summed block by block, in total and by chromosome."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError, choose
from jaxlmm.genetics.genotypes import Genotypes, as_genotypes
from jaxlmm.genetics.ids import text_ids
from jaxlmm.genetics.matrices.relationship import Relationship

SCALES = ("centered", "standardized")

GEMMA_MAF, GEMMA_MISSING = 0.01, 0.05
"""Default filters of GEMMA's ``-gk``: smallest minor allele frequency, largest share of missing calls."""

MAX_BYTES_OF_CHROMOSOME_SUMS = 2**31
"""Memory of the sums by chromosome up to which they are kept; larger ones are computed again when they are needed."""


@dataclasses.dataclass(frozen=True, eq=False)
class MarkerSums:
    """Sums over markers of x xᵀ, x a marker centered (or standardized) over all samples.

    Made by :func:`marker_sums`. ``total`` is the lower triangle of the sum over ``count`` markers; dividing
    gives the relationship matrix, and subtracting a chromosome's own sum first leaves that chromosome out. ``kept``
    are the sums and counts by chromosome, or empty.
    """

    genotypes: Genotypes
    scale: str
    judged: tuple[object, ...] | None
    total: Float[NumpyArray, "N N"]
    count: int
    kept: dict[str, tuple[Float[NumpyArray, "N N"], int]]

    def relationship(self) -> Relationship:
        """Return the matrix of all markers."""
        return self._divided(self.total.copy(order="F"), self.count)

    def without(self, chromosome: str) -> Relationship:
        """Return the matrix of all markers but those on one chromosome.

        Raises
        ------
        GenotypeError
            If no marker is left.
        """
        own = self.kept.get(chromosome)
        if own is None:
            chosen = self.genotypes.select((self.genotypes.variants["chromosome"] == chromosome).to_numpy())
            own = _sum(chosen, self.scale, self.judged, Counter())
        if own[1] == self.count:
            raise GenotypeError(
                f"without chromosome {chromosome}: expected markers on other chromosomes, got all {self.count} on it."
            )
        return self._divided(self.total - own[0], self.count - own[1])

    def _divided(self, triangle: Float[NumpyArray, "N N"], count: int) -> Relationship:
        triangle /= count
        for column in range(len(triangle)):  # indices of a triangle would take more memory than the matrix
            triangle[column, column + 1 :] = triangle[column + 1 :, column]
        return Relationship(pd.Index(self.genotypes.sample_ids.tolist()), triangle.T)


def marker_sums(
    genotypes: Any,
    *,
    scale: str = "centered",
    maf: float = GEMMA_MAF,
    missing: float = GEMMA_MISSING,
    judged: Iterable[object] | None = None,
    by_chromosome: bool = False,
) -> MarkerSums:
    """Sum x xᵀ over markers in one pass over the genotypes, x a marker in all samples.

    Parameters
    ----------
    genotypes, scale, maf, missing
        As in :func:`grm`.
    judged
        Ids of the samples in which the filters are judged; None: all. The products are of all samples either way.
    by_chromosome
        Keep the sum of each chromosome, for :meth:`MarkerSums.without`, if it takes no more than 2 GB.
    """
    choose("scale", scale, SCALES)
    opened = as_genotypes(genotypes)
    own = opened.preparation
    filters = dataclasses.replace(
        own, coding="additive", standardize=False, maf=max(own.maf, maf), missing=min(own.missing, missing)
    )
    opened = dataclasses.replace(opened, preparation=filters)
    ids = None if judged is None else _distinct_ids(judged, opened)
    chromosomes = opened.variants["chromosome"]
    names = list(dict.fromkeys(chromosomes))
    size = 8 * len(opened.sample_ids) ** 2
    statuses: Counter[str] = Counter()
    kept: dict[str, tuple[Float[NumpyArray, "N N"], int]] = {}
    if by_chromosome and size * len(names) <= MAX_BYTES_OF_CHROMOSOME_SUMS:
        kept = {name: _sum(opened.select((chromosomes == name).to_numpy()), scale, ids, statuses) for name in names}
        total, count = sum(part for part, _ in kept.values()), sum(number for _, number in kept.values())
    else:
        total, count = _sum(opened, scale, ids, statuses)
    if not count:
        reasons = ", ".join(f"{number} {status}" for status, number in statuses.most_common())
        raise GenotypeError(
            f"{opened.source.name}: expected markers with maf ≥ {filters.maf:g} and at most a share of "
            f"{filters.missing:g} missing calls, got none of {len(opened.variants)} ({reasons}); relax the filters."
        )
    return MarkerSums(opened, scale, ids, np.asarray(total), count, kept)


def _sum(
    genotypes: Genotypes, scale: str, judged: tuple[object, ...] | None, statuses: Counter[str]
) -> tuple[Float[NumpyArray, "N N"], int]:
    """Return the lower triangle of the sum of x xᵀ, and the number of markers in it; add the others to ``statuses``."""
    n = len(genotypes.sample_ids)
    total, count = np.zeros((n, n), order="F"), 0
    for block in genotypes.blocks(judged=judged):
        keep = block.keep
        statuses.update(block.status[~keep])
        if not keep.any():
            continue
        x = np.asfortranarray(block.values if keep.all() else block.values[:, keep])
        x -= x.mean(axis=0)
        if scale == "standardized":
            x /= np.sqrt((x * x).mean(axis=0))
        total = scipy.linalg.blas.dsyrk(1.0, x, beta=1.0, c=total, lower=1, overwrite_c=1)
        count += x.shape[1]
    return total, count


def _distinct_ids(judged: Iterable[object], opened: Genotypes) -> tuple[object, ...]:
    """Return the distinct ids, as text.

    Raises
    ------
    GenotypeError
        If there is none, or one is not among the samples.
    """
    ids = text_ids([judged] if isinstance(judged, str) else judged)
    absent = ids[~np.isin(ids, opened.sample_ids)]
    if absent.size or not ids.size:
        got = f"{absent.size:,} others, the first is {absent[0]!r}" if absent.size else "none"
        raise GenotypeError(
            f"judged_in: expected ids of samples of {opened.source.name}, such as {opened.sample_ids[0]!r}, got {got}."
        )
    return tuple(dict.fromkeys(ids))
