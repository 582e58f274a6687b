"""The result of a scan: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from jaxlmm._util import write_text, write_whole
from jaxlmm.errors import DataError, OptionError, choose
from jaxlmm.inference import PROVEN, STATUS
from jaxlmm.results import SCAN, FitMany, answering
from jaxlmm.results.tables import by_reason
from jaxlmm.scanning.output.formats import (
    METADATA_ENDING,
    STYLES,
    check_style,
    ends_if_sorted,
    metadata,
    written,
)
from jaxlmm.scanning.output.table import ScanTable

COLLINEAR_STATUS = "collinear"
"""The status of a marker in the span of the fixed effects."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScanHeader:
    """A scan in words and counts: model, data, tests, and the fate of markers and pairs.

    ``markers`` counts the markers, those that were tested for any response (``"tested"``) and the others by reason;
    ``pairs`` counts all pairs of a response and a marker by status, those of an untested response too;
    ``untested`` has reasons by response; ``kept`` is the rule for pairs of the table in words, ``complete`` whether it
    keeps all.
    """

    formula: str
    method: str
    variances: str
    tests: tuple[str, ...]
    interaction: str | None
    precision: str
    samples: str
    rows: str
    kinship: str
    engine: str
    patterns: int
    responses: tuple[str, ...]
    markers: Mapping[str, int]
    pairs: Mapping[str, int]
    untested: Mapping[str, str]
    kept: str
    complete: bool
    notes: tuple[str, ...]
    seconds: float
    device: str

    @property
    def n_markers(self) -> int:
        """The number of markers."""
        return sum(self.markers.values())

    @property
    def n_pairs(self) -> int:
        """The number of pairs that were tested: that have an optimum."""
        return sum(count for word, count in self.pairs.items() if word in STATUS and STATUS.index(word) in PROVEN)

    @property
    def lines(self) -> list[str]:
        """The lines of the print: model, data, tests, counts of markers and pairs."""
        ratios = {
            "refit": "refitted for every marker",
            "null": "those of each response without a marker",
            "kept": "those of each response without a marker, then refitted for what is kept",
        }[self.variances]
        tested, total = len(self.responses) - len(self.untested), sum(self.pairs.values())
        several = f", in {self.patterns} patterns of missing values" if self.patterns > 1 else ""
        interaction = f"; interaction with {self.interaction}" if self.interaction else ""
        return [
            f"Scan of {_count(len(self.responses), 'response')} and {_count(self.n_markers, 'marker')} by "
            f"{self.method}",
            f"Formula: {self.formula}",
            f"Samples: {self.samples}",
            f"Rows: {self.rows}",
            *([f"Kinship: {self.kinship}"] if self.kinship else []),
            f"Responses: {tested:,} of {len(self.responses):,} tested{several}",
            *(f"Not tested: {line}" for line in by_reason(self.untested)),
            f"Markers: {_of(self.markers.get('tested', 0), self.n_markers)} tested{_others(self.markers, 'tested')}",
            f"Tests: {', '.join(self.tests)}{interaction}",
            f"Pairs: {_of(self.n_pairs, total)} tested: {_listed(self.pairs)}",
            f"Variances: {ratios}",
            f"Engine: {self.engine}",
            *self.notes,
            f"Time: {self.seconds:.2f} s on {self.device}",
        ]

    @property
    def nothing_tested(self) -> str:
        """Say why no marker was tested for any response; nothing where one was."""
        if self.n_pairs:
            return ""
        why = [*by_reason(self.untested), *([_listed(self.pairs)] if self.pairs else [])]
        return f"no marker could be tested for any response: {'; '.join(why)}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _of(number: int, total: int) -> str:
    return f"{number:,}" if number == total else f"{number:,} of {total:,}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in counts.items())


def _others(counts: Mapping[str, int], word: str) -> str:
    rest = {name: count for name, count in counts.items() if name != word}
    return f"; {_listed(rest)}" if rest else ""


@answering("hits", SCAN)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """Tests of markers for one or many responses. Made by :func:`jaxlmm.scan` or :func:`jaxlmm.load`; nothing in it
    changes.

    ``print(hits)`` says what was scanned; :meth:`tidy` is the table, :meth:`top` its head by p-value. Of a scan with
    ``out=`` the table stays in its folder, and is read when it is asked for.

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
    table: ScanTable
    null_fits: Callable[[], FitMany | dict[str, FitMany]]

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        head = self.header
        return (
            f"<jaxlmm Scan: {head.formula}, {_count(len(self.responses), 'response')} × "
            f"{_count(head.n_markers, 'marker')}, {_count(len(self), 'row')}>"
        )

    def __str__(self) -> str:
        *lines, last = self.header.lines
        return "\n".join([*lines, f"Table: {_count(len(self), 'row')} ({self.header.kept})", last])

    @property
    def responses(self) -> tuple[str, ...]:
        """The names of the responses."""
        return self.header.responses

    @functools.cached_property
    def null(self) -> FitMany | dict[str, FitMany]:
        """The fits of all responses without a marker, as :func:`jaxlmm.fit_many` makes them; fitted on first use.

        With ``loco=True``, those of each chromosome, by its name. ``lmm.scan(null=hits.null)`` takes either again.
        """
        return self.null_fits()

    def tidy(self) -> pd.DataFrame:
        """Return a row for each response and marker that is kept, by response and place.

        Returns
        -------
        pandas.DataFrame
            ``response chromosome position variant effect_allele other_allele n frequency estimate std_error statistic
            df neg_log10_p p_value h2 variance_ratio status``; ``frequency`` is that of the effect allele in the
            analyzed samples, each counted once, ``estimate`` the effect of one more of it. Further tests have
            ``statistic_lrt neg_log10_p_lrt p_value_lrt`` and so on; an interaction ``estimate_interaction
            std_error_interaction``, with its test and the joint one. ``statistic`` is an F of 1 and ``df`` degrees of
            freedom; ``neg_log10_p`` is finite where ``p_value`` underflows to zero. A pair without an optimum, whose
            status is neither ``interior`` nor ``boundary``, has an estimate alone. ``h2`` is the share of the random
            term (:meth:`jaxlmm.Fit.ratio`), ``variance_ratio`` its variance over that of the residual. A marker
            without a test has its reason as ``status``.
        """
        return self.table.read()

    def top(self, n: int = 10) -> pd.DataFrame:
        """Return the ``n`` rows of :meth:`tidy` with the smallest p-values, those of :attr:`height`.

        Rows without a p-value are not among them.
        """
        if not isinstance(n, numbers.Integral) or n < 0:
            raise OptionError(f"top: expected a whole number of rows, got {n!r}.")
        best = [part.dropna(subset=[self.height]).nlargest(int(n), self.height) for part in self.table.parts()]
        return pd.concat(best).nlargest(int(n), self.height).reset_index(drop=True)

    @property
    def height(self) -> str:
        """The column of −log10 p by which pairs are kept, ranked and drawn.

        That of the first of the tests; with an interaction its test of both effects.
        """
        test = self.header.tests[0]
        if test != "wald":
            return f"neg_log10_p_{test}"
        return "neg_log10_p" if self.header.interaction is None else "neg_log10_p_joint"

    def lambda_gc(self) -> pd.Series:
        """Return the genomic inflation factor of each response.

        The median of the χ² values with one degree of freedom that have the p-values of :attr:`height`, over its
        expectation under the null (Devlin and Roeder 1999, doi:10.1111/j.0006-341X.1999.00997.x).

        Raises
        ------
        DataError
            If only some of the pairs were kept.
        """
        if not self.header.complete:
            raise DataError(
                f"lambda_gc: expected the tests of all markers, got those that were kept ({self.header.kept}); scan "
                "without p_max, top and best."
            )
        codes, height = self.table.numbers(self.height)
        grouped, everyone = pd.Series(height).groupby(codes), range(len(self.responses))
        middle = [grouped.quantile(0.5, interpolation=one).reindex(everyone) for one in ("lower", "higher")]
        with np.errstate(under="ignore"):  # χ² rises with the height: its median is between those of the middle two
            chi2 = sum(scipy.special.chdtri(1, 10.0 ** -one.to_numpy(float)) for one in middle) / 2.0
        index = pd.Index(list(self.responses), name="response")
        return pd.Series(chi2 / scipy.special.chdtri(1, 0.5), index=index, name="lambda_gc")

    def to_tsv(self, path: str | Path, style: str = "tidy") -> None:
        """Write the table to a file with tabs, compressed if ``path`` ends in ``.gz``.

        Parameters
        ----------
        path
            Where to.
        style
            ``"tidy"``, the columns of :meth:`tidy`; ``"gwas-ssf"``, those of the GWAS catalogue's standard
            (doi:10.1016/j.xgen.2022.100204), for one response; ``"regenie"``, those of regenie's step 2, with the
            response as ``EXTRA`` where there are several. A marker's own effect and the first of the tests are where
            these formats have them; nothing else is left out. GWAS-SSF has further columns for it
            (``neg_log_10_p_value_lrt``, ``beta_interaction``, ``neg_log_10_p_value_joint``), and metadata beside the
            file, ``path-meta.yaml``; chromosomes are numbers, X 23, and variants are named by place and alleles.
            Regenie has further rows by ``TEST``: ``ADD-LRT`` and ``ADD-SCORE`` beside ``ADD``; with an interaction with
            ``x`` those that regenie has for it, ``ADD-INT_SNP``, ``ADD-INT_SNPxx`` and ``ADD-INT_2DF``. Markers without
            a test are left out of both, which know no status.

        Raises
        ------
        OptionError
            If ``style`` is none of these, or ``"gwas-ssf"`` is asked for several responses, or for an interaction
            without ``"wald"``.
        OutputError
            If the file cannot be written; what was there is kept.
        """
        head, several = self.header, len(self.responses) > 1
        check_style(choose("style", style, STYLES), len(self.responses), head.tests, head.interaction)

        places, largest = [(0.0, 0)], 0

        def write(aside: Path) -> None:
            nonlocal largest
            for number, part in enumerate(self.table.parts()):
                rows = written(part, style, head.tests, head.interaction, several)
                if style == "gwas-ssf" and len(rows):
                    largest = max(largest, int(rows["n"].max()))
                    places.extend(ends_if_sorted(rows))
                rows.to_csv(
                    aside, sep="\t", index=False, na_rep="#NA" if style == "gwas-ssf" else "NA",
                    mode="a" if number else "w", header=not number,
                )  # fmt: skip

        write_whole(path, write)
        if style == "gwas-ssf" and Path(path).is_file():
            beside = f"{path}{METADATA_ENDING}"
            write_text(beside, metadata(Path(path), self.responses[0], largest, places == sorted(places)))


def words_of(markers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a scan's status codes: of fits, of collinear markers, of unusable ``markers``."""
    return (*STATUS, COLLINEAR_STATUS, *markers)
