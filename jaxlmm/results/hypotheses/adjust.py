"""Adjustment of p-values and intervals for several comparisons."""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import choose

ADJUSTMENTS = ("tukey", "holm", "bonferroni", "none")
"""The values of ``adjust``."""


def choose_adjustment(adjust: str, *, pairwise: bool) -> str:
    """Return ``adjust`` if it is defined; Tukey's is of all pairwise differences alone."""
    return choose("adjust", adjust, ADJUSTMENTS if pairwise else ADJUSTMENTS[1:])


def adjusted(
    p_value: Float[NumpyArray, "*b c"],
    statistic: Float[NumpyArray, "*b c"],
    df: Float[NumpyArray, "*b c"],
    adjust: str,
    n_means: int,
) -> Float[NumpyArray, "*b c"]:
    """Return p-values adjusted for the c comparisons of a family, along the last axis; NaN does not count.

    ``"tukey"`` is the probability that the largest studentized range of ``n_means`` means is larger than √2 |t|;
    ``"bonferroni"`` multiplies by c, ``"holm"`` step by step (Holm 1979).
    """
    known = np.isfinite(p_value)
    count = known.sum(axis=-1, keepdims=True)
    if adjust == "bonferroni":
        return np.where(known, np.minimum(p_value * count, 1.0), np.nan)
    if adjust == "holm":
        filled = np.where(known, p_value, np.inf)
        order = np.argsort(filled, axis=-1, kind="stable")
        factor = count - np.arange(p_value.shape[-1])
        stepped = np.maximum.accumulate(np.take_along_axis(filled, order, -1) * np.maximum(factor, 1), axis=-1)
        found = np.empty_like(filled)
        np.put_along_axis(found, order, np.minimum(stepped, 1.0), axis=-1)
        return np.where(known, found, np.nan)
    if adjust == "tukey" and n_means > 2:
        found = np.full(p_value.shape, np.nan)
        ranges, degrees = np.sqrt(2.0) * np.abs(statistic[known]), df[known]
        found[known] = scipy.stats.studentized_range.sf(ranges, n_means, np.minimum(degrees, 1e5))
        return found
    return p_value


def critical(df: Float[NumpyArray, "*b c"], level: float, adjust: str, n_means: int) -> Float[NumpyArray, "*b c"]:
    """Return the multiple of the standard error at which simultaneous intervals of a family of c comparisons end.

    Holm's steps have no intervals; those of Bonferroni are used.
    """
    count = np.maximum(np.sum(~np.isnan(df), axis=-1, keepdims=True), 1)
    if adjust == "tukey" and n_means > 2:
        found = np.full(df.shape, np.nan)
        known = np.round(np.minimum(df[~np.isnan(df)], 1e5), 6)  # equal but for rounding: a quantile takes long
        values, index = np.unique(known, return_inverse=True)
        quantiles = scipy.stats.studentized_range.ppf(level, n_means, values) / np.sqrt(2.0)
        found[~np.isnan(df)] = quantiles[index]
        return found
    tail = 0.5 * (1.0 - level) / (count if adjust in ("bonferroni", "holm") else np.ones_like(count))
    with np.errstate(invalid="ignore"):
        student = scipy.special.stdtrit(np.where(np.isinf(df), 1.0, df), 1.0 - tail)
    return np.where(np.isinf(df), scipy.special.ndtri(1.0 - tail), student)
