"""``kinship="auto"`` of a scan: the relationship matrix of its own markers, also without each chromosome in turn."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.api import Call
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics import Genotypes, Relationship
from jaxlmm.genetics.ids import match_samples
from jaxlmm.genetics.matrices import MarkerSums, marker_sums

UNKNOWN = "0"
"""How sources write a chromosome that is not known."""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnKinship:
    """Relationship matrices of a scan's own markers for a ``group``, whose ``levels`` have ``places`` among samples."""

    sums: MarkerSums
    group: str
    levels: pd.Index
    places: NumpyArray

    @classmethod
    def of(cls, call: Call, group: str, opened: Genotypes, loco: bool) -> OwnKinship:
        """Sum products of markers once.

        They are judged in all samples of the genotypes, so that the matrix depends neither on the other responses of a
        call nor on which rows have one.
        """
        sums = marker_sums(opened, by_chromosome=loco)
        levels = pd.Index(as_frame(as_table(call.data), [group])[group].dropna().unique())
        return cls(sums, group, levels, match_samples(levels, opened.sample_ids).rows)

    def added(self, call: Call, without: str | None = None) -> Call:
        """Return a call with the matrix of all markers, or of those on other chromosomes than one."""
        everyone = self.sums.relationship() if without is None else self.sums.without(without)
        known: Any = {self.group: Relationship(self.levels, everyone.matrix[np.ix_(self.places, self.places)])}
        return dataclasses.replace(call, options=dataclasses.replace(call.options, kinship=known))

    def __str__(self) -> str:
        filters, samples = self.sums.genotypes.preparation, len(self.sums.genotypes.sample_ids)
        return (
            f"{self.group}: centered GRM of {self.sums.count:,} markers (maf ≥ {filters.maf:g}, missing ≤ "
            f"{filters.missing:g} in all {samples:,} genotyped samples)"
        )


class MarkerGroup(NamedTuple):
    """Markers of a scan that share a matrix: their ``numbers`` (s,) among all; a ``chromosome``, or None for all."""

    chromosome: str | None
    numbers: NumpyArray


def marker_groups(variants: pd.DataFrame, loco: bool, source: str) -> list[MarkerGroup]:
    """Return all markers together, or chromosome by chromosome; ``source`` is where they are from.

    Raises
    ------
    GenotypeError
        If chromosomes are to be told apart and there are not several that are known.
    """
    if not loco:
        return [MarkerGroup(None, np.arange(len(variants)))]
    chromosomes = variants["chromosome"].to_numpy()
    known = [name for name in dict.fromkeys(chromosomes) if name != UNKNOWN]
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
