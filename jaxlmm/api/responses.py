"""Many responses on one frame: complete ones in batches, those with missing values by their patterns of rows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import NumpyArray, default_device, in_double_precision
from jaxlmm.api.options import FitOptions
from jaxlmm.api.progress import progress_bar
from jaxlmm.api.values import natural
from jaxlmm.api.workers import fit_in_workers
from jaxlmm.engine import patterns_of, solve_by_response, solve_many
from jaxlmm.formula import ModelFrame, Responses, constant_responses, exact_levels
from jaxlmm.model import Natural, held_layout
from jaxlmm.results import Collector, ManyEstimates, examined, of_full_rank
from jaxlmm.solvers import Choice, Route

MIN_SHARE_COMPLETE = 0.75
"""Share of complete responses above which all responses go through the complete batch: a copy of the complete ones
would cost more. Results of the others there are replaced when these are fitted by their patterns of rows."""


@in_double_precision
@np.errstate(all="ignore")
def refitted(
    options: FitOptions, frame: ModelFrame, choice: Choice, y: Float[NumpyArray, "n m"], executor: Any = None
) -> ManyEstimates:
    """Fit the model of a frame to other responses ``y`` on its rows, named by their numbers; NaN where missing."""
    read = Responses(tuple(str(number) for number in range(y.shape[1])), y, "by order")
    return estimates_of(options, frame, choice, read, y, time.perf_counter(), False, executor)


def estimates_of(
    options: FitOptions,
    frame: ModelFrame,
    choice: Choice,
    read: Responses,
    y: Float[NumpyArray, "n m"],
    started: float,
    progress: bool | None,
    executor: Any = None,
) -> ManyEstimates:
    """Fit the model of a frame to the responses that were read, ``y`` on its rows; ``started`` is when that began.

    With an ``executor`` its workers fit them.
    """
    n, _ = _observed(y)
    notes, circular = frame.notes_on(read.names, y), read.is_circular
    fixed = natural("fixed", options.fixed, frame.labels, frame.design)
    exact = _exact_levels(frame, y, fixed)
    constant = constant_responses(frame, y, options.fixed or {})
    unusable = circular | (exact != "") | constant
    if unusable.any():  # they are left out as if they had no values
        y = np.where(unusable, np.nan, y)
    with progress_bar(y.shape[1], progress, "responses") as done:
        if executor is None:
            collector = _collected(options, frame, choice, y, done)
        else:
            collector = Collector(frame, n, held_layout(frame.design, fixed), fixed)
            fit_in_workers(executor, _collected, (options, frame, choice), y, collector, done)
    collector.arrays["n"] = n
    for level in sorted(set(exact) - {""}):
        collector.explain(np.flatnonzero(exact == level), "perfect_fit", f" in {level}")
    collector.explain(np.flatnonzero(constant), "constant")
    collector.explain(np.flatnonzero(circular), "also_a_predictor")
    seconds, device = time.perf_counter() - started, str(default_device())
    return collector.finish(read, notes, choice, options.criterion, device, seconds)


def _collected(
    options: FitOptions,
    frame: ModelFrame,
    choice: Choice,
    y: Float[NumpyArray, "n m"],
    done: Callable[[int], None] = lambda count: None,
) -> Collector:
    """Fit all responses, NaN where they are missing; return what was found."""
    start = natural("start", options.start, frame.labels, frame.design)
    fixed = natural("fixed", options.fixed, frame.labels, frame.design)
    n, complete = _observed(y)
    collector = Collector(frame, n, held_layout(frame.design, fixed), fixed)
    engine_options = {
        "solver": choice.solver, "method": options.criterion, "parameters": frame.labels.natural,
        "first_order": options.first_order, "start": start, "fixed": fixed,
    }  # fmt: skip
    _Responses(frame, y, collector, engine_options, done).fit(complete)
    return collector


def _observed(y: Float[NumpyArray, "n m"]) -> tuple[Int[NumpyArray, " m"], Bool[NumpyArray, " m"]]:
    """Return the number of values of each response that are finite, and whether all are."""
    n, complete = np.full(y.shape[1], len(y)), np.isfinite(y.sum(axis=0))
    n[~complete] = np.isfinite(y[:, ~complete]).sum(axis=0)
    return n, complete


def _exact_levels(frame: ModelFrame, y: Float[NumpyArray, "n m"], fixed: Natural | None) -> Shaped[NumpyArray, " m"]:
    """Return :func:`jaxlmm.formula.exact_levels` of all responses, each on the rows on which it is observed."""
    found = np.full(y.shape[1], "", object)
    if frame.dispersion_levels:
        for rows, index in patterns_of(y, np.arange(y.shape[1])):
            found[index] = exact_levels(frame, y[:, index], rows, fixed)
    return found


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Responses:
    """Responses ``y`` on the rows of a frame: each ends in the ``collector``, as an optimum or with a reason.

    ``options`` are those of the engine; ``done`` is called with the number of responses just dealt with.
    """

    frame: ModelFrame
    y: Float[NumpyArray, "n m"]
    collector: Collector
    options: dict[str, Any]
    done: Callable[[int], None]

    def fit(self, complete: Bool[NumpyArray, " m"]) -> None:
        """Fit the ``complete`` responses, without a missing or infinite value, then the others."""
        if self.frame.design.distribution is not None:
            self._fit_generalized(self._without_values(np.arange(self.y.shape[1])))
            return
        if complete.any():
            self._fit_complete(complete)
        self._fit_by_pattern(self._without_values(np.flatnonzero(~complete)))

    def _without_values(self, index: Int[NumpyArray, " b"]) -> Int[NumpyArray, " c"]:
        """Return the responses ``index`` less those with an infinite value, or without any."""
        infinite, missing = np.isinf(self.y[:, index]).any(axis=0), np.isnan(self.y[:, index]).all(axis=0)
        self.collector.explain(index[infinite], "infinite")
        self.collector.explain(index[missing], "all_missing")
        self.done(int(np.sum(infinite | missing)))
        return index[~(infinite | missing)]

    def _fit_generalized(self, index: Int[NumpyArray, " b"]) -> None:
        """Fit responses of a family, all in one batch: where one is missing, the row has no weight in it.

        Those with a value that the family cannot have, and those without a finite estimate, are left out.
        """
        design, rows = self.frame.design, np.arange(len(self.y))
        impossible, apart = examined(self.frame, self.y[:, index])
        self.collector.explain(index[impossible], "not_of_family")
        for number, direction in apart.items():
            self.collector.separate(index[number], f": {direction}")
        wrong = impossible.copy()
        wrong[list(apart)] = True
        self.done(int(wrong.sum()))
        index = index[~wrong]
        observed = np.isfinite(self.y[:, index])
        regular = of_full_rank(np.asarray(design.basis)[: rows.size], observed)
        some = self.y[:, index[regular]]
        covariances = _ColumnCovariances(self.frame.x)
        for part, found in solve_many(design.unpadded(), some, done=self.done, **self.options):
            assert found is not None
            own = observed[:, regular][:, part]
            column_cov = covariances.of_all_rows() if own.all() else covariances.by_response(own)
            self.collector.add(index[regular][part], found, column_cov)
        for own_rows, alike in patterns_of(self.y, index[~regular]):
            self._fit_pattern(own_rows, alike)

    def _fit_complete(self, complete: Bool[NumpyArray, " m"]) -> None:
        y, everything = self.y, complete.mean() > MIN_SHARE_COMPLETE
        index, batch = np.arange(y.shape[1]), y
        if not everything:
            index, batch = index[complete], y[:, complete]
        column_cov = _ColumnCovariances(self.frame.x).of_all_rows()
        for part, found in solve_many(self.frame.design.unpadded(), batch, done=self.done, **self.options):
            if found is not None:
                self.collector.add(index[part], found, column_cov)
                continue
            failed = index[part][complete[index[part]]]
            self._explain(failed, np.arange(len(y)))

    def _fit_by_pattern(self, index: Int[NumpyArray, " b"]) -> None:
        """Fit responses with missing values: in one batch by a route of the solver, else by designs of their own."""
        design, y, solver = self.frame.design, self.y, self.options["solver"]
        small: dict[Route, list[NumpyArray]] = {}
        large: list[tuple[NumpyArray, NumpyArray]] = []
        for rows, same_rows in patterns_of(y, index):
            weighted_anew = design.dispersion is not None  # at each theta: nothing is prepared by response
            route = Route.DESIGN if weighted_anew else solver.route(design, same_rows.size)
            if route is Route.DESIGN:
                large.append((rows, same_rows))
            else:
                small.setdefault(route, []).append(same_rows)
        for route, batches in small.items():
            together, covariances = np.concatenate(batches), _ColumnCovariances(self.frame.x)
            for part, found in solve_by_response(
                design.unpadded(), y[:, together], route=route, done=self.done, **self.options
            ):
                batch = together[part]
                if found is None:  # not to be solved in one batch, or a perfect fit: its own design tells which
                    large += patterns_of(y, batch)
                else:
                    self.collector.add(batch, found, covariances.by_response(np.isfinite(y[:, batch])))
        for rows, same_rows in large:
            self._fit_pattern(rows, same_rows)

    def _fit_pattern(self, rows: Int[NumpyArray, " _"], index: Int[NumpyArray, " b"]) -> None:
        """Fit the responses that are observed on the same ``rows`` on a design of their own."""
        design, kept = self.frame.design.at_rows(rows)
        if rows.size <= kept.sum():
            self.collector.explain(index, "too_few_rows")
            self.done(index.size)
            return
        if design.distribution is not None:  # theta has the coefficients, as many as in all others
            design = design.with_padded_columns(to=kept.size)
        x = self.frame.x[np.ix_(rows, np.flatnonzero(kept))]
        column_cov = np.full((kept.size, kept.size), np.nan)
        column_cov[np.ix_(kept, kept)] = _ColumnCovariances(x).of_all_rows()
        for part, found in solve_many(design, self.y[np.ix_(rows, index)], done=self.done, **self.options):
            if found is None:
                self._explain(index[part], rows)
            else:
                self.collector.add(index[part], found.of_columns(int(kept.sum())), column_cov, kept)

    def _explain(self, index: Int[NumpyArray, " b"], rows: Int[NumpyArray, " _"]) -> None:
        """Say why responses that the fixed effects fit perfectly on their ``rows`` have no optimum."""
        constant = np.ptp(self.y[np.ix_(rows, index)] - self.frame.offset[rows, None], axis=0) == 0
        self.collector.explain(index[constant], "constant")
        self.collector.explain(index[~constant], "perfect_fit")
        self.done(index.size)


class _ColumnCovariances:
    """Sample covariances of the fixed-effect columns over the rows on which responses are observed."""

    def __init__(self, x: Float[NumpyArray, "n p"]) -> None:
        self.x = x - x.mean(axis=0)

    def of_all_rows(self) -> Float[NumpyArray, "p p"]:
        """Return the covariance over all rows."""
        return np.asarray(self.x.T @ self.x / (len(self.x) - 1))

    def by_response(self, observed: Bool[NumpyArray, "n b"]) -> Float[NumpyArray, "b p p"]:
        """Return the covariance over the rows on which each response is ``observed``."""
        x, (n, p) = self.x, self.x.shape
        counts, indicator = observed.sum(axis=0), observed.astype(float)
        products = (x[:, :, None] * x[:, None, :]).reshape(n, p * p)
        means = (indicator.T @ x) / counts[:, None]
        squares = (indicator.T @ products).reshape(counts.size, p, p)
        total = squares - counts[:, None, None] * means[:, :, None] * means[:, None, :]
        return np.asarray(total / (counts - 1)[:, None, None])
