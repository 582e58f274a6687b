"""One model for many responses: complete ones in batches, those with missing values by their patterns of rows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import NumpyArray, as_frame, as_table, default_device, in_double_precision
from jaxlmm.api.call import Call
from jaxlmm.api.progress import progress_bar
from jaxlmm.api.values import natural
from jaxlmm.engine import patterns_of, solve_by_response, solve_many
from jaxlmm.formula import ModelFrame, Responses, build_frame, exact_levels, parse, read_responses, updated
from jaxlmm.formula.syntax import column_of, resolved, with_known_names
from jaxlmm.formula.tokens import quoted
from jaxlmm.model import Natural, held_layout
from jaxlmm.results import Collector, Fit, FitMany, ManyOrigin
from jaxlmm.solvers import Choice, Route, select

MIN_SHARE_COMPLETE = 0.75
"""Share of complete responses above which all responses go through the complete batch: a copy of the complete ones
would cost more. Results of the others there are replaced when these are fitted by their patterns of rows."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SingleCalls:
    """Fits one response of many alone: the call's formula with that response on its left side."""

    call: Call

    def single(self, name: str, y: Float[NumpyArray, " n"]) -> Fit:
        """Fit a response on the rows of the data; its name is marked if another column of the data has it."""
        table = as_table(self.call.data)
        frame = as_frame(table, list(table.columns)).copy(deep=False)
        while name in frame and not _holds(frame[name], y):
            name += " (response)"
        frame[name] = y
        formula = f"{quoted(name).text} ~ {parse(self.call.formula).right}"
        return dataclasses.replace(self.call, formula=formula, data=frame).run()

    @property
    def data(self) -> Any:
        """The data, as they were given."""
        return self.call.data

    def again(
        self, names: tuple[str, ...], y: Float[NumpyArray, "rows m"], formula: str | None, method: str
    ) -> FitMany:
        """Fit responses, on the rows of the data, by another formula, None for the same, and by a method."""
        right = self.call.formula if formula is None else updated(f"y {self.call.formula}", formula)
        call = dataclasses.replace(self.call, formula=f"~{right.split('~', 1)[1]}").with_options(method=method)
        return run_many(call, pd.DataFrame(y, columns=list(names)).set_axis(_index_of(self.call.data)), None, False)


def _index_of(data: Any) -> pd.Index:
    """Return the index by which responses meet the rows of data."""
    return as_frame(as_table(data), []).index


def _holds(column: pd.Series, y: Float[NumpyArray, " n"]) -> bool:
    """Whether a column of the data is the response ``y``."""
    numeric = pd.api.types.is_numeric_dtype(column)
    return numeric and np.array_equal(column.to_numpy(float, na_value=np.nan), y, equal_nan=True)


@in_double_precision
@np.errstate(all="ignore")  # what is not finite ends in a status, not in a warning
def run_many(call: Call, responses: Any, id: str | None, progress: bool | None) -> FitMany:
    """Fit the model of a call to responses found as :func:`jaxlmm.fit_many` says."""
    started = time.perf_counter()
    options, table = call.options, as_table(call.data)
    parsed = with_known_names(parse(call.formula, table.columns), table.columns, options, allow_cbind=True)
    read = read_responses(parsed, table, responses, id)
    not_predictors = [
        *read.names,  # '.' does not stand for them
        *([] if id is None else [column_of("id", id, table.columns)]),
    ]
    parsed = resolved(parsed, table.columns, options, not_predictors, allow_cbind=True)._replace(response=())
    call = dataclasses.replace(call, formula=parsed.text)
    frame = build_frame(parsed, table, options, known_residual=options.known_residual)
    y = read.values if frame.used.all() else read.values[frame.used]
    return _fitted(call, frame, select(frame.design, options.solver), read, y, started, progress)


@in_double_precision
@np.errstate(all="ignore")
def refit_many(call: Call, frame: ModelFrame, choice: Choice, y: Float[NumpyArray, "n m"]) -> FitMany:
    """Fit the model of a frame to other responses ``y`` on its rows, named by their numbers; NaN where missing."""
    started, values = time.perf_counter(), y
    if not frame.used.all():
        values = np.full((frame.used.size, y.shape[1]), np.nan)
        values[frame.used] = y
    read = Responses(tuple(str(number) for number in range(y.shape[1])), values, "by order")
    return _fitted(call, frame, choice, read, y, started, False)


def _fitted(
    call: Call,
    frame: ModelFrame,
    choice: Choice,
    read: Responses,
    y: Float[NumpyArray, "n m"],
    started: float,
    progress: bool | None,
) -> FitMany:
    """Fit the model of a frame to the responses that were read, ``y`` on its rows."""
    options = call.options
    n, complete = np.full(y.shape[1], len(y)), np.isfinite(y.sum(axis=0))
    n[~complete] = np.isfinite(y[:, ~complete]).sum(axis=0)
    notes, circular = frame.notes_on(read.names, y), read.is_circular
    start = natural("start", options.start, frame.labels, frame.design)
    fixed = natural("fixed", options.fixed, frame.labels, frame.design)
    exact = _exact_levels(frame, y, fixed)
    unusable = circular | (exact != "")
    if unusable.any():  # they are left out as if they had no values
        y, complete = np.where(unusable, np.nan, y), complete & ~unusable
    collector = Collector(frame, n, held_layout(frame.design, fixed), fixed)
    engine_options = {
        "solver": choice.solver, "method": options.method, "parameters": frame.labels.natural,
        "first_order": options.first_order, "start": start, "fixed": fixed,
    }  # fmt: skip
    with progress_bar(y.shape[1], progress, "responses") as done:
        _Responses(frame, y, collector, engine_options, done).fit(complete)
    for level in sorted(set(exact) - {""}):
        collector.explain(np.flatnonzero(exact == level), "perfect_fit", f" in {level}")
    collector.explain(np.flatnonzero(circular), "also_a_predictor")
    seconds, device = time.perf_counter() - started, str(default_device())
    estimates = collector.finish(read, notes, choice, options.method, device, seconds)
    return FitMany(estimates, ManyOrigin(frame, read.values, choice.solver, SingleCalls(call)))


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
        if complete.any():
            self._fit_complete(complete)
        y, incomplete = self.y, np.flatnonzero(~complete)
        infinite, missing = np.isinf(y[:, incomplete]).any(axis=0), np.isnan(y[:, incomplete]).all(axis=0)
        self.collector.explain(incomplete[infinite], "infinite")
        self.collector.explain(incomplete[missing], "all_missing")
        self.done(int(np.sum(infinite | missing)))
        self._fit_by_pattern(incomplete[~(infinite | missing)])

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
        x = self.frame.x[np.ix_(rows, np.flatnonzero(kept))]
        column_cov = np.full((kept.size, kept.size), np.nan)
        column_cov[np.ix_(kept, kept)] = _ColumnCovariances(x).of_all_rows()
        for part, found in solve_many(design, self.y[np.ix_(rows, index)], done=self.done, **self.options):
            if found is None:
                self._explain(index[part], rows)
            else:
                self.collector.add(index[part], found, column_cov, kept)

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
