"""Choosing a solver: a pure function from a design to a solver's name and the reason."""

from __future__ import annotations

from typing import NamedTuple

from jaxlmm.errors import OptionError, choose
from jaxlmm.model.design import Design
from jaxlmm.solvers.base import AbstractSolver
from jaxlmm.solvers.blocked import Blocked
from jaxlmm.solvers.clusters import clusters_of
from jaxlmm.solvers.components import largest_component
from jaxlmm.solvers.dense import Dense
from jaxlmm.solvers.moments import Moments

SOLVERS: dict[str, type[AbstractSolver]] = {solver.name: solver for solver in (Moments, Blocked, Dense)}

LARGEST_CLUSTER = 3_000
"""The most rows of one cluster that the dense solver takes: its inverse costs 2 × 3000³ operations per evaluation."""

LARGEST_COMPONENT = 6_000
"""The most connected effects that the blocked solver takes: one matrix of them is 288 MB; a Hessian needs several."""


class Choice(NamedTuple):
    """A solver's name and why it was chosen."""

    name: str
    reason: str


def select(design: Design, solver: str = "auto") -> Choice:
    """Return the solver for a design.

    ==========================================================  ========
    model                                                       solver
    ==========================================================  ========
    no random term, independent residuals                       moments
    column terms on one grouping factor, independent residuals  moments
    column terms on several, independent residuals              blocked
    anything else, clusters of at most 3,000 rows               dense
    ==========================================================  ========

    Raises
    ------
    OptionError
        If ``solver`` is unknown or cannot do the model, or no solver can.
    """
    choose("solver", solver, ("auto", *SOLVERS))
    beyond = _beyond_columns(design)
    used = {term.grouping for term in design.terms}
    several = f"{len(used)} grouping factors" if len(used) > 1 else ""
    if solver == "moments" and (beyond or several):
        raise OptionError(
            f"solver='moments' cannot do this model: {beyond or several}. Use solver='auto', 'blocked' or 'dense'."
        )
    if solver == "blocked" and (beyond or not used):
        reason = beyond or "no random effects"
        raise OptionError(f"solver='blocked' cannot do this model: {reason}. Use solver='auto' or 'dense'.")
    if not beyond and not several and solver in ("auto", "moments"):
        return Choice("moments", "one grouping factor, independent residuals" if used else "no random effects")
    if not beyond and solver != "dense":
        return Choice("blocked", _blocked(design, used))
    return Choice("dense", _dense(design, beyond or several or "asked for"))


def _blocked(design: Design, used: set[int]) -> str:
    """Say what the blocked solver is chosen for, and raise where its largest component is too large."""
    largest = largest_component(design)
    if largest > LARGEST_COMPONENT:
        raise OptionError(
            f"solver='blocked' takes up to {LARGEST_COMPONENT:,} connected random effects beside those of the largest "
            f"grouping factor; this model has {largest:,}. Leave one of the crossed factors out, or enter it as a "
            "fixed effect."
        )
    if len(used) == 1:
        return "one grouping factor, independent residuals"
    return f"{len(used)} grouping factors; {largest} connected effects once the largest is eliminated"


def _dense(design: Design, why: str) -> str:
    largest = max(cluster.size for cluster in clusters_of(design))
    if largest > LARGEST_CLUSTER:
        raise OptionError(
            f"solver='dense' takes clusters of up to {LARGEST_CLUSTER:,} dependent rows; the largest cluster of this "
            f"model has {largest:,} of {int(design.n):,} rows ({why}). Use fewer crossed factors, or a sparser known "
            "matrix."
        )
    return f"{why}; largest cluster {largest} rows"


def _beyond_columns(design: Design) -> str:
    """Say what in a design is more than column terms with independent residuals, or nothing."""
    if design.residual is not None:
        return "a residual structure"
    if any(term.over_positions for term in design.terms):
        return "a term over positions"
    if any(grouping.relation is not None for grouping in design.groupings):
        return "a known matrix across levels"
    return ""
