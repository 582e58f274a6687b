"""Relationship matrices of a scan: of its own source (``kinship="auto"``), or given by chromosome (LOCO)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.api import Call
from jaxlmm.errors import GenotypeError, KinshipError
from jaxlmm.genetics import Genotypes, LocoRelationships, Relationship
from jaxlmm.genetics.ids import match_samples
from jaxlmm.genetics.matrices import MarkerSums, marker_sums

UNKNOWN_CHROMOSOME = "0"
"""The name of an unknown chromosome in genotype sources."""


class KinshipByChromosome(Protocol):
    """Relationship matrices across the levels of one grouping factor, of which some leave a chromosome out."""

    def given_to(self, call: Call, without: str | None = None) -> Call:
        """Return ``call`` with the matrix of all markers as its ``kinship``, or of those ``without`` one chromosome."""

    def check(self, chromosomes: Iterable[str]) -> None:
        """Raise unless there is a matrix without each of the chromosomes."""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnKinship:
    """Relationship matrices of a scan's own source of markers across the ``levels`` of a grouping factor, ``group``.

    ``sample_of_level`` is the index of each level among the samples of the genotypes.
    """

    sums: MarkerSums
    group: str
    levels: pd.Index
    sample_of_level: Int[NumpyArray, " L"]

    @classmethod
    def of(cls, call: Call, group: str, genotypes: Genotypes, loco: bool) -> OwnKinship:
        """Sum the products of all markers of the source once, by chromosome with ``loco``.

        All, whichever are selected to be tested: the matrix of one chromosome would take its own effects away. Markers
        are filtered by their frequencies and missing calls in all samples of the genotypes, so that the matrix depends
        neither on the other responses of a call nor on which rows have one.
        """
        sums = marker_sums(genotypes.whole, by_chromosome=loco)
        levels = pd.Index(as_frame(as_table(call.data), [group])[group].dropna().unique())
        return cls(sums, group, levels, match_samples(levels, genotypes.sample_ids).rows)

    def given_to(self, call: Call, without: str | None = None) -> Call:
        """Return ``call`` with the matrix of all markers as its ``kinship``, or of those ``without`` one chromosome."""
        of_samples = self.sums.relationship() if without is None else self.sums.without(without)
        of_levels = of_samples.matrix[np.ix_(self.sample_of_level, self.sample_of_level)]
        kinship: Any = {self.group: Relationship(self.levels, of_levels)}
        return dataclasses.replace(call, options=dataclasses.replace(call.options, kinship=kinship))

    def check(self, chromosomes: Iterable[str]) -> None:
        """Raise if all markers of the source are on one chromosome.

        Raises
        ------
        GenotypeError
            Of these.
        """
        whole = self.sums.genotypes
        chromosomes = list(dict.fromkeys(whole.variants["chromosome"]))
        if len(chromosomes) == 1:
            raise GenotypeError(
                f"loco=True: expected markers on several chromosomes, got all of {whole.source.name} on "
                f"{chromosomes[0]!r}: nothing would be left for the relationship matrix. Give the matrices of all "
                "chromosomes' files by kinship={'id': lmm.genetics.grm(files, loco=True)}."
            )

    def __str__(self) -> str:
        whole = self.sums.genotypes
        filters, chromosomes = whole.preparation, list(dict.fromkeys(whole.variants["chromosome"]))
        on_one = len(chromosomes) == 1 and chromosomes[0] != UNKNOWN_CHROMOSOME
        where = f", all on chromosome {chromosomes[0]}" if on_one else ""
        return (
            f"{self.group}: centered GRM of {self.sums.count:,} markers{where} (maf ≥ {filters.maf:g}, missing ≤ "
            f"{filters.missing:g} in all {len(whole.sample_ids):,} genotyped samples)"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class GivenKinship:
    """Relationship matrices that a user gave for a ``group``, by the chromosome that each leaves out."""

    group: str
    matrices: Mapping[str, Any]

    @classmethod
    def of(cls, kinship: Mapping[str, Any] | None) -> GivenKinship | None:
        """Return those of the one group that has several matrices, None where there is not one such."""
        several = [group for group, value in (kinship or {}).items() if isinstance(value, Mapping) and value]
        return cls(several[0], (kinship or {})[several[0]]) if len(several) == 1 else None

    def given_to(self, call: Call, without: str | None = None) -> Call:
        """Return ``call`` with the matrix of all markers as its ``kinship``, or of those ``without`` one chromosome.

        Of matrices that are not from :func:`jaxlmm.genetics.grm` the first stands for all.
        """
        if without is not None:
            matrix = self.matrices[without]
        elif isinstance(self.matrices, LocoRelationships):
            matrix = self.matrices.whole
        else:
            matrix = next(iter(self.matrices.values()))
        kinship: Any = {**(call.options.kinship or {}), self.group: matrix}
        return dataclasses.replace(call, options=dataclasses.replace(call.options, kinship=kinship))

    def check(self, chromosomes: Iterable[str]) -> None:
        """Raise unless there is a matrix for each chromosome.

        Raises
        ------
        KinshipError
            If there is none for some.
        """
        absent = [name for name in chromosomes if name not in self.matrices]
        if absent:
            raise KinshipError(
                f"kinship of {self.group!r}: expected the matrix without each chromosome of the markers, got none "
                f"without {absent[0]!r}; there are those without {', '.join(map(str, self.matrices))}."
            )

    def leaves(self) -> list[Any]:
        """Return what tells these matrices from others: labels and numbers."""
        if isinstance(self.matrices, LocoRelationships):
            sums = self.matrices.sums
            return [sums.genotypes.sample_ids.tolist(), sums.total, sums.count, sorted(sums.kept.items())]
        frames = {
            name: value.to_frame() if hasattr(value, "to_frame") else value for name, value in self.matrices.items()
        }
        return [[name, [str(label) for label in one.index], one.to_numpy(float)] for name, one in frames.items()]

    def __str__(self) -> str:
        return f"{self.group}: given matrices"


class MarkerGroup(NamedTuple):
    """The markers tested with one relationship matrix: those of a ``chromosome``, or for None all.

    ``markers`` are their indices among all markers of the scan.
    """

    chromosome: str | None
    markers: Int[NumpyArray, " markers"]


def marker_groups(genotypes: Genotypes, loco: bool) -> list[MarkerGroup]:
    """Return one group of all markers, or with ``loco`` one for each chromosome.

    Raises
    ------
    GenotypeError
        If chromosomes are to be told apart and none is known.
    """
    chromosomes = genotypes.variants["chromosome"].to_numpy()
    if not loco:
        return [MarkerGroup(None, np.arange(len(chromosomes)))]
    if all(name == UNKNOWN_CHROMOSOME for name in chromosomes):
        raise GenotypeError(
            f"loco=True: expected the chromosome of each marker, got none in {genotypes.source.name}: frames and "
            "arrays have none. Use a PLINK file, or a source whose variants have one."
        )
    return [MarkerGroup(name, np.flatnonzero(chromosomes == name)) for name in dict.fromkeys(chromosomes)]
