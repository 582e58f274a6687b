"""BGEN files of versions 1.1 to 1.3: imputed probabilities, read as dosages."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.formats.extra import extra
from jaxlmm.genetics.formats.plink_tables import existing, plink_ids, read_text
from jaxlmm.genetics.formats.source import GenotypeSource, variant_indices, variant_table

SAMPLE_TYPES = "0"
"""The first entry of the second line of a ``.sample`` file, which tells the types of its columns."""


class BgenSource(GenotypeSource):
    """A BGEN file, read by ``bgen``; counts are dosages of the second allele, the alternate one of UK Biobank's files.

    Ids are those in the file, or of the ``.sample`` file beside it (``ID_1 ID_2 missing``).

    Raises
    ------
    GenotypeError
        If the file is none, has no ids and no ``.sample`` file beside it, or that has another number of them; while it
        is read, if a variant has more than two alleles or is not diploid.
    """

    def __init__(self, path: Path) -> None:
        self.path = existing(path).absolute()
        file = self._file
        variants = (self._variant(number) for number in range(len(file)))
        rows = [(one.rsid, one.varid, one.chrom, one.pos, one.alleles) for one in variants]
        names = [rsid if rsid not in ("", ".") else varid for rsid, varid, *_ in rows]
        chromosomes, positions = [row[2] for row in rows], np.array([row[3] for row in rows], np.int64)
        super().__init__(path.name, _ids(path, file), variant_table(names, chromosomes, positions))
        alleles = [row[4] for row in rows]
        several = [number for number, own in enumerate(alleles) if len(own) != 2]
        if several:
            raise GenotypeError(
                f"{path.name}: expected two alleles of each variant, got {len(alleles[several[0]])} of "
                f"{names[several[0]]!r} ({len(several)} such variants); plink2 --make-pgen splits or leaves them out."
            )
        self.variants["effect_allele"] = [second for _, second in alleles]
        self.variants["other_allele"] = [first for first, _ in alleles]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_file"}

    @functools.cached_property
    def _file(self) -> Any:
        try:
            return extra("bgen", ".bgen files").BgenReader(str(existing(self.path)))
        except (ValueError, RuntimeError, OSError) as error:
            raise GenotypeError(f"{self.path.name}: expected a BGEN file, bgen says: {error}.") from error

    def _variant(self, number: int) -> Any:
        try:
            return self._file[number]
        except (ValueError, RuntimeError, IndexError, OSError) as error:
            raise GenotypeError(
                f"{self.path.name}: variant {number + 1} cannot be read, bgen says: {error}."
            ) from error

    def read(
        self, markers: slice | Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None = None
    ) -> Float[NumpyArray, "n s"]:
        indices = variant_indices(markers, len(self.variants))
        count = len(self.sample_ids) if rows is None else len(rows)
        values = np.empty((count, len(indices)), order="F")
        for place, number in enumerate(indices.tolist()):
            variant = self._variant(number)
            ploidy = np.asarray(variant.ploidy)
            if np.any(ploidy != 2):
                raise GenotypeError(
                    f"{self.name}: expected diploid samples, got a ploidy of {int(ploidy[ploidy != 2][0])} at "
                    f"{variant.rsid!r}; plink2 --make-pgen reads such files."
                )
            dosage = np.asarray(variant.alt_dosage, float)
            values[:, place] = dosage if rows is None else dosage[rows]
        return values


def _ids(path: Path, file: Any) -> Any:
    """Return the ids of the ``.sample`` file beside a BGEN file, or those in it."""
    beside = path.with_suffix(".sample")
    own, count = list(file.samples), int(file.header.nsamples)
    if not beside.exists():
        if not bool(file.header.has_sample_ids):
            raise GenotypeError(f"{path.name}: expected ids of samples in it, or in {beside.name} beside it, got none.")
        return own
    table = read_text(beside, "ID_1 ID_2 missing ...")
    first = 1 + (len(table) > 1 and table.iloc[1, 0] == SAMPLE_TYPES)
    table = table.iloc[first:].reset_index(drop=True)
    if len(table) != count:
        raise GenotypeError(f"{beside.name}: expected {count} samples, as {path.name} has, got {len(table)}.")
    return plink_ids(table[0], pd.Series(table[1]))
