"""Kinds of models, in the words by which solvers say what they cannot do."""

from __future__ import annotations

from jaxlmm.model import Design


def beyond_columns(design: Design) -> str:
    """Say what in a design is more than column terms with independent residuals, or nothing."""
    if design.residual is not None:
        return "a residual structure"
    if any(term.over_positions for term in design.terms):
        return "a term over positions"
    if any(grouping.relation is not None for grouping in design.groupings):
        return "a known matrix across levels"
    return ""


def beyond_one_factor(design: Design) -> str:
    """Say that the terms of a design are on several grouping factors, or nothing."""
    count = n_factors(design)
    return f"{count} grouping factors" if count > 1 else ""


def beyond_one_known_matrix(design: Design) -> str:
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


def n_factors(design: Design) -> int:
    """Return the number of grouping factors that terms are on."""
    return len({term.grouping for term in design.terms})
