"""Estimates without some of the rows, by a step or two of Newton's method from the optimum of all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.engine.compiled import examine_all
from jaxlmm.engine.descent import Descent
from jaxlmm.engine.many import prepared_anew
from jaxlmm.engine.minimum import tiled
from jaxlmm.engine.problems import Problems, in_batches
from jaxlmm.engine.single import Solution
from jaxlmm.engine.start import starts_with
from jaxlmm.inference import OptimumDerivatives
from jaxlmm.model import Design, Natural

MAX_EVALUATIONS = 3
"""Evaluations of the deviance with derivatives: at the optimum of all rows, and where Newton's first steps lead."""


class WithoutRows(NamedTuple):
    """Estimates of m responses on some of the rows: ``beta`` (m, p), natural parameters ``report`` (m, r), ``sigma``.

    NaN where the rows that are left do not determine them.
    """

    beta: Float[NumpyArray, "m p"]
    report: Float[NumpyArray, "m r"]
    sigma: Float[NumpyArray, " m"]


def estimates_without(
    solution: Solution,
    design: Design,
    y: Float[NumpyArray, "n m"],
    *,
    method: str,
    natural: Natural,
    fixed: Natural | None = None,
) -> WithoutRows:
    """Return the estimates after Newton's first steps from the optimum of all rows, on the rows that are left.

    By the implicit function theorem the first step is the change of the optimum to first order in the gradient of
    what is left out. Parameters at a boundary stay there.

    Parameters
    ----------
    solution, design, method, fixed
        The optimum, its design with all rows, ``"REML"`` or ``"ML"``, and the parameters that were held.
    y
        The response, once for each case, NaN in the rows that are left out.
    natural
        The natural parameters at the optimum.
    """
    found = WithoutRows(
        np.full((y.shape[1], design.basis.shape[1]), np.nan), np.full((y.shape[1], natural.flat.size), np.nan),
        np.full(y.shape[1], np.nan),
    )  # fmt: skip
    solver = type(solution.likelihood.solver)
    for index, problems, columns in prepared_anew(design, y, solver=solver, method=method, fixed=fixed):
        at = _step(problems, solution, natural)
        found.beta[np.ix_(index, columns)] = at.beta[:, : columns.size]
        found.report[index] = at.values.report
        found.sigma[index] = at.sigma
    return found


def _step(problems: Problems, solution: Solution, natural: Natural) -> OptimumDerivatives:
    """Return the derivatives of all problems after a step from the optimum of another one with the same layout."""
    everyone, layout = np.arange(problems.size), problems.likelihood.layout
    descent = Descent(problems)
    if layout.absolute:  # theta is relative to each response's scale
        theta = starts_with(layout, natural, np.asarray(problems.responses.scale))
        bases, active_set = tiled(layout.bases(), everyone.size), None
    else:
        theta, bases = np.tile(solution.theta, (everyone.size, 1)), tiled(solution.bases, everyone.size)
        active_set = np.tile(solution.active_set, (everyone.size, 1))
    if layout.n_theta:
        reached, _ = descent.minimize(
            everyone, theta, bases, MAX_EVALUATIONS, method=descent.exact, active_set=active_set
        )
        theta = np.asarray(reached.minimum.x)
    at: OptimumDerivatives = in_batches(problems.without_rows(), examine_all, everyone, theta, bases)
    return at
