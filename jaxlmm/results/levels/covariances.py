"""The covariance of rows relative to sigma², from a model's frame and its covariance factors, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.errors import OptionError
from jaxlmm.formula import ModelFrame
from jaxlmm.model import ChainFactor, Factors, Layout, Term

MAX_ENTRIES = 2**28
"""Numbers of the covariance matrices along positions up to which they are formed: 2 GB."""


def factors_at(layout: Layout, theta: Float[Array, " k"], bases: Sequence[Float[Array, "_ _"]]) -> Factors:
    """Return the covariance factors at ``theta`` in the ``bases``, one per term, roots along positions; in NumPy.

    Raises
    ------
    OptionError
        If series along positions are too long for matrices.
    """
    coords = [*layout.coords, *([] if layout.residual_coords is None else [layout.residual_coords])]
    entries = max((np.size(own) * np.shape(own)[-2] for own in coords if np.ndim(own) == 3), default=0)
    if entries > MAX_ENTRIES:
        raise OptionError(
            f"this needs the covariance matrices of all positions, {entries:.1e} numbers; series along positions are "
            "too long for it. What needs none are estimates, their standard errors, tests by Satterthwaite's degrees "
            "of freedom, modes, fitted values, draws and predictions without standard errors."
        )
    return with_roots(_factors_at(layout.replace(chains=()), theta, bases))


def with_roots(factors: Factors) -> Factors:
    """Return roots in place of the covariances of terms over positions and of the residual, in NumPy; chains stay."""
    host: Any = jax.tree.map(np.asarray, factors)

    def rooted(part: Any) -> Any:
        return part if part is None or isinstance(part, ChainFactor) or part.ndim == 2 else roots_of(part)

    found: Factors = host._replace(terms=tuple(map(rooted, host.terms)), residual=rooted(host.residual))
    return found


def roots_of(matrices: Float[NumpyArray, "L q q"]) -> Float[NumpyArray, "L q q"]:
    """Return roots of covariance matrices, lower triangular where all are regular.

    >>> roots_of(np.array([[[4.0, 0.0], [0.0, 0.0]]])).tolist()
    [[[2.0, 0.0], [0.0, 0.0]]]
    """
    try:
        return np.asarray(np.linalg.cholesky(matrices))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrices)
        rounding = matrices.shape[-1] * np.finfo(float).eps * values[..., -1:]
        roots = vectors * np.sqrt(np.where(values > rounding, values, 0.0))[..., None, :]
        return np.asarray(roots[..., ::-1])


@program(once=True)
def _factors_at(layout: Layout, theta: Float[Array, " k"], bases: Sequence[Float[Array, "_ _"]]) -> Factors:
    return layout.factors(jnp.asarray(theta), bases)


def unweighted(frame: ModelFrame, term: Term) -> Float[NumpyArray, "n q"]:
    """Return the rows of a term's columns as they are in the data; ones (n, 1) for a term over positions."""
    return np.asarray(term.z)[: len(frame.index)] / np.sqrt(frame.weights)[:, None]


def row_roots(
    frame: ModelFrame, term: Term, factor: Float[NumpyArray, "*L q r"], rows: Int[NumpyArray, " n"]
) -> Float[NumpyArray, "n r"]:
    """Return vectors whose inner products are the term's covariances, within a level, of some ``rows`` of the frame.

    The ``factor`` of a term over positions has a first axis over the blocks of positions.
    """
    z = unweighted(frame, term)[rows]
    if term.positions is None:
        return np.asarray(z @ factor)
    codes = np.asarray(frame.design.groupings[term.grouping].codes)[rows]
    return np.asarray(z * factor[term.blocks(codes), np.asarray(term.positions)[rows]])


def row_covariance(frame: ModelFrame, factors: Factors, rows: Int[NumpyArray, " n"]) -> Float[NumpyArray, "n n"]:
    """Return ``Z Λ Λᵀ Zᵀ + W⁻½ D R D W⁻½`` of some ``rows`` of the frame, with the known matrices across levels.

    D are the rows' standard deviations by the model of dispersion.
    """
    design = frame.design
    total, sds = np.zeros((rows.size, rows.size)), 1.0 / np.sqrt(frame.weights[rows])
    if design.dispersion is not None and factors.dispersion is not None:
        sds = sds * np.exp(np.asarray(factors.dispersion.log_sd(design.dispersion.columns)))[rows]
    for term, factor in zip(design.terms, factors.terms, strict=True):
        roots = row_roots(frame, term, np.asarray(factor), rows)
        grouping = design.groupings[term.grouping]
        codes = np.asarray(grouping.codes)[rows]
        if grouping.relation is None:
            _add_within(total, roots, codes)
        else:
            levels, local = np.unique(codes, return_inverse=True)
            total += (roots @ roots.T) * grouping.relation.among(levels)[np.ix_(local, local)]
    if design.residual is None or factors.residual is None:
        total[np.diag_indices(rows.size)] += sds**2
    else:
        codes = np.asarray(design.groupings[design.residual.grouping].codes)[rows]
        positions = np.asarray(design.residual.positions)[rows]
        correlated = np.asarray(factors.residual)[design.residual.blocks(codes), positions] * sds[:, None]
        _add_within(total, correlated, codes)
    return total


def _add_within(total: Float[NumpyArray, "n n"], roots: Float[NumpyArray, "n r"], codes: Int[NumpyArray, " n"]) -> None:
    """Add the inner products of ``roots`` where two rows have the same level."""
    order = np.argsort(codes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        total[np.ix_(rows, rows)] += roots[rows] @ roots[rows].T
