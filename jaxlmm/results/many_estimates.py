"""What many fits say that needs no row: numbers with a first axis over the responses, beside their labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.engine import Found
from jaxlmm.formula import ModelFrame, ModelLabels, Responses
from jaxlmm.inference import PROVEN, STATUS, Uncertainty
from jaxlmm.model import Layout, Natural
from jaxlmm.solvers import Choice

FAILED = STATUS.index("failed")

CIRCULAR = "also_a_predictor"
"""The reason of a response that stands on the right side of its formula too."""


@dataclasses.dataclass(frozen=True, eq=False)
class ManyEstimates:
    """Fits of m responses; a response without an optimum has NaN, the status ``failed`` and a ``reason`` in words.

    As in :class:`jaxlmm.results.estimates.Estimates`, each with a first axis: ``beta`` (m, p), ``column_cov``
    (m, p, p), ``report`` (m, r), of which some are held at the values ``given`` (r,), NaN where one is free,
    ``components`` (m, terms + 1). ``n_rows`` are those of the design and ``n`` (m,) those of each response, ``status``
    (m,) places in ``STATUS``. ``theta`` (m, k), of what is free, is written in ``bases`` (m, q, q), one per term.
    ``notes`` are sentences about the data.
    """

    labels: ModelLabels
    method: str
    names: tuple[str, ...]
    matched: str
    unmatched: int
    n_rows: int
    n_dropped: int
    n_groups: dict[str, int]
    solver: str
    solver_reason: str
    device: str
    seconds: float
    n: NumpyArray
    status: NumpyArray
    reason: NumpyArray
    deviance: NumpyArray
    sigma: NumpyArray
    is_singular: NumpyArray
    theta: NumpyArray
    bases: tuple[NumpyArray, ...]
    beta: NumpyArray
    column_cov: NumpyArray
    report: NumpyArray
    components: NumpyArray
    at_boundary: NumpyArray
    uncertainty: Uncertainty
    given: NumpyArray
    notes: tuple[str, ...]

    @property
    def fixed(self) -> NumpyArray:
        """Which natural parameters (r,) are held at given values."""
        return np.isfinite(self.given)

    @property
    def proven(self) -> NumpyArray:
        """Which responses (m,) have an optimum, in the interior or at a boundary, and so tests."""
        return np.isin(self.status, PROVEN)

    @property
    def residual_sd(self) -> NumpyArray:
        """The residual standard deviations (m,) that are reported: 0 in the limit of none."""
        return np.where(np.isneginf(self.deviance), 0.0, self.sigma)

    @property
    def words(self) -> NumpyArray:
        """The status of each response (m,) in words."""
        return np.array(STATUS, dtype=object)[self.status]


class Collector:
    """Fills the arrays of :class:`ManyEstimates` while responses are finished, in whatever order."""

    def __init__(self, frame: ModelFrame, n: NumpyArray, layout: Layout, fixed: Natural | None) -> None:
        m, p, r, t = n.size, frame.x.shape[1], len(frame.labels.parameters), len(frame.labels.terms) + 1
        k, s = layout.n_theta, layout.n_psi

        def unknown(*shape: int) -> NumpyArray:
            return np.full((m, *shape), np.nan)

        self.frame, self.fixed = frame, fixed
        self.arrays: dict[str, Any] = {
            "n": n, "status": np.full(m, FAILED, np.int8), "reason": np.full(m, "", object),
            "deviance": unknown(), "sigma": unknown(), "is_singular": np.zeros(m, bool), "theta": unknown(k),
            "beta": unknown(p), "report": unknown(r), "components": unknown(t), "at_boundary": np.zeros((m, r), bool),
            "column_cov": unknown(p, p),
        }  # fmt: skip
        sizes = [term.size if not term.over_positions else 1 for term in frame.design.terms]
        self.bases = tuple(unknown(q, q) for q in sizes)
        self.uncertainty = Uncertainty(unknown(s, s), unknown(r, r), unknown(t, t), unknown(p, p), unknown(p, p, s))

    def fail(self, places: NumpyArray, reason: str) -> None:
        """Note why responses have no optimum."""
        self.arrays["reason"][places] = reason

    def add(self, places: NumpyArray, found: Found, column_cov: NumpyArray, kept: NumpyArray | None = None) -> None:
        """Take what was found for responses ``places`` (b,); ``kept`` (p,) marks the columns that their rows leave."""
        own, optima, examination = self.arrays, found.optima, found.examination
        own["deviance"][places], own["sigma"][places] = examination.deviance, examination.sigma
        own["status"][places], own["theta"][places] = found.verdicts.status, optima.theta
        own["is_singular"][places] = np.any(optima.active_set != 0, axis=1)
        own["report"][places], own["components"][places] = examination.values.report, examination.values.components
        own["at_boundary"][places] = found.verdicts.at_boundary
        for mine, theirs in zip(self.bases, optima.bases, strict=True):
            mine[places] = theirs
        columns = np.arange(self.frame.x.shape[1]) if kept is None else np.flatnonzero(kept)
        own["beta"][np.ix_(places, columns)] = examination.beta
        own["column_cov"][places] = column_cov
        for name, mine in self.uncertainty._asdict().items():
            part = getattr(found.uncertainty, name)
            mine[np.ix_(places, columns, columns) if name.startswith("vcov") else places] = part
        self.fail(places[found.verdicts.status == FAILED], "the deviance is not finite")
        stopped = found.verdicts.status == STATUS.index("not_converged")
        self.fail(places[stopped], "stopped before an optimum")
        self.fail(places[stopped & found.verdicts.no_residual], "unbounded")
        self.fail(places[~stopped & found.verdicts.no_residual], "no_residual")

    def finish(
        self, read: Responses, notes: tuple[str, ...], choice: Choice, method: str, device: str, seconds: float
    ) -> ManyEstimates:
        """Return the whole; ``notes`` are those on the responses."""
        frame = self.frame
        return ManyEstimates(
            labels=frame.labels,
            method=method,
            names=read.names,
            matched=read.matched,
            unmatched=read.unmatched,
            n_rows=len(frame.index),
            n_dropped=frame.n_dropped,
            n_groups={name: len(level.labels) for name, level in frame.levels.items()},
            solver=choice.name,
            solver_reason=choice.reason,
            device=device,
            seconds=seconds,
            bases=self.bases,
            given=np.full(len(frame.labels.parameters), np.nan) if self.fixed is None else self.fixed.flat,
            uncertainty=self.uncertainty,
            notes=(*notes, *frame.notes),
            **self.arrays,
        )
