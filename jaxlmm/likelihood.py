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

from jaxlmm._util import Array, Struct, static
from jaxlmm.covariance import Field
from jaxlmm.linalg import normal_equations
from jaxlmm.model import Design, Factors, Layout, Natural
from jaxlmm.solvers import AbstractSolver


class Response(Struct):
    """One response, prepared: what is left of it after its least-squares fit, scaled to standard deviation 1.

    ``fixed`` holds the cross-products of X, which responses of one design share, and ``augmented`` those that this
    response adds;
    ``least_squares`` (p,) are coefficients on the design's basis; ``scale`` () is the residual standard deviation of
    that fit, by which the response was divided; ``count`` () the number of independent observations that the criterion
    speaks of, n, or n − p for REML; ``constant`` () what the criterion owes to weights, basis, and scale;
    ``added`` () a sum of squares that is added to yᵀPy: of a residual that the rows do not have
    (:mod:`jaxlmm.engine.vanishing`), else 0.
    """

    fixed: Any
    augmented: Any
    least_squares: jax.Array
    scale: jax.Array
    count: jax.Array
    constant: jax.Array
    added: jax.Array


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
    """A design with a solver and a criterion; pure functions of theta and a prepared response.

    ``related`` says that a known matrix or a structure relates the levels of a group, or the residuals.
    """

    solver: AbstractSolver
    layout: Layout
    design: Design
    method: str = static()
    related: bool = static(default=False)

    @classmethod
    def of(cls, design: Design, solver: AbstractSolver, method: str, fixed: Natural | None = None) -> Likelihood:
        """Join a design, a solver built for it, a criterion, and what is ``fixed``."""
        layout = Layout.of(design, fixed)
        matrices = any(grouping.relation is not None for grouping in design.groupings)
        across = any(isinstance(structure, Field) for structure in layout.structures)
        related = matrices or across or design.residual is not None
        return cls(solver, layout, design.without_relations(), method, related)

    def for_response(self, response: Response) -> Self:
        """Return the likelihood in units of a response: what is fixed is relative to its scale."""
        return self.replace(layout=self.layout.in_unit(response.scale)) if self.layout.absolute else self

    def fixed(self) -> Any:
        """Prepare the fixed effects' basis; all responses share this."""
        basis = jnp.asarray(self.design.basis)
        return self.solver.cross_products(basis, basis)

    def residuals(self, y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return least-squares coefficients (p, m) on the basis, scales (m,), scaled residuals (N, m) in weighted rows.

        ``y`` (N, m) are responses in their own units, padded with zeros.
        """
        design, basis = self.design, jnp.asarray(self.design.basis)
        weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None])
        once = basis.T @ weighted
        again = basis.T @ (weighted - basis @ once)
        rest = weighted - basis @ (once + again)
        free = jnp.maximum(jnp.asarray(design.n, rest.dtype) - design.n_fixed, 1.0)
        scale = jnp.sqrt(jnp.sum(rest**2, axis=0) / free)
        return once + again, scale, rest / scale[None, :]

    def observe_all(self, fixed: Any, y: jax.Array) -> Response:
        """Prepare responses ``y`` (N, m); every leaf but those of ``fixed`` has a first axis over them."""
        design = self.design
        least_squares, scale, rest = self.residuals(y)
        count = jnp.asarray(design.n, rest.dtype) - (design.n_fixed if self.method == "REML" else 0)
        weight = jnp.asarray(design.root_weight)
        constant = -2.0 * jnp.sum(jnp.log(jnp.where(weight > 0, weight, 1.0)))
        if self.method == "REML":
            constant = constant + 2.0 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(design.triangle)))))
        return Response(
            fixed,
            self.solver.augmented(design.basis, rest),
            least_squares.T,
            scale,
            jnp.broadcast_to(count, scale.shape),
            constant + 2.0 * count * jnp.log(scale),
            jnp.zeros_like(scale),
        )

    def augmented_around(self, y: jax.Array, coefficients: jax.Array, scale: jax.Array) -> Any:
        """Return the cross-products of ``y`` (N, m) less ``coefficients`` (m, p) on the basis, over ``scale`` (m,)."""
        return self.solver.augmented(self.design.basis, self.around(y, coefficients) / scale[None, :])

    def around(self, y: jax.Array, coefficients: jax.Array) -> jax.Array:
        """Return weighted responses ``y`` (N, m) less ``coefficients`` (m, p) on the basis."""
        design = self.design
        weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None])
        return weighted - design.basis @ coefficients.T

    def observe(self, y: jax.Array) -> Response:
        """Prepare one response ``y`` (N,)."""
        fixed = self.fixed()
        return jax.tree.map(lambda leaf: leaf[0], self.observe_all(None, y[:, None])).replace(fixed=fixed)

    def at(self, factors: Factors, response: Response) -> Point:
        """Evaluate the ingredients at the covariance ``factors``."""
        return self.given(self.solver.factor(factors), response)

    def given(self, factor: Any, response: Response) -> Point:
        """Evaluate the ingredients given the solver's work at some covariance."""
        information, cross, square = self.solver.quadratic_forms(factor, response.fixed, response.augmented)
        vcov, logdet, shift, explained = normal_equations(information, cross)
        r2 = square - explained + response.added
        return Point(self.solver.logdet(factor), logdet, vcov, shift, r2, factor)

    def deviance(self, factors: Factors, response: Response) -> jax.Array:
        """Return −2 log-likelihood (or REML criterion), profiled over beta, and over sigma if the factors have none."""
        return self.criterion(self.at(factors, response), factors.sigma, response)

    def criterion(self, point: Point, sigma: jax.Array | None, response: Response) -> jax.Array:
        """Return the deviance from its ingredients, at a ``sigma`` () or, for None, profiled over it."""
        if sigma is None:
            return self.profiled(point, response)
        return self.deviance_given_sigma(point, sigma, response)

    def sigma(self, point: Point, sigma: jax.Array | None, response: Response) -> jax.Array:
        """Return sigma in response units: ``sigma`` (), or where it is profiled out, for None, its best value."""
        found = jnp.sqrt(point.r2 / jnp.maximum(response.count, 1.0)) if sigma is None else sigma
        return found * response.scale

    def profiled(self, point: Point, response: Response) -> jax.Array:
        """Return the deviance from its ingredients."""
        count = response.count
        profiled = count * (1.0 + jnp.log(2.0 * np.pi * point.r2 / jnp.maximum(count, 1.0)))
        return self._determinants(point) + profiled + response.constant

    def deviance_given_sigma(self, point: Point, sigma: jax.Array, response: Response) -> jax.Array:
        """Return the same criterion at a given ``sigma`` (in units of the response's scale), profiled over beta."""
        spread = response.count * jnp.log(2.0 * np.pi * sigma**2) + point.r2 / sigma**2
        return self._determinants(point) + spread + response.constant

    def _determinants(self, point: Point) -> jax.Array:
        return point.logdet + (point.information if self.method == "REML" else 0.0)

    def loglik(self, factors: Factors, beta: jax.Array, sigma: jax.Array, y: jax.Array) -> jax.Array:
        """Return the unprofiled log-likelihood of ``y`` (N,) at ``beta`` (p,) and ``sigma`` in response units."""
        design = self.design
        residual = (design.root_weight * (y - design.offset) - design.basis @ (design.triangle @ beta))[:, None]
        factor = self.solver.factor(factors)
        square = self.solver.inner(factor, self.solver.cross_products(residual, residual))[0, 0] / sigma**2
        weight = jnp.asarray(design.root_weight)
        logdet = self.solver.logdet(factor) - 2.0 * jnp.sum(jnp.log(jnp.where(weight > 0, weight, 1.0)))
        return -0.5 * (jnp.asarray(design.n, float) * jnp.log(2.0 * np.pi * sigma**2) + logdet + square)

    def padded(self, y: Array) -> jax.Array:
        """Pad a response ``y`` (n,) to the design's rows."""
        y = jnp.asarray(y)
        return jnp.zeros(self.design.n_padded, y.dtype).at[: y.shape[0]].set(y)
