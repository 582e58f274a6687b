"""From a labelled design to a labelled result: solve, examine, certify."""

from __future__ import annotations

import time

import numpy as np

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.api.values import natural
from jaxlmm.engine import solve_single
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import duals
from jaxlmm.model import Layout
from jaxlmm.optimize import AbstractMinimizer
from jaxlmm.results import Call, Estimates, Fit, Origin
from jaxlmm.solvers import Choice


@in_double_precision
@np.errstate(all="ignore")  # what is not finite ends in the status, not in a warning
def solve(call: Call, frame: ModelFrame, choice: Choice, first_order: AbstractMinimizer | None, started: float) -> Fit:
    """Fit the response of ``frame`` as ``call`` asks; ``started`` is when the clock was at its beginning."""
    assert frame.y is not None
    start, fixed = (natural(name, getattr(call, name), frame.labels, frame.design) for name in ("start", "fixed"))
    solution = solve_single(
        frame.design, frame.y, solver=choice.name, method=call.method, first_order=first_order, start=start, fixed=fixed
    )
    names = frame.labels.parameters
    solution, found, rows = solution.known(frame.labels.natural, fixed)
    verdict = found.verdicts.one(0, names, dual_names(frame, solution.likelihood.layout, solution.active_set))
    estimates = Estimates.of(frame, solution, found, rows, verdict, choice, call.method, fixed)
    return Fit(estimates.timed(time.perf_counter() - started), Origin(frame, solution, rows, call))


def dual_names(frame: ModelFrame, layout: Layout, held: NumpyArray) -> dict[int, str]:
    """Name the blocks held at zero, by number: the standard deviation where each parameter is one, else the term."""
    found = {}
    for number, dual in duals(held).items():
        for labels, place in zip(frame.labels.terms, layout.slices(), strict=False):
            if place.start <= dual[0] < place.stop:
                before = labels.natural[: layout.own_number(int(dual[0])) + 1]
                one_each = dual.size == 1 and all(parameter.kind == "sd" for parameter in before)
                found[number] = before[-1].name if one_each else f"{labels.text}: smallest eigenvalue"
    return found
