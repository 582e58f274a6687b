"""Moderated covariances of fixed effects: residual variances of mixed models given a prior of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.inference.moderation.prior import Prior
from jaxlmm.inference.uncertainty import Uncertainty


def residual_degrees(uncertainty: Uncertainty) -> Float[NumpyArray, " m"]:
    """Return the degrees of freedom of the residual variances of m responses, by Satterthwaite: 1/(2 Var(log sigma)).

    log sigma is the last of psi.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(0.5 / uncertainty.psi_cov[:, -1, -1])


def moderated(uncertainty: Uncertainty, variance: Float[NumpyArray, " m"], prior: Prior) -> Uncertainty:
    """Return covariances of beta given the prior, in place of those at the residual variances ``variance`` of m fits.

    The prior is added to the normal approximation of the likelihood of psi = (theta, log sigma) as information on log
    sigma: with A the covariance of psi, e its last direction and d0 the prior's degrees of freedom, A becomes
    ``A - A e eᵀ A 2 d0 / (1 + 2 d0 eᵀ A e)``, and psi moves by ``A e log(s̃/s) / (eᵀ A e)``, on which log sigma moves to
    that of the posterior mean s̃² and theta follows. The covariance of beta follows its derivative in psi along the
    geodesic of positive definite matrices. In a model without random effects it is s̃²/s² of what it was. Responses
    without an optimum keep their NaN.
    """
    a = uncertainty.psi_cov[:, -1, -1]
    d = residual_degrees(uncertainty)
    usable = np.asarray(np.isfinite(d) & np.isfinite(variance))
    posterior = prior.posterior(variance, d)
    weight = np.minimum(prior.degrees, np.sum(d[usable]) - d)  # no more than all responses together
    toward = uncertainty.psi_cov[:, :, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = toward * (0.5 * np.log(posterior / variance) / a)[:, None]
        lost = (2.0 * weight / (1.0 + 2.0 * weight * a))[:, None, None]
        psi_cov = uncertainty.psi_cov - lost * toward[:, :, None] * toward[:, None, :]
    vcov, derivative = uncertainty.vcov.copy(), uncertainty.vcov_derivative.copy()
    shift = np.where(np.isnan(shift), 0.0, shift)
    unknown = np.isnan(np.diagonal(vcov, axis1=-2, axis2=-1))
    either = unknown[:, :, None] | unknown[:, None, :]
    own = usable & np.isfinite(np.where(either, 0.0, vcov)).all(axis=(1, 2))
    left_out, filled = either[own], np.where(either[own], np.eye(vcov.shape[-1]), vcov[own])
    slope = np.where(left_out[..., None], 0.0, derivative[own])
    values, vectors = np.linalg.eigh(filled)
    root, inverse = (_of_values(values**power, vectors) for power in (0.5, -0.5))
    step, directions = np.linalg.eigh(inverse @ np.einsum("mijk,mk->mij", slope, shift[own]) @ inverse)
    map_ = root @ _of_values(np.exp(0.5 * step), directions) @ inverse
    moved = map_ @ filled @ map_.swapaxes(-1, -2)
    turned = np.einsum("mab,mbck,mdc->madk", map_, slope, map_, optimize=True)
    vcov[own] = np.where(left_out, np.nan, moved)
    derivative[own] = np.where(left_out[..., None], np.nan, turned)
    return uncertainty._replace(psi_cov=psi_cov, vcov=vcov, vcov_derivative=derivative)


def _of_values(values: Float[NumpyArray, "m p"], vectors: Float[NumpyArray, "m p p"]) -> Float[NumpyArray, "m p p"]:
    """Return symmetric matrices with these eigenvalues and eigenvectors."""
    return np.asarray((vectors * values[:, None, :]) @ vectors.swapaxes(-1, -2))
