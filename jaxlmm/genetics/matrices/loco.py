"""Relationship matrices that each leave one chromosome out, of one pass over the markers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jaxlmm.genetics.matrices.from_markers import MarkerSums
from jaxlmm.genetics.matrices.relationship import Relationship


class LocoRelationships(Mapping[str, Relationship]):
    """The relationship matrix of all markers but those of a chromosome, by its name; made by ``grm(loco=True)``.

    A matrix is made when it is asked for, by subtracting what the chromosome adds to the sum over all markers.

    Attributes
    ----------
    sums
        Sums over markers, in total and by chromosome.

    Examples
    --------
    >>> import jaxlmm as lmm, numpy as np
    >>> table = lmm.datasets.genotypes()
    >>> variants = lmm.genetics.genotypes(table).variants.assign(chromosome=np.repeat(["1", "2"], 250))
    >>> source = lmm.genetics.ArraySource(table.to_numpy(), list(table.index), variants=variants)
    >>> matrices = lmm.genetics.grm(source, loco=True)
    >>> matrices
    <LocoRelationships: 100 ids, without each of 2 chromosomes: 1, 2>
    >>> matrices["2"]
    <Relationship: 100 ids, dense, mean diagonal 0.3981>
    """

    def __init__(self, sums: MarkerSums) -> None:
        self.sums = sums
        self._chromosomes = tuple(dict.fromkeys(sums.genotypes.variants["chromosome"]))

    @property
    def whole(self) -> Relationship:
        """The matrix of all markers."""
        return self.sums.relationship()

    def __getitem__(self, chromosome: str) -> Relationship:
        if chromosome not in self._chromosomes:
            raise KeyError(chromosome)
        return self.sums.without(chromosome)

    def __iter__(self) -> Iterator[str]:
        return iter(self._chromosomes)

    def __len__(self) -> int:
        return len(self._chromosomes)

    def __repr__(self) -> str:
        names = ", ".join(self._chromosomes)
        count = len(self.sums.genotypes.sample_ids)
        return f"<LocoRelationships: {count:,} ids, without each of {len(self)} chromosomes: {names}>"
