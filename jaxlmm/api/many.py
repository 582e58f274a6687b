"""One model for many responses: complete ones in batches, those with missing values by their patterns of rows."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray, as_frame, as_table, in_double_precision
from jaxlmm.api.call import Call
from jaxlmm.api.responses import estimates_of
from jaxlmm.errors import FormulaError
from jaxlmm.formula import build_frame, parse, read_responses, updated
from jaxlmm.formula.syntax import column_of, resolved, with_known_names
from jaxlmm.formula.tokens import parts_of_cbind, quoted
from jaxlmm.likelihood import choose
from jaxlmm.results import Fit, FitMany, ManyOrigin


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
def run_many(call: Call, responses: Any, id: str | None, progress: bool | None, executor: Any = None) -> FitMany:
    """Fit the model of a call to responses found as :func:`jaxlmm.fit_many` says."""
    started = time.perf_counter()
    options, table = call.options, as_table(call.data)
    parsed = with_known_names(parse(call.formula, table.columns), table.columns, options, allow_cbind=True)
    read = read_responses(parsed, table, responses, id)
    not_predictors = [
        *read.names,  # '.' does not stand for them
        *([] if id is None else [column_of("id", id, table.columns)]),
    ]
    if options.has_trials and parts_of_cbind(parsed.response):
        raise FormulaError(
            f"formula {parsed.text!r}: cbind() names several responses here; give the numbers of successes as "
            "responses, and those of trials by trials=."
        )
    parsed = resolved(parsed, table.columns, options, not_predictors, allow_cbind=True)._replace(response=())
    call = dataclasses.replace(call, formula=parsed.text)
    frame = build_frame(parsed, table, options, known_residual=options.known_residual)
    y = read.values if frame.used.all() else read.values[frame.used]
    choice = choose(frame.design, options.solver)
    estimates = estimates_of(options, frame, choice, read, y, started, progress, executor)
    return FitMany(estimates, ManyOrigin(frame, read.values, choice.solver, SingleCalls(call)))
