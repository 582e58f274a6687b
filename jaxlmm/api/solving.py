"""From a labelled design to labelled estimates: solve, examine, certify."""

from __future__ import annotations

from jaxtyping import Int

from jaxlmm._util import NumpyArray
from jaxlmm.api.options import FitOptions
from jaxlmm.api.values import natural
from jaxlmm.engine import Solution, solve_single
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import Rows, duals
from jaxlmm.model import Layout
from jaxlmm.results import Estimates
from jaxlmm.solvers import Choice


def fit_response(frame: ModelFrame, options: FitOptions, choice: Choice) -> tuple[Estimates, Solution, Rows]:
    """Minimize the deviance of the response of ``frame``, and certify and label the optimum."""
    assert frame.y is not None
    start = natural("start", options.start, frame.labels, frame.design)
    fixed = natural("fixed", options.fixed, frame.labels, frame.design)
    solution = solve_single(
        frame.design,
        frame.y,
        solver=choice.name,
        method=options.method,
        first_order=options.first_order,
        start=start,
        fixed=fixed,
    )
    names = frame.labels.parameters
    solution, found, rows = solution.known(frame.labels.natural, fixed)
    verdict = found.verdicts.one(0, names, dual_names(frame, solution.likelihood.layout, solution.active_set))
    return Estimates.of(frame, solution, found, rows, verdict, choice, options.method, fixed), solution, rows


def dual_names(frame: ModelFrame, layout: Layout, active_set: Int[NumpyArray, " k"]) -> dict[int, str]:
    """Name the blocks of the active set by number: the standard deviation where each parameter is one, else the term.

    In a block of several parameters the multiplier is that of the term's smallest eigenvalue.
    """
    names = {}
    for number, block in duals(active_set).items():
        for labels, in_theta in zip(frame.labels.terms, layout.slices(), strict=False):
            if in_theta.start <= block[0] < in_theta.stop:
                preceding = labels.natural[: layout.own_number(int(block[0])) + 1]
                one_each = block.size == 1 and all(parameter.kind == "sd" for parameter in preceding)
                names[number] = preceding[-1].name if one_each else f"{labels.text}: smallest eigenvalue"
    return names
