"""Pictures of one fit: effects, lines by group, profiles, marginal means, influence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy

from jaxlmm.errors import OptionError, nearest
from jaxlmm.formula.columns import variables_of
from jaxlmm.plot.axes import axes_or_new, name_ticks
from jaxlmm.results import Fit, Influence, MarginalMeans, Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_GROUPS_DRAWN = 40
"""The most groups whose lines are drawn: the first of them."""

N_CASES_NAMED = 5
"""The cases of the largest influence, whose names are drawn."""


def ranef(fit: Fit, group: str, *, ax: Any = None) -> Axes:
    """Draw the conditional modes of a group in increasing order, with 95 % intervals; one color per column.

    Parameters
    ----------
    fit, group
        A fit and one of its grouping factors.
    ax
        Axes to draw on; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        Levels in which a column does not occur (their mode is exactly zero) are left out of that column. The levels
        are named below where there is room for it.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.plot.ranef(fit, "Subject").get_ylabel()
    'conditional mode'
    """
    ax = axes_or_new(ax)
    modes, sds = pd.DataFrame(fit.ranef(group)), pd.DataFrame(fit.ranef_sd(group))
    start, names = 0, []
    for column in modes:
        shown = modes[column][modes[column] != 0.0].sort_values()
        x = start + np.arange(len(shown))
        ax.errorbar(x, shown, 1.96 * sds[column].loc[shown.index], fmt=".", elinewidth=0.7, label=str(column))
        start += len(shown)
        names += [str(level) for level in shown.index]
    name_ticks(ax, names)
    ax.axhline(0.0, color="grey", linewidth=0.8)
    ax.set(xlabel=f"{group}, in order of the mode", ylabel="conditional mode")
    ax.legend(frameon=False)
    return ax


def lines(fit: Fit, x: str, group: str, *, ax: Any = None) -> Axes:
    """Draw observed values and fitted lines over a variable, one color for each level of a group.

    Parameters
    ----------
    fit
        A fit with its rows.
    x
        A variable of the data.
    group
        A grouping factor; of more than forty levels the first forty are drawn.

    Raises
    ------
    OptionError
        If ``group`` is no grouping factor.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.plot.lines(fit, "Days", "Subject").get_xlabel()
    'Days'
    """
    if group not in fit.frame.levels:
        raise OptionError(f"group: no random term is grouped by {group!r}; {nearest(group, fit.frame.levels)}.")
    ax = axes_or_new(ax)
    along = variables_of(fit.call.data, [x])[x][fit.frame.used].to_numpy()
    codes, fitted = np.asarray(fit.frame.levels[group].codes), fit.fitted().to_numpy()
    assert fit.frame.y is not None
    for level in range(min(int(codes.max(initial=-1)) + 1, MAX_GROUPS_DRAWN)):
        rows = np.flatnonzero(codes == level)
        rows = rows[np.argsort(along[rows], kind="stable")]
        (line,) = ax.plot(along[rows], fitted[rows], linewidth=1.0)
        ax.plot(along[rows], fit.frame.y[rows], ".", color=line.get_color(), markersize=4.0)
    ax.set(xlabel=x, ylabel=fit.estimates.labels.response, title=f"observed and fitted, by {group}")
    return ax


def profile(prof: Profile, parameter: str | None = None, *, ax: Any = None) -> Axes:
    """Draw ζ, the signed root of the deviance above its minimum, over a parameter; a straight line is a normal
    likelihood.

    Parameters
    ----------
    prof
        What :meth:`jaxlmm.Fit.profile` returned.
    parameter
        Its name; without one all are drawn, each scaled by the range that is drawn.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.plot.profile(fit.profile("Residual: sd"), "Residual: sd").get_xlabel()
    'Residual: sd'
    """
    ax, frame = axes_or_new(ax), prof.frame
    names = list(prof.names) if parameter is None else [parameter]
    for name in names:
        if name not in prof.names:
            raise OptionError(f"parameter: {name!r} is not in this profile; {nearest(name, prof.names)}.")
        points = frame[frame["parameter"] == name]
        values, zeta = points["value"].to_numpy(), points["zeta"].to_numpy()
        if parameter is None:
            own = float(values[np.argmin(np.abs(zeta))])
            values = (values - own) / max(float(np.ptp(values)), 1e-300)
        ax.plot(values, zeta, ".-", label=name)
    critical = float(scipy.special.ndtri(0.975))
    for level in (-critical, 0.0, critical):
        ax.axhline(level, color="grey", linewidth=0.8, linestyle="-" if level == 0.0 else ":")
    ax.set(xlabel=parameter or "distance from the estimate, of the range drawn", ylabel="ζ (dotted: 95 %)")
    if parameter is None:
        ax.legend(frameon=False, fontsize=8.0)
    return ax


def emmeans(means: MarginalMeans, *, ax: Any = None) -> Axes:
    """Draw marginal means with their intervals; one color for each combination of the factors ``by``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.datasets.cake())
    >>> lmm.plot.emmeans(fit.emmeans("recipe")).get_xlabel()
    'recipe'
    """
    ax, table = axes_or_new(ax), means.to_frame()
    cells = [" ".join(map(str, row)) for row in table[list(means.factors)].itertuples(index=False)]
    names = list(dict.fromkeys(cells))
    place = np.array([names.index(cell) for cell in cells])
    keys = [""] * len(table)
    if means.by:
        keys = [", ".join(map(str, row)) for row in table[list(means.by)].itertuples(index=False)]
    several = list(dict.fromkeys(keys))
    for number, key in enumerate(several):
        rows = np.array([own == key for own in keys])
        shown = table[rows]
        shift = 0.6 * ((number + 0.5) / len(several) - 0.5)
        errors = [shown["estimate"] - shown["conf_low"], shown["conf_high"] - shown["estimate"]]
        ax.errorbar(place[rows] + shift, shown["estimate"], errors, fmt="o", capsize=2.0, label=key)
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel=", ".join(means.factors), ylabel=f"marginal mean ({means.level:.0%} interval)")
    if means.by:
        ax.legend(title=", ".join(means.by), frameon=False)
    return ax


def influence(found: Influence, *, ax: Any = None) -> Axes:
    """Draw Cook's distance of each case that was left out; the largest are named.

    Parameters
    ----------
    found
        What :meth:`jaxlmm.Fit.influence` returned.
    ax
        Axes to draw on; a new figure otherwise.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.plot.influence(fit.influence(by="Subject")).get_xlabel()
    'Subject'
    """
    ax, distance = axes_or_new(ax), found.cooks_distance()
    place = np.arange(len(distance))
    ax.vlines(place, 0.0, distance, linewidth=0.8)
    ax.plot(place, distance, ".")
    for number in distance.reset_index(drop=True).nlargest(N_CASES_NAMED).index:
        ax.annotate(str(distance.index[number]), (number, distance.iloc[number]), (3, 3), textcoords="offset points")
    ax.set_xticks([])
    ax.margins(y=0.12)  # for the names
    ax.set_ylim(bottom=0.0)
    ax.set(xlabel=str(distance.index.name or "row"), ylabel="Cook's distance")
    return ax
