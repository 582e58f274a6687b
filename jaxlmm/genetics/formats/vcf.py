"""VCF and BCF files: dosages (DS) where there are any, else called genotypes (GT)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.formats.extra import extra
from jaxlmm.genetics.formats.plink_tables import existing
from jaxlmm.genetics.formats.source import GenotypeSource, variant_indices, variant_table


class VcfSource(GenotypeSource):
    """A VCF or BCF file, read by cyvcf2 from beginning to end; the effect allele is ALT.

    Of several alternate alleles the first is the effect allele, and the others are listed after REF as other alleles.
    A genotype with a missing allele, or of one allele, has no call. Variants without a name are called
    ``chromosome:position:REF:ALT``. Reading goes forward: who begins anywhere else passes over what stands before, so
    that a file of many chromosomes is scanned faster as ``.pgen``.

    Raises
    ------
    GenotypeError
        If it is none, or has no samples; while it is read, if it has other variants than when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = existing(path).absolute()
        names, chromosomes, positions, effects, others = [], [], [], [], []
        for variant in self._variants():
            alternates = variant.ALT or ["."]
            names.append(variant.ID or f"{variant.CHROM}:{variant.POS}:{variant.REF}:{alternates[0]}")
            chromosomes.append(variant.CHROM)
            positions.append(variant.POS)
            effects.append(alternates[0])
            others.append(",".join([variant.REF, *alternates[1:]]))
        table = variant_table(names, chromosomes, np.array(positions, np.int64), effects, others)
        super().__init__(path.name, self._open().samples, table)
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_ahead", "_next")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._ahead: Iterator[Any] | None = None
        self._next = 0

    def _open(self) -> Any:
        try:
            return extra("cyvcf2", ".vcf files").VCF(str(existing(self.path)), strict_gt=True, gts012=True)
        except OSError as error:
            raise GenotypeError(f"{self.path.name}: expected a VCF or BCF file, cyvcf2 says: {error}.") from error

    def _variants(self) -> Iterator[Any]:
        file = self._open()
        try:
            yield from file
        except Exception as error:  # cyvcf2 raises bare ones where a line is no variant
            raise GenotypeError(f"{self.path.name}: a variant cannot be read, cyvcf2 says: {error}.") from error

    def _variant(self, number: int) -> Any:
        """Return a variant, reading on to it, or from the beginning where it is behind."""
        if self._ahead is None or number < self._next:
            self._ahead, self._next = self._variants(), 0
        for variant in self._ahead:
            self._next += 1
            if self._next == number + 1:
                if self.variants["position"].iloc[number] != variant.POS:
                    break
                return variant
        raise GenotypeError(f"{self.name}: expected the variants with which it was opened, got others: it was changed.")

    def read(
        self, markers: slice | Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None = None
    ) -> Float[NumpyArray, "n s"]:
        indices = variant_indices(markers, len(self.variants))
        count = len(self.sample_ids) if rows is None else len(rows)
        values = np.empty((count, len(indices)), order="F")
        for place in np.argsort(indices, kind="stable").tolist():
            calls = _counts(self._variant(int(indices[place])))
            values[:, place] = calls if rows is None else calls[rows]
        return values


def _counts(variant: Any) -> Float[NumpyArray, " N"]:
    """Return the dosages of the first alternate allele, or how often it was called; NaN where nothing was.

    Raises
    ------
    GenotypeError
        If there is neither.
    """
    dosages = np.asarray(variant.format("DS")[:, 0], float) if "DS" in variant.FORMAT else None
    if "GT" not in variant.FORMAT:
        if dosages is None:
            place, there = f"{variant.CHROM}:{variant.POS}", ":".join(variant.FORMAT)
            raise GenotypeError(f"{place}: expected dosages (DS) or genotypes (GT), got {there or 'neither'}.")
        return dosages
    alleles = np.asarray(variant.genotype.array())[:, :-1]  # the last column says whether they are phased
    called = np.all(alleles >= 0, axis=1) & (alleles.shape[1] == 2)
    counts = np.where(called, np.sum(alleles == 1, axis=1), np.nan)
    return counts if dosages is None else np.where(np.isnan(dosages), counts, dosages)
