"""Which models are one Markov chain with columns of whole chains."""

from __future__ import annotations

import numpy as np

from jaxlmm._util import is_traced
from jaxlmm.model import Design, Term


def beyond_a_chain(design: Design) -> str:
    """Say what in a design is more than one Markov chain with columns of whole chains, or nothing."""
    along = [term for term in design.terms if term.over_positions]
    chains = along if design.residual is None else [*along, design.residual]
    if not chains:
        return "nothing along positions"
    if len(chains) > 1:
        return f"{len(chains)} structures along positions"
    if any(design.groupings[term.grouping].relation is not None for term in [*design.terms, *chains]):
        return "a known matrix across levels"
    (chain,) = chains
    name = type(chain.structure).__name__
    if not chain.structure.is_markov:
        return f"a structure along positions, {name}, that is no Markov chain"
    if chain.coords.shape[-1] != 1:
        return f"{chain.coords.shape[-1]} coordinates"
    if is_traced(chain.coords):
        return "traced positions, whose order is not known"
    if np.any(np.diff(np.asarray(chain.coords)[..., 0], axis=-1) < 0):
        return "positions that do not increase"
    groups = {term.grouping for term in design.terms if not term.over_positions}
    if len(groups) > 1:
        return f"columns on {len(groups)} grouping factors"
    n = int(design.n)
    inner = np.asarray(design.groupings[chain.grouping].codes)[:n].astype(np.int64)
    for group in groups - {chain.grouping}:
        outer = np.asarray(design.groupings[group].codes)[:n]
        pairs = np.unique(inner * int(design.groupings[group].n_levels) + outer)
        if pairs.size > np.unique(inner).size:
            return "columns on a group whose levels cut series in parts"
    return ""


def chain_of(design: Design) -> tuple[Term, int]:
    """Return the chain of a design, and the number of its term; the number of terms where residuals are the chain."""
    if design.residual is not None:
        return design.residual, len(design.terms)
    return next((term, number) for number, term in enumerate(design.terms) if term.over_positions)


def column_terms(design: Design) -> tuple[int, ...]:
    """Return the numbers of the terms over columns."""
    return tuple(number for number, term in enumerate(design.terms) if not term.over_positions)


def largest_cluster(design: Design) -> int:
    """Return the number of rows of the largest independent cluster of a design that is one chain with columns."""
    members = column_terms(design)
    grouping = design.terms[members[0]].grouping if members else chain_of(design)[0].grouping
    return int(np.bincount(np.asarray(design.groupings[grouping].codes)[: int(design.n)]).max())
