"""Where a search of a generalized model begins: rough coefficients, variances of the effects, and dispersion."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxlmm._util import Array
from jaxlmm.families import AbstractFamily, FamilyLayout, has_unit, row_derivatives
from jaxlmm.likelihood.laplace.modes import Observations
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design

STEPS, LENGTHS = 8, (1.0, 0.5, 0.25, 0.06, 0.0)
"""Newton steps of the model without random effects, at which the coefficients begin, and lengths tried of each."""

TOWARDS_LEAST_SQUARES = (1.0, 0.5, 0.25, 0.1, 0.0)
"""Where the steps begin, on the way from a constant predictor to the rough one's least squares: the last that is
possible."""

STARTING_VARIANCE, GUESSED_VARIANCES = 0.25, (0.01, 4.0)
"""Variances of effects at which a search begins where no level has two rows, and between which it begins elsewhere."""

GUESSED_SHARES = (0.001, 1.0)
"""The same bounds where predictors have a unit of the data, as shares of their variance."""


def coefficients_without_effects(
    family: FamilyLayout, x: Float[jax.Array, "M p"], n_fixed: Int[Array, ""], observed: Observations
) -> Float[jax.Array, " p"]:
    """Return the coefficients without random effects, roughly: at the start of the dispersion, by a few steps.

    The first ``n_fixed`` columns of ``x`` are not zero.
    """
    weight, offset = jnp.asarray(observed.weight), jnp.asarray(observed.offset)
    dispersion = family.at(jnp.asarray(family.start())).dispersion
    filled = jnp.diag((jnp.arange(x.shape[1]) >= jnp.asarray(n_fixed)).astype(x.dtype))

    def value(beta: Float[jax.Array, " p"]) -> Float[jax.Array, ""]:
        return _total(family.family.log_kernel(observed.y, x @ beta + offset, dispersion), weight)

    def step(_: Int[jax.Array, ""], beta: Float[jax.Array, " p"]) -> Float[jax.Array, " p"]:
        rows = row_derivatives(family.family, observed.y, x @ beta + offset, dispersion)
        score, curvature = (jnp.where(weight > 0, weight * part, 0.0) for part in rows[1:])
        information = x.T @ (jnp.maximum(curvature, 1e-3 * weight)[:, None] * x) + filled
        towards = inverse_logdet(information)[0] @ (x.T @ score)
        change = jnp.where(jnp.isfinite(towards), towards, 0.0)
        tried = jnp.stack([beta + length * change for length in LENGTHS])
        return tried[jnp.argmax(jax.vmap(value)(tried))]

    rough = jnp.where(weight > 0, family.family.start(observed.y) - offset, 0.0)
    mean = jnp.sum(weight * rough) / jnp.maximum(jnp.sum(weight), 1.0)
    squares = jnp.maximum(jnp.sum(x**2, axis=0), 1.0)
    fitted, constant = (x.T @ rows / squares for rows in (rough, jnp.broadcast_to(mean, rough.shape)))
    # Least squares may leave the range of the means, the fitted constant does not: as far as is possible from it.
    tried = jnp.stack([constant + length * (fitted - constant) for length in TOWARDS_LEAST_SQUARES])
    possible = jnp.isfinite(jax.vmap(value)(tried))
    start = jnp.where(jnp.any(possible), tried[jnp.argmax(possible)], 0.0)
    return jax.lax.fori_loop(0, STEPS, step, start)


def rough_variances(
    design: Design,
    family: AbstractFamily,
    score: Float[jax.Array, " N"],
    weight: Float[jax.Array, " N"],
    observed: Observations,
) -> Float[jax.Array, " q"]:
    """Return variances of the columns of Z from products of the scores of different rows of a level.

    Scores and weights, the curvatures, are those of the model without random effects, where
    ``E(s_i s_j) = w_i w_j z_i z_j τ²`` to first order in the variance τ². Where the mean is an exponential function of
    the predictor, or between two bounds, the logarithm of one plus it is closer; elsewhere the predictor has the unit
    of the data.
    """
    found = []
    for term in design.terms:
        grouping = design.groupings[term.grouping]
        for z in jnp.asarray(term.z).T:
            own = z * score, weight * z**2
            levels = (jax.ops.segment_sum(part, jnp.asarray(grouping.codes), design.n_padded) for part in own)
            products, sizes = (jnp.sum(a**2) - jnp.sum(b**2) for a, b in zip(levels, own, strict=True))
            known = sizes > 0.0
            found.append(jnp.where(known, products / jnp.where(known, sizes, 1.0), STARTING_VARIANCE))
    variances = jnp.maximum(jnp.stack(found), 0.0)
    if not has_unit(family):
        return jnp.clip(jnp.log1p(variances), *GUESSED_VARIANCES)
    prior = jnp.asarray(observed.weight)
    rough = jnp.where(prior > 0.0, family.start(observed.y), 0.0)
    center = jnp.sum(prior * rough) / jnp.sum(prior)
    spread = jnp.sum(prior * (rough - center) ** 2) / jnp.sum(prior)
    smallest, largest = (share * spread for share in GUESSED_SHARES)
    return jnp.clip(variances, smallest, largest)


def likely_dispersion(
    family: FamilyLayout, own: Float[jax.Array, " _"], eta: Float[jax.Array, " M"], observed: Observations
) -> Float[jax.Array, " _"]:
    """Return the family's entries of theta at the best of their nodes, one after the other, at linear predictors."""
    weight = jnp.asarray(observed.weight)

    def value(own: Float[jax.Array, " _"]) -> Float[jax.Array, ""]:
        return _total(family.family.log_density(observed.y, eta, family.at(own).dispersion), weight)

    def best(own: Float[jax.Array, " _"], entry: int, tried: Float[jax.Array, " _"]) -> Float[jax.Array, " _"]:
        tried = jnp.concatenate([own[entry][None], tried])
        candidates = jnp.tile(own[None], (tried.size, 1)).at[:, entry].set(tried)
        return candidates[jnp.argmax(jax.vmap(value)(candidates))]

    for entry, nodes in family.search_axes():
        own = best(own, entry, jnp.asarray(nodes))
    for entry, differences in family.finer_axes():
        own = best(own, entry, own[entry] + jnp.asarray(differences))
    return own


def _total(rows: Float[jax.Array, " M"], weight: Float[jax.Array, " M"]) -> Float[jax.Array, ""]:
    """Return the weighted sum of log-densities, −∞ where it is not finite; rows of weight zero are not looked at."""
    total = jnp.sum(jnp.where(weight > 0, weight * rows, 0.0))
    return jnp.where(jnp.isfinite(total), total, -jnp.inf)
