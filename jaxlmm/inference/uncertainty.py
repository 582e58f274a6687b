"""Standard errors and degrees of freedom from the exact derivatives at the optimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.inference.active_set import patterns
from jaxlmm.inference.derivatives import OptimumDerivatives
from jaxlmm.inference.status import STATUS
from jaxlmm.inference.verdict import Verdicts


class Contrasts(NamedTuple):
    """An F test, or one per response: numerator and denominator degrees of freedom, and the ``statistic``."""

    num_df: NumpyArray
    den_df: NumpyArray
    statistic: NumpyArray


class Uncertainty(NamedTuple):
    """What is known about an optimum; what is known about many has a first axis over the responses everywhere.

    ``psi_cov`` (s, s) is the covariance of psi, (theta, log sigma), zero for parameters held at a boundary;
    ``report_cov`` (r, r), ``component_cov`` and ``vcov`` (p, p) those of natural parameters, of variance components
    and of beta, ``vcov_derivative`` (p, p, s). Parameters that are fixed are not in psi. What a boundary or a ridge
    leaves without a standard error is NaN.
    """

    psi_cov: Float[NumpyArray, "*b s s"]
    report_cov: Float[NumpyArray, "*b r r"]
    component_cov: Float[NumpyArray, "*b t t"]
    vcov: Float[NumpyArray, "*b p p"]
    vcov_derivative: Float[NumpyArray, "*b p p s"]

    @property
    def std_error(self) -> NumpyArray:
        """Standard errors (..., p) of beta."""
        return np.sqrt(np.diagonal(self.vcov, axis1=-2, axis2=-1))

    def satterthwaite(self) -> NumpyArray:
        """Return the degrees of freedom (..., p) of each of beta.

        ``2 v² / (gᵀ A g)`` with v the variance, g its derivative in (theta, log sigma) and A their covariance
        (Giesbrecht and Burns 1985; Kuznetsova et al. 2017). No refit is needed.
        """
        gradient = np.moveaxis(np.diagonal(self.vcov_derivative, axis1=-3, axis2=-2), -1, -2)
        return self._degrees(np.diagonal(self.vcov, axis1=-2, axis2=-1), gradient)

    def contrasts(self, beta: NumpyArray, rows: NumpyArray, df: str) -> Contrasts:
        """Test that ``rows`` (c, p) times beta (..., p) are all zero, by Wald's F.

        Degrees of freedom combine those of the c directions in which the contrasts' estimates are uncorrelated (Fai and
        Cornelius 1996; Kuznetsova et al. 2017); ``df`` ``"normal"`` gives infinite ones. Directions without a variance
        do not count, nor rows of coefficients that are not estimated; a test of nothing else, or of a row that mixes
        them with others, is NaN.
        """
        used = rows.any(axis=0)
        beta, rows = beta[..., used], rows[:, used]
        vcov, derivative = self.vcov[..., used, :][..., used], self.vcov_derivative[..., used, :, :][..., :, used, :]
        lost = np.isnan(beta) | np.isnan(np.diagonal(vcov, axis1=-2, axis2=-1))
        mixed = np.any(((rows != 0) @ lost[..., None] & ((rows != 0) @ ~lost[..., None])), axis=(-2, -1))
        either = lost[..., :, None] | lost[..., None, :]
        beta, vcov = np.where(lost, 0.0, beta), np.where(either, 0.0, vcov)
        derivative = np.where(either[..., None], 0.0, derivative)
        known = np.asarray(~mixed & np.isfinite(beta).all(axis=-1) & np.isfinite(vcov).all(axis=(-2, -1)))
        values, vectors = np.linalg.eigh(np.where(known[..., None, None], rows @ vcov @ rows.T, 0.0))
        counted = values > 1e-10 * np.max(values, axis=-1, keepdims=True, initial=0.0)
        turned = vectors.swapaxes(-1, -2) @ rows  # (..., c, p)
        with np.errstate(divide="ignore", invalid="ignore"):
            square = np.where(counted, np.einsum("...ci,...i->...c", turned, beta) ** 2 / values, 0.0)
            number = counted.sum(axis=-1)
            statistic = np.where(known, square.sum(axis=-1) / number, np.nan)
            each = np.full(values.shape, np.inf)
            if df != "normal":
                gradient = np.einsum("...ci,...ijk,...cj->...ck", turned, derivative, turned, optimize=True)
                each = self._degrees(values, gradient)
            share = np.where(counted, np.where(np.isinf(each), 1.0, each / (each - 2.0)), 0.0).sum(axis=-1)
            several = np.where(np.any(counted & (each <= 2.0), axis=-1), 2.0, 2.0 * share / (share - number))
            highest = np.max(np.where(counted, each, -np.inf), axis=-1, initial=-np.inf)
            lowest = np.min(np.where(counted, each, np.inf), axis=-1, initial=np.inf)
            combined = np.where((number == 1) | (highest - lowest < 1e-8) | np.isinf(lowest), highest, several)
        missing = ~known | (number == 0)
        return Contrasts(np.where(missing, np.nan, number), np.where(missing, np.nan, combined), statistic)

    def _degrees(self, variance: NumpyArray, gradient: NumpyArray) -> NumpyArray:
        """Return degrees of freedom (..., c) of variances (..., c) with a ``gradient`` (..., c, s)."""
        spread = np.sum((gradient @ self.psi_cov) * gradient, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2.0 * variance**2 / spread)


def uncertainty(examination: OptimumDerivatives, active_set: NumpyArray, verdicts: Verdicts) -> Uncertainty:
    """Turn the derivatives of b responses into covariances; what is in the ``active_set`` (b, k) stays fixed.

    Where there is no optimum, all are NaN.
    """
    beyond = examination.psi.shape[1] - active_set.shape[1]  # 1 where log sigma is not in theta
    kept = np.pad(active_set == 0, ((0, 0), (0, beyond)), constant_values=True)
    psi_cov = np.where((kept[:, :, None] & kept[:, None, :]), np.nan, 0.0)
    finite = np.asarray(np.isfinite(examination.hessian).all(axis=(1, 2)))
    ridged = np.asarray(np.any(verdicts.null_directions, axis=(1, 2)))
    for places, pattern in patterns(active_set):
        free = np.flatnonzero(np.append(pattern == 0, np.ones(beyond, bool)))
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
    found = Uncertainty(psi_cov, report_cov, component_cov, vcov, np.array(derivative))
    nowhere = np.isin(verdicts.status, [STATUS.index("not_converged"), STATUS.index("failed")])
    for part in found:
        part[nowhere] = np.nan
    return found


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
