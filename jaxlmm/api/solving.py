"""From a labelled design to a labelled result: solve, examine, certify."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jax
import numpy as np

from jaxlmm._precision import in_double_precision
from jaxlmm._typing import NumpyArray
from jaxlmm.engine import solve_single
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import certify, examine, uncertainty
from jaxlmm.optimise import AbstractMinimiser
from jaxlmm.results import Call, Estimates, Fit, Origin
from jaxlmm.solvers import Choice


@in_double_precision
@np.errstate(all="ignore")  # what is not finite ends in the status, not in a warning
def solve(call: Call, frame: ModelFrame, choice: Choice, first_order: AbstractMinimiser | None, started: float) -> Fit:
    """Fit the response of ``frame`` as ``call`` asks; ``started`` is when the clock was at its beginning."""
    assert frame.y is not None
    solution = solve_single(frame.design, frame.y, solver=choice.name, method=call.method, first_order=first_order)
    slices = solution.likelihood.layout.slices()
    inverse_triangle = np.linalg.inv(np.asarray(frame.design.triangle))
    examination = jax.tree.map(
        np.asarray,
        examine(solution.likelihood, solution.response, solution.frames, solution.theta, inverse_triangle),
    )
    verdict = certify(
        examination,
        free=solution.free,
        duals=solution.duals,
        dual_names=[_dual_name(frame, slices, dual) for dual in solution.duals],
        names=frame.labels.parameters,
        deviance=float(solution.minimum.value),
        converged=bool(solution.minimum.converged),
        descend=solution.descend,
    )
    uncertain = uncertainty(examination, solution.free, verdict)
    estimates = Estimates.of(frame, solution, examination, verdict, uncertain, choice, call.method)
    return Fit(estimates.timed(time.perf_counter() - started), Origin(frame, solution, examination, call))


def _dual_name(frame: ModelFrame, slices: Sequence[slice], dual: NumpyArray) -> str:
    """Name what is held at zero: the standard deviation where a term has one parameter for each, else the term."""
    for labels, place in zip(frame.labels.terms, slices, strict=False):
        if place.start <= dual[0] < place.stop:
            one_each = dual.size == 1 and all(": sd" in name for name in labels.parameters[: dual[0] - place.start + 1])
            return labels.parameters[dual[0] - place.start] if one_each else f"{labels.text}: smallest eigenvalue"
    raise AssertionError(f"theta[{dual[0]}] belongs to no term")
