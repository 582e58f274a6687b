"""A block of markers made ready: coded, judged in the analyzed samples, missing calls filled by the mean."""

from __future__ import annotations

import dataclasses
import numbers

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError, choose

MISSING_CODE = -9.0
"""What PLINK and others write for a missing value."""

CODINGS = ("additive", "dominant", "recessive")

STATUSES = {
    "": "usable",
    "all_missing": "no sample has a call",
    "infinite": "a value is infinite",
    "missing_code": "a value is -9, which other programs write where there is no call: make it NaN",
    "not_counts": "a filter or a coding needs counts of an allele between 0 and 2, and others are there",
    "filtered_missing": "more calls are missing than `missing` allows",
    "monomorphic": "all calls are the same, as coded",
    "filtered_maf": "the minor allele is rarer than `maf`",
}
"""What a marker's status means; all but the first are left out of an analysis."""


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How markers are coded and which are used.

    ``coding`` of counts g of the effect allele: additive g, dominant min(g, 1), recessive max(g − 1, 0), so that
    dosages between whole counts have a coding too. ``standardize``: mean 0 and standard deviation 1. ``maf`` is the
    smallest minor allele frequency, ``missing`` the largest share of missing calls.

    Raises
    ------
    OptionError
        If a value is not possible.
    """

    coding: str = "additive"
    standardize: bool = False
    maf: float = 0.0
    missing: float = 0.05

    def __post_init__(self) -> None:
        choose("coding", self.coding, CODINGS)
        for name in ("maf", "missing"):
            if not isinstance(getattr(self, name), numbers.Real):
                raise OptionError(f"{name}: expected a number, got {getattr(self, name)!r}.")
        if not 0.0 <= self.maf <= 0.5:
            raise OptionError(f"maf: expected a minor allele frequency from 0 to 0.5, got {self.maf!r}.")
        if not 0.0 <= self.missing <= 1.0:
            raise OptionError(f"missing: expected a share from 0 to 1, got {self.missing!r}.")


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Markers that are ready for an analysis.

    Attributes
    ----------
    markers
        ``(s,)`` their rows in the variant table.
    values
        ``(n, s)`` float64, column-major: as coded, missing calls at the mean of the marker's other calls; 0 where the
        marker is not kept.
    frequency
        ``(s,)`` of the effect allele in the judged samples; NaN where the values are not counts.
    n_called
        ``(s,)`` calls in the judged samples.
    status
        ``(s,)`` a word of :data:`STATUSES`, empty where the marker is usable.
    """

    markers: NumpyArray
    values: NumpyArray
    frequency: NumpyArray
    n_called: NumpyArray
    status: NumpyArray

    @property
    def keep(self) -> NumpyArray:
        """Which markers are usable, (s,) bool."""
        return self.status == ""


def prepare(calls: NumpyArray, markers: NumpyArray, how: Preparation, judged: NumpyArray | None = None) -> Block:
    """Code and judge a block of markers and fill its missing calls; ``calls`` is overwritten.

    Parameters
    ----------
    calls
        ``(n, s)`` counts of the effect allele, NaN where there is no call.
    judged
        Numbers of the rows in which frequency, missing calls and polymorphism are judged; None: all n. The mean that
        fills missing calls is that of all n rows.
    """
    seen = _summary(calls if judged is None else calls[judged])
    n = max(len(calls) if judged is None else len(judged), 1)
    counts = (seen.low >= 0.0) & (seen.high <= 2.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        alleles = 2.0 * seen.n_called
        total = np.where(counts, seen.total, np.nan)
        frequency = total / alleles
        minor = np.minimum(total, alleles - total) / alleles  # 1 - frequency would round at the limit
    needs_counts = how.maf > 0.0 or how.coding != "additive"
    status = np.select(
        [
            seen.n_called == 0,
            ~np.isfinite(seen.total),
            seen.low == MISSING_CODE,
            ~counts & needs_counts,
            (n - seen.n_called) / n > how.missing,
            _coded(seen.low, how.coding) == _coded(seen.high, how.coding),
            minor < how.maf,
        ],
        list(STATUSES)[1:],
        "",
    ).astype(object)
    calls[:, status != ""] = 0.0
    values = _coded(calls, how.coding)
    _fill(values, seen.holes if judged is None else np.flatnonzero(np.isnan(values.sum(axis=0))))
    if how.standardize and len(values) > 1:
        values -= values.mean(axis=0)
        values /= np.where(status == "", values.std(axis=0, ddof=1), 1.0)
    return Block(markers, values, frequency, seen.n_called, status)


@dataclasses.dataclass(frozen=True, eq=False)
class _Summary:
    """What is to be known of each column; ``holes`` are the numbers of those with missing calls."""

    n_called: NumpyArray
    total: NumpyArray
    low: NumpyArray
    high: NumpyArray
    holes: NumpyArray


def _summary(calls: NumpyArray) -> _Summary:
    """Summarize columns; where nothing was called, ``low`` is above ``high``."""
    with np.errstate(invalid="ignore"):  # infinities of both signs
        total, low, high = calls.sum(axis=0), calls.min(axis=0), calls.max(axis=0)
    n_called = np.full(calls.shape[1], len(calls), np.int64)
    holes = np.flatnonzero(np.isnan(total))
    if holes.size:
        part = calls[:, holes]
        absent = np.isnan(part)
        n_called[holes] -= absent.sum(axis=0)
        with np.errstate(invalid="ignore"):
            total[holes] = np.where(absent, 0.0, part).sum(axis=0)
        low[holes] = np.where(absent, np.inf, part).min(axis=0)
        high[holes] = np.where(absent, -np.inf, part).max(axis=0)
    return _Summary(n_called, total, low, high, holes)


def _coded(counts: NumpyArray, coding: str) -> NumpyArray:
    if coding == "dominant":
        return np.minimum(counts, 1.0)
    if coding == "recessive":
        return np.maximum(counts - 1.0, 0.0)
    return counts


def _fill(values: NumpyArray, holes: NumpyArray) -> None:
    """Put the mean of the calls where there is none, in place; ``holes`` are the columns where that is so."""
    if holes.size:
        part = values[:, holes]
        absent = np.isnan(part)
        n_called = np.maximum(len(part) - absent.sum(axis=0), 1)
        means = np.where(absent, 0.0, part).sum(axis=0) / n_called
        values[:, holes] = np.where(absent, means, part)
