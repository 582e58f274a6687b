"""Sample ids as text, and two lists of them put side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import GenotypeError

SHOWN = 3
"""Ids of each side that an error shows."""


def text_ids(ids: Iterable[object]) -> NumpyArray:
    """Return ids as text: whole numbers without a point, whatever type a data frame gave them.

    >>> text_ids([7.0, 12345, "007"]).tolist()
    ['7', '12345', '007']
    """
    values = ids.tolist() if isinstance(ids, pd.Index | pd.Series | np.ndarray) else list(ids)
    return np.array([_text(value) for value in values], dtype=object)


def _text(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


@dataclasses.dataclass(frozen=True, eq=False)
class Matched:
    """Ids of the data found among the samples of a genotype source.

    ``rows`` (n,) is the sample of each id, -1 where there is none; ``kept`` (n,) says which were found; ``ids`` (n,)
    are the ids as text. ``n_without_genotypes`` ids of the data have no sample, ``n_without_data`` samples are not in
    the data.
    """

    ids: NumpyArray
    rows: NumpyArray
    n_without_data: int

    @property
    def kept(self) -> NumpyArray:
        """Which ids of the data have genotypes, (n,) bool."""
        return self.rows >= 0

    @property
    def n_kept(self) -> int:
        """The number of distinct ids that are on both sides."""
        return len(np.unique(self.rows[self.kept]))

    @property
    def n_without_genotypes(self) -> int:
        """The number of distinct ids of the data that have no genotypes."""
        return len(set(self.ids[~self.kept]))

    def __str__(self) -> str:
        return (
            f"{self.n_kept} samples with data and genotypes; {self.n_without_genotypes} without genotypes and "
            f"{self.n_without_data} without data dropped"
        )


def match_samples(ids: Iterable[object], sample_ids: Iterable[object]) -> Matched:
    """Find ids of the data among the samples of a genotype source, both compared as text.

    Parameters
    ----------
    ids
        ``(n,)`` ids of the data; an id may occur several times.
    sample_ids
        ``(N,)`` distinct ids of the genotypes.

    Raises
    ------
    GenotypeError
        If no id is on both sides; the message shows ids of each, and the change of form under which they would match.

    Examples
    --------
    >>> matched = match_samples([3, 1, 1, 4], ["1", "2", "3"])
    >>> matched.rows.tolist()
    [2, 0, 0, -1]
    >>> print(matched)
    2 samples with data and genotypes; 1 without genotypes and 1 without data dropped
    """
    ours, theirs = text_ids(ids), text_ids(sample_ids)
    rows = pd.Index(theirs).get_indexer(pd.Index(ours))
    found = Matched(ours, rows, len(theirs) - len(np.unique(rows[rows >= 0])))
    if not found.kept.any():
        raise GenotypeError(
            f"genotypes: expected ids of the data among those of the genotypes, got none of {len(set(ours))}. "
            f"The data have {_some(ours)}; the genotypes have {_some(theirs)}.{_hint(ours, theirs)}"
        )
    return found


def _some(ids: NumpyArray) -> str:
    distinct = list(dict.fromkeys(ids.tolist()))
    return ", ".join(repr(value) for value in distinct[:SHOWN]) + (", …" if len(distinct) > SHOWN else "")


def _after_underscore(value: str) -> str:
    return value.split("_", 1)[-1]


def _number(value: str) -> str:
    try:
        return str(int(float(value)))
    except (ValueError, OverflowError):
        return value


def _folded(value: str) -> str:
    return value.strip().casefold()


def _same(value: str) -> str:
    return value


FORMS: tuple[tuple[Callable[[str], str], Callable[[str], str], str], ...] = (
    (_same, _after_underscore, "the genotypes' ids are FID_IID, those of the data IID: write FID_IID in the data"),
    (_after_underscore, _same, "the data's ids are FID_IID, those of the genotypes IID: write the IID in the data"),
    (_number, _number, "the numbers are the same, written differently (leading zeros?): write them alike"),
    (_folded, _folded, "they differ in capitals or spaces: write them alike"),
)
"""Forms of the ids of the data and of the genotypes in which they may match after all, and what to do then."""


def _hint(ours: NumpyArray, theirs: NumpyArray) -> str:
    for our_form, their_form, hint in FORMS:
        common = {our_form(value) for value in ours} & {their_form(value) for value in theirs}
        if common:
            return f" {len(common)} ids would match: {hint}."
    return " Is the id column the right one, and are these the right genotypes?"
