"""Choosing a solver: a pure function from a design to a solver's name and the reason."""

from __future__ import annotations

from typing import NamedTuple

from jaxlmm.errors import OptionError, choose
from jaxlmm.model import Design
from jaxlmm.solvers.base import AbstractSolver
from jaxlmm.solvers.blocked import Blocked, largest_component
from jaxlmm.solvers.clusters import clusters_of
from jaxlmm.solvers.dense import Dense
from jaxlmm.solvers.moments import Moments
from jaxlmm.solvers.spectral import Spectral

SOLVERS: dict[str, type[AbstractSolver]] = {solver.name: solver for solver in (Moments, Blocked, Spectral, Dense)}

MAX_ROWS_OF_CLUSTER = 3_000
"""The most rows of one cluster that the dense solver takes: its inverse costs 2 × 3000³ operations per evaluation."""

MAX_LEVELS_DECOMPOSED = 20_000
"""The most levels that covary for the spectral solver: the decomposition takes about 4 × 8 × 20,000² bytes, 13 GB, and
9 × 20,000³ operations, once."""

MAX_EFFECTS_OF_COMPONENT = 6_000
"""The most connected effects that the blocked solver takes: one matrix of them is 288 MB; a Hessian needs several."""


class Choice(NamedTuple):
    """A solver's name and why it was chosen."""

    name: str
    reason: str


def select(design: Design, solver: str = "auto") -> Choice:
    """Return the solver for a design.

    With a model of dispersion a known matrix is one of anything else, and residuals count as independent.

    ==========================================================  ========
    model                                                       solver
    ==========================================================  ========
    no random term, independent residuals                       moments
    column terms on one grouping factor, independent residuals  moments
    column terms on several, independent residuals              blocked
    one column on one factor with a known matrix, the same      spectral
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
        raise OptionError(f"solver='moments' cannot do this model: {beyond or several}. Use solver='auto'.")
    if solver == "blocked" and (beyond or not used):
        reason = beyond or "no random effects"
        raise OptionError(f"solver='blocked' cannot do this model: {reason}. Use solver='auto' or 'dense'.")
    if solver in ("auto", "spectral"):
        otherwise = _beyond_one_known(design)
        if not otherwise:
            return Choice("spectral", _spectral(design))
        if solver == "spectral":
            raise OptionError(
                f"solver='spectral' cannot do this model: {otherwise}. It takes one random term of one column whose "
                "group has a known matrix (kinship=), and independent residuals. Use solver='auto' or 'dense'."
            )
    if not beyond and not several and solver in ("auto", "moments"):
        return Choice("moments", "one grouping factor, independent residuals" if used else "no random effects")
    if not beyond and solver != "dense":
        return Choice("blocked", _blocked(design, used))
    return Choice("dense", _dense(design, beyond or several or "asked for"))


def _blocked(design: Design, used: set[int]) -> str:
    """Say what the blocked solver is chosen for, and raise where its largest component is too large."""
    largest = largest_component(design)
    if largest > MAX_EFFECTS_OF_COMPONENT:
        raise OptionError(
            f"solver='blocked' takes up to {MAX_EFFECTS_OF_COMPONENT:,} connected random effects beside those of the "
            f"largest grouping factor; this model has {largest:,}. Leave one of the crossed factors out, or enter it "
            "as a fixed effect."
        )
    if len(used) == 1:
        return "one grouping factor, independent residuals"
    return f"{len(used)} grouping factors; {largest} connected effects once the largest is eliminated"


def _beyond_one_known(design: Design) -> str:
    """Say what in a design is not one column across levels with one known matrix, or nothing."""
    if design.residual is not None:
        return "a residual structure"
    if design.dispersion is not None:
        return "a model of dispersion"
    if len(design.terms) != 1:
        return f"{len(design.terms)} random terms"
    (term,) = design.terms
    if design.groupings[term.grouping].relation is None:
        return "no known matrix across levels"
    if term.over_positions:
        return "a term over positions"
    return "" if term.size == 1 else f"a term of {term.size} columns"


def _spectral(design: Design) -> str:
    """Say what the spectral solver decomposes, and raise where that is too large."""
    (term,) = design.terms
    relation = design.groupings[term.grouping].relation
    assert relation is not None
    clusters = relation.blocks()
    largest = max(cluster.size for cluster in clusters)
    if largest > MAX_LEVELS_DECOMPOSED:
        raise OptionError(
            f"solver='spectral' decomposes known matrices of up to {MAX_LEVELS_DECOMPOSED:,} levels that covary; this "
            f"model's has {largest:,}, which takes {32 * largest**2 / 1e9:.0f} GB. Use a sparser known matrix."
        )
    within = f" in {len(clusters)} clusters" if len(clusters) > 1 else ""
    return f"one known matrix{within}, independent residuals; decomposed once, {largest} levels together at most"


def _dense(design: Design, why: str) -> str:
    largest = max(cluster.size for cluster in clusters_of(design))
    if largest > MAX_ROWS_OF_CLUSTER:
        raise OptionError(
            f"solver='dense' takes clusters of up to {MAX_ROWS_OF_CLUSTER:,} dependent rows; the largest cluster of "
            f"this model has {largest:,} of {int(design.n):,} rows ({why}). Use fewer crossed factors, or a sparser "
            "known matrix."
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
