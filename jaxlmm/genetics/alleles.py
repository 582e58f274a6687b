"""Allele counts of genotypes written in letters ("CC", "C/T")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray, as_table
from jaxlmm.errors import GenotypeError

MISSING_ALLELES = frozenset({"", "0", ".", "-", "N", "?"})
"""Codes of an allele that was not called; a genotype with one of them is not called."""

MISSING_GENOTYPES = frozenset({"NA", "NAN", "NONE", "NULL", "<NA>", *MISSING_ALLELES})
"""Codes of a genotype that was not called."""

ALLELE_SEPARATOR = re.compile(r"\s*[/|:]\s*|\s+")


def allele_counts(frame: Any, effect_alleles: Mapping[Any, str] | pd.Series) -> pd.DataFrame:
    """Count each variant's effect allele in genotypes that are written in letters.

    Parameters
    ----------
    frame
        A column per variant, ids as index. Two alleles stand together (``"CT"``, letters alone) or apart (``"C/T"``,
        ``"C|T"``, ``"C T"``, ``"CAG/C"``); capitals do not matter. A genotype is not called if it is missing or empty,
        ``"NA"``, or if one of its alleles is ``0 . - N ?``: ``"--"``, ``"00"``, ``"./."``, ``"C0"``.
    effect_alleles
        The allele to count, by variant (a mapping, or a series with variants as index); variants of the
        frame that are not named are left out.

    Returns
    -------
    DataFrame
        0, 1 or 2 as float64, NaN where there is no call, with the frame's index and the variants in the order of
        ``effect_alleles``: a source for :func:`genotypes`.

    Raises
    ------
    GenotypeError
        If a variant is not there, a genotype cannot be read or has more than two alleles among all people, or if two
        alleles occur and neither is the effect allele, as on the other strand.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"rs1": ["CC", "CT", "--"], "rs2": ["A/G", "G|G", "A/A"]}, index=["ann", "bob", "cy"])
    >>> allele_counts(calls, {"rs1": "T", "rs2": "G"})
         rs1  rs2
    ann  0.0  1.0
    bob  1.0  2.0
    cy   NaN  0.0
    """
    table = frame if isinstance(frame, pd.DataFrame) else as_table(frame, "allele_counts")
    if not hasattr(effect_alleles, "keys"):
        raise GenotypeError(
            f"effect_alleles: expected a dict from variant to allele, such as {{'rs1': 'T'}}, got {effect_alleles!r}."
        )
    effects = dict(effect_alleles)  # of a series too: by its index
    absent = [variant for variant in effects if variant not in table.columns]
    if absent:
        raise GenotypeError(
            f"effect_alleles: expected variants of the frame, got {len(absent)} others, the first is {absent[0]!r}; "
            f"the frame has {', '.join(repr(name) for name in list(table.columns)[:3])}."
        )
    index = table.index if isinstance(table, pd.DataFrame) else None
    return pd.DataFrame(
        {variant: _counts(variant, table[variant], allele) for variant, allele in effects.items()}, index=index
    )


def _counts(variant: object, column: Any, effect: str) -> Float[NumpyArray, " n"]:
    """Count the effect allele of one variant; each distinct genotype is parsed once."""
    codes, distinct = pd.factorize(np.asarray(column, dtype=object), use_na_sentinel=True)
    pairs = [_alleles(variant, genotype) for genotype in distinct]
    seen = {allele: None for pair in pairs if pair for allele in pair}
    effect = str(effect).strip().upper()
    if len(seen) > 2 or (len(seen) == 2 and effect not in seen):
        raise GenotypeError(
            f"{variant}: expected two alleles, one of them the effect allele {effect!r}, got {', '.join(seen)}"
            + ("; split variants of several alleles." if len(seen) > 2 else "; are they of the other strand?")
        )
    counts = np.array([np.nan if pair is None else pair.count(effect) for pair in pairs] + [np.nan])
    return counts[codes]  # code -1, a missing value, takes the last


def _alleles(variant: object, genotype: object) -> tuple[str, str] | None:
    text = str(genotype).strip().upper()
    if text in MISSING_GENOTYPES:
        return None
    parts = ALLELE_SEPARATOR.split(text)
    if len(parts) == 1:
        parts = list(text)
    if len(parts) != 2 or not all(
        part in MISSING_ALLELES or re.fullmatch(r"[A-Z*]+|<.+>|[1-9]\d*", part) for part in parts
    ):
        raise GenotypeError(
            f"{variant}: expected a genotype of two alleles, such as 'CT' or 'C/T', got {str(genotype)!r}."
        )
    return None if MISSING_ALLELES & set(parts) else (parts[0], parts[1])
