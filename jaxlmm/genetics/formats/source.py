"""``GenotypeSource``: samples, variants, and calls that are read on demand."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.ids import text_ids

VARIANT_COLUMNS = ("chromosome", "position", "variant", "effect_allele", "other_allele")
"""Columns of a variant table. A chromosome that is not known is ``"0"``, a position 0, an allele ``"."``."""


class GenotypeSource(abc.ABC):
    """Samples × variants, read block by block. To add a file format, subclass it and write ``read``.

    A source is pickled when it is sent to another process: one that keeps a file open leaves it out in
    ``__getstate__``, and opens it again when it is read.

    Parameters
    ----------
    sample_ids
        N ids, distinct, kept as text.
    variants
        A row per variant, with :data:`VARIANT_COLUMNS`.

    Raises
    ------
    GenotypeError
        If there is no sample or no variant, or if a sample occurs twice.
    """

    def __init__(self, name: str, sample_ids: Iterable[object], variants: pd.DataFrame) -> None:
        self.name = name
        self.sample_ids: Shaped[NumpyArray, " N"] = text_ids(sample_ids, f"{name}, sample ids", GenotypeError)
        self.variants = variants
        absent = [column for column in VARIANT_COLUMNS if column not in variants]
        if absent:
            raise GenotypeError(
                f"{name}: expected variants with columns {', '.join(VARIANT_COLUMNS)}, got no {absent[0]}."
            )
        if not len(self.sample_ids) or not len(variants):
            raise GenotypeError(
                f"{name}: expected at least one sample and one variant, got {len(self.sample_ids)} samples and "
                f"{len(variants)} variants."
            )
        nameless = np.flatnonzero(pd.isna(self.sample_ids))
        if nameless.size:
            raise GenotypeError(
                f"{name}: expected an id for each sample, got {nameless.size} missing, the first in row {nameless[0]}."
            )
        repeated = pd.Index(self.sample_ids).duplicated()
        if repeated.any():
            raise GenotypeError(
                f"{name}: expected each sample once, got {repeated.sum()} repeated ids, the first is "
                f"{self.sample_ids[repeated][0]!r}; remove or rename the repeated samples."
            )

    @abc.abstractmethod
    def read(
        self, markers: slice | Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None = None
    ) -> Float[NumpyArray, "n s"]:
        """Return counts of the effect allele, ``(n, s)`` float64, NaN where there is no call.

        It is a new array, which callers overwrite; column-major order is fastest.

        Parameters
        ----------
        markers
            The variants: a slice, or their indices (s,).
        rows
            Indices of the samples to read (n,), in any order; None: all.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {len(self.sample_ids)} samples, {len(self.variants)} variants)"


def variant_table(
    variant: Any, chromosome: Any = "0", position: Any = 0, effect_allele: Any = ".", other_allele: Any = "."
) -> pd.DataFrame:
    """Return a table with :data:`VARIANT_COLUMNS`; the defaults are the codes of unknown entries."""
    values = (chromosome, position, variant, effect_allele, other_allele)
    return pd.DataFrame(dict(zip(VARIANT_COLUMNS, values, strict=True)), index=pd.RangeIndex(len(variant)))


def variant_indices(markers: slice | Int[NumpyArray, " s"], count: int) -> Int[NumpyArray, " s"]:
    """Return the indices that a slice or an index of ``count`` variants stands for.

    >>> variant_indices(slice(-2, None), 5).tolist()
    [3, 4]
    """
    return np.arange(count)[markers]
