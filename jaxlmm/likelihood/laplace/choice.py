"""The random effects of a design."""

from __future__ import annotations

from jaxlmm.likelihood.laplace.by_row import EffectsWithRows
from jaxlmm.likelihood.laplace.effects import AbstractEffects, EffectsByLevel, EffectsBySolver
from jaxlmm.likelihood.laplace.elimination import EffectsByElimination
from jaxlmm.model import Design, Dispersion
from jaxlmm.solvers import select

MAX_COUPLING = 30_000_000
"""Entries of the coupling of two groups' effects beyond which a solver that stores none of its zeros does the work."""


def effects_of(design: Design) -> AbstractEffects:
    """Return the random effects of a design: level by level, by elimination of a group, or by any solver.

    Effects of each row of its own are eliminated before.
    """
    own = _of_rows(design)
    design = design.replace(distribution=None)
    if own is not None:
        return EffectsWithRows.of(design, own, effects_of(_without(design, own)))
    kind = _kind(design)
    if kind is EffectsByLevel:
        return EffectsByLevel.of(design)
    if kind is EffectsByElimination:
        return EffectsByElimination.of(design)
    varied = _varied(design)
    return EffectsBySolver.of(design, select(varied).solver.build(varied))


def algebra_of(design: Design) -> tuple[str, str]:
    """Return the name of what does the algebra of the random effects, and why it does.

    >>> import jaxlmm as lmm
    >>> algebra_of(lmm.design("~ Days + (Days | Subject)", lmm.datasets.sleepstudy()))[0]
    'by level'
    """
    own = _of_rows(design)
    if own is not None:
        name, reason = algebra_of(_without(design, own))
        return name, f"an effect of each row; {reason}"
    kind = _kind(design)
    if kind is EffectsByLevel:
        return "by level", "one grouping factor" if design.terms else "no other random effect"
    if kind is EffectsByElimination:
        return "elimination", "several grouping factors"
    chosen = select(_varied(design.replace(distribution=None)))
    return chosen.name, chosen.reason


def _of_rows(design: Design) -> int | None:
    """Return the number of a term with an effect for each row, where the others can take weights of any kind.

    None for quadrature, whose effects are those of one grouping factor.
    """
    by_quadrature = design.distribution is not None and design.distribution.n_nodes > 1
    return None if by_quadrature or _kind(design) is EffectsBySolver else EffectsWithRows.term_of(design)


def _without(design: Design, term: int) -> Design:
    return design.replace(terms=(*design.terms[:term], *design.terms[term + 1 :]), built_with=None, incidence=None)


def _kind(design: Design) -> type[AbstractEffects]:
    columns = design.residual is None and not any(term.over_positions for term in design.terms)
    used = {term.grouping for term in design.terms}
    if not columns or any(design.groupings[number].relation is not None for number in used):
        return EffectsBySolver
    if len(used) <= 1:
        return EffectsByLevel
    coupled = EffectsByElimination.coupled(design)
    return EffectsByElimination if coupled <= MAX_COUPLING else EffectsBySolver


def _varied(design: Design) -> Design:
    """Return a design whose rows vary in their residual variance, so that its solver can be reweighted."""
    return design.replace(dispersion=Dispersion.by_row(int(design.n), design.n_padded))
