"""Values and their exact derivatives at one optimum: pure functions of one response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array, Struct
from jaxlmm.likelihood import Likelihood, Point, Response
from jaxlmm.model import ChainFactor, Factors, random_part
from jaxlmm.optimize import Tangent, along_surface, with_directions

Bases: TypeAlias = Sequence[Float[Array, "_ _"]]
"""The basis (q, q) of each term."""

MIN_SIZE = 0.1
"""Parameters are compared with their size, or with this where they are smaller."""

Value = TypeVar("Value")
Scalar: TypeAlias = Float[jax.Array, ""]
Theta: TypeAlias = Float[jax.Array, " k"]
ReportAndComponents: TypeAlias = tuple[Float[jax.Array, " r"], Float[jax.Array, " components"]]


class Units(Struct):
    """The map from a design's orthonormal basis of X to the units of the data.

    ``inverse_triangle`` takes coefficients on the basis to those of the columns of X; ``mean_squares`` are those of
    :meth:`jaxlmm.model.Design.mean_squares`, for the variance that each term adds to a row.
    """

    inverse_triangle: Float[Array, "*b p p"]
    mean_squares: tuple[Float[Array, "... _ _"], ...]


class Quantities(NamedTuple):
    """Functions of psi: ``vcov`` (p, p) of beta, ``report`` (r,) natural parameters, ``components``.

    ``components`` (terms + 1,) are the variances that each term, and last the residual, add to a row, averaged over
    the rows. Derivatives have a last axis over psi, those of many responses a first.
    """

    vcov: Float[Array, "*shape"]
    report: Float[Array, "*shape"]
    components: Float[Array, "*shape"]


class OptimumDerivatives(NamedTuple):
    """One optimum in response units; that of many responses has a first axis over them on every leaf.

    ``psi`` is theta (in its bases), followed by log sigma where that is profiled out, s = k + 1; in an absolute layout
    theta has log sigma, or sigma is fixed, and s = k. The ``deviance``, and its ``gradient`` and ``hessian`` in psi;
    where parameters are held, along the surface on which they are, as in :class:`~jaxlmm.optimize.Tangent`, to which
    ``projection`` (s, s) takes a direction, else None;
    ``values`` and ``derivatives`` of the :class:`Quantities`; ``relative_sigma``, that of the covariance factors, is in
    units of the residual standard deviation of least squares; ``beta_derivative`` is that of beta in psi, where the
    coefficients are in theta.
    """

    psi: Float[Array, "*b s"]
    deviance: Float[Array, "*b"]
    gradient: Float[Array, "*b s"]
    hessian: Float[Array, "*b s s"]
    projection: Float[Array, "*b s s"] | None
    values: Quantities
    derivatives: Quantities
    beta: Float[Array, "*b p"]
    sigma: Float[Array, "*b"]
    relative_sigma: Float[Array, "*b"]
    beta_derivative: Float[Array, "*b p s"] | None = None


class Rows(NamedTuple):
    """Estimates for levels and rows at an optimum, in response units.

    ``modes`` and ``mode_sds`` per term, levels × columns; ``marginal`` and ``conditional`` fitted values without the
    offset; ``residual_covariance`` of the residual structure, where there is one; ``residual_sds`` those of each row,
    by its weight and the model of dispersion; ``sigma`` is what covariances are relative to.
    """

    modes: tuple[Float[Array, "... _ _"], ...]
    mode_sds: tuple[Float[Array, "... _ _"], ...]
    marginal: Float[Array, "*b N"]
    conditional: Float[Array, "*b N"]
    residual_covariance: Float[Array, "*b L q q"] | ChainFactor | None
    residual_sds: Float[Array, "*b N"]
    sigma: Float[Array, "*b"]


def examine(
    likelihood: Likelihood, response: Response, units: Units, bases: Bases, theta: Float[Array, " k"]
) -> tuple[OptimumDerivatives, Point]:
    """Evaluate the parameters that a result reports, and their derivatives, at ``theta``; and the point.

    The Hessian is that of the deviance in (theta, log sigma), beta profiled (ML) or integrated out (REML): its
    inverse, doubled, is the covariance of the variance parameters (as in lmerTest, Kuznetsova et al. 2017, eq. 7).
    """
    theta = jnp.asarray(theta)
    evaluate = _given_sigma if likelihood.layout.absolute else _profiled
    psi, gradient, hessian, (vcov, d_vcov), point = evaluate(likelihood, response, bases, theta)
    tangent = Tangent(gradient, hessian, None)
    if likelihood.layout.is_held:
        size = jnp.maximum(jnp.abs(psi.at[theta.size :].set(1.0)), MIN_SIZE)
        tangent = along_surface(
            lambda theta: likelihood.layout.errors(theta, bases), theta, gradient, hessian, 1.0 / size**2
        )

    def quantities(psi: Float[jax.Array, " s"]) -> tuple[ReportAndComponents, ReportAndComponents]:
        layout, theta = likelihood.layout, psi[: likelihood.layout.n_theta]
        factors = layout.factors(theta, bases)
        sigma = (jnp.exp(psi[-1]) if factors.sigma is None else factors.sigma) * response.scale
        unit = response.scale if layout.absolute else sigma
        components = _components(units, factors, sigma, likelihood.mean_residual_variance(factors))
        both = layout.report(theta, factors, unit), components
        return both, both

    inverse_triangle = jnp.asarray(units.inverse_triangle)

    def in_columns(on_basis: Float[jax.Array, "p p"]) -> Float[jax.Array, "p p"]:
        return response.scale**2 * (inverse_triangle @ on_basis @ inverse_triangle.T)

    d_columns = jnp.moveaxis(jax.vmap(in_columns)(d_vcov), 0, -1)
    derivatives, values = jax.jacfwd(quantities, has_aux=True)(psi)
    factors = likelihood.layout.factors(theta, bases)
    sigma = likelihood.sigma(point, factors.sigma, response)
    in_theta = None
    if factors.family is not None:
        p = factors.family.coefficients.shape[0]
        to_beta = inverse_triangle * jnp.sqrt(jnp.asarray(likelihood.design.n, psi.dtype))
        in_theta = jnp.zeros((p, psi.shape[0])).at[:, psi.shape[0] - p :].set(to_beta)
    optimum = OptimumDerivatives(
        psi, likelihood.criterion(point, factors.sigma, response), *tangent,
        Quantities(in_columns(vcov), *values), Quantities(d_columns, *derivatives),
        inverse_triangle @ (response.least_squares + point.shift * response.scale),
        sigma * factors.sigma_ratio, sigma / response.scale, in_theta,
    )  # fmt: skip
    return optimum, point


Evaluated: TypeAlias = tuple[
    Float[jax.Array, " s"],
    Float[jax.Array, " s"],
    Float[jax.Array, "s s"],
    tuple[Float[jax.Array, "p p"], Float[jax.Array, "s p p"]],
    Point,
]
"""psi, gradient, Hessian, the covariance of the coefficients on the basis with its derivatives, and the point."""


def _given_sigma(likelihood: Likelihood, response: Response, bases: Bases, theta: Theta) -> Evaluated:
    """Evaluate an absolute layout, psi = theta: sigma is fixed, or its logarithm is the last entry of theta."""

    def first_order(theta: Theta) -> tuple[tuple[Theta, Float[jax.Array, "p p"]], Point]:
        def objective(theta: Theta) -> tuple[Scalar, tuple[Float[jax.Array, "p p"], Point]]:
            factors = likelihood.layout.factors(theta, bases)
            assert factors.sigma is not None
            point = likelihood.at(factors, response)
            return likelihood.criterion(point, factors.sigma, response), (factors.sigma**2 * point.vcov, point)

        gradient, (vcov, point) = jax.grad(objective, has_aux=True)(theta)
        return (gradient, vcov), point

    (gradient, vcov), point, (along, d_vcov) = _differentiated(first_order, likelihood, theta)
    return theta, gradient, 0.5 * (along + along.T), (vcov, d_vcov), point


def _profiled(likelihood: Likelihood, response: Response, bases: Bases, theta: Theta) -> Evaluated:
    """Evaluate a layout in which sigma is profiled out, psi = (theta, log sigma).

    With f(theta, log sigma) = log-determinants + count log sigma² + r²/sigma², at sigma² = r²/count: the derivative in
    log sigma is 0, the second one 4 count, the mixed one −2 ∂r²/∂theta / sigma².
    """
    layout, k, count = likelihood.layout, theta.shape[0], jnp.maximum(response.count, 1.0)

    def objective(theta: Theta) -> tuple[Scalar, Point]:
        point = likelihood.at(layout.factors(theta, bases), response)
        sigma = jax.lax.stop_gradient(jnp.sqrt(point.r2 / count))  # so that derivatives in theta are at fixed sigma
        return likelihood.criterion(point, sigma, response), point

    def first_order(theta: Theta) -> tuple[tuple[Theta, Float[jax.Array, "p p"], Scalar], Point]:
        gradient, point = jax.grad(objective, has_aux=True)(theta)
        return (gradient, point.vcov, point.r2), point

    # One trace serves all: the Hessian, the derivatives of vcov and of r².
    (slope, on_basis, r2), point, (along, d_on_basis, d_r2) = _differentiated(first_order, likelihood, theta)
    variance = r2 / count
    psi = jnp.append(theta, 0.5 * jnp.log(variance))
    gradient = jnp.append(slope, 0.0)
    mixed = -2.0 * d_r2 / variance
    hessian = jnp.zeros((k + 1, k + 1)).at[:k, :k].set(0.5 * (along + along.T)).at[k, k].set(4.0 * count)
    hessian = hessian.at[k, :k].set(mixed).at[:k, k].set(mixed)

    vcov = variance * on_basis
    d_vcov = jnp.concatenate([variance * d_on_basis, 2.0 * vcov[None]]) if k else 2.0 * vcov[None]
    return psi, gradient, hessian, (vcov, d_vcov), point


def _differentiated(
    f: Callable[[Theta], tuple[Value, Point]], likelihood: Likelihood, theta: Theta
) -> tuple[Value, Point, Value]:
    """Return value and point of ``f`` at ``theta``, and the value's derivatives along a first axis."""
    solver = likelihood.solver
    # A solver whose evaluation is dear has large matrices.
    return with_directions(f, theta, sequential=solver.sequential, anew=solver.sequential and solver.quasi_newton)


def rows_at(likelihood: Likelihood, response: Response, y: Float[Array, " N"], factors: Factors, point: Point) -> Rows:
    """Evaluate modes and fitted values of the response ``y``, in its own units, at a ``point``."""
    design = likelihood.design
    shift = point.shift * response.scale
    coefficients = response.least_squares + shift
    residual = likelihood.around(jnp.asarray(y)[:, None], response.least_squares[None])[:, 0]
    effects = likelihood.effects(factors, point, residual - design.basis @ shift)
    root_weight = jnp.asarray(design.root_weight)
    inverse_root_weight = jnp.where(root_weight > 0, 1.0 / jnp.where(root_weight > 0, root_weight, 1.0), 0.0)
    marginal = design.basis @ coefficients
    conditional = marginal + random_part(design, effects.modes)
    sigma = likelihood.sigma(point, factors.sigma, response)
    sds = tuple(sigma * sd for sd in effects.sds)
    residual_sds = sigma * likelihood.residual_sds(factors) * inverse_root_weight
    return Rows(
        effects.modes,
        sds,
        marginal * inverse_root_weight,
        conditional * inverse_root_weight,
        factors.residual,
        residual_sds,
        sigma,
    )


def _components(
    units: Units, factors: Factors, sigma: Float[jax.Array, ""], residual: Float[jax.Array, ""]
) -> Float[jax.Array, " components"]:
    """Return the variance that each term adds to a row, on average, and last the mean residual variance at weight 1.

    ``residual`` is that relative to ``sigma``².
    """
    squares, of_terms = units.mean_squares, len(factors.terms)
    parts = [_mean_variance(square, factor) for square, factor in zip(squares[:of_terms], factors.terms, strict=True)]
    if factors.residual is not None and factors.dispersion is None:
        residual = _mean_variance(squares[of_terms], factors.residual)
    parts.append(residual)
    return sigma**2 * jnp.stack(parts)


def _mean_variance(
    square: Float[Array, "_ _"], factor: Float[jax.Array, "*L q r"] | ChainFactor
) -> Float[jax.Array, ""]:
    """Return the variance that a term adds to a row, on average, from its mean squares."""
    if isinstance(factor, ChainFactor):
        return factor.mean_square(square)
    if factor.ndim == 3:
        return jnp.sum(jnp.asarray(square) * jnp.diagonal(factor, axis1=-2, axis2=-1))
    return jnp.sum((square @ factor) * factor)
