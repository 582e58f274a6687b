"""Ids as text, independent of the type of their column, and their match with the samples of a genotype source."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, GenotypeError, JaxlmmError
from jaxlmm.genetics.ids.forms import hint, listed, nearly

WHOLE_NUMBER = re.compile(r"-?[1-9][0-9]*|0")
"""A whole number as Python writes it: no sign, zero or point that another program could drop."""


def text_ids(
    ids: Iterable[object], what: str = "ids", error: type[JaxlmmError] = DataError
) -> Shaped[NumpyArray, " n"]:
    """Return ids as text, None where one is missing; whole numbers have no decimal point in any type of column.

    Parameters
    ----------
    ids
        Text, whole numbers, or floating point numbers that are whole and exact: a column of whole numbers with a
        missing value is read as such.
    what, error
        How a message begins, and which error it is of.

    Raises
    ------
    JaxlmmError
        For a number that is not whole, and for a floating point number so large that whole numbers beside it have the
        same value (2^53, in single precision 2^24): digits of ids are lost, and ids may have become the same.

    Examples
    --------
    >>> text_ids([7.0, 12345, "007", float("nan")]).tolist()
    ['7', '12345', '007', None]
    """
    dtype = getattr(ids, "dtype", None)
    limit, values = exact_up_to(dtype), _listed(ids)
    for value in _suspects(values, dtype, limit):
        if isinstance(value, float | np.floating | Decimal) and not _missing(value):
            if not _whole(value):
                raise error(
                    f"{what}: expected ids, text or whole numbers, got {value}; is this the column of ids? Write them "
                    "as text if they are ids."
                )
            own = min(limit, exact_up_to(getattr(value, "dtype", None)))
            if not isinstance(value, Decimal) and abs(float(value)) >= own:
                raise inexact(what, value, own, error)
    if _is_plain_float(dtype):
        return np.array([None if value != value else str(int(value)) for value in values], dtype=object)
    return np.array([_text(value) for value in values], dtype=object)


def label_texts(ids: Iterable[object]) -> Shaped[NumpyArray, " n"]:
    """Return ids as text like :func:`text_ids`, and any other number as Python writes it.

    >>> label_texts([7.0, 1.5]).tolist()
    ['7', '1.5']
    """
    return np.array([_text(value) for value in _listed(ids)], dtype=object)


def inexact(what: str, value: object, limit: float, error: type[JaxlmmError]) -> JaxlmmError:
    """Return the error for a floating point number too large to tell ids apart."""
    return error(
        f"{what}: expected ids, text or whole numbers, got the floating point number {value}: from "
        f"2^{int(np.log2(limit))} on, different ids become one number. Whole numbers are read so where one is missing: "
        "read the column as text, for example pandas.read_csv(path, dtype={'id': str})."
    )


def exact_up_to(dtype: Any) -> float:
    """Return the bound below which floating point numbers of a column's type represent each whole number exactly."""
    categories = getattr(dtype, "categories", None)
    dtype = dtype if categories is None else categories.dtype
    plain = getattr(dtype, "numpy_dtype", dtype)
    if isinstance(plain, np.dtype) and plain.kind == "f":
        return float(2.0 ** (np.finfo(plain).nmant + 1))
    return float(2.0**53)


def whole_number(text: str) -> int | None:
    """Return the number that a text is, if it is a whole one and written as Python writes it, else None.

    >>> [whole_number(text) for text in ("12", "-1", "012", "1.0", "1e5", "+5")]
    [12, -1, None, None, None, None]
    """
    return int(text) if WHOLE_NUMBER.fullmatch(text) else None


def _suspects(values: list[Any], dtype: Any, limit: float) -> list[Any]:
    """Return the values of a column that must be checked one by one."""
    if isinstance(dtype, pd.StringDtype) or pd.api.types.is_integer_dtype(dtype):
        return []
    if _is_plain_float(dtype):
        numbers = np.array(values, float)
        good = np.isnan(numbers) | ((numbers == np.round(numbers)) & (abs(numbers) < limit))
        return [float(number) for number in numbers[~good][:1]]
    return values


def _is_plain_float(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind == "f"


def _listed(ids: Iterable[object]) -> list[Any]:
    return ids.tolist() if isinstance(ids, pd.Index | pd.Series | np.ndarray) else list(ids)


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value != value


def _whole(value: Any) -> bool:
    return bool(np.isfinite(float(value)) and value == int(value))


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return str(value)
    if _missing(value):
        return None
    if isinstance(value, float | np.floating | Decimal) and _whole(value):
        return str(int(value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@dataclasses.dataclass(frozen=True, eq=False)
class Matched:
    """Match of the ids of the data with the samples of a genotype source.

    ``rows`` is the index of the sample of each id, -1 where there is none; ``kept`` says which have one; ``ids`` are
    the ids as text, None where one is missing. ``n_without_genotypes`` ids of the data have no sample,
    ``n_without_data`` samples are not in the data.
    """

    ids: Shaped[NumpyArray, " n"]
    rows: Int[NumpyArray, " n"]
    n_without_data: int

    @property
    def kept(self) -> Bool[NumpyArray, " n"]:
        """Which ids of the data have genotypes."""
        return self.rows >= 0

    @property
    def n_kept(self) -> int:
        """The number of distinct ids that are on both sides."""
        return len(np.unique(self.rows[self.kept]))

    @property
    def n_without_genotypes(self) -> int:
        """The number of distinct ids of the data that have no genotypes."""
        return len(set(self.ids[~self.kept]) - {None})

    @property
    def n_without_id(self) -> int:
        """The number of rows of the data that have no id."""
        return sum(value is None for value in self.ids)

    def __str__(self) -> str:
        nameless = f"; {self.n_without_id} rows without an id dropped" if self.n_without_id else ""
        return (
            f"{self.n_kept} samples with data and genotypes; {self.n_without_genotypes} without genotypes and "
            f"{self.n_without_data} without data dropped{nameless}"
        )


def match_samples(ids: Iterable[object], sample_ids: Iterable[object]) -> Matched:
    """Find ids of the data among the samples of a genotype source, both compared as text.

    Parameters
    ----------
    ids
        ``(n,)`` ids of the data; an id may occur several times, or be missing.
    sample_ids
        ``(N,)`` distinct ids of the genotypes.

    Raises
    ------
    GenotypeError
        If no id is on both sides; or if ids of the data that were not found differ from samples that are not in the
        data in their form alone, such as ``1`` and ``0001``: part of the data would be left out. The message shows ids
        of each, and the change of form under which they would match.
    DataError
        If an id is a number that is not whole.

    Examples
    --------
    >>> matched = match_samples([3, 1, 1, 4], ["1", "2", "3"])
    >>> matched.rows.tolist()
    [2, 0, 0, -1]
    >>> print(matched)
    2 samples with data and genotypes; 1 without genotypes and 1 without data dropped
    """
    texts, samples = text_ids(ids), text_ids(sample_ids)
    rows = find_texts(texts, samples)
    matched = Matched(texts, rows, len(samples) - len(np.unique(rows[rows >= 0])))
    distinct = list(dict.fromkeys(value for value in texts if value is not None))
    if not matched.kept.any():
        raise GenotypeError(
            f"genotypes: expected ids of the data among those of the genotypes, got none of {len(distinct)}. "
            f"The data have {listed(distinct)}; the genotypes have {listed(samples)}."
            + (
                hint(distinct, samples, "the data", "the genotypes")
                or " Is the id column the right one, and are these the right genotypes?"
            )
        )
    close = nearly(distinct, samples, "the data", "the genotypes")
    if close:
        raise GenotypeError(
            f"genotypes: expected ids of the data written as those of the genotypes, got {matched.n_kept} of "
            f"{len(distinct)} that are.{close} Rename them where they are different individuals."
        )
    return matched


def find_texts(ids: Shaped[NumpyArray, " n"], texts: Shaped[NumpyArray, " N"]) -> Int[NumpyArray, " n"]:
    """Return the index of each of ``ids`` among distinct ``texts``, -1 where it is missing or not there."""
    indices = pd.Index(texts, dtype=object).get_indexer(pd.Index(ids, dtype=object))
    return np.where(pd.isna(ids), -1, indices)
