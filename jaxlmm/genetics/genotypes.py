"""``genotypes``: a genotype source with the selection, coding and filters of its variants."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError, OptionError, nearest
from jaxlmm.genetics.blocks import Block, Preparation, prepare
from jaxlmm.genetics.formats import GenotypeSource, opened_source
from jaxlmm.genetics.ids import label_texts, match_samples

VALUES_PER_BLOCK = 2**22
"""Values (samples × markers) in a block of the default size: 32 MB."""


@dataclasses.dataclass(frozen=True, eq=False)
class Genotypes:
    """Genotypes with the selection, coding and filters of their variants, made by :func:`genotypes`.

    Attributes
    ----------
    source
        Where calls are read.
    preparation
        Coding, standardizing and filters.
    variants
        Frame ``chromosome position variant effect_allele other_allele`` of the selected variants, numbered from 0.
    notes
        Remarks on the selection, which the print shows.
    """

    source: GenotypeSource
    preparation: Preparation
    variants: pd.DataFrame
    notes: tuple[str, ...]
    _indices: Int[NumpyArray, " M"]

    @property
    def sample_ids(self) -> Shaped[NumpyArray, " N"]:
        """The ids of the samples, as text, (N,)."""
        return self.source.sample_ids

    def read(self, markers: slice | Int[NumpyArray, " s"] = slice(None)) -> Float[NumpyArray, "N s"]:
        """Return counts of the effect allele of all samples, ``(N, s)`` float64, NaN where there is no call.

        Counts are as in the source: neither coded, nor filtered, nor imputed; :meth:`blocks` does that.

        >>> import jaxlmm as lmm
        >>> genotypes(lmm.datasets.genotypes()).read(slice(0, 3)).shape
        (100, 3)
        """
        return self._calls(self._indices[markers], None)

    def blocks(
        self,
        sample_ids: Iterable[object] | None = None,
        *,
        size: int | None = None,
        judged: Iterable[object] | None = None,
    ) -> Iterator[Block]:
        """Read markers block by block, ready for an analysis of the samples that are named.

        Parameters
        ----------
        sample_ids
            n ids, in the order of the rows that are returned; None: all.
        size
            Markers in a block (the last one is shorter); None: blocks of about 32 MB.
        judged
            Ids among ``sample_ids`` in which frequency, missing calls and polymorphism are judged; None: all of them.

        Raises
        ------
        GenotypeError
            If an id is not among the samples.

        Examples
        --------
        >>> import jaxlmm as lmm
        >>> block = next(genotypes(lmm.datasets.genotypes(), maf=0.2).blocks(size=4))
        >>> block.values.shape, block.frequency.round(3).tolist()
        ((100, 4), [0.705, 0.66, 0.445, 0.545])
        """
        rows = None if sample_ids is None else self._rows(sample_ids)
        if rows is not None and np.array_equal(rows, np.arange(len(self.sample_ids))):
            rows = None  # all samples in their order are read faster
        judged_rows = None
        if judged is not None:
            chosen = self._rows(judged)
            judged_rows = chosen if rows is None else pd.Index(rows).get_indexer(pd.Index(chosen))
            if (judged_rows < 0).any():
                raise GenotypeError("judged: expected ids among sample_ids, got others.")
        n = len(self.sample_ids) if rows is None else len(rows)
        size = size or max(64, min(len(self._indices), VALUES_PER_BLOCK // max(n, 1)))
        return self._prepared(rows, judged_rows, size)

    def select(self, chosen: Bool[NumpyArray, " M"]) -> Genotypes:
        """Return the genotypes of the variants where ``chosen`` (M,) is True."""
        variants = self.variants[chosen].reset_index(drop=True)
        return dataclasses.replace(self, variants=variants, _indices=self._indices[chosen])

    @property
    def whole(self) -> Genotypes:
        """The genotypes of all variants of the source, with the same coding and filters."""
        variants = self.source.variants
        return dataclasses.replace(self, variants=variants, notes=(), _indices=np.arange(len(variants)))

    def on_chromosome(self, chromosome: object) -> Bool[NumpyArray, " M"]:
        """Return which variants are on one chromosome, or on several, (M,) bool.

        Raises
        ------
        GenotypeError
            If a chromosome is not there; the message lists those that are.
        """
        several = isinstance(chromosome, Iterable) and not isinstance(chromosome, str)
        names = label_texts(chromosome if several else [chromosome])  # type: ignore[arg-type]
        choices = list(dict.fromkeys(self.variants["chromosome"]))
        for name in names:
            if name not in choices:
                raise GenotypeError(
                    f"chromosome: {self.source.name} has none called {name!r}; {nearest(name, choices)}."
                )
        return self.variants["chromosome"].isin(names).to_numpy()

    def _named(self, names: Collection[str]) -> Genotypes:
        """Return the genotypes of the variants in ``names``, and note how many names were found."""
        is_named = self.variants["variant"].isin(names).to_numpy()
        if not is_named.any():
            raise GenotypeError(
                f"extract: expected names of variants of {self.source.name}, such as "
                f"{self.variants['variant'].iloc[0]!r}, got {len(names)} names of which none is there"
                + (f", such as {next(iter(names))!r}." if names else ".")
            )
        chosen = self.select(is_named)
        note = f"extract: {chosen.variants['variant'].nunique()} of {len(names)} names found"
        return dataclasses.replace(chosen, notes=(*self.notes, note))

    def _prepared(
        self, rows: Int[NumpyArray, " n"] | None, judged: Int[NumpyArray, " _"] | None, size: int
    ) -> Iterator[Block]:
        for first in range(0, len(self._indices), size):
            markers = np.arange(first, min(first + size, len(self._indices)))
            yield prepare(self._calls(self._indices[markers], rows), markers, self.preparation, judged)

    def _calls(self, variants: Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None) -> Float[NumpyArray, "n s"]:
        contiguous = (
            variants.size and variants[-1] - variants[0] == variants.size - 1 and (np.diff(variants) == 1).all()
        )
        return self.source.read(slice(int(variants[0]), int(variants[-1]) + 1) if contiguous else variants, rows)

    def _rows(self, ids: Iterable[object]) -> Int[NumpyArray, " n"]:
        matched = match_samples(ids, self.sample_ids)
        if not matched.kept.all():
            absent = matched.ids[~matched.kept]
            raise GenotypeError(
                f"{self.source.name}: expected ids of samples, got {len(absent)} others, the first is {absent[0]!r}; "
                "match_samples finds those that are there."
            )
        return matched.rows

    def __repr__(self) -> str:
        notes = "".join(f"; {note}" for note in self.notes)
        return f"Genotypes({self.source.name}: {len(self.sample_ids)} samples, {len(self.variants)} variants{notes})"


def genotypes(
    source: Any,
    *,
    coding: str = "additive",
    standardize: bool = False,
    maf: float = 0.0,
    missing: float = 0.05,
    mac: float = 0.0,
    info: float = 0.0,
    hwe: float = 0.0,
    chromosome: object | Sequence[object] | None = None,
    region: str | Sequence[str] | None = None,
    extract: str | os.PathLike[str] | Iterable[str] | None = None,
) -> Genotypes:
    """Open genotypes, and set the selection, coding and filters of their variants; calls are read later.

    Parameters
    ----------
    source
        The path of a PLINK 1 ``.bed`` file (``.bim`` and ``.fam`` beside it; the effect allele is A1), a PLINK 2
        ``.pgen`` file (``.pvar`` and ``.psam``; ALT), a ``.bgen`` file (dosages of the second allele; ``.sample``
        beside it), or a ``.vcf``, ``.vcf.gz`` or ``.bcf`` file (dosages DS or calls GT; ALT); a list of paths or a
        pattern, ``"chr*.bed"``, of files of the same samples, read as one; a frame with a column of counts per variant
        and sample ids as index (of polars and pyarrow: as first column); an array (samples × variants); or a
        :class:`GenotypeSource`. Sample ids are text: the IID, or ``FID_IID`` when IIDs repeat.
    coding
        Of counts g of the effect allele: ``"additive"`` g, ``"dominant"`` min(g, 1), ``"recessive"`` max(g − 1, 0).
    standardize
        Give each marker mean 0 and standard deviation 1 in the analyzed samples (n − 1, as R's ``scale``).
    maf, missing
        Markers with a rarer minor allele, or a larger share of missing calls, in the analyzed samples are left out,
        with a status. Missing calls of the others are replaced by the mean.
    mac, info, hwe
        So are those whose minor allele is counted less often; whose dosages vary less, relative to ``2 p (1 − p)`` (the
        r² of MaCH and minimac); and whose p-value of the exact test of Hardy–Weinberg proportions (of the nearest
        genotypes) is smaller. Judged in the analyzed samples too.
    chromosome
        One, or several, as they are written in the source; None: all.
    region
        ``"6:25000000-34000000"``, or several: the variants of a chromosome at these positions, both ends included.
    extract
        Names of variants, or a text file with a name as first word of each line; None: all. Names that the source does
        not have are counted in ``notes``.

    Returns
    -------
    Genotypes
        With ``sample_ids``, ``variants``, ``read`` and ``blocks``.

    Raises
    ------
    GenotypeError
        If a file is missing, damaged, cut short or of another kind, an id occurs twice, or no variant is selected.
    OptionError
        If an option has a value that is not possible.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> lmm.genetics.genotypes(lmm.datasets.genotypes(), maf=0.05)
    Genotypes(frame: 100 samples, 500 variants)
    """
    preparation = Preparation(coding, standardize, maf, missing, mac, info, hwe)
    opened = opened_source(source)
    chosen = Genotypes(opened, preparation, opened.variants, (), np.arange(len(opened.variants)))
    if chromosome is not None:
        chosen = chosen.select(chosen.on_chromosome(chromosome))
    if region is not None:
        chosen = chosen.select(_in_regions(chosen, [region] if isinstance(region, str) else list(region)))
    return chosen if extract is None else chosen._named(_names(extract))


def as_genotypes(source: Any) -> Genotypes:
    """Return genotypes as they are, or open a source with the default options."""
    return source if isinstance(source, Genotypes) else genotypes(source)


def parse_region(region: str) -> tuple[str, int, int]:
    """Return the chromosome, and the first and last position, of a region.

    >>> parse_region("6:25,000,000-34,000,000")
    ('6', 25000000, 34000000)
    """
    chromosome, _, span = str(region).rpartition(":")
    first, _, last = span.replace(",", "").replace("_", "").partition("-")
    if not (chromosome and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise OptionError(f"region: expected CHROMOSOME:FIRST-LAST, as '6:25000000-34000000', got {region!r}.")
    return chromosome, int(first), int(last)


def _in_regions(chosen: Genotypes, regions: Sequence[str]) -> Bool[NumpyArray, " M"]:
    """Return which variants are in one of the regions ``CHROMOSOME:FIRST-LAST``.

    Raises
    ------
    OptionError
        If one is written otherwise.
    GenotypeError
        If a chromosome is not there, or no variant is in any of the regions.
    """
    found, position = np.zeros(len(chosen.variants), bool), chosen.variants["position"].to_numpy()
    for region in regions:
        chromosome, first, last = parse_region(region)
        found |= chosen.on_chromosome(chromosome) & (position >= first) & (position <= last)
    if not found.any():
        raise GenotypeError(
            f"region: expected variants of {chosen.source.name} in {', '.join(regions)}, got none of "
            f"{len(chosen.variants):,}."
        )
    return found


def _names(extract: str | os.PathLike[str] | Iterable[str]) -> dict[str, None]:
    """Return names of variants, in order, without repeats."""
    if not isinstance(extract, str | os.PathLike):
        return dict.fromkeys(str(name) for name in extract)
    path = Path(extract)
    if not path.is_file():
        raise GenotypeError(f"extract: expected a list of names or a text file, got {path}, which does not exist.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise GenotypeError(f"extract: expected text in UTF-8 in {path}, got another encoding; save it anew.") from None
    return dict.fromkeys(line.split()[0] for line in text.splitlines() if line.strip())
