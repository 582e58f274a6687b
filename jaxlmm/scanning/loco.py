"""The relationship matrix of a scan's own markers (``kinship="auto"``), leaving one chromosome out (LOCO) or not."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.api import Call
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics import Genotypes, Relationship
from jaxlmm.genetics.ids import match_samples
from jaxlmm.genetics.matrices import MarkerSums, marker_sums

UNKNOWN_CHROMOSOME = "0"
"""The name of an unknown chromosome in genotype sources."""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnKinship:
    """Relationship matrices of a scan's own markers across the ``levels`` of a grouping factor, ``group``.

    ``sample_of_level`` is the index of each level among the samples of the genotypes.
    """

    sums: MarkerSums
    group: str
    levels: pd.Index
    sample_of_level: Int[NumpyArray, " L"]

    @classmethod
    def of(cls, call: Call, group: str, genotypes: Genotypes, loco: bool) -> OwnKinship:
        """Sum the products of markers once, by chromosome with ``loco``.

        Markers are filtered by their frequencies and missing calls in all samples of the genotypes, so that the matrix
        depends neither on the other responses of a call nor on which rows have one.
        """
        sums = marker_sums(genotypes, by_chromosome=loco)
        levels = pd.Index(as_frame(as_table(call.data), [group])[group].dropna().unique())
        return cls(sums, group, levels, match_samples(levels, genotypes.sample_ids).rows)

    def given_to(self, call: Call, without: str | None = None) -> Call:
        """Return ``call`` with the matrix of all markers as its ``kinship``, or of those ``without`` one chromosome."""
        of_samples = self.sums.relationship() if without is None else self.sums.without(without)
        of_levels = of_samples.matrix[np.ix_(self.sample_of_level, self.sample_of_level)]
        kinship: Any = {self.group: Relationship(self.levels, of_levels)}
        return dataclasses.replace(call, options=dataclasses.replace(call.options, kinship=kinship))

    def __str__(self) -> str:
        filters, samples = self.sums.genotypes.preparation, len(self.sums.genotypes.sample_ids)
        return (
            f"{self.group}: centered GRM of {self.sums.count:,} markers (maf ≥ {filters.maf:g}, missing ≤ "
            f"{filters.missing:g} in all {samples:,} genotyped samples)"
        )


class MarkerGroup(NamedTuple):
    """The markers tested with one relationship matrix: those of a ``chromosome``, or for None all.

    ``markers`` are their indices among all markers of the scan.
    """

    chromosome: str | None
    markers: Int[NumpyArray, " markers"]


def marker_groups(variants: pd.DataFrame, loco: bool, source: str) -> list[MarkerGroup]:
    """Return one group of all markers, or with ``loco`` one for each chromosome; ``source`` is named in errors.

    Raises
    ------
    GenotypeError
        If chromosomes are to be told apart and there are not several that are known.
    """
    if not loco:
        return [MarkerGroup(None, np.arange(len(variants)))]
    chromosomes = variants["chromosome"].to_numpy()
    known = [name for name in dict.fromkeys(chromosomes) if name != UNKNOWN_CHROMOSOME]
    if not known:
        raise GenotypeError(
            f"loco=True: expected the chromosome of each marker, got none in {source}: frames and arrays have none. "
            "Use a PLINK file, or a source whose variants have one."
        )
    if len(set(chromosomes)) == 1:
        raise GenotypeError(
            f"loco=True: expected markers on several chromosomes, got all on {known[0]!r}: nothing would be left for "
            "the relationship matrix. Give the matrix of the other chromosomes by kinship={'id': "
            "lmm.genetics.grm(path, exclude_chromosome=...)}."
        )
    return [MarkerGroup(name, np.flatnonzero(chromosomes == name)) for name in dict.fromkeys(chromosomes)]
