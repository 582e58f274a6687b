"""Optima, and all that is known about them: examined, judged, and taken to the limit where no residual is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.engine.compiled import examine_all
from jaxlmm.engine.minimum import Optima, judged, solve
from jaxlmm.engine.problems import Problems, in_blocks, into, of
from jaxlmm.engine.vanishing import MEAN_SQUARES, TINY, closely, with_residual
from jaxlmm.inference import STATUS, OptimumDerivatives, Uncertainty, Verdicts, uncertainty
from jaxlmm.model import Natural

SHRINKS = 0.5
"""A standard error that falls below this part of itself, when the residual's does to a tenth, is zero in the limit."""


class Found(NamedTuple):
    """The optima of b responses, and all that is known about them; every leaf has a first axis over them."""

    optima: Optima
    examination: OptimumDerivatives
    verdicts: Verdicts
    uncertainty: Uncertainty


def known(
    problems: Problems,
    optima: Optima,
    parameters: Sequence[Parameter],
    fixed: Natural | None = None,
    rows: Callable[[NumpyArray], NumpyArray] | None = None,
) -> Found:
    """Examine and judge optima of all problems; ``parameters`` and ``fixed`` as in :func:`judged`.

    ``rows`` returns some of the responses (N, c), by number, where they share the rows of the design.
    """

    def examined(problems: Problems, optima: Optima) -> tuple[OptimumDerivatives, None]:
        everyone = np.arange(problems.size)
        return in_blocks(problems, examine_all, everyone, optima.theta, list(optima.bases)), None

    return concluded(problems, optima, examined, parameters, fixed, rows)[0]


def concluded(
    problems: Problems,
    optima: Optima,
    examined: Callable[[Problems, Optima], tuple[OptimumDerivatives, Any]],
    parameters: Sequence[Parameter],
    fixed: Natural | None,
    rows: Callable[[NumpyArray], NumpyArray] | None,
) -> tuple[Found, Any]:
    """Judge optima, and replace those on the way to no residual by the limit, where there is one.

    ``examined`` returns the examination of problems at optima, and whatever else is wanted of the same point; what it
    returned last, of the limit if there is one, is returned beside what was found. Where next to no residual is left,
    the responses' ``rows`` are prepared again around their fixed effects, if they are given.
    """

    def judge(problems: Problems, optima: Optima) -> tuple[Found, Any]:
        examination, beside = examined(problems, optima)
        verdicts = judged(problems, optima, examination, parameters, fixed)
        return Found(optima, examination, verdicts, uncertainty(examination, optima.active_set, verdicts)), beside

    found, beside = judge(problems, optima)
    tiny = np.flatnonzero(found.examination.relative_sigma < TINY)
    if tiny.size and rows is not None and problems.likelihood.design.n_fixed:
        closer = closely(problems, tiny, rows(tiny), found.examination.beta[tiny])
        better, beside_better = judge(closer, solve(closer))
        found, beside = into(found, tiny, better), beside_better
        problems = problems.with_responses(tiny, closer.responses)
    lost = np.flatnonzero(found.verdicts.no_residual)
    if not lost.size or problems.likelihood.related:
        return found, beside
    wide, near = (with_residual(problems, lost, square) for square in MEAN_SQUARES)
    first, _ = judge(wide, solve(wide))
    second, beside_limit = judge(near, solve(near))
    limit, exists = _limit(first, second)
    if not exists.any():
        return found, beside
    return into(found, lost[exists], of(limit, exists)), beside_limit


def _limit(wide: Found, near: Found) -> tuple[Found, NumpyArray]:
    """Return what is found in the limit of a residual that goes from ``wide`` over ``near`` to zero, and for which
    responses (b,) there is such a limit.

    Coefficients whose standard errors shrink with the residual are determined exactly: their variance is zero. The
    deviance has no lower bound.
    """
    exists = np.asarray(wide.verdicts.proven & near.verdicts.proven)
    examination, verdicts = near.examination, near.verdicts
    before, after = (np.diagonal(found.examination.values.vcov, axis1=1, axis2=2) for found in (wide, near))
    exact = after < SHRINKS**2 * before
    either = exact[:, :, None] | exact[:, None, :]
    vcov = np.where(either, 0.0, near.uncertainty.vcov)
    derivative = np.where(either[..., None], 0.0, near.uncertainty.vcov_derivative)
    report, components = np.array(examination.values.report), np.array(examination.values.components)
    report[:, -1] = components[:, -1] = 0.0
    report_cov = np.array(near.uncertainty.report_cov)
    report_cov[:, -1, :] = report_cov[:, :, -1] = np.nan
    at_boundary = verdicts.at_boundary.copy()
    at_boundary[:, -1] = True
    vcov_there = np.where(either, 0.0, examination.values.vcov)
    values = examination.values._replace(report=report, components=components, vcov=vcov_there)
    return Found(
        near.optima._replace(value=np.full(exists.shape, -np.inf)),
        examination._replace(values=values, deviance=np.full(exists.shape, -np.inf)),
        verdicts._replace(
            status=np.full(exists.shape, STATUS.index("boundary"), np.int8),
            at_boundary=at_boundary,
            no_residual=np.ones(exists.shape, bool),
        ),
        near.uncertainty._replace(vcov=vcov, vcov_derivative=derivative, report_cov=report_cov),
    ), exists
