"""The deviance of a linear mixed model, written once, from log|H| and inner products.

With ``H = R + Z Λ Λᵀ Zᵀ``, ``Var(y) = σ² H`` and ``r² = yᵀ P y`` (Bates et al. 2015, eqs. 34-42):

    ML    log|H| + n (1 + log(2π r²/n))
    REML  log|H| + log|XᵀH⁻¹X| + (n − p) (1 + log(2π r²/(n − p)))
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, Struct, static
from jaxlmm.covariance import Field
from jaxlmm.linalg import normal_equations
from jaxlmm.model import Design, Factors, Layout, Natural, held_layout, least_squares
from jaxlmm.solvers import AbstractSolver


def additive_constant(method: str, log_weight: Array, log_basis: Array, count: Array, log_scale: Array) -> Any:
    """Return the part of the deviance that theta does not change: of weights, change of basis, and response scale.

    ``−2 Σ log √w + 2 count log(scale)``, and for REML ``2 log|T|`` of the triangle T with X = basis · T; ``log_weight``
    is the sum, ``log_basis`` the log-determinant. Arrays of NumPy or JAX.
    """
    constant = -2.0 * log_weight + 2.0 * count * log_scale
    return constant + 2.0 * log_basis if method == "REML" else constant


class Response(Struct):
    """One response, prepared: what is left of it after its least-squares fit, scaled to standard deviation 1.

    ``fixed`` holds the cross-products of X, which responses of one design share, and ``augmented`` those that this
    response adds;
    ``least_squares`` are coefficients on the design's basis; ``scale`` is the residual standard deviation of that fit,
    by which the response was divided; ``count`` the number of independent observations of the criterion, n, or n − p
    for REML; ``constant`` the additive constant of the deviance from weights, change of basis and response scale;
    ``added`` a sum of squares that is added to yᵀPy where the deviance has no lower bound because no residual is left
    (:mod:`jaxlmm.engine.vanishing`), else 0. Many responses have a first axis over them.
    """

    fixed: Any
    augmented: Any
    least_squares: Float[Array, "*b p"]
    scale: Float[Array, "*b"]
    count: Float[Array, "*b"]
    constant: Float[Array, "*b"]
    added: Float[Array, "*b"]


class Point(NamedTuple):
    """The likelihood's ingredients at one theta, in units of the response's scale.

    ``logdet`` log|H|; ``information`` log|XᵀH⁻¹X| and ``vcov`` (XᵀH⁻¹X)⁻¹, both on the basis of X; ``shift`` GLS minus
    least-squares coefficients; ``r2`` the residual quadratic form yᵀPy; ``factor`` the solver's work at this theta.
    """

    logdet: Float[jax.Array, ""]
    information: Float[jax.Array, ""]
    vcov: Float[jax.Array, "p p"]
    shift: Float[jax.Array, " p"]
    r2: Float[jax.Array, ""]
    factor: Any


class Likelihood(Struct):
    """A design with a solver and a criterion; pure functions of theta and a prepared response.

    ``related`` says that a known matrix or a structure relates the levels of a group, or the residuals: then a residual
    of zero is no limit. Known matrices are in the solver, and no longer in the design.
    """

    solver: AbstractSolver
    layout: Layout
    design: Design
    method: str = static()
    related: bool = static(default=False)

    @classmethod
    def of(cls, design: Design, solver: AbstractSolver, method: str, fixed: Natural | None = None) -> Likelihood:
        """Join a design, a solver built for it, a criterion, and the parameters that are ``fixed``."""
        layout = held_layout(design, fixed)
        matrices = any(grouping.relation is not None for grouping in design.groupings)
        across = any(isinstance(structure, Field) for structure in layout.structures)
        related = matrices or across or design.residual is not None
        return cls(solver, layout, design.without_relations(), method, related)

    def for_response(self, response: Response) -> Self:
        """Return the likelihood in units of a response: fixed parameters are relative to its scale."""
        return self.replace(layout=self.layout.in_unit(response.scale)) if self.layout.absolute else self

    def fixed_products(self) -> Any:
        """Return the cross-products of the fixed effects' basis, which all responses share."""
        basis = jnp.asarray(self.design.basis)
        return self.solver.cross_products(basis, basis)

    def residuals(
        self, y: Float[jax.Array, "N m"]
    ) -> tuple[Float[jax.Array, "p m"], Float[jax.Array, " m"], Float[jax.Array, "N m"]]:
        """Return least-squares coefficients on the basis, scales, and scaled residuals in rows multiplied by √w.

        ``y`` are responses in their own units, padded with zeros.
        """
        design, basis = self.design, jnp.asarray(self.design.basis)
        weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None])
        coefficients, residual = least_squares(basis, weighted)
        degrees = jnp.maximum(jnp.asarray(design.n, residual.dtype) - design.n_fixed, 1.0)
        scale = jnp.sqrt(jnp.sum(residual**2, axis=0) / degrees)
        return coefficients, scale, residual / scale[None, :]

    def observe_all(self, fixed: Any, y: Float[jax.Array, "N m"]) -> Response:
        """Prepare responses ``y``; every leaf but those of ``fixed`` has a first axis over them."""
        design = self.design
        coefficients, scale, residual = self.residuals(y)
        count = jnp.asarray(design.n, residual.dtype) - (design.n_fixed if self.method == "REML" else 0)
        weight = jnp.asarray(design.root_weight)
        log_weight = jnp.sum(jnp.log(jnp.where(weight > 0, weight, 1.0)))
        log_basis = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(design.triangle)))))
        return Response(
            fixed,
            self.solver.augmented(design.basis, residual),
            coefficients.T,
            scale,
            jnp.broadcast_to(count, scale.shape),
            additive_constant(self.method, log_weight, log_basis, count, jnp.log(scale)),
            jnp.zeros_like(scale),
        )

    def augmented_around(
        self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"], scale: Float[jax.Array, " m"]
    ) -> Any:
        """Return the cross-products of responses ``y`` less ``coefficients`` on the basis, over ``scale``."""
        return self.solver.augmented(self.design.basis, self.around(y, coefficients) / scale[None, :])

    def around(self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"]) -> Float[jax.Array, "N m"]:
        """Return weighted responses ``y`` less ``coefficients`` on the basis."""
        design = self.design
        weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None])
        return weighted - design.basis @ coefficients.T

    def observe(self, y: Float[jax.Array, " N"]) -> Response:
        """Prepare one response ``y``."""
        fixed = self.fixed_products()
        return jax.tree.map(lambda leaf: leaf[0], self.observe_all(None, y[:, None])).replace(fixed=fixed)

    def at(self, factors: Factors, response: Response) -> Point:
        """Evaluate the ingredients at the covariance ``factors``."""
        return self.at_factor(self.solver.factor(factors), response)

    def at_factor(self, factor: Any, response: Response) -> Point:
        """Evaluate the ingredients at a covariance that the solver has factorized."""
        information, cross, square = self.solver.quadratic_forms(factor, response.fixed, response.augmented)
        vcov, logdet, shift, explained = normal_equations(information, cross)
        r2 = square - explained + response.added
        return Point(self.solver.logdet(factor), logdet, vcov, shift, r2, factor)

    def deviance(self, factors: Factors, response: Response) -> Float[jax.Array, ""]:
        """Return −2 log-likelihood (or REML criterion), profiled over beta, and over sigma if the factors have none."""
        return self.criterion(self.at(factors, response), factors.sigma, response)

    def criterion(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        """Return the deviance from its ingredients, at a ``sigma`` or, for None, profiled over it."""
        if sigma is None:
            return self.profiled(point, response)
        return self.deviance_given_sigma(point, sigma, response)

    def sigma(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        """Return sigma in response units: ``sigma``, or for None, where it is profiled out, √(r²/count)."""
        relative = jnp.sqrt(point.r2 / jnp.maximum(response.count, 1.0)) if sigma is None else sigma
        return relative * response.scale

    def profiled(self, point: Point, response: Response) -> Float[jax.Array, ""]:
        """Return the deviance profiled over sigma, from its ingredients."""
        count = response.count
        profiled = count * (1.0 + jnp.log(2.0 * np.pi * point.r2 / jnp.maximum(count, 1.0)))
        return self._determinants(point) + profiled + response.constant

    def deviance_given_sigma(self, point: Point, sigma: Float[Array, ""], response: Response) -> Float[jax.Array, ""]:
        """Return the deviance at a ``sigma`` in units of the response's scale, profiled over beta alone."""
        spread = response.count * jnp.log(2.0 * np.pi * sigma**2) + point.r2 / sigma**2
        return self._determinants(point) + spread + response.constant

    def _determinants(self, point: Point) -> Float[jax.Array, ""]:
        return point.logdet + (point.information if self.method == "REML" else 0.0)

    def loglik(
        self, factors: Factors, beta: Float[jax.Array, " p"], sigma: Float[jax.Array, ""], y: Float[jax.Array, " N"]
    ) -> Float[jax.Array, ""]:
        """Return the unprofiled log-likelihood of ``y`` at ``beta`` and ``sigma`` in response units."""
        design = self.design
        residual = (design.root_weight * (y - design.offset) - design.basis @ (design.triangle @ beta))[:, None]
        factor = self.solver.factor(factors)
        square = self.solver.inner(factor, self.solver.cross_products(residual, residual))[0, 0] / sigma**2
        weight = jnp.asarray(design.root_weight)
        logdet = self.solver.logdet(factor) - 2.0 * jnp.sum(jnp.log(jnp.where(weight > 0, weight, 1.0)))
        return -0.5 * (jnp.asarray(design.n, float) * jnp.log(2.0 * np.pi * sigma**2) + logdet + square)

    def padded(self, y: Float[Array, " n"]) -> Float[jax.Array, " N"]:
        """Pad a response ``y`` to the design's rows."""
        y = jnp.asarray(y)
        return jnp.zeros(self.design.n_padded, y.dtype).at[: y.shape[0]].set(y)
