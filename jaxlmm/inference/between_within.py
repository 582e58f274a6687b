"""Degrees of freedom by the level at which a coefficient is estimated: between and within groups."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray


def nested_order(codes: Sequence[Int[NumpyArray, " n"]]) -> list[int] | None:
    """Return groupings from the outermost to the innermost; None where one is not nested in the other.

    ``codes`` (n,) of each grouping count its levels from 0.

    >>> nested_order([np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1])]), nested_order([np.array([0, 0, 1, 1])] * 2)
    ([1, 0], [0, 1])
    >>> nested_order([np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])])
    """
    order = sorted(range(len(codes)), key=lambda g: int(codes[g].max(initial=-1)))
    for outer, inner in itertools.pairwise(order):
        pairs = np.unique(np.stack([codes[inner], codes[outer]]), axis=1)
        if np.unique(pairs[0]).size != pairs.shape[1]:
            return None
    return order


def between_within(
    x: Float[NumpyArray, "n p"],
    terms: Sequence[Int[NumpyArray, " _"]],
    codes: Sequence[Int[NumpyArray, " n"]],
    *,
    intercept: bool,
) -> Float[NumpyArray, " p"]:
    """Return the denominator degrees of freedom of each coefficient.

    A term is estimated at the innermost of the nested groupings within which it varies: ``m_l − (m_(l−1) + p_l)`` with
    m_l the number of groups at level l, m_0 1 with an intercept, the last one the rows, and p_l the number of
    coefficients of terms estimated there; the intercept counts among those that vary within the innermost groups
    (Pinheiro and Bates 2000, section 2.4.2, as nlme has it).

    Parameters
    ----------
    x
        The columns of X.
    terms
        The columns of each term but the intercept, by number.
    codes
        The level of each row, of each grouping from the outermost to the innermost.
    intercept
        Whether there is one.

    Examples
    --------
    >>> subject, time = np.repeat(np.arange(4), 3), np.tile(np.arange(3.0), 4)
    >>> x = np.column_stack([np.ones(12), time, subject < 2])
    >>> between_within(x, [np.array([1]), np.array([2])], [subject], intercept=True).tolist()
    [7.0, 7.0, 2.0]
    """
    groups = [1 if intercept else 0, *(int(np.unique(own).size) for own in codes), len(x)]
    levels = [_level(x[:, columns], codes) for columns in terms]
    estimated = np.zeros(len(codes) + 1)
    for columns, level in zip(terms, levels, strict=True):
        estimated[level] += len(columns)
    df = groups[1:] - (np.array(groups[:-1]) + estimated)
    found = np.full(x.shape[1], df[-1])
    for columns, level in zip(terms, levels, strict=True):
        found[columns] = df[level]
    return found


def _level(columns: Float[NumpyArray, "n c"], codes: Sequence[Int[NumpyArray, " n"]]) -> int:
    """Return the number of the outermost grouping within whose levels columns are constant; that of rows, last."""
    for level, own in enumerate(codes):
        first = np.zeros(int(own.max(initial=0)) + 1, int)
        first[own[::-1]] = np.arange(len(own))[::-1]
        if np.allclose(columns, columns[first[own]], rtol=1e-10, atol=1e-10 * np.abs(columns).max(initial=0.0)):
            return level
    return len(codes)
