"""Modes of levels without data, known across levels by a matrix or by coordinates: the normal conditional distribution.

Letters: L levels with data, R without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.covariance import AbstractCovariance, increasing
from jaxlmm.formula import ModelFrame
from jaxlmm.formula.groups import KnownMatrix, LevelStructure
from jaxlmm.model import Layout
from jaxlmm.results.levels.covariances import factors_at, row_covariance, row_roots, unweighted
from jaxlmm.solvers import clusters_of

IDS_PER_MATRIX = 256
"""The most ids without data whose covariance with all levels is formed at once, for a structure across levels."""


def effects_of_unobserved(
    frame: ModelFrame,
    layout: Layout,
    theta: Float[NumpyArray, " k"],
    bases: Sequence[Float[NumpyArray, "_ _"]],
    residual: Float[NumpyArray, " n"],
    sigma: float,
) -> list[tuple[Float[NumpyArray, "_ _"], Float[NumpyArray, "_ _"]]]:
    """Return, for each term, the modes (R, q) of the ids without a row and their conditional standard deviations.

    With ``C = Cov(b, y) = (K_new,old ⊗ Λ Λᵀ) Zᵀ`` and ``H = Var(y)``, relative to sigma², b the effects of the new
    ids, those without data (Henderson 1975, "Best linear unbiased estimation and prediction under a selection
    model"): modes ``C H⁻¹ (y − Xβ)`` and covariance ``K_new ⊗ Λ Λᵀ − C H⁻¹ Cᵀ``, given theta and beta. Clusters of rows
    that covary with no such id are left out. Where H is singular, as at a point where almost no residual is left, both
    are NaN.

    Parameters
    ----------
    frame
        The model.
    layout, theta, bases
        Its structures, and the estimates in the bases in which they were found.
    residual
        ``y − Xβ`` in units of the response, the offset subtracted.
    sigma
        The residual standard deviation.
    """
    factors = factors_at(layout, theta, bases)
    # theta of an absolute layout is relative to the response's scale, as this sigma is
    unit = 1.0 if factors.sigma is None else float(factors.sigma)
    terms = []
    for number, (factor, own) in enumerate(zip(factors.terms, layout.slices(), strict=False)):
        group = frame.labels.terms[number].group
        known, levels = frame.level_covariances.get(group), frame.levels[group].codes
        if isinstance(known, LevelStructure):
            terms.append(_of_structure(known, layout.structures[number], theta[own], unit, levels))
        else:
            terms.append(_of_matrix(known, np.asarray(factor), levels))
    for rows in clusters_of(frame.design):
        related = [_related(frame, number, term, rows) for number, term in enumerate(terms)]
        if not any(ids.size for ids, _ in related):
            continue
        try:
            root = np.linalg.cholesky(row_covariance(frame, factors, rows))
        except np.linalg.LinAlgError:  # singular, where almost no residual is left
            for term, (ids, _) in zip(terms, related, strict=True):
                term.modes[ids] = term.variances[ids] = np.nan
            continue
        whitened = np.linalg.solve(root, residual[rows])
        for term, (ids, covariance) in zip(terms, related, strict=True):
            if ids.size:
                white = np.linalg.solve(root, covariance.reshape(rows.size, -1)).reshape(covariance.shape)
                term.modes[ids] += np.einsum("n,nrq->rq", whitened, white)
                term.variances[ids] -= np.einsum("nrq,nrq->rq", white, white)
    return [(term.modes, sigma * np.sqrt(np.maximum(term.variances, 0.0))) for term in terms]


def effects_given_modes(
    frame: ModelFrame, modes: Sequence[Float[NumpyArray, "L q"]]
) -> list[tuple[Float[NumpyArray, "_ q"], Float[NumpyArray, "_ q"]]]:
    """Return, for each term, the modes (R, q) of the ids without a row of a known matrix, given those of the levels.

    They are ``K_new,old K_old⁻¹ b``, of a singular matrix by its generalized inverse. Their conditional standard
    deviations, and the effects of ids with coordinates, are NaN: nobody computes them yet.
    """
    found = []
    for labels, own in zip(frame.labels.terms, modes, strict=True):
        known, q = frame.level_covariances.get(labels.group), own.shape[1]
        group = frame.labels.groups[labels.group]
        values = np.full((0 if group.unobserved is None else len(group.unobserved), q), np.nan)
        if isinstance(known, KnownMatrix) and len(values):
            old = np.asarray(known.between(known.indices, known.indices).toarray())
            cross = np.asarray(known.between(known.indices, known.unobserved).toarray())
            values = cross.T @ np.linalg.lstsq(old, own, rcond=None)[0]
        found.append((values, np.full(values.shape, np.nan)))
    return found


class _Term(NamedTuple):
    """Ids of one term without a row: their ``modes`` and ``variances``, filled in cluster by cluster.

    ``cross`` (L, R) are relative covariances between the levels and these ids. With a known matrix it is that matrix,
    sparse, and each entry is multiplied by ``Λ Λᵀ``, Λ the ``factor`` within a level. With a structure across levels it
    is dense, and factor is None. It is None without such ids. ``levels`` are the codes of all rows.
    """

    modes: Float[NumpyArray, "R q"]
    variances: Float[NumpyArray, "R q"]
    cross: Any
    factor: Float[NumpyArray, "*L q q"] | None
    levels: Int[NumpyArray, " n"]


def _of_matrix(known: KnownMatrix | None, factor: Float[NumpyArray, "*L q q"], levels: Int[NumpyArray, " n"]) -> _Term:
    """Return the ids without data of a known matrix, at their prior variances; of none without a matrix."""
    others = np.zeros(0, int) if known is None else known.unobserved
    root = factor if factor.ndim == 2 else factor[0]  # levels that covary have one set of positions
    own = np.zeros(0) if known is None else known.matrix.diagonal()[others]
    cross = None if known is None or not others.size else known.between(known.indices, others)
    return _Term(np.zeros((others.size, root.shape[0])), own[:, None] * np.sum(root**2, axis=1), cross, factor, levels)


def _of_structure(
    known: LevelStructure,
    structure: AbstractCovariance,
    theta: Float[NumpyArray, " k"],
    unit: float,
    levels: Int[NumpyArray, " n"],
) -> _Term:
    """Return the ids without data of a structure across levels, at their prior variances.

    ``unit`` is sigma where theta is not relative to it, else 1.
    """
    others, count = known.unobserved, known.indices.size
    cross, own = np.zeros((count, others.size)), np.zeros((others.size, 1))
    for some, coords in _by_part(known, others):
        order = increasing(coords)
        root = np.empty((len(coords),) * 2)
        root[order] = np.asarray(_cholesky(structure, theta, coords[order])) / unit
        new = root[count : count + some.size]
        cross[:, some], own[some, 0] = root[:count] @ new.T, np.sum(new**2, axis=1)
    return _Term(np.zeros((others.size, 1)), own, cross if others.size else None, None, levels)


def root_across(
    known: LevelStructure, structure: AbstractCovariance, theta: Float[NumpyArray, " k"], unit: float
) -> Float[NumpyArray, "A A"]:
    """Return a root of the covariance of all ids, relative to sigma: the levels first, then those without a row."""
    coords = known.coords[np.concatenate([known.indices, known.unobserved])]
    order = increasing(coords)
    root = np.empty((len(coords),) * 2)
    root[order] = np.asarray(_cholesky(structure, theta, coords[order])) / unit
    return root


def _by_part(
    known: LevelStructure, others: Int[NumpyArray, " R"]
) -> Iterator[tuple[Int[NumpyArray, " _"], Float[NumpyArray, "_ d"]]]:
    """Yield some of the ``others`` by number, and the coordinates of the levels and of these."""
    for first in range(0, others.size, IDS_PER_MATRIX):
        some = np.arange(first, min(first + IDS_PER_MATRIX, others.size))
        yield some, known.coords[np.concatenate([known.indices, others[some]])]


@program(once=True)
def _cholesky(
    structure: AbstractCovariance, theta: Float[Array, " k"], coords: Float[Array, "L d"]
) -> Float[jax.Array, "L L"]:
    return structure.cholesky(jnp.asarray(theta), jnp.asarray(coords))


def _related(
    frame: ModelFrame, number: int, term: _Term, rows: Int[NumpyArray, " n"]
) -> tuple[Int[NumpyArray, " R"], Float[NumpyArray, "n R q"]]:
    """Return the ids without data that covary with some ``rows``, and these covariances."""
    own = frame.design.terms[number]
    if term.cross is None:
        return np.zeros(0, int), np.zeros((rows.size, 0, 0))
    if term.factor is None:
        z = unweighted(frame, own)[rows]
        return np.arange(len(term.modes)), (z * term.cross[term.levels[rows]])[:, :, None]
    levels, local = np.unique(term.levels[rows], return_inverse=True)
    between = term.cross[levels]
    ids = np.unique(between.indices)
    dense = np.asarray(between[:, ids].toarray())[local.reshape(-1)]
    root = term.factor if term.factor.ndim == 2 else term.factor[0]
    roots = row_roots(frame, own, term.factor, rows) @ root.T
    return ids, dense[:, :, None] * roots[:, None, :]
