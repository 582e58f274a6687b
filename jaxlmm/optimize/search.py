"""A coarse start: the best of a few values along each axis in turn."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxlmm._util import Array
from jaxlmm.optimize.loop import Objective

WORTHWHILE = 1e-6
"""The start moves only for a gain above this, so that on a flat objective rounding does not choose it."""


def search_axes(
    objective: Objective, x: jax.Array, index: Array, values: Array, sweeps: Array, *, sequential: bool = False
) -> jax.Array:
    """Return the best point found by ``sweeps`` rounds over the axes; values that are not finite never win.

    Parameters
    ----------
    x, index, values, sweeps
        ``(k,)``; ``(a,)`` parameter numbers; ``(a, v)`` the values to try for each; () the number of rounds.
    sequential
        Whether values are tried one after the other, to save memory.
    """
    if index.shape[0] == 0:
        return x
    index, values = jnp.asarray(index), jnp.asarray(values)

    def along(place: jax.Array, x: jax.Array) -> jax.Array:
        axis = place % index.shape[0]
        tried = jnp.concatenate([x[index[axis]][None], values[axis]])
        candidates = jax.vmap(lambda value: x.at[index[axis]].set(value))(tried)
        found = jax.lax.map(objective, candidates) if sequential else jax.vmap(objective)(candidates)
        found = jnp.where(jnp.isfinite(found), found, jnp.inf).at[0].add(-WORTHWHILE)
        return candidates[jnp.argmin(found)]

    return jax.lax.fori_loop(0, sweeps * index.shape[0], along, x)
