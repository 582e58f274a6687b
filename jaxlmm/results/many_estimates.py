"""Estimates of many fits: numbers that need no row of the data, with a first axis over the responses.

A field that is added is saved and loaded under its name, by its type and shape (:mod:`jaxlmm.results.plain`); an array
is filled in :meth:`Collector.add`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.engine import Found
from jaxlmm.families import with_reported_zero_part
from jaxlmm.formula import ModelFrame, ModelLabels, Responses
from jaxlmm.inference import PROVEN, STATUS, Reason, Uncertainty
from jaxlmm.model import Layout, Natural
from jaxlmm.results.plain import saved_at, sizes_of, unknown_arrays
from jaxlmm.solvers import Choice

FAILED = STATUS.index("failed")


@dataclasses.dataclass(frozen=True, eq=False)
class ManyEstimates:
    """Fits of m responses, as in :class:`jaxlmm.results.estimates.Estimates`, with a first axis.

    One that could not be fitted has NaN and the status ``failed``; one that stopped early has ``not_converged`` and the
    numbers where it stopped. ``reason`` says why, and also marks a boundary at which no residual is left; else it is
    empty (:data:`jaxlmm.inference.REASONS`). ``status`` are indices of ``STATUS``.

    ``n_rows`` are those of the design and ``n`` those of each response; ``matched`` says how rows of the responses were
    found for those of the data, as ``"by index"``, and ``unmatched`` rows of the responses belong to none. Some of
    ``report`` are fixed at the values ``given``, NaN where one is free. ``theta`` is that of the layout with these
    values held, in ``bases``, one per term; parameters of a term that are fixed remain in it. The fields are in the
    order of the file.
    """

    ARRAYS: ClassVar[str] = "numbers"
    """The key in the file under which the arrays of floats stand."""

    method: str
    matched: str
    unmatched: int
    n_rows: int
    n_dropped: int
    n_groups: dict[str, int]
    solver: str
    solver_reason: str
    device: str
    seconds: float
    names: tuple[str, ...] = field(metadata=saved_at("responses"))
    n: Int[NumpyArray, " m"]
    status: Int8[NumpyArray, " m"] = field(metadata=saved_at("status", words=STATUS))
    reason: Shaped[NumpyArray, " m"]
    notes: tuple[str, ...]
    is_singular: Bool[NumpyArray, " m"]
    at_boundary: Bool[NumpyArray, "m r"]
    labels: ModelLabels = field(metadata=saved_at("model"))
    bases: tuple[Float[NumpyArray, "m _ _"], ...]
    deviance: Float[NumpyArray, " m"]
    sigma: Float[NumpyArray, " m"]
    theta: Float[NumpyArray, "m k"]
    beta: Float[NumpyArray, "m p"]
    column_cov: Float[NumpyArray, "m p p"]
    report: Float[NumpyArray, "m r"]
    components: Float[NumpyArray, "m t"]
    given: Float[NumpyArray, " r"]
    n_variance_params: int
    uncertainty: Uncertainty

    @property
    def fixed(self) -> Bool[NumpyArray, " r"]:
        """Which natural parameters are held at given values."""
        return np.isfinite(self.given)

    @property
    def proven(self) -> Bool[NumpyArray, " m"]:
        """Which responses have a certified, identified optimum (``interior`` or ``boundary``), and so tests."""
        return np.isin(self.status, PROVEN)

    @property
    def residual_sd(self) -> Float[NumpyArray, " m"]:
        """The residual standard deviations that are reported: 0 where the deviance goes to −∞ as sigma goes to 0, and
        NaN of generalized models.
        """
        if self.labels.family is not None:
            return np.full(self.sigma.shape, np.nan)
        return np.where(np.isneginf(self.deviance), 0.0, self.sigma)

    @property
    def dispersion(self) -> Float[NumpyArray, "m d"]:
        """The parameters of the family of generalized models."""
        count = 0 if self.labels.family is None else len(self.labels.family.natural)
        return self.report[:, self.report.shape[1] - count :]

    @property
    def words(self) -> Shaped[NumpyArray, " m"]:
        """The status of each response in words."""
        return np.array(STATUS, dtype=object)[self.status]


class Collector:
    """Fills the arrays of :class:`ManyEstimates` while responses are finished, in whatever order."""

    def __init__(self, frame: ModelFrame, n: Int[NumpyArray, " m"], layout: Layout, fixed: Natural | None) -> None:
        sizes = {"m": n.size, **sizes_of(frame.labels), "k": layout.n_theta, "s": layout.n_psi}
        self.frame, self.fixed, self.n_variance_params = frame, fixed, layout.n_estimated
        self.arrays = unknown_arrays(ManyEstimates, sizes)
        self.arrays["n"] = n
        self.arrays["status"][:] = FAILED
        if fixed is not None:
            self.arrays["given"] = fixed.given
        # A term over positions has no basis: the 1 by 1 identity stands in its place.
        columns = [term.size if not term.over_positions else 1 for term in frame.design.terms]
        self.bases = tuple(np.full((n.size, q, q), np.nan) for q in columns)

    def explain(self, index: Int[NumpyArray, " b"], reason: Reason, where: str = "") -> None:
        """Set the reason of the responses ``index``; ``where`` says of what part of the model it is true."""
        self.arrays["reason"][index] = reason + where

    def separate(self, number: int, where: str) -> None:
        """Mark a response that has no finite estimate, and say ``where`` its likelihood rises for ever."""
        self.arrays["status"][number] = STATUS.index("not_identified")
        self.explain(np.array([number]), "separated", where)

    def add(
        self,
        index: Int[NumpyArray, " b"],
        found: Found,
        column_cov: Float[NumpyArray, "*_ p p"],
        kept: Bool[NumpyArray, " p"] | None = None,
    ) -> None:
        """Take what was found for the responses ``index``.

        ``kept`` marks the fixed-effect columns that are linearly independent on their rows; None stands for all.
        """
        arrays, optima, examination = self.arrays, found.optima, found.examination
        arrays["deviance"][index], arrays["sigma"][index] = examination.deviance, examination.sigma
        arrays["status"][index], arrays["theta"][index] = found.verdicts.status, optima.theta
        arrays["is_singular"][index] = np.any(optima.active_set != 0, axis=1)
        distribution = self.frame.design.distribution
        family = None if distribution is None else distribution.family
        report = with_reported_zero_part(family, np.asarray(examination.values.report))
        arrays["report"][index] = report if self.fixed is None else self.fixed.put_into(report)
        arrays["components"][index] = examination.values.components
        arrays["at_boundary"][index] = found.verdicts.at_boundary
        for all_bases, bases in zip(self.bases, optima.bases, strict=True):
            all_bases[index] = bases
        columns = np.arange(self.frame.x.shape[1]) if kept is None else np.flatnonzero(kept)
        arrays["beta"][np.ix_(index, columns)] = examination.beta
        arrays["column_cov"][index] = column_cov
        for name, covariances in arrays["uncertainty"]._asdict().items():
            own = np.ix_(index, columns, columns) if name.startswith("vcov") else index
            covariances[own] = getattr(found.uncertainty, name)
        self.explain(index[found.verdicts.status == FAILED], "not_finite")
        stopped = found.verdicts.status == STATUS.index("not_converged")
        self.explain(index[stopped], "stopped")
        self.explain(index[stopped & (found.verdicts.no_residual | found.verdicts.grows)], "unbounded")
        self.explain(index[~stopped & found.verdicts.no_residual], "no_residual")

    def take(
        self, index: Int[NumpyArray, " b"], arrays: Mapping[str, Any], bases: Sequence[Float[NumpyArray, "b _ _"]]
    ) -> None:
        """Take the arrays and bases that another process collected of the responses ``index``."""
        for name in self.arrays.keys() - {"n", "given"}:  # these are known before

            def put(all_values: NumpyArray, values: NumpyArray) -> None:
                all_values[index] = values

            jax.tree.map(put, self.arrays[name], arrays[name])
        for all_bases, own in zip(self.bases, bases, strict=True):
            all_bases[index] = own

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
            n_variance_params=self.n_variance_params,
            notes=(*notes, *frame.notes),
            **self.arrays,
        )


def joined(parts: Sequence[ManyEstimates]) -> ManyEstimates:
    """Return estimates of one model as one, each response once: that of the first part which has it."""
    first, places = parts[0], dict[str, int]()
    for place, name in enumerate(name for part in parts for name in part.names):
        places.setdefault(name, place)
    index = np.array(list(places.values()))
    per_response = unknown_arrays(ManyEstimates, {"m": 0, **sizes_of(first.labels), "k": 0, "s": 0}).keys() - {"given"}
    changes = {
        name: jax.tree.map(lambda *values: np.concatenate(values)[index], *(getattr(part, name) for part in parts))
        for name in (*per_response, "bases")
    }
    return dataclasses.replace(first, names=tuple(places), seconds=sum(part.seconds for part in parts), **changes)
