"""The random effects of a design."""

from __future__ import annotations

from jaxlmm.likelihood.laplace.effects import AbstractEffects, EffectsByLevel, EffectsBySolver
from jaxlmm.likelihood.laplace.elimination import EffectsByElimination
from jaxlmm.model import Design, Dispersion
from jaxlmm.solvers import select

MAX_COUPLING = 30_000_000
"""Entries of the coupling of two groups' effects beyond which a solver that stores none of its zeros does the work."""


def effects_of(design: Design) -> AbstractEffects:
    """Return the random effects of a design: level by level, by elimination of a group, or by any solver."""
    columns = design.residual is None and not any(term.over_positions for term in design.terms)
    if columns and all(grouping.relation is None for grouping in design.groupings):
        if len({term.grouping for term in design.terms}) <= 1:
            return EffectsByLevel.of(design)
        eliminated = EffectsByElimination.of(design)
        if eliminated.first.size * sum(group.size for group in eliminated.others) <= MAX_COUPLING:
            return eliminated
    varied = design.replace(dispersion=Dispersion.by_row(int(design.n), design.n_padded))
    return EffectsBySolver.of(design, select(varied).solver.build(varied))
