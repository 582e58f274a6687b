"""Optima with derivatives, certificates and standard errors, taken to the limit where no residual is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.engine.compiled import examine_all
from jaxlmm.engine.minimum import Optima, find_optima, judged, tiled
from jaxlmm.engine.problems import Problems, in_batches, put, take
from jaxlmm.engine.vanishing import RESIDUAL_MEAN_SQUARES, SMALL_RESIDUAL, closely, with_residual
from jaxlmm.inference import STATUS, OptimumDerivatives, Uncertainty, Verdicts, uncertainty
from jaxlmm.model import Natural

SHRINKING_SHARE = 0.5
"""A standard error that falls below this part of itself, when the residual's does to a tenth, is zero in the limit."""


class Found(NamedTuple):
    """Optima of b responses with derivatives, verdicts and standard errors; every leaf has a first axis over them."""

    optima: Optima
    examination: OptimumDerivatives
    verdicts: Verdicts
    uncertainty: Uncertainty

    def of_columns(self, p: int) -> Found:
        """Return the same for the first ``p`` columns of X; others are padding."""
        values, derivatives = self.examination.values, self.examination.derivatives
        examination = self.examination._replace(
            beta=self.examination.beta[:, :p],
            values=values._replace(vcov=values.vcov[:, :p, :p]),
            derivatives=derivatives._replace(vcov=derivatives.vcov[:, :p, :p]),
        )
        vcov, derivative = self.uncertainty.vcov[:, :p, :p], self.uncertainty.vcov_derivative[:, :p, :p]
        return self._replace(
            examination=examination, uncertainty=self.uncertainty._replace(vcov=vcov, vcov_derivative=derivative)
        )

    def of_all_columns(self, kept: Bool[NumpyArray, " p"]) -> Found:
        """Return the same for all columns of X, of which those that are ``kept`` have been fitted; others are NaN."""
        p, (where,), b = kept.size, np.nonzero(kept), len(self.examination.beta)

        def widened(part: Float[NumpyArray, "b ..."], axes: int) -> Float[NumpyArray, "b ..."]:
            wide = np.full((b, *(p,) * axes, *part.shape[1 + axes :]), np.nan)
            wide[np.ix_(np.arange(b), *(where,) * axes)] = part
            return wide

        values, derivatives = self.examination.values, self.examination.derivatives
        examination = self.examination._replace(
            beta=widened(np.asarray(self.examination.beta), 1),
            values=values._replace(vcov=widened(np.asarray(values.vcov), 2)),
            derivatives=derivatives._replace(vcov=widened(np.asarray(derivatives.vcov), 2)),
        )
        own = self.uncertainty
        uncertainty = own._replace(vcov=widened(own.vcov, 2), vcov_derivative=widened(own.vcov_derivative, 2))
        return self._replace(examination=examination, uncertainty=uncertainty)


def certified(
    problems: Problems,
    optima: Optima,
    parameters: Sequence[Parameter],
    fixed: Natural | None = None,
    rows: Callable[[Int[NumpyArray, " c"]], Float[NumpyArray, "N c"]] | None = None,
) -> Found:
    """Return the optima of all problems with derivatives, certificates and standard errors.

    ``parameters`` and ``fixed`` are those of :func:`jaxlmm.engine.minimum.judged`; ``rows`` returns
    some of the responses, by number, padded, where they share the rows of the design.
    """

    def examined(problems: Problems, optima: Optima) -> tuple[OptimumDerivatives, None]:
        everyone = np.arange(problems.size)
        return in_batches(problems.without_rows(), examine_all, everyone, optima.theta, optima.bases), None

    return concluded(problems, optima, examined, parameters, fixed, rows)[0]


def examine_soon(problems: Problems) -> None:
    """Begin to compile the derivatives at optima, while these are searched for."""
    problems = problems.without_rows()
    index, _ = next(problems.batches(problems.size))
    some = problems if problems.size == 1 else problems.only(index)
    layout = problems.likelihood.layout
    examine_all.ahead(some, np.tile(layout.start(), (index.size, 1)), tiled(layout.bases(), index.size))


def concluded(
    problems: Problems,
    optima: Optima,
    examined: Callable[[Problems, Optima], tuple[OptimumDerivatives, Any]],
    parameters: Sequence[Parameter],
    fixed: Natural | None,
    rows: Callable[[Int[NumpyArray, " c"]], Float[NumpyArray, "N c"]] | None,
) -> tuple[Found, Any]:
    """Judge optima, and replace those on the way to no residual by the limit, where there is one.

    ``examined`` returns the examination of problems at optima, and whatever else is wanted of the same point; what it
    returned last, of the limit if there is one, is returned beside what was found. Where next to no residual is left,
    the responses' ``rows`` are prepared again around their fixed effects, if they are given.
    """
    held = None if fixed is None else np.isfinite(fixed.flat)

    def judge(problems: Problems, optima: Optima) -> tuple[Found, Any]:
        examination, beside = examined(problems, optima)
        verdicts = judged(problems, optima, examination, parameters, fixed)
        return Found(optima, examination, verdicts, uncertainty(examination, optima.active_set, verdicts, held)), beside

    found, beside = judge(problems, optima)
    tiny = np.flatnonzero(found.examination.relative_sigma < SMALL_RESIDUAL)
    if tiny.size and rows is not None and problems.likelihood.design.basis.shape[1]:
        closer = closely(problems, tiny, rows(tiny), found.examination.beta[tiny])
        better, beside_better = judge(closer, find_optima(closer))
        found, beside = put(found, tiny, better), beside_better
        problems = problems.with_responses(tiny, closer.responses)
    failed = found.verdicts.status == STATUS.index("failed")  # as where rounding leaves r² at zero, or below
    nothing_left = failed & ~(found.examination.relative_sigma >= SMALL_RESIDUAL)
    lost = np.flatnonzero(found.verdicts.no_residual | nothing_left)
    if not lost.size or problems.likelihood.related:
        return found, beside
    wide, near = (with_residual(problems, lost, square) for square in RESIDUAL_MEAN_SQUARES)
    first, _ = judge(wide, find_optima(wide))
    second, beside_limit = judge(near, find_optima(near))
    limit, exists = _limit(first, second)
    if not exists.any():
        return found, beside
    return put(found, lost[exists], take(limit, exists)), beside_limit


def _limit(wide: Found, near: Found) -> tuple[Found, Bool[NumpyArray, " b"]]:
    """Return the limit of a residual that goes from ``wide`` over ``near`` to zero, and which responses have one.

    Coefficients whose standard errors shrink with the residual are determined exactly: their variance is zero. The
    deviance has no lower bound.
    """
    exists = np.asarray(wide.verdicts.proven & near.verdicts.proven)
    examination, verdicts = near.examination, near.verdicts
    before, after = (np.diagonal(found.examination.values.vcov, axis1=1, axis2=2) for found in (wide, near))
    exact = after < SHRINKING_SHARE**2 * before
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
