"""The Gaussian likelihood: the deviance of a linear mixed model, written once, from log|H| and inner products.

With ``H = R + Z Λ Λᵀ Zᵀ``, ``Var(y) = σ² H`` and ``r² = yᵀ P y`` (Bates et al. 2015, eqs. 34-42):

    ML    log|H| + n (1 + log(2π r²/n))
    REML  log|H| + log|XᵀH⁻¹X| + (n − p) (1 + log(2π r²/(n − p)))
"""

from __future__ import annotations

import abc
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.likelihood.contract import Likelihood, Point, Response
from jaxlmm.linalg import normal_equations
from jaxlmm.model import ChainFactor, Factors, least_squares
from jaxlmm.solvers import Effects, QuadraticForms


def additive_constant(reml: Array, log_weight: Array, log_basis: Array, count: Array, log_scale: Array) -> Any:
    """Return the part of the deviance that theta does not change: of weights, change of basis, and response scale.

    ``−2 Σ log √w + 2 count log(scale)``, and where ``reml`` is 1, not 0, ``2 log|T|`` of the triangle T with
    X = basis · T; ``log_weight`` is the sum, ``log_basis`` the log-determinant. Arrays of NumPy or JAX.
    """
    constant = -2.0 * log_weight + 2.0 * count * log_scale
    return constant + 2.0 * reml * log_basis


class Gaussian(Likelihood):
    """The normal density, with sigma profiled out or given; subclasses say how rows are weighted."""

    @abc.abstractmethod
    def prepared(self, residual: Float[jax.Array, "N m"]) -> Any:
        """Return what is the responses' own, from scaled ``residual`` of least squares in rows multiplied by √w.

        Every leaf has a first axis over the responses.
        """

    def residuals(
        self, y: Float[jax.Array, "N m"]
    ) -> tuple[Float[jax.Array, "p m"], Float[jax.Array, " m"], Float[jax.Array, "N m"]]:
        design, basis = self.design, jnp.asarray(self.design.basis)
        weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None])
        coefficients, residual = least_squares(basis, weighted)
        degrees = jnp.maximum(jnp.asarray(design.n - design.n_fixed, residual.dtype), 1.0)
        scale = jnp.sqrt(jnp.sum(residual**2, axis=0) / degrees)
        return coefficients, scale, residual / scale[None, :]

    def observe_all(self, fixed: Any, y: Float[jax.Array, "N m"]) -> Response:
        design = self.design
        coefficients, scale, residual = self.residuals(y)
        count = jnp.asarray(design.n, residual.dtype) - self.reml * jnp.asarray(design.n_fixed, residual.dtype)
        root_weight = jnp.asarray(design.root_weight)
        log_weight = jnp.sum(jnp.log(jnp.where(root_weight > 0, root_weight, 1.0)))
        log_basis = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(design.triangle)))))
        return Response(
            fixed=fixed,
            augmented=self.prepared(residual),
            least_squares=coefficients.T,
            scale=scale,
            count=jnp.broadcast_to(count, scale.shape),
            constant=additive_constant(self.reml, log_weight, log_basis, count, jnp.log(scale)),
            added=jnp.zeros_like(scale),
        )

    def augmented_around(
        self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"], scale: Float[jax.Array, " m"]
    ) -> Any:
        return self.prepared(self.around(y, coefficients) / scale[None, :])

    def structure_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        """Return the standard deviations of the rows by the residual structure, relative to sigma; 1 without one."""
        term, found = self.design.residual, factors.residual
        if term is None or found is None:
            return jnp.ones(self.design.n_padded)
        codes = jnp.asarray(self.design.groupings[term.grouping].codes)
        positions = jnp.asarray(term.positions)
        if isinstance(found, ChainFactor):
            return found.sds_at(codes * term.size + positions)
        return jnp.sqrt(jnp.diagonal(found, axis1=-2, axis2=-1)[term.blocks(codes), positions])

    def around(self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"]) -> Float[jax.Array, "N m"]:
        design = self.design
        weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None])
        return weighted - design.basis @ coefficients.T

    def point(self, forms: QuadraticForms, logdet: Float[jax.Array, ""], response: Response, factor: Any) -> Point:
        """Return the ingredients from quadratic forms of the fixed effects' basis and a response, and ``log|H|``."""
        information, cross, square = forms
        vcov, log_information, shift, explained = normal_equations(information, cross)
        r2 = square - explained + response.added
        return Point(logdet, log_information, vcov, shift, r2, factor)

    def criterion(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        if sigma is None:
            return self.profiled(point, response)
        return self.deviance_given_sigma(point, sigma, response)

    def sigma(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        relative = jnp.sqrt(point.r2 / jnp.maximum(response.count, 1.0)) if sigma is None else sigma
        return relative * response.scale

    def profiled(self, point: Point, response: Response) -> Float[jax.Array, ""]:
        """Return the deviance profiled over sigma, from its ingredients."""
        count = response.count
        profiled = count * (1.0 + jnp.log(2.0 * np.pi * point.r2 / jnp.maximum(count, 1.0)))
        return self._determinants(point) + profiled + response.constant

    def deviance_given_sigma(self, point: Point, sigma: Float[Array, ""], response: Response) -> Float[jax.Array, ""]:
        """Return the deviance at a ``sigma`` in units of the response's scale, profiled over beta alone.

        NaN, as that profiled over sigma, where rounding has left r² below zero: it has no lower bound there.
        """
        r2 = jnp.where(point.r2 >= 0.0, point.r2, jnp.nan)
        spread = response.count * jnp.log(2.0 * np.pi * sigma**2) + r2 / sigma**2
        return self._determinants(point) + spread + response.constant

    def _determinants(self, point: Point) -> Float[jax.Array, ""]:
        return point.logdet + jnp.where(self.reml > 0, point.information, 0.0)

    def loglik(
        self, factors: Factors, beta: Float[jax.Array, " p"], sigma: Float[jax.Array, ""], y: Float[jax.Array, " N"]
    ) -> Float[jax.Array, ""]:
        design = self.design
        residual = design.root_weight * (y - design.offset) - design.basis @ (design.triangle @ beta)
        square, logdet = self.products(factors, residual[:, None])
        sigma = sigma / factors.sigma_ratio
        root_weight = jnp.asarray(design.root_weight)
        logdet = logdet - 2.0 * jnp.sum(jnp.log(jnp.where(root_weight > 0, root_weight, 1.0)))
        return -0.5 * (
            jnp.asarray(design.n, float) * jnp.log(2.0 * np.pi * sigma**2) + logdet + square[0, 0] / sigma**2
        )


class KnownWeights(Gaussian):
    """Residuals of known weights: cross-products are formed once, and rows matter no more."""

    def fixed_products(self) -> Any:
        basis = jnp.asarray(self.design.basis)
        return self.solver.cross_products(basis, basis)

    def prepared(self, residual: Float[jax.Array, "N m"]) -> Any:
        return self.solver.augmented(self.design.basis, residual)

    def without_rows(self) -> Self:
        return self.replace(design=self.design.without_rows(), solver=self.solver.without_rows())

    def guess(self, response: Response) -> Float[jax.Array, "q q"] | None:
        return self.solver.guess(response.augmented, response.count)

    def guess_residual(self, response: Response) -> Float[jax.Array, "q q"] | None:
        return self.solver.guess_residual(response.augmented)

    def factorized(self, factors: Factors) -> Any:
        return self.solver.factor(factors)

    def at_factor(self, factor: Any, response: Response) -> Point:
        forms = self.solver.quadratic_forms(factor, response.fixed, response.augmented)
        return self.point(forms, self.solver.logdet(factor), response, factor)

    def products(
        self, factors: Factors, a: Float[jax.Array, "N i"]
    ) -> tuple[Float[jax.Array, "i i"], Float[jax.Array, ""]]:
        factor = self.solver.factor(factors)
        return self.solver.inner(factor, self.solver.cross_products(a, a)), self.solver.logdet(factor)

    def effects(self, factors: Factors, point: Point, residual: Float[jax.Array, " N"]) -> Effects:
        return self.solver.effects(self.design, factors, point.factor, residual)

    def residual_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        return self.structure_sds(factors)

    def mean_residual_variance(self, factors: Factors) -> Float[jax.Array, ""]:
        return jnp.ones(())
