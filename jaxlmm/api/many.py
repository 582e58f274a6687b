"""``fit_many``: the same model for many responses."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray, as_frame, as_table, in_double_precision
from jaxlmm.api.call import Call
from jaxlmm.api.names import named_options
from jaxlmm.api.progress import progress_bar
from jaxlmm.api.values import natural
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.engine import patterns_of, solve_by_response, solve_many, solves_by_response
from jaxlmm.formula import ModelFrame, ModelOptions, build_frame, parse, read_responses
from jaxlmm.formula.syntax import column_of, known_names, resolved
from jaxlmm.formula.tokens import quoted
from jaxlmm.model import Layout
from jaxlmm.results import CIRCULAR, Collector, Fit, FitMany, ManyOrigin
from jaxlmm.solvers import select

MOSTLY = 0.75
"""With more of the responses complete than this, all are laid out together, and those that are not are passed over."""


@named_options
def fit_many(
    formula: str,
    data: Any,
    *,
    responses: Any = None,
    id: str | None = None,
    progress: bool | None = None,
    method: str = "REML",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    kinship: Mapping[str, Any] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    solver: str = "auto",
    optimizer: Any = "newton",
) -> FitMany:
    """Fit a linear mixed model to many responses, each at its own exact optimum.

    What does not depend on the response is done once; all responses are minimized together, in blocks that fit into
    memory. A response that cannot be fitted is a row with a status and a reason, never an exception.

    Parameters
    ----------
    formula
        As in :func:`jaxlmm.fit`, with nothing left of ``~`` beside ``responses``, or with ``cbind(y1, y2) ~ ...``.
        ``.`` leaves out the responses and ``id`` too.
    data
        A data frame (pandas, polars, pyarrow). Rows in which a predictor is missing are dropped, and counted. A missing
        value of a response leaves the row out for that response alone; columns such as ``poly(x, 2)`` are coded once,
        on all rows, as R does.
    responses
        Names of columns of the data, or a pattern (``"gene*"``) of those that the formula does not use; a frame with a
        response per column, or a series; an array (rows, responses) in the order of the rows, whose columns are called
        y1, y2, ..., or a sparse matrix of scipy (``adata.X``; ``adata.to_df()`` has names).
    id
        The column of the data that holds the labels of the rows of a frame ``responses``. Without it, a frame is
        matched by its index if both it and the data have labels, or the same ones in another order, else by position.
        Labels may repeat where both have the same ones in the same order.
    progress
        Whether a bar is shown; by default on a terminal or in a notebook.
    method, weights, offset, kinship, covariance, residual, start, fixed, solver, optimizer
        As in :func:`jaxlmm.fit`; the values of ``start`` and ``fixed`` are those of every response.

    Returns
    -------
    FitMany
        Tables by response and term.

    Raises
    ------
    FormulaError, DataError, KinshipError, OptionError
        Before any computing: what is wrong with the model, the data, or all responses; never for a single response.

    Examples
    --------
    >>> import jaxlmm as lmm, numpy as np
    >>> sleep = lmm.datasets.sleepstudy()
    >>> Y = np.random.default_rng(1).normal(size=(180, 3)) + sleep[["Reaction"]].to_numpy() / 50
    >>> many = lmm.fit_many("~ Days + (Days | Subject)", sleep, responses=Y)
    >>> many.tidy().query("term == 'Days'")[["response", "n", "estimate", "status"]].round(3)
      response    n  estimate    status
    1       y1  180     0.192  boundary
    3       y2  180     0.178  interior
    5       y3  180     0.242  interior
    """
    options = ModelOptions(weights=weights, offset=offset, kinship=kinship, covariance=covariance, residual=residual)
    call = Call(formula, data, options, method=method, start=start, fixed=fixed, solver=solver, optimizer=optimizer)
    return run_many(call, responses, id, progress)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SingleCalls:
    """Fits one response of many alone: the call's formula with that response on its left side."""

    call: Call

    def single(self, name: str, y: NumpyArray) -> Fit:
        """Fit the response ``y`` (N,); its name is marked if another column of the data has it."""
        table = as_table(self.call.data)
        frame = as_frame(table, list(table.columns)).copy(deep=False)
        while name in frame and not _holds(frame[name], y):
            name += " (response)"
        frame[name] = y
        formula = f"{quoted(name).text} {parse(self.call.formula).without_response().text}"
        return dataclasses.replace(self.call, formula=formula, data=frame).run()


def _holds(column: pd.Series, y: NumpyArray) -> bool:
    """Whether a column of the data is the response ``y`` (N,)."""
    numeric = pd.api.types.is_numeric_dtype(column)
    return numeric and np.array_equal(column.to_numpy(float, na_value=np.nan), y, equal_nan=True)


@in_double_precision
@np.errstate(all="ignore")  # what is not finite ends in a status, not in a warning
def run_many(call: Call, responses: Any, id: str | None, progress: bool | None) -> FitMany:
    """Fit the model of a call to responses found as :func:`fit_many` says."""
    started = time.perf_counter()
    table = as_table(call.data)
    parsed = known_names(parse(call.formula, table.columns), table.columns, call.options, several=True)
    read = read_responses(parsed, table, responses, id)
    beside = [*read.names, *([] if id is None else [column_of("id", id, table.columns)])]
    parsed = resolved(parsed, table.columns, call.options, beside, several=True)._replace(response=())
    call = dataclasses.replace(call, formula=parsed.text)
    frame = build_frame(parsed, table, call.options, known_residual=call.known_residual)
    choice = select(frame.design, call.solver)
    y = read.values if frame.used.all() else read.values[frame.used]
    n, complete = np.full(y.shape[1], len(y)), np.isfinite(y.sum(axis=0))
    n[~complete] = np.isfinite(y[:, ~complete]).sum(axis=0)
    notes, circular = frame.notes_on(read.names, y), read.is_circular
    if circular.any():
        y, complete = np.where(circular, np.nan, y), complete & ~circular
    start, fixed = (natural(name, getattr(call, name), frame.labels, frame.design) for name in ("start", "fixed"))
    collector = Collector(frame, n, Layout.of(frame.design, fixed), fixed)
    options = {
        "method": call.method, "parameters": frame.labels.natural, "first_order": call.first_order, "start": start,
        "fixed": fixed,
    }  # fmt: skip
    with progress_bar(y.shape[1], progress, "responses") as done:
        _solve(collector, frame, y, complete, choice.name, {**options, "done": done})
    collector.fail(np.flatnonzero(circular), CIRCULAR)
    seconds, device = time.perf_counter() - started, str(jax.devices()[0])
    estimates = collector.finish(read, notes, choice, call.method, device, seconds)
    return FitMany(estimates, ManyOrigin(frame, read.values, SingleCalls(call)))


def _solve(
    collector: Collector,
    frame: ModelFrame,
    y: NumpyArray,
    complete: NumpyArray,
    solver: str,
    options: dict[str, Any],
) -> None:
    """Fit what can be fitted, pattern by pattern of missing values, and say why the rest cannot.

    ``complete`` (m,) marks the responses ``y`` (n, m) without a missing or infinite value.
    """
    design, covariances, done = frame.design, _Covariances(frame.x), options["done"]
    if complete.any():
        # A few columns that cannot be fitted cost less than a copy of all the others.
        block = y if complete.mean() > MOSTLY else y[:, complete]
        numbers, column_cov = np.arange(y.shape[1])[... if block is y else complete], covariances.of(None)
        for part, found in solve_many(design.exact(), block, solver=solver, **options):
            if found is not None:
                collector.add(numbers[part], found, column_cov)
                continue
            part = part[complete[numbers[part]]]
            _explain(collector, frame, block[:, part], np.arange(len(y)), numbers[part])
            done(part.size)

    rest = np.flatnonzero(~complete)
    infinite, missing = np.isinf(y[:, rest]).any(axis=0), np.isnan(y[:, rest]).all(axis=0)
    collector.fail(rest[infinite], "infinite")
    collector.fail(rest[missing], "all_missing")
    done(int(np.sum(infinite | missing)))
    scattered: list[NumpyArray] = []
    own: list[tuple[NumpyArray, NumpyArray]] = []
    for rows, places in patterns_of(y, rest[~(infinite | missing)]):
        if solves_by_response(design, solver, places.size):
            scattered.append(places)
        else:
            own.append((rows, places))
    if scattered:
        together = np.concatenate(scattered)
        for part, found in solve_by_response(design.exact(), y[:, together], solver=solver, **options):
            places = together[part]
            if found is None:
                own += patterns_of(y, places)
            else:
                collector.add(places, found, covariances.of(np.isfinite(y[:, places])))
    for rows, places in own:
        _alone(collector, frame, y, rows, places, solver, options)


def _alone(
    collector: Collector,
    frame: ModelFrame,
    y: NumpyArray,
    rows: NumpyArray,
    places: NumpyArray,
    solver: str,
    options: dict[str, Any],
) -> None:
    """Fit the responses of one pattern of missing values on a design of their own."""
    some, kept = frame.design.at_rows(rows)
    if rows.size <= kept.sum():
        collector.fail(places, "too_few_rows")
        options["done"](places.size)
        return
    block = y[np.ix_(rows, places)]
    x = frame.x[np.ix_(rows, np.flatnonzero(kept))]
    column_cov = np.full((kept.size, kept.size), np.nan)
    column_cov[np.ix_(kept, kept)] = _Covariances(x).of(None)
    for part, found in solve_many(some, block, solver=solver, **options):
        if found is None:
            _explain(collector, frame, block[:, part], rows, places[part])
            options["done"](part.size)
        else:
            collector.add(places[part], found, column_cov, kept)


def _explain(collector: Collector, frame: ModelFrame, y: NumpyArray, rows: NumpyArray, places: NumpyArray) -> None:
    """Say why responses (n, b) without a residual have no fit."""
    constant = np.ptp(y - frame.offset[rows, None], axis=0) == 0
    collector.fail(places[constant], "constant")
    collector.fail(places[~constant], "perfect_fit")


class _Covariances:
    """Sample covariances of the fixed-effect columns (n, p) over the rows of each response."""

    def __init__(self, x: NumpyArray) -> None:
        self.x = x - x.mean(axis=0)

    def of(self, present: NumpyArray | None) -> NumpyArray:
        """Return (p, p) over all rows, or (b, p, p) over those ``present`` (n, b) in each response."""
        x, (n, p) = self.x, self.x.shape
        if present is None:
            return np.asarray(x.T @ x / (n - 1))
        counts, there = present.sum(axis=0), present.astype(float)
        products = (x[:, :, None] * x[:, None, :]).reshape(n, p * p)
        means = (there.T @ x) / counts[:, None]
        squares = (there.T @ products).reshape(counts.size, p, p)
        total = squares - counts[:, None, None] * means[:, :, None] * means[:, None, :]
        return np.asarray(total / (counts - 1)[:, None, None])
