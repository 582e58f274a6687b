"""Everything that is read off one optimum: values and their exact derivatives. Pure functions of one response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlmm._util import Array, Struct
from jaxlmm.likelihood import Likelihood, Point, Response
from jaxlmm.model import Factors
from jaxlmm.optimize import each_direction


class Units(Struct):
    """What turns a result on a design's orthonormal basis into the data's units.

    ``inverse_triangle`` (p, p) takes coefficients on the basis to those of the columns; ``mean_squares`` are the
    design's.
    """

    inverse_triangle: Array
    mean_squares: tuple[Array, ...]


class Quantities(NamedTuple):
    """Functions of psi: ``vcov`` (p, p) of beta, ``report`` (r,) natural parameters, ``components``.

    ``components`` (terms + 1,) are the variances that each term, and last the residual, add to a row, averaged over
    the rows.
    """

    vcov: Array
    report: Array
    components: Array


class OptimumDerivatives(NamedTuple):
    """One optimum in response units; that of many responses has a first axis over them on every leaf.

    ``psi`` (s,) is theta (in its bases), followed by log sigma where that is profiled out, s = k + 1; where something
    is fixed in units of the response theta has it, or it is fixed, s = k. ``deviance`` (), and its ``gradient`` and
    ``hessian`` there;
    ``values`` and ``derivatives`` (a trailing axis over psi) of the :class:`Quantities`; ``beta`` (p,), ``sigma`` ();
    ``relative_sigma`` () in units of the residual standard deviation of least squares.
    """

    psi: Array
    deviance: Array
    gradient: Array
    hessian: Array
    values: Quantities
    derivatives: Quantities
    beta: Array
    sigma: Array
    relative_sigma: Array


class Rows(NamedTuple):
    """What an optimum says of levels and rows, in response units.

    ``modes`` and ``mode_sds`` per term, levels × columns; ``marginal`` and ``conditional`` (N,) fitted values without
    the offset; ``residual_factor`` (G, Q, Q) of the residual structure, where there is one.
    """

    modes: tuple[Array, ...]
    mode_sds: tuple[Array, ...]
    marginal: Array
    conditional: Array
    residual_factor: Array | None


def examine(
    likelihood: Likelihood, response: Response, units: Units, bases: Sequence[Array], theta: Array
) -> tuple[OptimumDerivatives, Point]:
    """Evaluate the parameters that a result reports, and their derivatives, at ``theta`` (k,); the point too.

    The Hessian is that of the deviance in (theta, log sigma), beta profiled (ML) or integrated out (REML): its
    inverse, doubled, is the covariance of the variance parameters (as in lmerTest, Kuznetsova et al. 2017, eq. 7).
    """
    theta = jnp.asarray(theta)
    evaluate = _given_sigma if likelihood.layout.absolute else _profiled
    psi, gradient, hessian, (vcov, d_vcov), point = evaluate(likelihood, response, bases, theta)

    def quantities(psi: jax.Array) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        layout, theta = likelihood.layout, psi[: likelihood.layout.n_theta]
        factors = layout.factors(theta, bases)
        sigma = (jnp.exp(psi[-1]) if factors.sigma is None else factors.sigma) * response.scale
        unit = response.scale if layout.absolute else sigma
        found = layout.report(theta, factors, unit), _components(units, factors, sigma)
        return found, found

    inverse_triangle = jnp.asarray(units.inverse_triangle)

    def in_columns(on_basis: jax.Array) -> jax.Array:
        return response.scale**2 * (inverse_triangle @ on_basis @ inverse_triangle.T)

    d_columns = jnp.moveaxis(jax.vmap(in_columns)(d_vcov), 0, -1)
    derivatives, values = jax.jacfwd(quantities, has_aux=True)(psi)
    given = likelihood.layout.factors(theta, bases).sigma
    sigma = likelihood.sigma(point, given, response)
    found = OptimumDerivatives(
        psi, likelihood.criterion(point, given, response), gradient, hessian,
        Quantities(in_columns(vcov), *values), Quantities(d_columns, *derivatives),
        inverse_triangle @ (response.least_squares + point.shift * response.scale),
        sigma, sigma / response.scale,
    )  # fmt: skip
    return found, point


Evaluated = tuple[jax.Array, jax.Array, jax.Array, tuple[jax.Array, jax.Array], Point]


def _given_sigma(likelihood: Likelihood, response: Response, bases: Sequence[Array], theta: jax.Array) -> Evaluated:
    """Return psi = theta, gradient, Hessian, the covariance on the basis with its derivatives, and the point."""

    def first_order(theta: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Point]:
        def objective(theta: jax.Array) -> tuple[jax.Array, tuple[jax.Array, Point]]:
            factors = likelihood.layout.factors(theta, bases)
            assert factors.sigma is not None
            point = likelihood.at(factors, response)
            return likelihood.criterion(point, factors.sigma, response), (factors.sigma**2 * point.vcov, point)

        gradient, (vcov, point) = jax.grad(objective, has_aux=True)(theta)
        return (gradient, vcov), point

    (gradient, vcov), push, point = jax.linearize(first_order, theta, has_aux=True)
    along, d_vcov = each_direction(push, theta, sequential=likelihood.solver.sequential)
    return theta, gradient, 0.5 * (along + along.T), (vcov, d_vcov), point


def _profiled(likelihood: Likelihood, response: Response, bases: Sequence[Array], theta: jax.Array) -> Evaluated:
    """Return the same where sigma is profiled out, with psi = (theta, log sigma)."""
    layout, k, count = likelihood.layout, theta.shape[0], jnp.maximum(response.count, 1.0)

    def objective(theta: jax.Array) -> tuple[jax.Array, Point]:
        point = likelihood.at(layout.factors(theta, bases), response)
        sigma = jax.lax.stop_gradient(jnp.sqrt(point.r2 / count))
        return likelihood.deviance_given_sigma(point, sigma, response), point

    def first_order(theta: jax.Array) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Point]:
        gradient, point = jax.grad(objective, has_aux=True)(theta)
        return (gradient, point.vcov, point.r2), point

    # One trace serves all: the Hessian, the derivatives of vcov and of r².
    (slope, on_basis, r2), push, point = jax.linearize(first_order, theta, has_aux=True)
    along, d_on_basis, d_r2 = each_direction(push, theta, sequential=likelihood.solver.sequential)
    variance = r2 / count
    psi = jnp.append(theta, 0.5 * jnp.log(variance))
    gradient = jnp.append(slope, 0.0)
    mixed = -2.0 * d_r2 / variance
    hessian = jnp.zeros((k + 1, k + 1)).at[:k, :k].set(0.5 * (along + along.T)).at[k, k].set(4.0 * count)
    hessian = hessian.at[k, :k].set(mixed).at[:k, k].set(mixed)

    vcov = variance * on_basis
    d_vcov = jnp.concatenate([variance * d_on_basis, 2.0 * vcov[None]]) if k else 2.0 * vcov[None]
    return psi, gradient, hessian, (vcov, d_vcov), point


def rows_at(likelihood: Likelihood, response: Response, y: Array, factors: Factors, point: Point) -> Rows:
    """Evaluate modes and fitted values of the response ``y`` (N,), in its own units, at a ``point``."""
    design = likelihood.design
    shift = point.shift * response.scale
    coefficients = response.least_squares + shift
    rest = likelihood.around(jnp.asarray(y)[:, None], response.least_squares[None])[:, 0]
    effects = likelihood.solver.effects(design, factors, point.factor, rest - design.basis @ shift)
    weight = jnp.asarray(design.root_weight)
    unweighted = jnp.where(weight > 0, 1.0 / jnp.where(weight > 0, weight, 1.0), 0.0)
    marginal = design.basis @ coefficients
    conditional = marginal + _random_part(likelihood, effects.modes)
    sigma = likelihood.sigma(point, factors.sigma, response)
    sds = tuple(sigma * sd for sd in effects.sds)
    return Rows(effects.modes, sds, marginal * unweighted, conditional * unweighted, factors.residual)


def _components(units: Units, factors: Factors, sigma: jax.Array) -> jax.Array:
    """Mean over the rows of the variance that each term adds, and last the residual variance at weight 1."""
    parts = []
    for square, factor in zip(units.mean_squares, factors.terms, strict=True):
        rows = jnp.asarray(square)[..., None] * factor if factor.ndim == 3 else square @ factor
        parts.append(jnp.sum(rows * factor))
    parts.append(jnp.ones_like(sigma))
    return sigma**2 * jnp.stack(parts)


def _random_part(likelihood: Likelihood, modes: Sequence[jax.Array]) -> jax.Array:
    """Return ``Z b`` (N,) in weighted rows."""
    design = likelihood.design
    total = jnp.zeros(design.n_padded)
    for term, mode in zip(design.terms, modes, strict=True):
        codes = design.groupings[term.grouping].codes
        if term.positions is None:
            total = total + jnp.sum(term.z * mode[codes], axis=1)
        else:
            total = total + term.z[:, 0] * mode[codes, term.positions]
    return total
