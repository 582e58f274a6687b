"""Empirical-Bayes moderation of residual variances across responses: Smyth (2004), for mixed models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.inference.uncertainty import Uncertainty

SMALLEST_SHARE_OF_MEDIAN = 1e-5
"""Variances below this share of their median are raised to it, as in limma, since their logarithms are taken."""


class Prior(NamedTuple):
    """A scaled inverse chi-squared distribution of variances; degrees of freedom are infinite where all are equal.

    A robust prior has them ``by_response``, fewer for outliers.
    """

    df: float
    variance: float
    by_response: Float[NumpyArray, " m"] | None = None

    @property
    def degrees(self) -> Float[NumpyArray, "*m"]:
        """Degrees of freedom, those of each response where they differ."""
        return np.asarray(self.df if self.by_response is None else self.by_response)

    def posterior(self, variance: Float[NumpyArray, "*m"], df: Float[NumpyArray, "*m"]) -> Float[NumpyArray, "*m"]:
        """Return the posterior means of variances that are estimated with ``df`` degrees of freedom.

        >>> Prior(4.0, 2.0).posterior(np.array([1.0]), np.array([4.0])).tolist()
        [1.5]
        """
        infinite, own = np.isinf(self.degrees), np.where(np.isinf(self.degrees), 0.0, self.degrees)
        with np.errstate(invalid="ignore"):
            mean = (df * variance + own * self.variance) / (df + own)
        return np.asarray(np.where(infinite, np.where(np.isfinite(variance), self.variance, np.nan), mean))


def fit_prior(variance: Float[NumpyArray, " m"], df: Float[NumpyArray, " m"]) -> Prior:
    """Return the prior by the moments of the variances' logarithms (Smyth 2004, section 6.2), as limma's ``fitFDist``
    does.

    Responses whose variance or degrees of freedom are not positive and finite do not count. NaN with fewer than three.
    """
    used = np.isfinite(variance) & np.isfinite(df) & (df > 1e-15) & (variance > -1e-15)
    if used.sum() < 3:
        return Prior(np.nan, np.nan)
    x, d = np.maximum(variance[used], 0.0), df[used]
    median = float(np.median(x))
    x = np.maximum(x, SMALLEST_SHARE_OF_MEDIAN * (median if median > 0.0 else 1.0))
    e = np.log(x) - scipy.special.digamma(d / 2.0) + np.log(d / 2.0)
    mean = float(e.mean())
    spread = float(np.sum((e - mean) ** 2) / (e.size - 1) - np.mean(scipy.special.polygamma(1, d / 2.0)))
    if spread <= 0.0:
        return Prior(np.inf, float(x.mean()))
    prior_df = 2.0 * trigamma_inverse(spread)
    return Prior(prior_df, float(np.exp(mean + scipy.special.digamma(prior_df / 2.0) - np.log(prior_df / 2.0))))


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


def trigamma_inverse(x: float) -> float:
    """Return y with trigamma(y) = x, by Newton's method on 1/trigamma, which is convex (Smyth 2004, appendix).

    >>> round(trigamma_inverse(float(scipy.special.polygamma(1, 2.5))), 10)
    2.5
    """
    if x > 1e7:
        return float(1.0 / np.sqrt(x))
    if x < 1e-6:
        return 1.0 / x
    y = 0.5 + 1.0 / x
    for _ in range(50):
        trigamma = float(scipy.special.polygamma(1, y))
        step = trigamma * (1.0 - trigamma / x) / float(scipy.special.polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y
