"""Everything that is read off one optimum, in one compiled program: values and their exact derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlmm._compile import program
from jaxlmm._typing import Array
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.model.design import Design
from jaxlmm.model.layout import Factors
from jaxlmm.optimise.loop import each_direction


class Quantities(NamedTuple):
    """Functions of psi = (theta, sigma): ``vcov`` (p, p) of beta, ``report`` (r,) natural parameters, ``components``.

    ``components`` (terms + 1,) are the variances that each term, and last the residual, add to a row, averaged over
    the rows.
    """

    vcov: jax.Array
    report: jax.Array
    components: jax.Array


class Examination(NamedTuple):
    """One optimum in response units.

    ``psi`` (k + 1,) is theta (in its frames) and log sigma, with ``gradient`` and ``hessian`` of the deviance there;
    ``values`` and ``derivatives`` (a trailing axis over psi) of the :class:`Quantities`; ``beta`` (p,), ``sigma`` ();
    ``modes`` and ``mode_sds`` per term, levels × columns; ``marginal`` and ``conditional`` (N,) fitted values without
    the offset; ``residual_factor`` (G, Q, Q) of the residual structure, where there is one.
    """

    psi: jax.Array
    gradient: jax.Array
    hessian: jax.Array
    values: Quantities
    derivatives: Quantities
    beta: jax.Array
    sigma: jax.Array
    modes: tuple[jax.Array, ...]
    mode_sds: tuple[jax.Array, ...]
    marginal: jax.Array
    conditional: jax.Array
    residual_factor: jax.Array | None


@program(once=True)
def examine(
    likelihood: Likelihood,
    response: Response,
    frames: Sequence[Array],
    theta: Array,
    inverse_triangle: Array,
) -> Examination:
    """Evaluate everything that a result reports at ``theta`` (k,).

    The Hessian is that of the deviance in (theta, log sigma), beta profiled (ML) or integrated out (REML): its
    inverse, doubled, is the covariance of the variance parameters (as in lmerTest, Kuznetsova et al. 2017, eq. 7).
    """
    design, layout, solver = likelihood.design, likelihood.layout, likelihood.solver
    theta = jnp.asarray(theta)
    k, count = theta.shape[0], jnp.maximum(likelihood.n_contrasts, 1.0)

    def objective(theta: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array, Any]]:
        point = likelihood.at(layout.factors(theta, frames), response)
        sigma = jax.lax.stop_gradient(jnp.sqrt(point.r2 / count))
        value = likelihood.deviance_given_sigma(point, sigma, response)
        return value, (point.vcov, point.r2, point.shift, point.factor)

    def first_order(theta: jax.Array) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, Any]]:
        gradient, (vcov, r2, shift, factor) = jax.grad(objective, has_aux=True)(theta)
        return (gradient, vcov, r2), (shift, factor)

    # One trace serves all: the Hessian, the derivatives of vcov and of r², the modes.
    (slope, on_basis, r2), push, (shift, factor) = jax.linearize(first_order, theta, has_aux=True)
    along, d_on_basis, d_r2 = each_direction(push, theta, one_by_one=solver.one_by_one)
    variance = r2 / count
    psi = jnp.append(theta, 0.5 * jnp.log(variance))
    gradient = jnp.append(slope, 0.0)
    mixed = -2.0 * d_r2 / variance
    hessian = jnp.zeros((k + 1, k + 1)).at[:k, :k].set(0.5 * (along + along.T)).at[k, k].set(4.0 * count)
    hessian = hessian.at[k, :k].set(mixed).at[:k, k].set(mixed)

    def quantities(psi: jax.Array) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        factors, sigma = layout.factors(psi[:-1], frames), jnp.exp(psi[-1]) * response.scale
        found = _report(likelihood, psi[:-1], factors, sigma), _components(design, factors, sigma)
        return found, found

    def in_columns(on_basis: jax.Array) -> jax.Array:
        return variance * response.scale**2 * (inverse_triangle @ on_basis @ jnp.asarray(inverse_triangle).T)

    vcov = in_columns(on_basis)
    d_vcov = jnp.concatenate([jax.vmap(in_columns)(d_on_basis), 2.0 * vcov[None]]) if k else 2.0 * vcov[None]
    derivatives, values = jax.jacfwd(quantities, has_aux=True)(psi)

    factors = layout.factors(theta, frames)
    shift = shift * response.scale
    coefficients = response.least_squares + shift
    residual = response.error * response.scale - design.basis @ shift
    effects = solver.effects(design, factors, factor, residual)
    weight = jnp.asarray(design.root_weight)
    marginal = design.basis @ coefficients
    conditional = marginal + _random_part(likelihood, effects.modes)
    unweighted = jnp.where(weight > 0, 1.0 / jnp.where(weight > 0, weight, 1.0), 0.0)
    sigma = jnp.sqrt(variance) * response.scale
    return Examination(
        psi, gradient, hessian, Quantities(vcov, *values), Quantities(jnp.moveaxis(d_vcov, 0, -1), *derivatives),
        inverse_triangle @ coefficients, sigma,
        effects.modes, tuple(sigma * sd for sd in effects.sds), marginal * unweighted, conditional * unweighted,
        factors.residual,
    )  # fmt: skip


def _report(likelihood: Likelihood, theta: jax.Array, factors: Factors, sigma: jax.Array) -> jax.Array:
    """Natural parameters of every term, then of the residual (its standard deviation first)."""
    layout, places = likelihood.layout, likelihood.layout.slices()
    parts = []
    for structure, factor, place in zip(layout.structures, factors.terms, places, strict=False):
        parts.append(structure.report(theta[place], factor[0] if factor.ndim == 3 else factor, sigma))
    if layout.residual is None or factors.residual is None:
        parts.append(sigma[None])
    else:
        parts.append(layout.residual.report(layout.residual_theta(theta), factors.residual[0], sigma))
    return jnp.concatenate(parts)


def _components(design: Design, factors: Factors, sigma: jax.Array) -> jax.Array:
    """Mean over the rows of the variance that each term adds, and last the residual variance at weight 1."""
    weight = jnp.asarray(design.root_weight)
    inverse = jnp.where(weight > 0, 1.0 / jnp.where(weight > 0, weight, 1.0), 0.0)[:, None]
    parts = []
    for term, factor in zip(design.terms, factors.terms, strict=True):
        grouping = design.groupings[term.grouping]
        z = term.z * inverse
        rows = z @ factor if term.positions is None else z * factor[grouping.codes, term.positions]
        square = jnp.sum(rows**2, axis=1)
        if grouping.relation is not None:
            square = square * jnp.diagonal(jnp.asarray(grouping.relation))[grouping.codes]
        parts.append(jnp.sum(square) / jnp.asarray(design.n, float))
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
