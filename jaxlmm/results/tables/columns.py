"""Small tables of estimates: tests, intervals, and the columns that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.errors import OptionError

MAX_NAMES_PER_REASON = 3
"""Responses that are listed by name for one reason."""

COEF_COLUMNS = ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]


def t_table(
    names: list[Any],
    estimate: Float[NumpyArray, " c"],
    std_error: Float[NumpyArray, " c"],
    df: Float[NumpyArray, "*_"],
    level: float,
) -> pd.DataFrame:
    """Return estimates with t tests and intervals; an infinite ``df``, one for each or for all, gives normal ones.

    Raises
    ------
    OptionError
        If ``level`` is not between 0 and 1.
    """
    columns = t_columns(estimate, std_error, df, level)
    return pd.DataFrame(np.column_stack(columns), index=pd.Index(names, name="term"), columns=COEF_COLUMNS)


def t_columns(
    estimate: Float[NumpyArray, "*b c"],
    std_error: Float[NumpyArray, "*b c"],
    df: Float[NumpyArray, "*_"],
    level: float,
) -> list[Float[NumpyArray, "*b c"]]:
    """Return the columns of :func:`t_table`."""
    check_level(level)
    df = np.broadcast_to(df, estimate.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(std_error > 0, estimate / std_error, np.nan)
    normal = np.isinf(df)
    finite = np.where(normal, 1.0, df)
    p_value = 2.0 * np.where(
        normal, scipy.special.ndtr(-np.abs(statistic)), scipy.special.stdtr(finite, -np.abs(statistic))
    )
    tail = 0.5 + 0.5 * level
    half = std_error * np.where(normal, scipy.special.ndtri(tail), scipy.special.stdtrit(finite, tail))
    return [estimate, std_error, df, statistic, p_value, estimate - half, estimate + half]


def intervals(
    parameters: Sequence[Parameter],
    estimate: Float[NumpyArray, "*b c"],
    std_error: Float[NumpyArray, "*b c"],
    level: float = 0.95,
) -> tuple[Float[NumpyArray, "*b c"], Float[NumpyArray, "*b c"]]:
    """Return Wald limits of each of c parameters, on its own scale and within its bounds."""
    check_level(level)
    low, high = np.empty(estimate.shape), np.empty(estimate.shape)
    for column, parameter in enumerate(parameters):
        i = (..., column)
        low[i], high[i] = parameter.interval(estimate[i], std_error[i], level)
    return low, high


def check_level(level: float) -> None:
    """Raise unless a confidence level is between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise OptionError(f"level: expected a number between 0 and 1, got {level!r}.")


def estimate_frame(
    names: list[str], estimate: Float[NumpyArray, " c"], std_error: Float[NumpyArray, " c"], parameter: Parameter
) -> pd.DataFrame:
    """Return ``estimate std_error conf_low conf_high`` by name; each is a ``parameter`` of this declaration."""
    low, high = intervals([parameter] * len(names), estimate.astype(float), std_error.astype(float))
    table = {"estimate": estimate, "std_error": std_error, "conf_low": low, "conf_high": high}
    return pd.DataFrame(table, index=pd.Index(names))


def noted(notes: Sequence[str], how: str) -> str:
    """Return the number of notes, and how to see them, as the end of a line that has no room for them.

    >>> noted(["y is 0 or 1."], "print it")
    '; 1 note, print it'
    """
    return f"; {len(notes)} note{'s' if notes[1:] else ''}, {how}" if notes else ""


def status_counts(words: Shaped[NumpyArray, " m"]) -> str:
    """Return in words how often each status occurs, the most frequent first.

    >>> status_counts(np.array(["interior", "boundary", "interior"]))
    'interior 2, boundary 1'
    """
    names, counts = np.unique(words.astype(str), return_counts=True)
    return ", ".join(f"{names[i]} {counts[i]}" for i in np.argsort(-counts, kind="stable"))


def by_reason(reasons: Mapping[str, str]) -> list[str]:
    """Return a line for each reason, with the names of its responses.

    >>> by_reason({"a": "constant", "b": "all_missing", "c": "constant"})
    ['a, c (constant)', 'b (all_missing)']
    """
    names: dict[str, list[str]] = {}
    most = MAX_NAMES_PER_REASON
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return [
        f"{', '.join(several[:most])}{f' and {len(several) - most:,} more' if several[most:] else ''} ({reason})"
        for reason, several in names.items()
    ]
