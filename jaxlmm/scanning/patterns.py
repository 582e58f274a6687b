"""The plan of a scan: patterns of missing values, chunks of responses and markers, and how a marker is tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.engine import patterns_of
from jaxlmm.inference import Reason
from jaxlmm.model import Design, least_squares
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.kernels import has_one_ratio
from jaxlmm.solvers import Choice, as_solver, select

MIN_RELATIVE_RESIDUAL = 1e-12
"""The length of a response's residual from the fixed effects, relative to its own, above which it can be tested."""


class Pattern(NamedTuple):
    """Rows of the design, and the indices of the testable responses that are observed on just these rows."""

    rows: Int[NumpyArray, " n"]
    responses: Int[NumpyArray, " m"]


class Chunk(NamedTuple):
    """Responses ``first`` to ``last`` of a pattern against markers ``start`` to ``stop`` of a group, by index."""

    marker_group: int
    pattern: int
    first: int
    last: int
    start: int
    stop: int

    @property
    def n_pairs(self) -> int:
        """The number of pairs of a response and a marker."""
        return (self.last - self.first) * (self.stop - self.start)


class ScanMethod(NamedTuple):
    """How markers are tested: in one eigenbasis where a model has ``one_ratio`` of variances, otherwise by a solver."""

    one_ratio: bool
    choice: Choice

    @classmethod
    def of(cls, data: ScanData) -> ScanMethod:
        """Choose the method.

        The eigenbasis is ruled out by options: a solver that does not diagonalize, an optimizer, fixed parameters.
        """
        options, design = data.call.options, data.frame.design
        asked = as_solver(options.solver)
        as_usual = (asked is None or asked.diagonalizes) and options.first_order is None and options.fixed is None
        one = has_one_ratio(design) and as_usual
        return cls(one, select(design, options.solver))

    def kind(self, variances: str) -> str:
        """Return the kind of cost of a pair: least for ``"one ratio"``, then ``"null"``, most for ``"refit"``."""
        return "one ratio" if self.one_ratio else "refit" if variances == "refit" else "null"

    def words(self, design: Design, variances: str) -> str:
        """Return the method in words, as prints of a scan have it."""
        if self.one_ratio:
            return "one variance ratio, diagonalized once" if design.terms else "linear model"
        how = {
            "refit": "refitted markers are fits of their own, thousands of times slower than with one variance ratio",
            "null": "products with the inverse of the covariance",
            "kept": "products with the inverse of the covariance; refitted markers are fits of their own",
        }[variances]
        return f"{self.choice.name} ({self.choice.reason}); {how}"


def testable_patterns(data: ScanData) -> tuple[list[Pattern], dict[int, Reason]]:
    """Return the patterns of missing values with their testable responses, and the reason for each other response."""
    y, design = data.y, data.frame.design
    infinite, missing, circular = np.isinf(y).any(axis=0), np.isnan(y).all(axis=0), data.responses.is_circular
    untested: dict[int, Reason] = dict.fromkeys(np.flatnonzero(infinite).tolist(), "infinite")
    untested |= dict.fromkeys(np.flatnonzero(missing).tolist(), "all_missing")
    untested |= dict.fromkeys(np.flatnonzero(circular).tolist(), "also_a_predictor")
    patterns = []
    for rows, responses in patterns_of(y, np.flatnonzero(~(infinite | missing | circular))):
        observed = design_on(design, rows)
        if rows.size - int(observed.n_fixed) <= 1 + (data.moderator is not None):
            untested |= dict.fromkeys(responses.tolist(), "too_few_rows")
            continue
        values = y[np.ix_(rows, responses)]
        varying = _varying(observed, values)
        for response, column in zip(responses[~varying].tolist(), values[:, ~varying].T, strict=True):
            untested[response] = "constant" if np.ptp(column) == 0 else "perfect_fit"
        if varying.any():
            patterns.append(Pattern(rows, responses[varying]))
    return patterns, untested


def rows_in_words(data: ScanData, patterns: Sequence[Pattern]) -> str:
    """Return the number of rows in words, and how many of them have a response, over the patterns."""
    n, n_dropped = len(data.y), data.frame.n_dropped
    sizes = [pattern.rows.size for pattern in patterns] or [n]
    fewest, most = min(sizes), max(sizes)
    words = f"{n:,}" + (f" ({n_dropped:,} dropped: missing values)" if n_dropped else "")
    if fewest == n:
        return words
    counts = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"{words}; {counts} with a response"


def design_on(design: Design, rows: Int[NumpyArray, " n"]) -> Design:
    """Return a design on some of its rows."""
    return design.at_rows(rows)[0] if rows.size < int(design.n) else design


def _varying(design: Design, y: Float[NumpyArray, "n m"]) -> Bool[NumpyArray, " m"]:
    """Return which responses the fixed effects do not explain altogether."""
    n = len(y)
    basis = np.asarray(design.basis)[:n]
    weighted = np.asarray(design.root_weight)[:n, None] * (y - np.asarray(design.offset)[:n, None])
    _, residual = least_squares(basis, weighted)
    limit = MIN_RELATIVE_RESIDUAL**2 * np.sum(weighted**2, axis=0)
    return np.asarray(np.sum(residual**2, axis=0) > limit)
