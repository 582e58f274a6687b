"""The result of a scan: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from jaxlmm._typing import NumpyArray
from jaxlmm.engine import Pairs
from jaxlmm.errors import DataError, OptionError, choose
from jaxlmm.inference import STATUS
from jaxlmm.results.many import FitMany
from jaxlmm.results.scan_files import STYLES, written

COLLINEAR = "collinear"
"""The status of a marker that the fixed effects determine."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScanHeader:
    """What was scanned, in words and counts; ``markers`` by status, ``kept`` says which pairs are in the table."""

    formula: str
    method: str
    variances: str
    tests: tuple[str, ...]
    interaction: str | None
    precision: str
    samples: str
    kinship: str
    engine: str
    patterns: int
    markers: Mapping[str, int]
    untested: Mapping[str, str]
    n_pairs: int
    kept: str
    seconds: float
    device: str


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """Tests of markers for one or many responses. Made by :func:`jaxlmm.scan`; nothing in it changes.

    ``print(hits)`` says what was scanned; :meth:`tidy` is the table, :meth:`top` its head by p-value.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> people = lmm.datasets.variants5()
    >>> variants = people[["variant1", "variant2", "variant3"]]
    >>> hits = lmm.scan("height ~ (1 | family)", people, genotypes=variants)
    >>> hits.tidy()[["variant", "estimate", "std_error", "h2", "status"]].round(4)
        variant  estimate  std_error      h2    status
    0  variant1   -0.5001     0.5000  0.0000  boundary
    1  variant2    0.8525     0.3018  0.0000  boundary
    2  variant3    1.0488     0.0465  0.8519  interior
    """

    header: ScanHeader
    responses: tuple[str, ...]
    variants: pd.DataFrame
    words: tuple[str, ...]
    pairs: Pairs
    sizes: NumpyArray
    complete: bool
    null_fits: Callable[[], FitMany]

    def __len__(self) -> int:
        return int(self.pairs.marker.size)

    def __repr__(self) -> str:
        head = self.header
        return (
            f"<jaxlmm Scan: {head.formula}, {len(self.responses)} responses × {len(self.variants):,} markers, "
            f"{len(self):,} rows>"
        )

    def __str__(self) -> str:
        head = self.header
        ratios = {
            "refit": "refitted for every marker",
            "null": "those of each response without a marker",
            "kept": "those of each response without a marker, then refitted for what is kept",
        }[head.variances]
        counts = ", ".join(f"{count:,} {word}" for word, count in head.markers.items())
        lines = [
            f"Scan of {len(self.responses)} responses and {len(self.variants):,} markers by {head.method}",
            f"Formula: {head.formula}",
            f"Samples: {head.samples}",
            *([f"Kinship: {head.kinship}"] if head.kinship else []),
            f"Markers: {counts}",
            f"Variances: {ratios}",
            f"Engine: {head.engine}",
            f"Tests: {', '.join(head.tests)}" + (f"; interaction with {head.interaction}" if head.interaction else ""),
            f"Rows: {len(self):,} of {head.n_pairs:,} pairs tested ({head.kept})",
            *(f"Not tested: {name} ({reason})" for name, reason in head.untested.items()),
            f"Time: {head.seconds:.2f} s on {head.device}",
        ]
        return "\n".join(lines)

    @functools.cached_property
    def null(self) -> FitMany:
        """The fits of all responses without a marker, as :func:`jaxlmm.fit_many` makes them; fitted on first use."""
        return self.null_fits()

    @functools.cached_property
    def _table(self) -> pd.DataFrame:
        pairs, head = self.pairs, self.header
        variants = self.variants.iloc[pairs.marker].reset_index(drop=True)
        names = np.array(self.responses, dtype=object)
        columns: dict[str, object] = {
            "response": names[pairs.response],
            **{name: variants[name] for name in ("chromosome", "position", "variant", "effect_allele", "other_allele")},
            "n": self.sizes[pairs.response],
            "frequency": pairs.frequency,
            "estimate": pairs.estimate[0],
            "std_error": pairs.std_error[0],
        }
        if "wald" in head.tests:
            columns["statistic"] = pairs.wald[0]
        columns["df"] = pairs.degrees
        if "wald" in head.tests:
            columns |= _tail("", pairs.column_height(0))
        for test in ("lrt", "score"):
            if test in head.tests:
                columns[f"statistic_{test}"] = getattr(pairs, test)
                columns |= _tail(f"_{test}", pairs.height(test))
        if head.interaction is not None:
            columns |= {"estimate_interaction": pairs.estimate[1], "std_error_interaction": pairs.std_error[1]}
            columns["statistic_interaction"] = pairs.wald[1]
            columns |= _tail("_interaction", pairs.column_height(1))
            columns["statistic_joint"] = pairs.joint
            columns |= _tail("_joint", pairs.height("wald"))
        columns |= {"h2": pairs.share, "variance_ratio": pairs.ratio}
        columns["status"] = np.array(self.words, dtype=object)[pairs.status]
        return pd.DataFrame(columns)

    def tidy(self) -> pd.DataFrame:
        """Return a row for each response and marker that is kept, by response and place.

        Returns
        -------
        pandas.DataFrame
            ``response chromosome position variant effect_allele other_allele n frequency estimate std_error statistic
            df neg_log10_p p_value h2 variance_ratio status``; ``frequency`` is that of the effect allele in the
            analysed samples, each counted once, ``estimate`` the effect of one more of it. Further tests have
            ``statistic_lrt neg_log10_p_lrt p_value_lrt`` and so on; an interaction ``estimate_interaction
            std_error_interaction``, with its test and the joint one. ``statistic`` is an F of 1 and ``df`` degrees of
            freedom; ``neg_log10_p`` is finite where ``p_value`` underflows to zero. ``h2`` is the share of the random
            term (:meth:`jaxlmm.Fit.ratio`), ``variance_ratio`` its variance over that of the residual. A marker
            without a test has its reason as ``status``.
        """
        return self._table.copy()

    def top(self, n: int = 10) -> pd.DataFrame:
        """Return the ``n`` rows of :meth:`tidy` with the smallest p-values."""
        table = self._table
        height = next(name for name in table if str(name).startswith("neg_log10_p"))
        return table.nlargest(n, str(height)).reset_index(drop=True)

    def lambda_gc(self) -> pd.Series:
        """Return the genomic inflation factor of each response.

        The median of the χ² values with one degree of freedom that have the tests' p-values, over its expectation
        under the null (Devlin and Roeder 1999, doi:10.1111/j.0006-341X.1999.00997.x).

        Raises
        ------
        DataError
            If only some of the pairs were kept.
        """
        if not self.complete:
            raise DataError(
                f"lambda_gc: expected the tests of all markers, got those that were kept ({self.header.kept}); scan "
                "without p_max, top and best."
            )
        table = self._table
        height = next(str(name) for name in table if str(name).startswith("neg_log10_p"))
        with np.errstate(under="ignore"):
            chi2 = special.chdtri(1, 10.0 ** -table[height].to_numpy(float))
        grouped = pd.Series(chi2).groupby(table["response"].to_numpy(), sort=False).median()
        return (grouped / special.chdtri(1, 0.5)).rename_axis("response").rename("lambda_gc")

    def to_tsv(self, path: str | Path, style: str = "tidy") -> None:
        """Write the table to a file with tabs, compressed if ``path`` ends in ``.gz``.

        Parameters
        ----------
        path
            Where to.
        style
            ``"tidy"``, the columns of :meth:`tidy`; ``"gwas-ssf"``, those of the GWAS catalogue's standard
            (doi:10.1016/j.xgen.2022.100204), for one response; ``"regenie"``, those of regenie's step 2, with the
            response as ``EXTRA`` where there are several. Both have the test of a marker's own effect, not those of
            an interaction.

        Raises
        ------
        OptionError
            If ``style`` is none of these, or ``"gwas-ssf"`` is asked for several responses.
        """
        if choose("style", style, STYLES) == "gwas-ssf" and len(self.responses) > 1:
            raise OptionError(
                f"style='gwas-ssf': expected one response, since the format has no column for it, got "
                f"{len(self.responses)}; scan one at a time, or write style='tidy'."
            )
        written(self._table, style).to_csv(path, sep="\t", index=False, na_rep="NA")


def words_of(markers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of all status codes of a scan: those of fits, of collinear markers, of unusable ones."""
    return (*STATUS, COLLINEAR, *markers)


def _tail(suffix: str, height: NumpyArray) -> dict[str, NumpyArray]:
    with np.errstate(under="ignore"):
        return {f"neg_log10_p{suffix}": height, f"p_value{suffix}": 10.0**-height}
