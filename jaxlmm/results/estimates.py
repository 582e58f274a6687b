"""Estimates of one fit: all its numbers that need no row of the data, beside their labels. A file of a fit holds them.

A field that is added is saved and loaded under its name, by its type and shape (:mod:`jaxlmm.results.plain`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.engine import Found, Solution
from jaxlmm.families import FittedRows, pearson_residuals, with_reported_zero_part
from jaxlmm.formula import ModelFrame, ModelLabels
from jaxlmm.inference import PROVEN, STATUS, Rows, Uncertainty, Verdict
from jaxlmm.model import Natural, relative_to
from jaxlmm.results.levels import effects_given_modes, effects_of_unobserved
from jaxlmm.results.plain import saved_at
from jaxlmm.solvers import Choice


class Modes(NamedTuple):
    """Modes of one term: ``values`` and conditional ``sds``, of the levels in the fit and then of the other ids of a
    known matrix.
    """

    values: Float[NumpyArray, "L q"]
    sds: Float[NumpyArray, "L q"]


class Ranges(NamedTuple):
    """Ranges over the rows: smallest and largest ``weights`` and ``offset``, and the quartiles of the ``residuals`` in
    units of the rows' standard deviations.
    """

    weights: Float[NumpyArray, " 2"]
    offset: Float[NumpyArray, " 2"]
    residuals: Float[NumpyArray, " 5"]


@dataclasses.dataclass(frozen=True, eq=False)
class Estimates:
    """One fit without its rows: every accessor that needs no row reads this, whether the fit was made or loaded.

    ``beta`` are the coefficients of the kept columns, whose covariance over the rows is ``column_cov``; ``report`` are
    the natural parameters, of which some are ``fixed`` at given values, ``components`` the mean variances that the
    terms and the residual add to a row; ``theta`` is canonical. ``deviance``, ``sigma`` and all others are in response
    units. ``n`` rows are used, and ``n_dropped`` of the data are not, since a value is missing; ``n_variance_params``
    counts the variance parameters that are estimated, sigma included. ``notes`` are sentences about the data. The
    fields are in the order of the file.
    """

    ARRAYS: ClassVar[str] = "inference"
    """The key in the file under which the arrays of floats stand."""

    method: str
    n: int
    n_dropped: int
    n_groups: dict[str, int]
    solver: str
    solver_reason: str
    device: str
    seconds: float
    deviance: float
    sigma: float
    is_singular: bool
    fixed: Bool[NumpyArray, " r"] = field(metadata=saved_at("variance", "fixed"))
    n_variance_params: int
    notes: tuple[str, ...]
    verdict: Verdict = field(metadata=saved_at("certificate"))
    modes: tuple[Modes, ...] = field(metadata=saved_at())
    labels: ModelLabels = field(metadata=saved_at("model"))
    theta: Float[NumpyArray, " k"]
    beta: Float[NumpyArray, " p"]
    column_cov: Float[NumpyArray, "p p"]
    report: Float[NumpyArray, " r"]
    components: Float[NumpyArray, " t"]
    uncertainty: Uncertainty = field(metadata=saved_at("inference"))
    ranges: Ranges = field(metadata=saved_at("inference", "ranges"))

    @classmethod
    def of(
        cls,
        frame: ModelFrame,
        solution: Solution,
        found: Found,
        rows: Rows,
        verdict: Verdict,
        choice: Choice,
        method: str,
        fixed: Natural | None,
    ) -> Estimates:
        """Return the numbers of an optimum that need no row; ``seconds`` are set by :meth:`timed`.

        What was ``found`` has a first axis over one response.
        """
        examination, uncertainty = found.examination, found.uncertainty
        centered = frame.x - frame.x.mean(axis=0)
        values, distribution = examination.values, frame.design.distribution
        family = None if distribution is None else distribution.family
        report = with_reported_zero_part(family, np.asarray(values.report[0]))
        return cls(
            labels=frame.labels,
            method=method,
            n=len(frame.index),
            n_dropped=frame.n_dropped,
            n_groups={name: len(level.labels) for name, level in frame.levels.items()},
            solver=choice.name,
            solver_reason=choice.reason,
            device=str(next(iter(solution.problems.responses.scale.devices()))),
            seconds=np.nan,
            deviance=float(examination.deviance[0]),
            sigma=float(examination.sigma[0]),
            is_singular=bool(np.any(solution.active_set[: solution.layout.n_theta - solution.layout.n_family])),
            theta=_own(_theta(frame, solution, rows)),
            beta=_own(examination.beta[0]),
            column_cov=_own(centered.T @ centered / (len(centered) - 1)),
            report=_own(report if fixed is None else fixed.put_into(report)),
            fixed=np.zeros(values.report[0].size, bool) if fixed is None else np.isfinite(fixed.given),
            n_variance_params=solution.layout.n_estimated,
            components=_own(values.components[0]),
            uncertainty=Uncertainty(*(_own(part[0]) for part in uncertainty)),
            verdict=verdict._replace(null_directions=_own(verdict.null_directions)),
            modes=_modes(frame, solution, rows, float(rows.sigma), verdict.status),
            ranges=_ranges(frame, rows, values.report[0]),
            notes=(*frame.notes_of_y, *frame.notes),
        )

    @property
    def proven(self) -> bool:
        """Whether there is a certified, identified optimum (``interior`` or ``boundary``), and so tests."""
        return STATUS.index(self.verdict.status) in PROVEN

    @property
    def residual_sd(self) -> float:
        """The residual standard deviation that is reported: 0 where the deviance goes to −∞ as sigma goes to 0; NaN of
        a generalized model, which has none.
        """
        if self.labels.family is not None:
            return np.nan
        return 0.0 if np.isneginf(self.deviance) else self.sigma

    @property
    def dispersion(self) -> Float[NumpyArray, " d"]:
        """The parameters of the family of a generalized model."""
        count = 0 if self.labels.family is None else len(self.labels.family.natural)
        return self.report[self.report.size - count :]

    def timed(self, seconds: float) -> Estimates:
        """Return the same with the ``seconds`` that it took."""
        return dataclasses.replace(self, seconds=seconds)


def _own(array: Float[Array, "*b"]) -> Float[NumpyArray, "*b"]:
    """Copy in C order, as a file gives it back: sums over another order of the entries differ in the last digit."""
    return np.array(array, float, order="C")


def _theta(frame: ModelFrame, solution: Solution, rows: Rows) -> Float[NumpyArray, " k"]:
    """Return the covariance parameters relative to sigma, written without the bases in which they were optimized."""
    layout, parts = solution.layout, []
    sigma = float(rows.sigma) / solution.scale if layout.absolute else None
    whole = zip(frame.design.terms, layout.structures, solution.bases, layout.slices(), strict=False)
    for term, structure, basis, own in whole:
        theta = np.asarray(structure.from_basis(solution.theta[own], basis))
        parts.append(theta if sigma is None else relative_to(sigma, term, theta))
    if frame.design.residual is not None:
        parts.append(solution.theta[layout.slices()[-1]])
    if layout.family is not None:
        first = layout.n_theta - layout.n_family
        parts.append(solution.theta[first : first + len(layout.family.free)])
    if layout.dispersion is not None:
        scaled = layout.dispersion.at(solution.theta[layout.beyond], scaled=True)
        parts.append(np.asarray(layout.dispersion.report(scaled.coefficients)))
    return np.concatenate([np.zeros(0), *parts])


def _ranges(frame: ModelFrame, rows: Rows, report: Float[NumpyArray, " r"]) -> Ranges:
    assert frame.y is not None
    predictor, distribution = np.asarray(rows.conditional)[: len(frame.index)] + frame.offset, frame.design.distribution
    if distribution is None:
        scaled = (frame.y - predictor) / np.asarray(rows.residual_sds)[: len(frame.index)]
    else:
        family = distribution.family
        own = FittedRows(family, predictor, report[report.size - family.n_dispersion :], frame.row_data)
        try:
            scaled = np.sqrt(frame.prior_weights) * pearson_residuals(own, frame.y)
        except NotImplementedError:  # of a family with its log-density alone
            scaled = np.full(len(frame.index), np.nan)
    weights, offset = (np.array([part.min(), part.max()]) for part in (frame.prior_weights, frame.offset))
    known = scaled[np.isfinite(scaled)] if distribution is not None else scaled
    quantiles = np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0]) if known.size else np.full(5, np.nan)
    return Ranges(weights, offset, quantiles)


def _modes(frame: ModelFrame, solution: Solution, rows: Rows, sigma: float, status: str) -> tuple[Modes, ...]:
    unobserved = [(np.zeros((0, len(labels.columns))),) * 2 for labels in frame.labels.terms]
    if any(group.unobserved is not None and len(group.unobserved) for group in frame.labels.groups.values()):
        assert frame.y is not None
        marginal = np.asarray(rows.marginal)[: len(frame.index)] + frame.offset
        if frame.design.distribution is not None:
            own = [frame.by_level(number, modes) for number, modes in enumerate(rows.modes)]
            unobserved = effects_given_modes(frame, own)
        else:
            unobserved = effects_of_unobserved(
                frame, solution.layout, solution.theta, solution.bases, frame.y - marginal, sigma
            )
    by_term = []
    for number, (modes, sds, others) in enumerate(zip(rows.modes, rows.mode_sds, unobserved, strict=True)):
        observed = (frame.by_level(number, part) for part in (modes, sds))
        both = Modes(*(_own(np.concatenate(parts)) for parts in zip(observed, others, strict=True)))
        no_optimum = status in ("not_converged", "failed")
        by_term.append(both._replace(sds=np.full(both.sds.shape, np.nan)) if no_optimum else both)
    return tuple(by_term)
