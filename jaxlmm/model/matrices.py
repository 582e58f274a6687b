"""The covariance of a term: a factor, matrices along positions, links of a chain; and what effects add to the rows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.model.chain import ChainFactor, MarkovChain
from jaxlmm.model.design import Design


def covariance_of(
    structure: AbstractCovariance,
    theta: Float[jax.Array, " k"],
    coords: Float[Array, "*L q d"],
    basis: Float[Array, "_ _"] | None = None,
    chain: MarkovChain | None = None,
) -> Float[jax.Array, "*L q q"] | ChainFactor:
    """Return the factor among columns, in a basis if there is one; along positions the covariance of each block.

    Of a ``chain``, its links.
    """
    if chain is not None:
        return chain.factor(structure, theta)
    coords = jnp.asarray(coords)
    if coords.ndim == 3:
        return jax.vmap(structure.covariance, in_axes=(None, 0))(theta, coords)
    return structure.cholesky(theta, coords) if basis is None else structure.in_basis(theta, coords, basis)


def reported_factor(
    structure: AbstractCovariance,
    theta: Float[jax.Array, " k"],
    coords: Float[Array, "*L q d"],
    basis: Float[Array, "_ _"] | None = None,
) -> Float[jax.Array, "_ _"]:
    """Return the factor from which natural parameters are reported: along positions, that of the first block."""
    coords = jnp.asarray(coords)
    if coords.ndim == 3:
        return structure.reported_factor(theta, coords[0])
    return structure.cholesky(theta, coords) if basis is None else structure.in_basis(theta, coords, basis)


def over(
    part: Float[jax.Array, "*L q r"] | ChainFactor, sigma: Float[jax.Array, ""]
) -> Float[jax.Array, "*L q r"] | ChainFactor:
    """Return what :func:`covariance_of` returned, relative to ``sigma``."""
    if isinstance(part, ChainFactor):
        return part.over(sigma)
    return part / (sigma if part.ndim == 2 else sigma**2)


def first_covariance(part: Float[jax.Array, "*L q r"] | ChainFactor) -> Float[jax.Array, "_ _"]:
    """Return the covariance of the columns, of the first block of positions, or of the first positions of a chain."""
    if isinstance(part, ChainFactor):
        return part.leading()
    return part[0] if part.ndim == 3 else part @ part.T


def random_part(design: Design, effects: Sequence[Float[jax.Array, "_ _"]]) -> Float[jax.Array, " N"]:
    """Return ``Z b`` in weighted rows, from the effects b of each term, levels × columns or blocks × positions."""
    total = jnp.zeros(design.n_padded)
    for term, own in zip(design.terms, effects, strict=True):
        codes = design.groupings[term.grouping].codes
        if term.positions is None:
            total = total + jnp.sum(term.z * own[codes], axis=1)
        else:
            total = total + term.z[:, 0] * own[codes, term.positions]
    return total
