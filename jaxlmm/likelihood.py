"""The deviance of a linear mixed model, written once, from log|H| and inner products.

With ``H = R + Z Λ Λᵀ Zᵀ``, ``Var(y) = σ² H`` and ``r² = yᵀ P y`` (Bates et al. 2015, eqs. 34-42):

    ML    log|H| + n (1 + log(2π r²/n))
    REML  log|H| + log|XᵀH⁻¹X| + (n − p) (1 + log(2π r²/(n − p)))
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._struct import Struct, static
from jaxlmm._typing import Array
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model.design import Design
from jaxlmm.model.layout import Factors, Layout
from jaxlmm.solvers import AbstractSolver


class Response(Struct):
    """One response, prepared: what is left of it after its least-squares fit, scaled to standard deviation 1.

    ``pair`` holds ``[X e]ᵀ H⁻¹ [X e]`` up to theta; ``least_squares`` (p,) are coefficients on the design's basis;
    ``scale`` () is the residual standard deviation of that fit, by which ``e`` (N,) was divided.
    """

    pair: Any
    least_squares: jax.Array
    scale: jax.Array
    error: jax.Array


class Point(NamedTuple):
    """The likelihood's ingredients at one theta, in units of the response's scale.

    ``logdet`` log|H|; ``information`` its log-determinant and ``vcov`` (p, p) the inverse of XᵀH⁻¹X on the basis;
    ``shift`` (p,) GLS minus least-squares coefficients; ``r2`` the residual quadratic form yᵀPy; ``factor`` the
    solver's work at this theta.
    """

    logdet: jax.Array
    information: jax.Array
    vcov: jax.Array
    shift: jax.Array
    r2: jax.Array
    factor: Any


class Likelihood(Struct):
    """A design with a solver and a criterion; pure functions of theta and a prepared response."""

    solver: AbstractSolver
    layout: Layout
    design: Design
    method: str = static()

    @classmethod
    def of(cls, design: Design, solver: AbstractSolver, method: str) -> Likelihood:
        """Join a design, a solver built for it, and a criterion."""
        return cls(solver, Layout.of(design), design, method)

    @property
    def n_contrasts(self) -> jax.Array:
        """The number of independent observations that the criterion speaks of: n, or n − p for REML."""
        return jnp.asarray(self.design.n, float) - (self.design.n_fixed if self.method == "REML" else 0)

    def observe(self, y: jax.Array) -> Response:
        """Prepare a response ``y`` (N,), padded with zeros, in its own units."""
        design = self.design
        weighted = design.root_weight * (y - design.offset)
        basis = jnp.asarray(design.basis)
        once = basis.T @ weighted
        again = basis.T @ (weighted - basis @ once)
        error = weighted - basis @ (once + again)
        scale = jnp.sqrt(jnp.sum(error**2) / jnp.maximum(jnp.asarray(design.n, float) - design.n_fixed, 1.0))
        error = error / scale
        both = jnp.concatenate([basis, error[:, None]], axis=1)
        return Response(self.solver.pair(both, both), once + again, scale, error)

    def at(self, factors: Factors, response: Response) -> Point:
        """Evaluate the ingredients at the covariance ``factors``."""
        p = self.design.n_fixed
        factor = self.solver.factor(factors)
        products = self.solver.inner(factor, response.pair)
        vcov, information = inverse_logdet(products[:p, :p])
        cross = products[:p, p]
        shift = vcov @ cross
        r2 = products[p, p] - cross @ shift
        return Point(self.solver.logdet(factor), information, vcov, shift, r2, factor)

    def constant(self, response: Response) -> jax.Array:
        """Return what the criterion owes to weights, the basis of X and the response's scale."""
        weight = jnp.asarray(self.design.root_weight)
        total = -2.0 * jnp.sum(jnp.log(jnp.where(weight > 0, weight, 1.0)))
        if self.method == "REML":
            total = total + 2.0 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(self.design.triangle)))))
        return total + 2.0 * self.n_contrasts * jnp.log(response.scale)

    def deviance(self, factors: Factors, response: Response) -> jax.Array:
        """Return −2 log-likelihood (or REML criterion), profiled over beta and sigma."""
        point, count = self.at(factors, response), self.n_contrasts
        profiled = count * (1.0 + jnp.log(2.0 * np.pi * point.r2 / jnp.maximum(count, 1.0)))
        return self._determinants(point) + profiled + self.constant(response)

    def deviance_given_sigma(self, point: Point, sigma: jax.Array, response: Response) -> jax.Array:
        """Return the same criterion at a given ``sigma`` (in units of the response's scale), profiled over beta."""
        spread = self.n_contrasts * jnp.log(2.0 * np.pi * sigma**2) + point.r2 / sigma**2
        return self._determinants(point) + spread + self.constant(response)

    def _determinants(self, point: Point) -> jax.Array:
        return point.logdet + (point.information if self.method == "REML" else 0.0)

    def loglik(self, factors: Factors, beta: jax.Array, sigma: jax.Array, y: jax.Array) -> jax.Array:
        """Return the unprofiled log-likelihood of ``y`` (N,) at ``beta`` (p,) and ``sigma`` in response units."""
        design = self.design
        residual = design.root_weight * (y - design.offset) - design.basis @ (design.triangle @ beta)
        factor = self.solver.factor(factors)
        pair = self.solver.pair(residual[:, None], residual[:, None])
        square = self.solver.inner(factor, pair)[0, 0] / sigma**2
        weight = jnp.asarray(design.root_weight)
        logdet = self.solver.logdet(factor) - 2.0 * jnp.sum(jnp.log(jnp.where(weight > 0, weight, 1.0)))
        return -0.5 * (jnp.asarray(design.n, float) * jnp.log(2.0 * np.pi * sigma**2) + logdet + square)

    def padded(self, y: Array) -> jax.Array:
        """Pad a response ``y`` (n,) to the design's rows."""
        y = jnp.asarray(y)
        return jnp.zeros(self.design.n_padded, y.dtype).at[: y.shape[0]].set(y)
