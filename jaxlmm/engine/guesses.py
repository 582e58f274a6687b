"""Where a search may start, from rough covariances by moments: of the columns of Z, and of the residuals' positions."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.model import Layout

LARGEST_GUESSED_SD = 40.0
"""Largest relative standard deviation of a start guessed from the data: where rows leave next to no residual, the guess
is a ratio of rounding errors."""

SMALLEST_GUESSED_VARIANCE = 1e-6
"""Smallest variance of the residual structure's first position that a start takes from the data."""


def guess_columns(
    layout: Layout,
    covariance: Float[jax.Array, "columns columns"],
    start: Float[jax.Array, " k"],
    inverse_bases: Sequence[Float[Array, "_ _"]],
) -> Float[jax.Array, " k"]:
    """Return a start near a rough ``covariance`` of all columns of Z, relative to sigma; ``start`` where a term has
    none.
    """
    first, variance = 0, layout.reported_sigma(start) ** 2
    for structure, coords, where, inverse in zip(
        layout.structures, layout.coords, layout.slices(), inverse_bases, strict=False
    ):
        columns = slice(first, first + coords.shape[-2])
        inverse = jnp.asarray(inverse)
        rough = inverse @ covariance[columns, columns] @ inverse.T
        rough = rough if layout.family is not None else _bounded(rough)  # with a family sigma is 1, and says no scale
        start = start.at[where].set(structure.start_near(variance * rough, start[where]))
        first = columns.stop
    return start


def guess_residual(
    layout: Layout, covariance: Float[jax.Array, "q q"], start: Float[jax.Array, " k"]
) -> Float[jax.Array, " k"]:
    """Return a start near a rough ``covariance`` of the residual structure's positions, in units of the response's
    scale; ``start`` where the structure takes nothing from it.
    """
    assert layout.residual is not None
    first = jnp.maximum(covariance[0, 0], SMALLEST_GUESSED_VARIANCE)
    variance = first if layout.sigma is None else jnp.square(jnp.asarray(layout.sigma))
    theta = layout.residual.start_near(_bounded(covariance / variance), layout.residual_theta(start))
    if layout.sigma_is_free:
        start = start.at[-1].set(0.5 * jnp.log(variance) + jnp.log(jnp.abs(theta[0])))
    return start.at[layout.slices()[-1]].set(theta[1:])


def guessed_of_residual(layout: Layout) -> Bool[NumpyArray, " k"]:
    """Return which parameters :func:`guess_residual` takes from the covariance, that of sigma left out."""
    found = np.zeros(layout.n_theta, bool)
    if layout.residual is not None and layout.residual_coords is not None:
        found[layout.slices()[-1]] = layout.residual.guessed(layout.residual_coords.shape[-2])[1:]
    return found


def _bounded(rough: Float[jax.Array, "q q"]) -> Float[jax.Array, "q q"]:
    """Return a rough relative covariance with no standard deviation beyond ``LARGEST_GUESSED_SD``."""
    return rough * jnp.minimum(1.0, LARGEST_GUESSED_SD**2 / jnp.maximum(jnp.max(jnp.diagonal(rough)), 1.0))
