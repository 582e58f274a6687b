"""Pictures of many tests: of responses, and of markers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, GenotypeError, OptionError, nearest
from jaxlmm.genetics import as_genotypes, parse_region
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


def manhattan(
    hits: Scan,
    response: str | Sequence[str] | None = None,
    *,
    threshold: float | None = GENOME_WIDE_P,
    ax: Any = None,
) -> Axes:
    """Draw −log10 p of all markers in the order of the genome, chromosomes in turn in two shades.

    Parameters
    ----------
    hits
        A scan.
    response
        Which of its responses; may be left out where there is one. A list draws several, each in a color of its own.
    threshold
        The p-value at which there is a line, None for none.
    ax
        Axes to draw on; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        With the response as title, of several with a legend. Markers whose positions are not known stand in the order
        of their source.

    Raises
    ------
    OptionError
        If a response is none of the scan's, or the threshold no probability.
    DataError
        If no marker was tested for it.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import jaxlmm as lmm
    >>> people = lmm.datasets.variants5()
    >>> hits = lmm.scan("height ~ (1 | family)", people, genotypes=people[["variant1", "variant2", "variant3"]])
    >>> lmm.plot.manhattan(hits).get_title()
    'height'
    """
    if threshold is not None and not 0.0 < threshold <= 1.0:
        raise OptionError(f"threshold: expected a probability above 0, or None for no line, got {threshold!r}.")
    one = response is None or isinstance(response, str)
    names = [_response(hits, response)] if response is None or isinstance(response, str) else list(response)
    table = _tests(hits, names)
    ax, start, ticks, chromosomes = axes_or_new(ax), 0.0, [], []
    colors = {name: f"C{number % 10}" for number, name in enumerate(names)}
    for number, (chromosome, rows) in enumerate(table.groupby("chromosome", sort=False)):
        position = rows["position"].to_numpy(float)
        unknown = np.ptp(position) == 0
        offset = rows.groupby("response", sort=False).cumcount().to_numpy() if unknown else position - position.min()
        for name in names:
            own = (rows["response"] == name).to_numpy()
            color = colors[name] if not one else ("tab:blue", "tab:gray")[number % 2]
            ax.plot(start + offset[own], rows[hits.height][own], ".", markersize=3, color=color)
        ticks.append(start + offset.max() / 2)
        chromosomes.append(str(chromosome))
        start += offset.max() * 1.02 + 1.0
    if threshold is not None:
        ax.axhline(-np.log10(threshold), color="tab:red", linewidth=0.8)
    if not one:
        for name in names:
            ax.plot([], [], ".", color=colors[name], label=name)
        ax.legend(frameon=False)
    else:
        ax.set_title(names[0])
    ax.set_xticks(ticks, chromosomes)
    ax.set(xlabel="chromosome", ylabel=_p_label(hits))
    return ax


def region(hits: Scan, region: str, response: str | None = None, *, genotypes: Any = None, ax: Any = None) -> Axes:
    """Draw −log10 p of the markers in one region by their positions, the most significant one marked.

    Parameters
    ----------
    hits, response, ax
        As in :func:`manhattan`, of one response.
    region
        ``"6:25000000-34000000"``: a chromosome, and the first and last position.
    genotypes
        What :func:`jaxlmm.genetics.genotypes` opens: markers are then colored by r², the squared correlation of their
        counts with those of the most significant one, in all samples.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        If the region is written otherwise.
    DataError, GenotypeError
        If no marker was tested there, or the genotypes lack one.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import jaxlmm as lmm
    >>> people = lmm.datasets.variants5()
    >>> hits = lmm.scan("height ~ (1 | family)", people, genotypes=people[["variant1", "variant2", "variant3"]])
    >>> lmm.plot.region(hits, "0:0-10").get_xlabel()
    'position on chromosome 0'
    """
    chromosome, first, last = parse_region(region)
    name = _response(hits, response)
    table = _tests(hits, [name])
    inside = (table["chromosome"].astype(str) == chromosome) & table["position"].between(first, last)
    table = table[inside.to_numpy()]
    if table.empty:
        raise DataError(f"region: no marker in {region} was tested for {name!r}.")
    ax, position, height = axes_or_new(ax), table["position"].to_numpy(float), table[hits.height].to_numpy(float)
    top = int(np.argmax(height))
    if genotypes is None:
        ax.plot(position, height, ".", markersize=4, color="tab:blue")
    else:
        shown = ax.scatter(position, height, s=10, c=_squared_correlations(genotypes, table, top), vmin=0.0, vmax=1.0)
        ax.figure.colorbar(shown, ax=ax, label=f"r² with {table['variant'].iloc[top]}")
    ax.plot(position[top], height[top], "D", color="tab:red", markersize=5)
    ax.annotate(
        str(table["variant"].iloc[top]), (position[top], height[top]), xytext=(5, 5), textcoords="offset points"
    )
    ax.set(xlabel=f"position on chromosome {chromosome}", ylabel=_p_label(hits), title=name)
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
    name = _response(hits, response)
    table, inflation = _tests(hits, [name]), hits.lambda_gc()
    observed = np.sort(table[hits.height].to_numpy(float))[::-1]
    m = observed.size
    rank = np.arange(1, m + 1)
    expected = -np.log10((rank - 0.5) / m)
    ax = axes_or_new(ax)
    low, high = order_statistic_limits(rank.astype(float), m)
    ax.fill_between(expected, -np.log10(high), -np.log10(low), color="lightgrey")
    ax.plot(expected, expected, color="grey", linewidth=0.8)
    ax.plot(expected, observed, ".", markersize=3)
    ax.set(xlabel="expected -log10 p", ylabel=f"observed {_p_label(hits)}")
    ax.set_title(f"{name}: λ = {inflation[name]:.3f}")
    return ax


def _response(hits: Scan, response: str | None) -> str:
    """Return the response that is asked for, the only one if none is."""
    if response is None and len(hits.responses) > 1:
        raise OptionError(f"response: expected one of {len(hits.responses)} responses, such as {hits.responses[0]!r}.")
    return hits.responses[0] if response is None else response


def _tests(hits: Scan, names: Sequence[str]) -> pd.DataFrame:
    """Return the tested markers of some responses, with places and −log10 p."""
    for name in names:
        if name not in hits.responses:
            raise OptionError(f"response: {name!r} is no response; {nearest(str(name), hits.responses)}.")
    table = hits.table.read(["response", "chromosome", "position", "variant", hits.height])
    tested = table[table["response"].isin(names) & table[hits.height].notna()]
    for name in names:
        if not (tested["response"] == name).any():
            raise DataError(
                f"response {name!r}: no marker was tested for it, so there is nothing to draw; print(hits)."
            )
    return tested


def _squared_correlations(genotypes: Any, table: pd.DataFrame, top: int) -> Float[NumpyArray, " k"]:
    """Return r² of the counts of the markers of a table with those of one of them."""
    opened = as_genotypes(genotypes)
    key = ["chromosome", "position", "variant"]
    known = pd.MultiIndex.from_frame(opened.variants[key].astype({"chromosome": str}))
    places = known.get_indexer(pd.MultiIndex.from_frame(table[key].astype({"chromosome": str})))
    if (places < 0).any():
        absent = table["variant"].iloc[int(np.flatnonzero(places < 0)[0])]
        raise GenotypeError(f"genotypes: expected the markers of the scan, got no {absent!r} in {opened.source.name}.")
    counts = opened.read(places)
    own = counts - np.nanmean(counts, axis=0)
    own = np.where(np.isnan(own), 0.0, own)  # no call is the mean
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((own.T @ own[:, top]) ** 2 / (np.sum(own**2, axis=0) * np.sum(own[:, top] ** 2)))


def _p_label(hits: Scan) -> str:
    """Return the label of the axis: −log10 p, and the test if there are several."""
    test = hits.height.removeprefix("neg_log10_p").removeprefix("_")
    return f"-log10 p ({test})" if test else "-log10 p"
