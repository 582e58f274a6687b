"""Pictures of a fit. Matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxlmm.results import Fit


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
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(8.0, 4.5), layout="constrained").add_subplot()
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
