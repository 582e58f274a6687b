"""What a fit says of ids that a known matrix has and the data do not: the normal model's conditional distribution."""

from __future__ import annotations

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.formula import ModelFrame
from jaxlmm.model.layout import Factors
from jaxlmm.results.covariances import row_covariance, row_roots
from jaxlmm.solvers.clusters import clusters_of


def effects_of_relatives(
    frame: ModelFrame, factors: Factors, residual: NumpyArray, sigma: float
) -> list[tuple[NumpyArray, NumpyArray]]:
    """Return, for each term, the modes (R, q) of the ids without a row and their conditional standard deviations.

    With ``C = Cov(b, y) = K_new,old ⊗ Λ Λᵀ`` on the rows and ``H = Var(y)``, relative to sigma² (Henderson 1975, "Best
    linear unbiased estimation and prediction under a selection model"): mode ``C H⁻¹ (y − Xβ)`` and variance
    ``K_new ⊗ Λ Λᵀ − C H⁻¹ Cᵀ``, given theta and beta. Clusters of rows that covary with no such id are left out.

    Parameters
    ----------
    frame
        The model.
    factors
        Its covariance factors at the estimates.
    residual
        ``y − Xβ`` (n,) in units of the response, the offset subtracted.
    sigma
        The residual standard deviation.
    """
    terms = [_Term(frame, t, np.asarray(factor)) for t, factor in enumerate(factors.terms)]
    for rows in clusters_of(frame.design):
        near = [term.near(rows) for term in terms]
        if not any(ids.size for ids, _ in near):
            continue
        root = np.linalg.cholesky(row_covariance(frame, factors, rows))
        whitened = np.linalg.solve(root, residual[rows])
        for term, (ids, cross) in zip(terms, near, strict=True):
            if ids.size:
                pulled = np.linalg.solve(root, cross.reshape(rows.size, -1)).reshape(cross.shape)
                term.modes[ids] += np.einsum("n,nrq->rq", whitened, pulled)
                term.variances[ids] -= np.einsum("nrq,nrq->rq", pulled, pulled)
    return [(term.modes, sigma * np.sqrt(np.maximum(term.variances, 0.0))) for term in terms]


class _Term:
    """One term's relatives: modes and variances (R, q), filled in cluster by cluster."""

    def __init__(self, frame: ModelFrame, number: int, factor: NumpyArray) -> None:
        self.frame, self.term, self.factor = frame, frame.design.terms[number], factor
        known = frame.known.get(frame.labels.terms[number].group)
        others = np.zeros(0, int) if known is None else known.others
        root = factor if factor.ndim == 2 else factor[0]  # levels that covary have one set of positions
        self.root, self.modes = root, np.zeros((others.size, root.shape[0]))
        own = np.zeros(0) if known is None else known.matrix.diagonal()[others]
        self.variances = own[:, None] * np.sum(root**2, axis=1)
        self.cross = None if known is None or not others.size else known.between(known.places, others)

    def near(self, rows: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        """Return the relatives that covary with some ``rows`` (n,), and that covariance (n, r, q)."""
        if self.cross is None:
            return np.zeros(0, int), np.zeros((rows.size, 0, 0))
        codes = np.asarray(self.frame.design.groupings[self.term.grouping].codes)[rows]
        levels, local = np.unique(codes, return_inverse=True)
        between = self.cross[levels]
        ids = np.unique(between.indices)
        dense = np.asarray(between[:, ids].toarray())[local.reshape(-1)]
        pulled = row_roots(self.frame, self.term, self.factor, rows) @ self.root.T
        return ids, dense[:, :, None] * pulled[:, None, :]
