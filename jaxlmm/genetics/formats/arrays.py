"""Genotypes in memory: an array, or a frame with ids as index and variants as columns."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.formats.source import VARIANT_COLUMNS, GenotypeSource, variant_table
from jaxlmm.genetics.ids import label_texts

UNKNOWN_VARIANT = dict(zip(VARIANT_COLUMNS, ("0", 0, ".", ".", "."), strict=True))
"""Entries of a variant table that are not known."""


class ArraySource(GenotypeSource):
    """Genotypes in memory.

    Parameters
    ----------
    values
        ``(N, M)`` numbers: counts of the effect allele, dosages, or any numbers; NaN where there is no call. The array
        is kept as it is (an int8 array stays one) and converted block by block.
    sample_ids
        N ids; without them, samples are numbered from ``"0"``.
    variants
        M names, or a frame with the column ``variant`` and any of ``chromosome position effect_allele other_allele``;
        without them, variants are ``"v0"``, ``"v1"``, ...

    Raises
    ------
    GenotypeError
        If the array is not two-dimensional and numeric, or the ids or variants are not as many.

    Examples
    --------
    >>> import numpy as np
    >>> source = ArraySource(np.array([[0, 1], [2, 1], [1, 1]]), ["a", "b", "c"])
    >>> source.read(slice(0, 1))[:, 0].tolist()
    [0.0, 2.0, 1.0]
    """

    def __init__(
        self,
        values: Any,
        sample_ids: Collection[object] | None = None,
        variants: Collection[object] | pd.DataFrame | None = None,
        *,
        name: str = "genotypes",
    ) -> None:
        array = np.asarray(values)
        if array.ndim != 2 or array.dtype.kind not in "iufb":
            raise GenotypeError(
                f"{name}: expected numbers (samples × variants), got an array of shape {array.shape} and type "
                f"{array.dtype}; allele_counts makes counts from letters."
            )
        table = _variants(variants, array.shape[1], name)
        ids = range(array.shape[0]) if sample_ids is None else sample_ids
        if len(ids) != array.shape[0]:
            raise GenotypeError(f"{name}: expected {array.shape[0]} sample ids, one per row, got {len(ids)}.")
        super().__init__(name, ids, table)
        self.values = array

    def read(
        self, markers: slice | Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None = None
    ) -> Float[NumpyArray, "n s"]:
        part = self.values[:, markers]
        return np.asarray(part if rows is None else part[rows], np.float64, copy=True, order="F")


def _variants(variants: Collection[object] | pd.DataFrame | None, count: int, name: str) -> pd.DataFrame:
    if variants is None:
        return variant_table([f"v{number}" for number in range(count)])
    if len(variants) != count:
        raise GenotypeError(f"{name}: expected {count} variants, one per column, got {len(variants)}.")
    if not isinstance(variants, pd.DataFrame):
        return variant_table([str(value) for value in variants])
    if "variant" not in variants:
        raise GenotypeError(f"{name}: expected a column 'variant' among those of the variants, got {list(variants)}.")
    columns: dict[str, Any] = {}
    for column in VARIANT_COLUMNS:
        if column in variants:
            values, default = variants[column], UNKNOWN_VARIANT[column]
            columns[column] = [
                default if missing else value for value, missing in zip(values, values.isna(), strict=True)
            ]
    text = {column: label_texts(values) for column, values in columns.items() if column != "position"}
    return variant_table(**{**columns, **text})


def frame_source(frame: pd.DataFrame, *, name: str = "genotypes") -> ArraySource:
    """Return the source of a frame: ids as index, a variant per column.

    Raises
    ------
    GenotypeError
        If a column is not numeric.
    """
    types = zip(frame.columns, frame.dtypes, strict=True)
    wrong = [(column, dtype) for column, dtype in types if not pd.api.types.is_numeric_dtype(dtype)]
    if wrong:
        column, dtype = wrong[0]
        raise GenotypeError(
            f"{name}: expected numeric columns, one per variant, and sample ids as index; column {column!r} is "
            f"{dtype}. Use set_index for a column of ids, allele_counts for letters."
        )
    values = frame.to_numpy()
    if values.dtype == object:  # columns of several types, or missing values of nullable ones
        values = frame.to_numpy(np.float64, na_value=np.nan)
    return ArraySource(values, list(frame.index), list(frame.columns), name=name)
