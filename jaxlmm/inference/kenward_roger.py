"""Kenward and Roger's (1997) covariance and degrees of freedom of fixed effects, from derivatives of V alone.

With ``F = XᵀV⁻¹X``, ``Φ = F⁻¹`` and V_i the derivative of V in the variance parameter ψ_i,

    ``P_i = ∂F/∂ψ_i = −XᵀV⁻¹V_iV⁻¹X``
    ``Q_ij = XᵀV⁻¹V_iV⁻¹V_jV⁻¹X``, of which ``(Q_ij + Q_ji) = ∂²F/∂ψ_i∂ψ_j − dF[V_ij]``
    ``tr(V⁻¹V_iV⁻¹V_j) = dlog|V|[V_ij] − ∂²log|V|/∂ψ_i∂ψ_j``

where ``d·[V_ij]`` is the derivative in V in the direction of its second derivative V_ij. V is linear in the entries of
the covariance matrices of terms over columns, and so V_ij is a combination of the V_i, and at a boundary, where V_i is
zero, of the V_ii. No n × n matrix is formed: all is derivatives of log|V| and of Φ, which a solver evaluates. Variances
and covariances themselves are the parameters of Kenward and Roger's formulas, so that their R_ij are zero, as in the R
package pbkrtest (Halekoh and Højsgaard 2014).

Where V is not linear in its parameters (a structure along positions, a model of dispersion, a class of a user's own),
derivatives along the V_ij are taken by themselves (:mod:`jaxlmm.inference.curvature`), and the formulas' parameters are
the natural ones, variances in place of standard deviations, as SAS has them: their ``R_kl = XᵀV⁻¹V_klV⁻¹X`` depend on
that choice, all else does not. Without them the covariance is the linear one of SAS's ``FIRSTORDER``.

The covariance of the variance parameters is the inverse of their expected information, as in the paper and in pbkrtest;
in a model with a residual structure that of the observed one, as SAS and the R package mmrm have it. A single contrast
has Satterthwaite's degrees of freedom then.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.inference.curvature import Curvature
from jaxlmm.inference.derivatives import Bases
from jaxlmm.inference.uncertainty import Contrasts
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.optimize import with_directions

MAX_NONLINEAR_SHARE = 1e-6
"""Share of the second derivatives of the covariances that may be no combination of first ones, by rounding."""

SMALL = 1e-10
"""Eigenvalues of a contrast's covariance below this share of the largest are zero; a numerator of the formula for its
degrees of freedom below this, too."""


class CovarianceInfluence(NamedTuple):
    """Functions of psi = (theta, log sigma), or theta where sigma is not profiled out: log|V|, Φ and covariances.

    ``vcov`` is Φ on the basis of X; ``entries`` (c,) are those of the covariance matrices of the terms, and last of the
    residual, in units of the response's scale. Derivatives have first axes over psi.
    """

    logdet: Float[jax.Array, "*d"]
    vcov: Float[jax.Array, "*d p p"]
    entries: Float[jax.Array, "*d c"]


def psi_at(
    likelihood: Likelihood, response: Response, bases: Bases, theta: Float[jax.Array, " k"]
) -> Float[jax.Array, " s"]:
    """Return psi at an optimum: theta, followed by log sigma where that is profiled out."""
    if likelihood.layout.absolute:
        return theta
    point = likelihood.at(likelihood.layout.factors(theta, bases), response)
    return jnp.append(theta, 0.5 * jnp.log(point.r2 / jnp.maximum(response.count, 1.0)))


def covariance_influence(
    likelihood: Likelihood, response: Response, bases: Bases, psi: Float[jax.Array, " s"]
) -> tuple[CovarianceInfluence, CovarianceInfluence, CovarianceInfluence]:
    """Return values, first derivatives (s, ...) and second ones (s, s, ...) at ``psi`` of one response."""
    layout, sequential = likelihood.layout, likelihood.solver.sequential

    def at(psi: Float[jax.Array, " s"]) -> CovarianceInfluence:
        factors = layout.factors(psi[: layout.n_theta], bases)
        sigma = jnp.exp(psi[-1]) if factors.sigma is None else factors.sigma
        point = likelihood.at(factors, response)
        # Its own number of rows, where values are missing.
        n = response.count + likelihood.reml * jnp.asarray(likelihood.design.n_fixed, psi.dtype)
        residual = jnp.eye(1) if factors.residual is None else factors.residual
        entries = [(part @ part.T if part.ndim == 2 else part).reshape(-1) for part in (*factors.terms, residual)]
        logdet = point.logdet + 2.0 * n * jnp.log(sigma)
        return CovarianceInfluence(logdet, sigma**2 * point.vcov, sigma**2 * jnp.concatenate(entries))

    def first(psi: Float[jax.Array, " s"]) -> tuple[tuple[CovarianceInfluence, CovarianceInfluence], None]:
        value, _, derivative = with_directions(lambda psi: (at(psi), None), psi, sequential=sequential)
        return (value, derivative), None

    (value, derivative), _, (_, second) = with_directions(first, psi, sequential=sequential)
    return value, derivative, second


@dataclasses.dataclass(frozen=True, eq=False)
class KenwardRoger:
    """The adjusted covariance of the coefficients, and what degrees of freedom are computed from.

    ``vcov`` is Φ and ``adjusted`` Kenward and Roger's covariance (p, p), ``linear`` that without second derivatives of
    V; ``w`` (s, s) the covariance of the variance parameters; ``scaled`` (s, p, p) are ``Φ P_i Φ``.
    """

    vcov: Float[NumpyArray, "p p"]
    adjusted: Float[NumpyArray, "p p"]
    linear: Float[NumpyArray, "p p"]
    w: Float[NumpyArray, "s s"]
    scaled: Float[NumpyArray, "s p p"]

    @classmethod
    def of(
        cls,
        influence: tuple[CovarianceInfluence, CovarianceInfluence, CovarianceInfluence],
        free: Bool[NumpyArray, " s"],
        columns: Float[NumpyArray, "p p"],
        psi_cov: Float[NumpyArray, "s s"] | None = None,
        curvature: Curvature | None = None,
        *,
        observed: bool = False,
    ) -> Self | None:
        """Evaluate the formulas of 1997; None where V is not linear in covariances, and no ``curvature`` is given, or
        where that is not finite.

        Parameters
        ----------
        influence
            What :func:`covariance_influence` returned, on the p columns of X that are no padding.
        free
            The entries of psi that are not kept at a boundary.
        columns
            The map of coefficients on the basis of X to those of its columns, in units of the response.
        psi_cov
            The covariance of psi where parameters are held: the directions of psi that are left are its range.
        curvature
            What :func:`~jaxlmm.inference.curvature.curvature` returned, on the same columns.
        observed
            Whether ``psi_cov``, from the observed information, takes the place of the inverse of the expected one.
        """
        value, first, second = influence
        phi = value.vcov
        information = np.linalg.inv(phi)
        p_of = -information @ first.vcov @ information
        turned = p_of[:, None] @ phi @ p_of[None, :]  # P_i Φ P_j
        f_of = turned + turned.swapaxes(-1, -2) - information @ second.vcov @ information
        if curvature is None:
            moved = _along_known_directions(first, second, p_of, f_of, free)
        else:
            moved = _along_curvature(curvature, information, p_of, free)
        if moved is None:
            return None
        f_moved, logdet_moved, second_moved = moved
        p_free, block = p_of[free], np.ix_(free, free)
        q_of = 0.5 * (f_of[block] - f_moved)
        if observed:
            assert psi_cov is not None
            w = psi_cov[block]
        else:
            traces = np.asarray(logdet_moved - second.logdet[block])
            w = _inverse_of_expected(np.asarray(phi), p_free, q_of, traces, psi_cov, free)
        correction = np.einsum("ij,ijab->ab", w, q_of - turned[block])
        by_second = np.einsum("ij,ijab->ab", w, second_moved)
        linear = phi + 2.0 * phi @ correction @ phi
        matrices = phi, linear - 0.5 * phi @ by_second @ phi, linear, phi @ p_free @ phi
        vcov, adjusted, linear, scaled = (columns @ matrix @ columns.T for matrix in matrices)
        return cls(vcov, adjusted, linear, w, scaled)

    def without_second_derivatives(self) -> Self:
        """Return the same with the linear covariance in place of the adjusted one."""
        return dataclasses.replace(self, adjusted=self.linear)

    def degrees(self, rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, " c"]:
        """Return the degrees of freedom of each of c combinations of coefficients."""
        return np.array([self.test(np.zeros(row.size), row[None]).den_df for row in rows]).reshape(-1)

    def test(self, beta: Float[NumpyArray, " p"], rows: Float[NumpyArray, "c p"]) -> Contrasts:
        """Test that ``rows @ beta`` is zero, by the scaled F of Kenward and Roger (1997, section 3).

        Directions without a variance do not count.
        """
        values, vectors = np.linalg.eigh(rows @ self.vcov @ rows.T)
        counted = values > SMALL * values.max(initial=0.0)
        c = int(counted.sum())
        if c == 0 or not np.isfinite(values).all():
            return Contrasts(*(np.array(np.nan),) * 3)
        # In the directions in which the contrasts are uncorrelated with variance 1, Θ is the product with itself.
        unit = (vectors[:, counted] / np.sqrt(values[counted])).T @ rows
        along = unit @ self.scaled @ unit.T  # (s, c, c)
        traces = np.trace(along, axis1=1, axis2=2)
        a1 = float(traces @ self.w @ traces)
        a2 = float(np.einsum("ij,iab,jba->", self.w, along, along))
        den_df, scale = _matched(c, a1, a2)
        estimate = unit @ beta
        square = float(estimate @ np.linalg.solve(unit @ self.adjusted @ unit.T, estimate))
        return Contrasts(np.array(float(c)), np.array(den_df), np.array(scale * square / c))


def _inverse_of_expected(
    phi: Float[NumpyArray, "p p"],
    p_free: Float[NumpyArray, "f p p"],
    q_of: Float[NumpyArray, "f f p p"],
    traces: Float[NumpyArray, "f f"],
    psi_cov: Float[NumpyArray, "s s"] | None,
    free: Bool[NumpyArray, " s"],
) -> Float[NumpyArray, "f f"]:
    """Invert the expected information of the f free entries of psi, within the range of ``psi_cov`` if it is given."""
    expected = 0.5 * traces - np.einsum("ab,ijba->ij", phi, q_of)
    expected += 0.5 * np.einsum("iab,jba->ij", phi @ p_free, phi @ p_free)
    basis = np.eye(len(p_free))
    if psi_cov is not None:
        size = np.sqrt(np.diagonal(psi_cov)[free])
        size = np.where(size > 0, size, 1.0)
        values, vectors = np.linalg.eigh(psi_cov[np.ix_(free, free)] / np.outer(size, size))
        basis = size[:, None] * vectors[:, values > SMALL * values.max(initial=0.0)]
    return np.asarray(basis @ np.linalg.pinv(basis.T @ expected @ basis, hermitian=True) @ basis.T)


Moved: TypeAlias = tuple[Float[NumpyArray, "f f p p"], Float[NumpyArray, "f f"], Float[NumpyArray, "f f p p"]]
"""dF and dlog|V| in the direction of each V_ij, and R_ij of natural parameters, of the f free entries of psi."""


def _along_known_directions(
    first: CovarianceInfluence,
    second: CovarianceInfluence,
    p_of: Float[NumpyArray, "s p p"],
    f_of: Float[NumpyArray, "s s p p"],
    free: Bool[NumpyArray, " s"],
) -> Moved | None:
    """Write each V_ij as a combination of directions whose derivatives are known; None if one is not."""
    kept = np.flatnonzero(~free)
    pairs = [(i, j) for i in kept for j in kept if i <= j]
    directions = np.concatenate([first.entries[free], *(second.entries[i, j][None] for i, j in pairs)])
    size = np.linalg.norm(directions, axis=1, keepdims=True)
    scaled = directions / np.where(size > 0, size, 1.0)
    targets = second.entries[np.ix_(free, free)].reshape(-1, scaled.shape[1])
    shares = np.linalg.lstsq(scaled.T, targets.T, rcond=1e-9)[0]
    missed = np.linalg.norm(shares.T @ scaled - targets, axis=1)
    if np.any(missed > MAX_NONLINEAR_SHARE * np.linalg.norm(targets, axis=1).max(initial=0.0)):
        return None
    shares = shares / np.where(size > 0, size, 1.0)
    f_along = np.concatenate([p_of[free], *(f_of[i, j][None] for i, j in pairs)])
    logdet_along = np.concatenate([first.logdet[free], *(second.logdet[i, j][None] for i, j in pairs)])
    count = int(free.sum())
    f_moved = np.tensordot(shares.T, f_along, 1).reshape(count, count, *p_of.shape[1:])
    return f_moved, (shares.T @ logdet_along).reshape(count, count), np.zeros_like(f_moved)


def _along_curvature(
    curvature: Curvature,
    information: Float[NumpyArray, "p p"],
    p_of: Float[NumpyArray, "s p p"],
    free: Bool[NumpyArray, " s"],
) -> Moved | None:
    """Take derivatives along each V_ij from what was differentiated; None where a covariance that moves is singular.

    ``R_ij + Σ_k P_k ∂²φ_k/∂ψ_i∂ψ_j`` is R of the natural parameters φ, written in psi.
    """
    block = np.ix_(free, free)
    logdet, vcov, natural, natural_second = (np.asarray(part) for part in curvature)
    logdet, vcov = logdet[block], vcov[block]
    natural, natural_second = natural[:, free], natural_second[:, free][:, :, free]
    if not all(np.isfinite(part).all() for part in (vcov, logdet, natural, natural_second)):
        return None
    f_moved = -information @ vcov @ information
    p_natural = np.tensordot(np.linalg.pinv(natural.T), p_of[free], 1)
    bent = np.einsum("kij,kab->ijab", natural_second, p_natural, optimize=True)
    return f_moved, logdet, bent - f_moved


def _matched(c: int, a1: float, a2: float) -> tuple[float, float]:
    """Return degrees of freedom and scale of the F distribution whose mean and variance match those of the statistic.

    Kenward and Roger (1997, section 3.1), with the limits that pbkrtest takes where a term of a ratio is zero.
    """
    if a2 <= SMALL**2:
        return np.inf, 1.0
    b = (a1 + 6.0 * a2) / (2.0 * c)
    g = ((c + 1.0) * a1 - (c + 4.0) * a2) / ((c + 2.0) * a2)
    below = 3.0 * c + 2.0 * (1.0 - g)
    c1, c2, c3 = g / below, (c - g) / below, (c + 2.0 - g) / below
    v0, v1, v2 = 1.0 + c1 * b, 1.0 - c2 * b, 1.0 - c3 * b
    v0 = 0.0 if abs(v0) < SMALL else v0
    mean = 1.0 - a2 / c
    ratio = 1.0 if abs(mean) < SMALL and abs(v1) < SMALL else mean / v1
    rho = ratio**2 * v0 / (c * v2)
    den_df = 4.0 + (c + 2.0) / (c * rho - 1.0)
    return den_df, 1.0 if abs(den_df - 2.0) < 1e-2 else den_df * mean / (den_df - 2.0)
