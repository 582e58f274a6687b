"""A coarse start: the best of a few values along each axis in turn."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxlmm._util import Array

WORTHWHILE = 1e-6
"""The start moves only for a gain above this, so that on a flat objective rounding does not choose it."""


def search_axes(
    objective: Callable[[Float[jax.Array, " k"]], Float[jax.Array, ""]],
    x: Float[jax.Array, " k"],
    index: Int[Array, " a"],
    values: Float[Array, "a v"],
    sweeps: Int[Array, ""],
    *,
    sequential: bool = False,
) -> Float[jax.Array, " k"]:
    """Return the best point found by ``sweeps`` rounds over the axes; values that are not finite never win.

    Parameters
    ----------
    x, index, values, sweeps
        The start; parameter numbers; the values to try for each; the number of rounds.
    sequential
        Whether values are tried one after the other, to save memory.
    """
    if index.shape[0] == 0:
        return x
    index, values = jnp.asarray(index), jnp.asarray(values)

    def along(step: Int[jax.Array, ""], x: Float[jax.Array, " k"]) -> Float[jax.Array, " k"]:
        axis = step % index.shape[0]
        tried = jnp.concatenate([x[index[axis]][None], values[axis]])
        candidates = jax.vmap(lambda value: x.at[index[axis]].set(value))(tried)
        objectives = jax.lax.map(objective, candidates) if sequential else jax.vmap(objective)(candidates)
        objectives = jnp.where(jnp.isfinite(objectives), objectives, jnp.inf).at[0].add(-WORTHWHILE)
        return candidates[jnp.argmin(objectives)]

    return jax.lax.fori_loop(0, sweeps * index.shape[0], along, x)
