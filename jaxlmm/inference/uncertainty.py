"""Standard errors and degrees of freedom from the exact derivatives at the optimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.inference.active_set import patterns
from jaxlmm.inference.derivatives import OptimumDerivatives
from jaxlmm.inference.status import STATUS
from jaxlmm.inference.verdict import Verdicts


class Contrasts(NamedTuple):
    """An F test, or one per response: numerator and denominator degrees of freedom, and the ``statistic``."""

    num_df: Float[NumpyArray, "*b"]
    den_df: Float[NumpyArray, "*b"]
    statistic: Float[NumpyArray, "*b"]


class Uncertainty(NamedTuple):
    """Covariances of the estimates at one optimum, or at many, with a first axis over the responses everywhere.

    ``psi_cov`` is the covariance of psi, (theta, log sigma), zero in the active set; ``report_cov``, ``component_cov``
    and ``vcov`` those of natural parameters, of variance components and of beta, ``vcov_derivative`` the derivative in
    psi. Parameters that are fixed are not in psi. NaN stands where a boundary or a ridge leaves no standard error.
    """

    psi_cov: Float[NumpyArray, "*b s s"]
    report_cov: Float[NumpyArray, "*b r r"]
    component_cov: Float[NumpyArray, "*b t t"]
    vcov: Float[NumpyArray, "*b p p"]
    vcov_derivative: Float[NumpyArray, "*b p p s"]

    @property
    def std_error(self) -> Float[NumpyArray, "*b p"]:
        """Standard errors of beta."""
        return np.sqrt(np.diagonal(self.vcov, axis1=-2, axis2=-1))

    def satterthwaite(self) -> Float[NumpyArray, "*b p"]:
        """Return the degrees of freedom of each of beta.

        ``2 v² / (gᵀ A g)`` with v the variance, g its derivative in (theta, log sigma) and A their covariance
        (Giesbrecht and Burns 1985; Kuznetsova et al. 2017). No refit is needed.
        """
        gradient = np.moveaxis(np.diagonal(self.vcov_derivative, axis1=-3, axis2=-2), -1, -2)
        return self._degrees(np.diagonal(self.vcov, axis1=-2, axis2=-1), gradient)

    def degrees_of(self, rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, "*b c"]:
        """Return Satterthwaite's degrees of freedom of c combinations of beta."""
        single = np.count_nonzero(rows, axis=1) == 1
        if rows.size and single.all():  # coefficients themselves, for which less is to do
            at = np.argmax(rows != 0.0, axis=1)
            square = np.take_along_axis(rows, at[:, None], axis=1)[:, 0] ** 2
            gradient = self.vcov_derivative[..., at, at, :] * square[:, None]
            return self._degrees(self.vcov[..., at, at] * square, gradient)
        used = np.asarray(rows.any(axis=0))  # others may have no estimate
        own = rows[:, used]
        _, vcov, derivative = self._known(used)  # of rows that touch the unknown the caller knows
        gradient = np.einsum("ci,...ijk,cj->...ck", own, derivative, own, optimize=True)
        return self._degrees(np.sum((own @ vcov) * own, axis=-1), gradient)

    def contrasts(self, beta: Float[NumpyArray, "*b p"], rows: Float[NumpyArray, "c p"], df: str) -> Contrasts:
        """Test that ``rows @ beta`` is zero, by Wald's F.

        Degrees of freedom combine those of the c directions in which the contrasts' estimates are uncorrelated (Fai and
        Cornelius 1996; Kuznetsova et al. 2017); ``df`` ``"normal"`` gives infinite ones. Directions without a variance
        do not count, nor rows of coefficients without an estimate; a test of such alone, or of a row that mixes them
        with others, is NaN.
        """
        used = np.asarray(rows.any(axis=0))
        beta, rows = beta[..., used], rows[:, used]
        unknown, vcov, derivative = self._known(used, np.isnan(beta))
        mixed = np.any(((rows != 0) @ unknown[..., None] & ((rows != 0) @ ~unknown[..., None])), axis=(-2, -1))
        beta = np.where(unknown, 0.0, beta)
        testable = np.asarray(~mixed & np.isfinite(beta).all(axis=-1) & np.isfinite(vcov).all(axis=(-2, -1)))
        values, vectors = np.linalg.eigh(np.where(testable[..., None, None], rows @ vcov @ rows.T, 0.0))
        counted = values > 1e-10 * np.max(values, axis=-1, keepdims=True, initial=0.0)
        rotated = vectors.swapaxes(-1, -2) @ rows  # (..., c, p)
        with np.errstate(divide="ignore", invalid="ignore"):
            square = np.where(counted, np.einsum("...ci,...i->...c", rotated, beta) ** 2 / values, 0.0)
            number = counted.sum(axis=-1)
            statistic = np.where(testable, square.sum(axis=-1) / number, np.nan)
            each = np.full(values.shape, np.inf)
            if df != "normal":
                gradient = np.einsum("...ci,...ijk,...cj->...ck", rotated, derivative, rotated, optimize=True)
                each = self._degrees(values, gradient)
            share = np.where(counted, np.where(np.isinf(each), 1.0, each / (each - 2.0)), 0.0).sum(axis=-1)
            several = np.where(np.any(counted & (each <= 2.0), axis=-1), 2.0, 2.0 * share / (share - number))
            highest = np.max(np.where(counted, each, -np.inf), axis=-1, initial=-np.inf)
            lowest = np.min(np.where(counted, each, np.inf), axis=-1, initial=np.inf)
            combined = np.where((number == 1) | (highest - lowest < 1e-8) | np.isinf(lowest), highest, several)
        missing = ~testable | (number == 0)
        return Contrasts(np.where(missing, np.nan, number), np.where(missing, np.nan, combined), statistic)

    def _known(
        self, used: Bool[NumpyArray, " p"], aliased: Bool[NumpyArray, "*b u"] | bool = False
    ) -> tuple[Bool[NumpyArray, "*b u"], Float[NumpyArray, "*b u u"], Float[NumpyArray, "*b u u s"]]:
        """Return which of the coefficients that are ``used`` have no variance or are ``aliased``; covariances and their
        derivatives, with zeros for these.
        """
        vcov, derivative = self.vcov[..., used, :][..., used], self.vcov_derivative[..., used, :, :][..., :, used, :]
        unknown = aliased | np.isnan(np.diagonal(vcov, axis1=-2, axis2=-1))
        either = unknown[..., :, None] | unknown[..., None, :]
        return unknown, np.where(either, 0.0, vcov), np.where(either[..., None], 0.0, derivative)

    def _degrees(
        self, variance: Float[NumpyArray, "*b c"], gradient: Float[NumpyArray, "*b c s"]
    ) -> Float[NumpyArray, "*b c"]:
        """Return degrees of freedom of each ``variance`` with a ``gradient`` in psi."""
        spread = np.sum((gradient @ self.psi_cov) * gradient, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2.0 * variance**2 / spread)


def uncertainty(
    optimum: OptimumDerivatives,
    active_set: Int[NumpyArray, "b k"],
    verdicts: Verdicts,
    fixed: Bool[NumpyArray, " r"] | None = None,
) -> Uncertainty:
    """Return covariances from the derivatives of b responses; parameters in the ``active_set`` stay fixed.

    Natural parameters that are ``fixed`` have none.

    Where there is no optimum, all are NaN.
    """
    beyond = optimum.psi.shape[1] - active_set.shape[1]  # 1 where log sigma is not in theta
    kept = np.pad(active_set == 0, ((0, 0), (0, beyond)), constant_values=True)
    psi_cov = np.where((kept[:, :, None] & kept[:, None, :]), np.nan, 0.0)
    finite = np.asarray(np.isfinite(optimum.hessian).all(axis=(1, 2)))
    ridged = np.asarray(np.any(verdicts.null_directions, axis=(1, 2)))
    for same, pattern in patterns(active_set):
        free = np.flatnonzero(np.append(pattern == 0, np.ones(beyond, bool)))
        plain = same[finite[same] & ~ridged[same]]
        block = np.ix_(plain, free, free)
        psi_cov[block] = 2.0 * _inverse(optimum.hessian[block])
        for i in same[finite[same] & ridged[same]]:
            null = verdicts.null_directions[i][:, free]
            inverse = _inverse_off(optimum.hessian[i][np.ix_(free, free)], null[null.any(axis=1)])
            psi_cov[np.ix_([i], free, free)] = 2.0 * inverse

    if optimum.projection is not None:
        psi_cov = _propagated(np.asarray(optimum.projection), psi_cov)

    report_cov = _propagated(optimum.derivatives.report, psi_cov)
    if fixed is not None:
        report_cov[:, fixed, :] = report_cov[:, :, fixed] = 0.0
    _blank(report_cov, verdicts.at_boundary | verdicts.on_ridge)
    component_cov = _propagated(optimum.derivatives.components, psi_cov)
    vcov, derivative = np.array(optimum.values.vcov), np.asarray(optimum.derivatives.vcov)
    if optimum.beta_derivative is not None:
        vcov += _propagated(np.asarray(optimum.beta_derivative), psi_cov)
    for i in np.flatnonzero(ridged):
        null = verdicts.null_directions[i]
        total = optimum.values.components[i].sum()
        moved = np.abs(optimum.derivatives.components[i] @ null.T).max(axis=1)
        _blank(component_cov[i], moved > 1e-6 * total)
        along = np.abs(np.einsum("ijk,rk->rij", derivative[i], null)).max(axis=0)
        size = np.sqrt(np.outer(np.diag(vcov[i]), np.diag(vcov[i])))
        _blank(vcov[i], np.diag(along > 1e-5 * size))
    covariances = Uncertainty(psi_cov, report_cov, component_cov, vcov, np.array(derivative))
    nowhere = np.isin(verdicts.status, [STATUS.index("not_converged"), STATUS.index("failed")])
    for part in covariances:
        part[nowhere] = np.nan
    return covariances


def _propagated(
    jacobian: Float[NumpyArray, "b c s"], covariance: Float[NumpyArray, "b s s"]
) -> Float[NumpyArray, "b c c"]:
    """Return the covariances of functions with a ``jacobian``."""
    return np.asarray(jacobian @ covariance @ jacobian.swapaxes(-1, -2))


def delta_method(
    jacobian: Float[NumpyArray, "... c r"], covariance: Float[NumpyArray, "... r r"]
) -> Float[NumpyArray, "... c"]:
    """Return the standard errors of functions with a ``jacobian``; inputs that they ignore may be NaN."""
    unknown = np.isnan(np.diagonal(covariance, axis1=-2, axis2=-1))
    filled = np.where(np.isnan(covariance), 0.0, covariance)
    variance = np.sum((jacobian @ filled) * jacobian, axis=-1)
    touched = np.any((jacobian != 0.0) & unknown[..., None, :], axis=-1)
    return np.where(touched, np.nan, np.sqrt(np.maximum(variance, 0.0)))


def _inverse(hessian: Float[NumpyArray, "b s s"]) -> Float[NumpyArray, "b s s"]:
    """Invert symmetric matrices, scaled to a unit diagonal; indefinite ones too."""
    diagonal = np.abs(np.diagonal(hessian, axis1=-2, axis2=-1))
    scale = np.where(np.all(diagonal > 0, axis=-1, keepdims=True), np.where(diagonal > 0, diagonal, 1.0) ** -0.5, 1.0)
    outer = scale[:, :, None] * scale[:, None, :]
    values, vectors = np.linalg.eigh(hessian * outer)
    return np.asarray((vectors / values[:, None, :]) @ vectors.swapaxes(-1, -2)) * outer


def _inverse_off(hessian: Float[NumpyArray, "s s"], null: Float[NumpyArray, "_ s"]) -> Float[NumpyArray, "s s"]:
    """Invert a symmetric matrix on the complement of the ``null`` directions (rows)."""
    scale = np.abs(np.diag(hessian)) ** -0.5 if np.diag(hessian).all() else np.ones(len(hessian))
    orthogonal, _ = np.linalg.qr((null / scale).T)
    keep = np.eye(hessian.shape[0]) - orthogonal @ orthogonal.T
    values, vectors = np.linalg.eigh(keep @ (hessian * np.outer(scale, scale)) @ keep)
    order = np.argsort(np.abs(values))[len(null) :]
    inverse = (vectors[:, order] / values[order]) @ vectors[:, order].T
    return np.asarray(inverse * np.outer(scale, scale))


def _blank(covariance: Float[NumpyArray, "*b c c"], unknown: Bool[NumpyArray, "*b c"]) -> None:
    """Set ``unknown`` rows and columns of covariances to NaN, in place."""
    covariance[unknown[..., :, None] | unknown[..., None, :]] = np.nan
