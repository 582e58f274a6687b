"""Choosing a solver: a pure function from a design to a solver's name and the reason."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxlmm.errors import OptionError, choose
from jaxlmm.model.design import Design
from jaxlmm.solvers.base import AbstractSolver
from jaxlmm.solvers.clusters import clusters_of
from jaxlmm.solvers.dense import Dense
from jaxlmm.solvers.moments import Moments

SOLVERS: dict[str, type[AbstractSolver]] = {solver.name: solver for solver in (Moments, Dense)}

LARGEST_CLUSTER = 3_000
"""The most rows of one cluster that the dense solver takes: its inverse costs 2 × 3000³ operations per evaluation."""


class Choice(NamedTuple):
    """A solver's name and why it was chosen."""

    name: str
    reason: str


def select(design: Design, solver: str = "auto") -> Choice:
    """Return the solver for a design.

    ======================================================  ========
    model                                                   solver
    ======================================================  ========
    no random term, independent residuals                   moments
    one grouping factor, column terms, independent rows     moments
    anything else, clusters of at most 3,000 rows           dense
    ======================================================  ========

    Raises
    ------
    OptionError
        If ``solver`` is unknown or cannot do the model, or no solver can.
    """
    choose("solver", solver, ("auto", *SOLVERS))
    obstacle = _beyond_moments(design)
    if solver == "moments" and obstacle:
        raise OptionError(f"solver='moments' cannot do this model: {obstacle}. Use solver='auto' or 'dense'.")
    if not obstacle and solver != "dense":
        reason = "one grouping factor, independent residuals" if design.terms else "no random effects"
        return Choice("moments", reason)
    largest = max(cluster.size for cluster in clusters_of(design))
    if largest > LARGEST_CLUSTER:
        raise OptionError(
            f"solver='dense' takes clusters of up to {LARGEST_CLUSTER:,} dependent rows; the largest cluster of this "
            f"model has {largest:,} of {int(design.n):,} rows ({obstacle or 'asked for by name'}). "
            "Use fewer crossed factors, or a sparser known matrix."
        )
    return Choice("dense", f"{obstacle or 'asked for'}; largest cluster {largest} rows")


def _beyond_moments(design: Design) -> str:
    if design.residual is not None:
        return "a residual structure"
    if any(term.over_positions for term in design.terms):
        return "a term over positions"
    if any(grouping.relation is not None for grouping in design.groupings):
        return "a known matrix across levels"
    used = np.unique([term.grouping for term in design.terms])
    return f"{used.size} grouping factors" if used.size > 1 else ""
