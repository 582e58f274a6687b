"""Standard errors and degrees of freedom from the exact derivatives at the optimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.inference.certificate import Verdicts
from jaxlmm.inference.examine import Examination
from jaxlmm.inference.held import patterns


class Uncertainty(NamedTuple):
    """What is known about an optimum; what is known about many has a first axis over the responses everywhere.

    ``psi_cov`` (k + 1, k + 1) is the covariance of (theta, log sigma), zero for parameters held at a boundary;
    ``report_cov`` (r, r), ``component_cov`` and ``vcov`` (p, p) those of natural parameters, of variance components
    and of beta, ``vcov_derivative`` (p, p, k + 1). What a boundary or a ridge leaves without a standard error is NaN.
    """

    psi_cov: NumpyArray
    report_cov: NumpyArray
    component_cov: NumpyArray
    vcov: NumpyArray
    vcov_derivative: NumpyArray

    def satterthwaite(self, contrasts: NumpyArray) -> NumpyArray:
        """Return the degrees of freedom (..., c) of contrasts ``(c, p)`` of beta.

        ``2 v² / (gᵀ A g)`` with v the variance of the contrast, g its derivative in (theta, log sigma) and A their
        covariance (Giesbrecht and Burns 1985; Kuznetsova et al. 2017). No refit is needed.
        """
        variance = np.einsum("ci,...ij,cj->...c", contrasts, self.vcov, contrasts, optimize=True)
        gradient = np.einsum("ci,...ijk,cj->...ck", contrasts, self.vcov_derivative, contrasts, optimize=True)
        spread = np.sum((gradient @ self.psi_cov) * gradient, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2.0 * variance**2 / spread)


def uncertainty(examination: Examination, held: NumpyArray, verdicts: Verdicts) -> Uncertainty:
    """Turn the derivatives of b responses into covariances; parameters at a boundary, ``held`` (b, k), stay fixed."""
    kept = np.pad(held == 0, ((0, 0), (0, 1)), constant_values=True)
    psi_cov = np.where((kept[:, :, None] & kept[:, None, :]), np.nan, 0.0)
    finite = np.asarray(np.isfinite(examination.hessian).all(axis=(1, 2)))
    ridged = np.asarray(np.any(verdicts.null_directions, axis=(1, 2)))
    for places, pattern in patterns(held):
        free = np.flatnonzero(np.append(pattern == 0, True))
        plain = places[finite[places] & ~ridged[places]]
        block = np.ix_(plain, free, free)
        psi_cov[block] = 2.0 * _inverse(examination.hessian[block])
        for i in places[finite[places] & ridged[places]]:
            null = verdicts.null_directions[i][:, free]
            inverse = _inverse_off(examination.hessian[i][np.ix_(free, free)], null[null.any(axis=1)])
            psi_cov[np.ix_([i], free, free)] = 2.0 * inverse

    report_cov = _carried(examination.derivatives.report, psi_cov)
    _blank(report_cov, verdicts.at_boundary | verdicts.on_ridge)
    component_cov = _carried(examination.derivatives.components, psi_cov)
    vcov, derivative = np.array(examination.values.vcov), np.asarray(examination.derivatives.vcov)
    for i in np.flatnonzero(ridged):
        null = verdicts.null_directions[i]
        total = examination.values.components[i].sum()
        moved = np.abs(examination.derivatives.components[i] @ null.T).max(axis=1)
        _blank(component_cov[i], moved > 1e-6 * total)
        along = np.abs(np.einsum("ijk,rk->rij", derivative[i], null)).max(axis=0)
        size = np.sqrt(np.outer(np.diag(vcov[i]), np.diag(vcov[i])))
        _blank(vcov[i], np.diag(along > 1e-5 * size))
    return Uncertainty(psi_cov, report_cov, component_cov, vcov, derivative)


def _carried(jacobian: NumpyArray, covariance: NumpyArray) -> NumpyArray:
    """Return the covariances (b, c, c) of functions with ``jacobian`` (b, c, k)."""
    return np.asarray(jacobian @ covariance @ jacobian.swapaxes(-1, -2))


def delta_method(jacobian: NumpyArray, covariance: NumpyArray) -> NumpyArray:
    """Return the standard errors ``(..., c)`` of functions with ``jacobian`` (..., c, r) of what has ``covariance``
    (..., r, r); inputs that they ignore may be NaN.
    """
    unknown = np.isnan(np.diagonal(covariance, axis1=-2, axis2=-1))
    filled = np.where(np.isnan(covariance), 0.0, covariance)
    variance = np.sum((jacobian @ filled) * jacobian, axis=-1)
    touched = np.any((jacobian != 0.0) & unknown[..., None, :], axis=-1)
    return np.where(touched, np.nan, np.sqrt(np.maximum(variance, 0.0)))


def _inverse(hessian: NumpyArray) -> NumpyArray:
    """Invert symmetric matrices (b, k, k), scaled to a unit diagonal; indefinite ones too."""
    diagonal = np.abs(np.diagonal(hessian, axis1=-2, axis2=-1))
    scale = np.where(np.all(diagonal > 0, axis=-1, keepdims=True), np.where(diagonal > 0, diagonal, 1.0) ** -0.5, 1.0)
    outer = scale[:, :, None] * scale[:, None, :]
    values, vectors = np.linalg.eigh(hessian * outer)
    return np.asarray((vectors / values[:, None, :]) @ vectors.swapaxes(-1, -2)) * outer


def _inverse_off(hessian: NumpyArray, null: NumpyArray) -> NumpyArray:
    """Invert a symmetric matrix on the complement of the ``null`` directions (rows)."""
    scale = np.abs(np.diag(hessian)) ** -0.5 if np.diag(hessian).all() else np.ones(len(hessian))
    orthogonal, _ = np.linalg.qr((null / scale).T)
    keep = np.eye(hessian.shape[0]) - orthogonal @ orthogonal.T
    values, vectors = np.linalg.eigh(keep @ (hessian * np.outer(scale, scale)) @ keep)
    order = np.argsort(np.abs(values))[len(null) :]
    inverse = (vectors[:, order] / values[order]) @ vectors[:, order].T
    return np.asarray(inverse * np.outer(scale, scale))


def _blank(covariance: NumpyArray, unknown: NumpyArray) -> None:
    """Set rows and columns (..., c) of covariances (..., c, c) to NaN."""
    covariance[unknown[..., :, None] | unknown[..., None, :]] = np.nan
