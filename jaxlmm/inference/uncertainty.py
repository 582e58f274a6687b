"""Standard errors and degrees of freedom from the exact derivatives at the optimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.inference.certificate import Verdict
from jaxlmm.inference.examine import Examination


class Uncertainty(NamedTuple):
    """What is known about an optimum.

    ``psi_cov`` (k + 1, k + 1) is the covariance of (theta, log sigma), zero for parameters held at a boundary;
    ``report_cov`` (r, r), ``component_cov`` and ``vcov`` (p, p) those of natural parameters, of variance components
    and of beta. What a boundary or a ridge leaves without a standard error is NaN.
    """

    psi_cov: NumpyArray
    report_cov: NumpyArray
    component_cov: NumpyArray
    vcov: NumpyArray
    vcov_derivative: NumpyArray

    def satterthwaite(self, contrasts: NumpyArray) -> NumpyArray:
        """Return the degrees of freedom (c,) of contrasts ``(c, p)`` of beta.

        ``2 v² / (gᵀ A g)`` with v the variance of the contrast, g its derivative in (theta, log sigma) and A their
        covariance (Giesbrecht and Burns 1985; Kuznetsova et al. 2017). No refit is needed.
        """
        variance = np.einsum("ci,ij,cj->c", contrasts, self.vcov, contrasts)
        gradient = np.einsum("ci,ijk,cj->ck", contrasts, self.vcov_derivative, contrasts)
        spread = np.einsum("ck,kl,cl->c", gradient, self.psi_cov, gradient)
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2.0 * variance**2 / spread


def uncertainty(examination: Examination, free: NumpyArray, verdict: Verdict) -> Uncertainty:
    """Turn derivatives into covariances; parameters at a boundary are held fixed."""
    kept = np.append(free, True)
    hessian = np.asarray(examination.hessian)[np.ix_(kept, kept)]
    null = verdict.null_directions[:, kept]
    psi_cov = np.zeros((kept.size, kept.size))
    if np.isfinite(hessian).all():
        psi_cov[np.ix_(kept, kept)] = 2.0 * _inverse_off(hessian, null)
    else:
        psi_cov[:] = np.nan

    jacobian = np.asarray(examination.derivatives.report)
    report_cov = jacobian @ psi_cov @ jacobian.T
    _blank(report_cov, verdict.at_boundary | verdict.on_ridge)
    spread = np.asarray(examination.derivatives.components)
    component_cov = spread @ psi_cov @ spread.T
    total = np.asarray(examination.values.components).sum()
    _blank(component_cov, np.abs(spread @ verdict.null_directions.T).max(axis=1, initial=0.0) > 1e-6 * total)

    vcov = np.array(examination.values.vcov)
    derivative = np.asarray(examination.derivatives.vcov)
    along = np.abs(np.einsum("ijk,rk->rij", derivative, verdict.null_directions)).max(axis=0, initial=0.0)
    size = np.sqrt(np.outer(np.diag(vcov), np.diag(vcov)))
    _blank(vcov, np.diag(along > 1e-5 * size))
    return Uncertainty(psi_cov, report_cov, component_cov, vcov, derivative)


def delta_method(jacobian: NumpyArray, covariance: NumpyArray) -> NumpyArray:
    """Return the standard errors ``(c,)`` of functions with ``jacobian`` (c, r); inputs they ignore may be NaN."""
    used = np.where(jacobian == 0.0, 0.0, 1.0)
    filled = np.where(np.isnan(covariance), 0.0, covariance)
    variance = np.einsum("ci,ij,cj->c", jacobian, filled, jacobian)
    unknown = (used @ np.isnan(np.diag(covariance)).astype(float)) > 0
    return np.where(unknown, np.nan, np.sqrt(np.maximum(variance, 0.0)))


def _inverse_off(hessian: NumpyArray, null: NumpyArray) -> NumpyArray:
    """Invert a symmetric matrix on the complement of the ``null`` directions (rows)."""
    scale = np.abs(np.diag(hessian)) ** -0.5 if np.diag(hessian).all() else np.ones(len(hessian))
    null = null / scale
    keep = np.eye(hessian.shape[0])
    if len(null):
        orthogonal, _ = np.linalg.qr(null.T)
        keep = keep - orthogonal @ orthogonal.T
    scaled = keep @ (hessian * np.outer(scale, scale)) @ keep
    values, vectors = np.linalg.eigh(scaled)
    order = np.argsort(np.abs(values))[len(null) :]
    inverse = (vectors[:, order] / values[order]) @ vectors[:, order].T
    return inverse * np.outer(scale, scale)


def _blank(covariance: NumpyArray, unknown: NumpyArray) -> None:
    covariance[unknown, :] = np.nan
    covariance[:, unknown] = np.nan
