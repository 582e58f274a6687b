"""The covariance of rows relative to sigma², from a model's frame and its covariance factors, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.formula import ModelFrame
from jaxlmm.model import Factors, Layout, Term


@program(once=True)
def factors_at(layout: Layout, theta: Array, bases: Sequence[Array]) -> Factors:
    """Return the covariance factors at ``theta`` (k,) in the ``bases``, one (q, q) per term."""
    return layout.factors(jnp.asarray(theta), bases)


def unweighted(frame: ModelFrame, term: Term) -> NumpyArray:
    """Return the rows (n, q) of a term's columns as they are in the data; ones (n, 1) for a term over positions."""
    return np.asarray(term.z)[: len(frame.index)] / np.sqrt(frame.weights)[:, None]


def row_roots(frame: ModelFrame, term: Term, factor: NumpyArray, taken: NumpyArray) -> NumpyArray:
    """Return rows (m, r) whose inner products are the term's covariances within a level, of the rows ``taken`` (m,)."""
    z = unweighted(frame, term)[taken]
    if term.positions is None:
        return np.asarray(z @ factor)
    codes = np.asarray(frame.design.groupings[term.grouping].codes)[taken]
    return np.asarray(z * factor[codes, np.asarray(term.positions)[taken]])


def row_covariance(frame: ModelFrame, factors: Factors, taken: NumpyArray) -> NumpyArray:
    """Return ``Z Λ Λᵀ Zᵀ + W⁻½ R W⁻½`` (m, m) of the rows ``taken`` (m,), with the known matrices across levels."""
    design = frame.design
    total = np.zeros((taken.size, taken.size))
    for term, factor in zip(design.terms, factors.terms, strict=True):
        roots = row_roots(frame, term, np.asarray(factor), taken)
        grouping = design.groupings[term.grouping]
        codes = np.asarray(grouping.codes)[taken]
        if grouping.relation is None:
            _add_within(total, roots, codes)
        else:
            levels, local = np.unique(codes, return_inverse=True)
            total += (roots @ roots.T) * grouping.relation.among(levels)[np.ix_(local, local)]
    if design.residual is None or factors.residual is None:
        total[np.diag_indices(taken.size)] += 1.0 / frame.weights[taken]
    else:
        codes = np.asarray(design.groupings[design.residual.grouping].codes)[taken]
        places = np.asarray(design.residual.positions)[taken]
        correlated = np.asarray(factors.residual)[codes, places] / np.sqrt(frame.weights[taken])[:, None]
        _add_within(total, correlated, codes)
    return total


def _add_within(total: NumpyArray, roots: NumpyArray, codes: NumpyArray) -> None:
    """Add the inner products of ``roots`` (m, r) where two rows have the same level."""
    order = np.argsort(codes, kind="stable")
    for block in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        total[np.ix_(block, block)] += roots[block] @ roots[block].T
