"""Prepare a block of markers: code it, filter it, and impute missing calls by the mean."""

from __future__ import annotations

import dataclasses
import numbers
import warnings

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError, choose
from jaxlmm.genetics.equilibrium import hardy_weinberg

MISSING_CODE = -9.0
"""Code of a missing value in files of PLINK and other programs."""

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
    "filtered_mac": "the minor allele is there less often than `mac`",
    "filtered_info": "the variance of the dosages, relative to that of genotypes, is below `info`",
    "filtered_hwe": "the genotypes are farther from Hardy–Weinberg proportions than `hwe` allows",
}
"""Statuses of a marker and their meaning, the first that applies; all but the first exclude it from an analysis."""


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Coding and filters of markers.

    ``coding`` of counts g of the effect allele: additive g, dominant min(g, 1), recessive max(g − 1, 0), so that
    dosages between whole counts have a coding too. ``standardize``: mean 0 and sample standard deviation 1 over
    all rows, after coding and imputation. ``maf`` is the smallest minor allele frequency, ``missing`` the largest share
    of missing calls, ``mac`` the smallest count of the minor allele, ``info`` the smallest variance of dosages relative
    to ``2 p (1 − p)``, and ``hwe`` the smallest p-value of the test of Hardy–Weinberg proportions.

    Raises
    ------
    OptionError
        If a value is not possible.
    """

    coding: str = "additive"
    standardize: bool = False
    maf: float = 0.0
    missing: float = 0.05
    mac: float = 0.0
    info: float = 0.0
    hwe: float = 0.0

    def __post_init__(self) -> None:
        choose("coding", self.coding, CODINGS)
        for name in ("maf", "missing", "mac", "info", "hwe"):
            if not isinstance(getattr(self, name), numbers.Real):
                raise OptionError(f"{name}: expected a number, got {getattr(self, name)!r}.")
        if not 0.0 <= self.maf <= 0.5:
            raise OptionError(f"maf: expected a minor allele frequency from 0 to 0.5, got {self.maf!r}.")
        if not 0.0 <= self.missing <= 1.0:
            raise OptionError(f"missing: expected a share from 0 to 1, got {self.missing!r}.")
        if not 0.0 <= self.mac < np.inf:
            raise OptionError(f"mac: expected a count of at least 0, got {self.mac!r}.")
        if not 0.0 <= self.info <= 1.0:
            raise OptionError(f"info: expected a share from 0 to 1, got {self.info!r}.")
        if not 0.0 <= self.hwe < 1.0:
            raise OptionError(f"hwe: expected a p-value from 0 and below 1, got {self.hwe!r}.")


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Markers coded, filtered and without missing values, ready for an analysis.

    Attributes
    ----------
    markers
        Their rows in the variant table.
    values
        Float64, column-major: as coded, missing calls at the mean of the marker's other calls; 0 where the
        marker is not kept.
    frequency
        Of the effect allele in the rows of the filters; NaN where the values are not counts.
    n_called
        Calls in the rows of the filters.
    status
        A word of :data:`STATUSES`, empty where the marker is usable.
    """

    markers: Int[NumpyArray, " s"]
    values: Float[NumpyArray, "n s"]
    frequency: Float[NumpyArray, " s"]
    n_called: Int[NumpyArray, " s"]
    status: Shaped[NumpyArray, " s"]

    @property
    def keep(self) -> Bool[NumpyArray, " s"]:
        """Which markers are usable."""
        return self.status == ""


def prepare(
    calls: Float[NumpyArray, "n s"],
    markers: Int[NumpyArray, " s"],
    preparation: Preparation,
    judged: Int[NumpyArray, " _"] | None = None,
) -> Block:
    """Code and filter a block of markers and impute its missing calls; ``calls`` is overwritten.

    Parameters
    ----------
    calls
        Counts (or dosages) of the effect allele, or other numbers; NaN where there is no call.
    judged
        Indices of the rows by which markers are filtered, of the samples that are analyzed: of them are frequency,
        number of calls and polymorphism. None: all. The mean that replaces missing calls is that of all rows.
    """
    own = calls if judged is None else calls[judged]
    summary = _summary(own)
    n = max(len(calls) if judged is None else len(judged), 1)
    are_counts = (summary.low >= 0.0) & (summary.high <= 2.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        alleles = 2.0 * summary.n_called
        total = np.where(are_counts, summary.total, np.nan)
        frequency = total / alleles
        minor_count = np.minimum(total, alleles - total)
        minor = minor_count / alleles  # 1 - frequency would round at the limit
    filters = (preparation.maf, preparation.mac, preparation.info, preparation.hwe)
    needs_counts = max(filters) > 0.0 or preparation.coding != "additive"
    status = np.select(
        [
            summary.n_called == 0,
            ~np.isfinite(summary.total),
            summary.low == MISSING_CODE,
            ~are_counts & needs_counts,
            (n - summary.n_called) / n > preparation.missing,
            _coded(summary.low, preparation.coding) == _coded(summary.high, preparation.coding),
            minor < preparation.maf,
            minor_count < preparation.mac,
            _information(own, frequency, preparation.info) < preparation.info,
            _equilibrium(own, preparation.hwe) < preparation.hwe,
        ],
        list(STATUSES)[1:],
        "",
    ).astype(object)
    calls[:, status != ""] = 0.0
    values = _coded(calls, preparation.coding)
    _impute(values, summary.incomplete if judged is None else np.flatnonzero(np.isnan(values.sum(axis=0))))
    if preparation.standardize and len(values) > 1:
        values -= values.mean(axis=0)
        values /= np.where(status == "", values.std(axis=0, ddof=1), 1.0)
    return Block(markers, values, frequency, summary.n_called, status)


def _information(
    calls: Float[NumpyArray, "n s"], frequency: Float[NumpyArray, " s"], wanted: float
) -> Float[NumpyArray, " s"]:
    """Return the variances of dosages relative to that of genotypes in Hardy–Weinberg proportions (r² of MaCH)."""
    if wanted <= 0.0:
        return np.ones(calls.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a call
        return np.asarray(np.nanvar(calls, axis=0) / (2.0 * frequency * (1.0 - frequency)))


def _equilibrium(calls: Float[NumpyArray, "n s"], wanted: float) -> Float[NumpyArray, " s"]:
    """Return the p-values of Hardy–Weinberg proportions, of dosages those of the nearest genotypes."""
    if wanted <= 0.0:
        return np.ones(calls.shape[1])
    with np.errstate(invalid="ignore"):
        genotypes = np.rint(calls)
    first, heterozygotes, second = (np.sum(genotypes == count, axis=0) for count in (0.0, 1.0, 2.0))
    return hardy_weinberg(heterozygotes, first, second)


@dataclasses.dataclass(frozen=True, eq=False)
class _Summary:
    """Number, sum, smallest and largest of each column's calls; ``incomplete`` are the columns with missing calls."""

    n_called: Int[NumpyArray, " s"]
    total: Float[NumpyArray, " s"]
    low: Float[NumpyArray, " s"]
    high: Float[NumpyArray, " s"]
    incomplete: Int[NumpyArray, " _"]


def _summary(calls: Float[NumpyArray, "n s"]) -> _Summary:
    """Summarize columns; where nothing was called, ``low`` is above ``high``."""
    with np.errstate(invalid="ignore"):  # infinities of both signs
        total, low, high = calls.sum(axis=0), calls.min(axis=0), calls.max(axis=0)
    n_called = np.full(calls.shape[1], len(calls), np.int64)
    incomplete = np.flatnonzero(np.isnan(total))
    if incomplete.size:
        columns = calls[:, incomplete]
        absent = np.isnan(columns)
        n_called[incomplete] -= absent.sum(axis=0)
        with np.errstate(invalid="ignore"):
            total[incomplete] = np.where(absent, 0.0, columns).sum(axis=0)
        low[incomplete] = np.where(absent, np.inf, columns).min(axis=0)
        high[incomplete] = np.where(absent, -np.inf, columns).max(axis=0)
    return _Summary(n_called, total, low, high, incomplete)


def _coded(counts: Float[NumpyArray, "*b"], coding: str) -> Float[NumpyArray, "*b"]:
    if coding == "dominant":
        return np.minimum(counts, 1.0)
    if coding == "recessive":
        return np.maximum(counts - 1.0, 0.0)
    return counts


def _impute(values: Float[NumpyArray, "n s"], incomplete: Int[NumpyArray, " _"]) -> None:
    """Replace missing calls by the mean of their column, in place; ``incomplete`` are the columns that have any."""
    if incomplete.size:
        columns = values[:, incomplete]
        absent = np.isnan(columns)
        n_called = np.maximum(len(columns) - absent.sum(axis=0), 1)
        means = np.where(absent, 0.0, columns).sum(axis=0) / n_called
        values[:, incomplete] = np.where(absent, means, columns)
