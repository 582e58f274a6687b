"""``grm``: the genomic relationship matrix of all samples, or those that each leave one chromosome out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, overload

from jaxlmm.errors import GenotypeError, OptionError
from jaxlmm.genetics.genotypes import as_genotypes
from jaxlmm.genetics.matrices.from_markers import GEMMA_MAF, GEMMA_MISSING, marker_sums
from jaxlmm.genetics.matrices.loco import LocoRelationships
from jaxlmm.genetics.matrices.relationship import Relationship


@overload
def grm(
    genotypes: Any,
    *,
    scale: str = "centered",
    maf: float = GEMMA_MAF,
    missing: float = GEMMA_MISSING,
    exclude_chromosome: object = None,
    judged_in: Iterable[object] | None = None,
    loco: Literal[False] = False,
) -> Relationship: ...


@overload
def grm(
    genotypes: Any,
    *,
    scale: str = "centered",
    maf: float = GEMMA_MAF,
    missing: float = GEMMA_MISSING,
    exclude_chromosome: object = None,
    judged_in: Iterable[object] | None = None,
    loco: Literal[True],
) -> LocoRelationships: ...


def grm(
    genotypes: Any,
    *,
    scale: str = "centered",
    maf: float = GEMMA_MAF,
    missing: float = GEMMA_MISSING,
    exclude_chromosome: object = None,
    judged_in: Iterable[object] | None = None,
    loco: bool = False,
) -> Relationship | LocoRelationships:
    r"""Compute the genomic relationship matrix of all samples, as GEMMA does.

    ``"centered"`` is K = XXᵀ / s over s markers, each column of X the additive counts of the effect allele minus
    their mean, missing calls at the mean (GEMMA's ``-gk 1``); ``"standardized"`` divides each column by its standard
    deviation too (``-gk 2``). Markers are read block by block; memory is that of two matrices.

    Parameters
    ----------
    genotypes
        A source that :func:`genotypes` opens, or has opened. Its selection of variants holds, and the stricter of both
        filters; counts are additive, its coding is ignored.
    scale
        ``"centered"`` or ``"standardized"``.
    maf, missing
        Markers with a rarer minor allele, or a larger share of missing calls, are left out.
    exclude_chromosome
        One, or several, whose markers are left out.
    judged_in
        Ids of the samples in which the filters are judged; None: all. GEMMA judges markers in the rows that an analysis
        uses, and so has another matrix for each trait; products are of all samples either way. Ids may repeat, as those
        of the rows of a table do.
    loco
        Return the matrices that each leave one chromosome out, for ``scan(kinship={"id": matrices}, loco=True)``.

    Returns
    -------
    Relationship or LocoRelationships
        ``(N, N)`` with the sample ids, as text, as labels; with ``loco`` a mapping from chromosome to such a matrix.

    Raises
    ------
    GenotypeError
        If no marker is left, a chromosome is not there, or an id of ``judged_in`` is none of the samples; with ``loco``
        if all markers are on one chromosome.
    OptionError
        If ``scale`` or a filter has a value that is not possible.

    References
    ----------
    Zhou and Stephens (2012), Nature Genetics 44, 821-824; VanRaden (2008), Journal of Dairy Science 91, 4414-4423.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> K = lmm.genetics.grm(lmm.datasets.genotypes())
    >>> K.to_frame().iloc[:2, :2].round(4)
            IND000  IND001
    IND000  0.3732 -0.0234
    IND001 -0.0234  0.3900
    """
    opened = as_genotypes(genotypes)
    if exclude_chromosome is not None:
        opened = opened.select(~opened.on_chromosome(exclude_chromosome))
    if not isinstance(loco, bool):
        raise OptionError(f"loco: expected True or False, got {loco!r}.")
    sums = marker_sums(opened, scale=scale, maf=maf, missing=missing, judged=judged_in, by_chromosome=loco)
    if not loco:
        return sums.relationship()
    matrices = LocoRelationships(sums)
    if len(matrices) == 1:
        raise GenotypeError(
            f"loco=True: expected markers on several chromosomes, got all on {next(iter(matrices))!r} in "
            f"{opened.source.name}; nothing would be left of the matrix."
        )
    return matrices
