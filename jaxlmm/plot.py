"""Pictures of fits. Matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxlmm.errors import OptionError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxlmm.results import Fit, FitMany

DISCOVERED = 0.05
"""The false discovery rate below which a point is marked."""


def ranef(fit: Fit, group: str, *, ax: Any = None) -> Axes:
    """Draw the conditional modes of a group in increasing order, with 95 % intervals; one colour per column.

    Parameters
    ----------
    fit, group
        A fit and one of its grouping factors.
    ax
        Axes to draw on; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        Levels in which a column does not occur (their mode is exactly zero) are left out of that column.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.plot.ranef(fit, "Subject").get_ylabel()
    'conditional mode'
    """
    ax = _axes(ax)
    modes, sds = pd.DataFrame(fit.ranef(group)), pd.DataFrame(fit.ranef_sd(group))
    start = 0
    for column in modes:
        shown = modes[column][modes[column] != 0.0].sort_values()
        places = start + np.arange(len(shown))
        ax.errorbar(places, shown, 1.96 * sds[column].loc[shown.index], fmt=".", elinewidth=0.7, label=str(column))
        start += len(shown)
    ax.axhline(0.0, color="grey", linewidth=0.8)
    ax.set(xlabel=f"{group}, in order of the mode", ylabel="conditional mode")
    ax.legend(frameon=False)
    return ax


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
    ax, marked = _axes(ax), (table["q_value"] < DISCOVERED).to_numpy()
    height = -np.log10(np.maximum(table["p_value"].to_numpy(float), np.finfo(float).tiny))
    for some, colour, label in (
        (~marked, "grey", f"q ≥ {DISCOVERED}"),
        (marked, "tab:red", f"q < {DISCOVERED}"),
    ):
        x = table["estimate"].to_numpy(float)[some]
        ax.plot(x, height[some], ".", color=colour, label=f"{label}: {some.sum()}")
    ax.axvline(0.0, color="grey", linewidth=0.8)
    ax.set(xlabel=f"estimate of {term}", ylabel="-log10 p")
    ax.legend(frameon=False)
    return ax


def _axes(ax: Any) -> Any:
    """Return ``ax``, or axes of a new figure."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(8.0, 4.5), layout="constrained").add_subplot()
