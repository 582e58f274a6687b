"""Pictures of many tests: of responses, and of markers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxlmm.errors import DataError, OptionError, nearest
from jaxlmm.plot.axes import axes_or_new
from jaxlmm.plot.order import order_statistic_limits
from jaxlmm.results import FitMany
from jaxlmm.scanning.output import Scan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GENOME_WIDE_P = 5e-8
"""The p-value below which a marker is called significant in a genome-wide scan of people."""

MAX_MARKED_Q = 0.05
"""The q-value (false discovery rate) below which a point is marked."""


def volcano(many: FitMany, term: str, *, ax: Any = None) -> Axes:
    """Draw the estimates of one coefficient in all responses against their p-values.

    Parameters
    ----------
    many, term
        Many fits and the name of a coefficient, as in ``many.tidy()``.
    ax
        Axes to draw on; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        Responses with ``q_value < 0.05`` are marked; those without a p-value are left out. A p-value that is zero to
        double precision is drawn at the smallest positive number.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import jaxlmm as lmm
    >>> many = lmm.fit_many("cbind(angle, temp) ~ recipe + (1 | replicate)", lmm.datasets.cake())
    >>> lmm.plot.volcano(many, "recipe[T.B]").get_xlabel()
    'estimate of recipe[T.B]'
    """
    table = pd.DataFrame(many.tidy())
    if term not in set(table["term"]):
        raise OptionError(f"term: {term!r} is no coefficient; {nearest(str(term), list(table['term'].unique()))}.")
    table = table[(table["term"] == term) & table["p_value"].notna()]
    ax, marked = axes_or_new(ax), (table["q_value"] < MAX_MARKED_Q).to_numpy()
    height = -np.log10(np.maximum(table["p_value"].to_numpy(float), np.finfo(float).tiny))
    for selected, color, label in (
        (~marked, "grey", f"q ≥ {MAX_MARKED_Q}"),
        (marked, "tab:red", f"q < {MAX_MARKED_Q}"),
    ):
        x = table["estimate"].to_numpy(float)[selected]
        ax.plot(x, height[selected], ".", color=color, label=f"{label}: {selected.sum()}")
    ax.axvline(0.0, color="grey", linewidth=0.8)
    ax.set(xlabel=f"estimate of {term}", ylabel="-log10 p")
    ax.legend(frameon=False)
    return ax


def manhattan(hits: Scan, response: str | None = None, *, ax: Any = None) -> Axes:
    """Draw −log10 p of all markers in the order of the genome, chromosomes in turn in two shades.

    Parameters
    ----------
    hits
        A scan.
    response
        Which of its responses; may be left out where there is one.
    ax
        Axes to draw on; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        With a line at p = 5e-8. Markers whose positions are not known stand in the order of their source.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import jaxlmm as lmm
    >>> people = lmm.datasets.variants5()
    >>> hits = lmm.scan("height ~ (1 | family)", people, genotypes=people[["variant1", "variant2", "variant3"]])
    >>> lmm.plot.manhattan(hits).get_ylabel()
    '-log10 p'
    """
    table, height = _tests(hits, response)
    ax, start, ticks, names = axes_or_new(ax), 0.0, [], []
    for number, (chromosome, rows) in enumerate(table.groupby("chromosome", sort=False)):
        position = rows["position"].to_numpy(float)
        offset = np.arange(len(rows)) if np.ptp(position) == 0 else position - position.min()
        ax.plot(start + offset, rows[height], ".", markersize=3, color=("tab:blue", "tab:gray")[number % 2])
        ticks.append(start + offset.max() / 2)
        names.append(str(chromosome))
        start += offset.max() * 1.02 + 1.0
    ax.axhline(-np.log10(GENOME_WIDE_P), color="tab:red", linewidth=0.8)
    ax.set_xticks(ticks, names)
    ax.set(xlabel="chromosome", ylabel=_p_label(hits))
    return ax


def qq_p(hits: Scan, response: str | None = None, *, ax: Any = None) -> Axes:
    """Draw the p-values of a scan against those expected if no marker had an effect, both as −log10.

    Parameters
    ----------
    hits, response, ax
        As in :func:`manhattan`.

    Returns
    -------
    matplotlib.axes.Axes
        With the line of equality and a band in which 95 % of each order statistic fall under the null (of independent
        markers: Beta distributions), and the genomic inflation factor as title.

    Raises
    ------
    DataError
        If only some of the pairs were kept.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import jaxlmm as lmm
    >>> people = lmm.datasets.variants5()
    >>> hits = lmm.scan("height ~ (1 | family)", people, genotypes=people[["variant1", "variant2", "variant3"]])
    >>> lmm.plot.qq_p(hits).get_xlabel()
    'expected -log10 p'
    """
    table, height = _tests(hits, response)
    inflation = hits.lambda_gc()
    observed = np.sort(table[height].to_numpy(float))[::-1]
    m = observed.size
    rank = np.arange(1, m + 1)
    expected = -np.log10((rank - 0.5) / m)
    ax = axes_or_new(ax)
    low, high = order_statistic_limits(rank.astype(float), m)
    ax.fill_between(expected, -np.log10(high), -np.log10(low), color="lightgrey")
    ax.plot(expected, expected, color="grey", linewidth=0.8)
    ax.plot(expected, observed, ".", markersize=3)
    ax.set(xlabel="expected -log10 p", ylabel=f"observed {_p_label(hits)}")
    ax.set_title(f"λ = {inflation[table['response'].iloc[0]]:.3f}")
    return ax


def _tests(hits: Scan, response: str | None) -> tuple[pd.DataFrame, str]:
    """Return the tested markers of one response, and the name of the column with their −log10 p."""
    if response is None and len(hits.responses) > 1:
        raise OptionError(f"response: expected one of {len(hits.responses)} responses, such as {hits.responses[0]!r}.")
    chosen = hits.responses[0] if response is None else response
    if chosen not in hits.responses:
        raise OptionError(f"response: {chosen!r} is no response; {nearest(str(chosen), hits.responses)}.")
    table, height = hits.tidy(), hits.height
    tested = table[(table["response"] == chosen) & table[height].notna()]
    if tested.empty:
        raise DataError(f"response {chosen!r}: no marker was tested for it, so there is nothing to draw; print(hits).")
    return tested, height


def _p_label(hits: Scan) -> str:
    """Return the label of the axis: −log10 p, and the test if there are several."""
    test = hits.height.removeprefix("neg_log10_p").removeprefix("_")
    return f"-log10 p ({test})" if test else "-log10 p"
