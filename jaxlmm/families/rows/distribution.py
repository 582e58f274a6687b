"""The distribution of the rows of a design, given their linear predictors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, Struct, pad, static
from jaxlmm.families.base import AbstractFamily


class RowDistribution(Struct):
    """A ``family`` with what it needs of each row, and how the random effects are integrated.

    Prior weights multiply the log-densities; they are zero on padded rows. ``row_data`` are the numbers that make an
    observation of a response: trials, or the columns of the zero part, None of a family without them. With ``n_nodes``
    of 1 the integral is Laplace's approximation, with more it is adaptive quadrature.
    """

    family: AbstractFamily
    weight: Float[Array, " N"]
    row_data: Float[Array, "N ..."] | None
    n_nodes: int = static(default=1)

    @classmethod
    def of(
        cls,
        family: AbstractFamily,
        n_padded: int,
        weights: Float[NumpyArray, " n"],
        row_data: Float[NumpyArray, "n ..."] | None = None,
        n_nodes: int = 1,
    ) -> Self:
        """Return the distribution of n rows, padded; a single trial each if the family has any and none are given."""
        if row_data is None and family.has_trials:
            row_data = np.ones(weights.size)
        return cls(family, pad(weights, n_padded), None if row_data is None else pad(row_data, n_padded), n_nodes)

    def of_rows(self, take: Callable[[Array], NumpyArray]) -> Self:
        """Return the same with what ``take`` returns of each array over rows."""
        return self.replace(weight=take(self.weight), row_data=None if self.row_data is None else take(self.row_data))

    def observations(self, y: Float[Array, "*b N"]) -> Float[Array, "*y"]:
        """Return responses as the family takes them; where it has trials padded rows have one."""
        if self.row_data is None:
            return jnp.asarray(y)
        if not self.family.has_trials:
            columns = jnp.asarray(self.row_data)
            columns = jnp.broadcast_to(columns, (*jnp.shape(y), columns.shape[-1]))
            return jnp.concatenate([jnp.asarray(y)[..., None], columns], axis=-1)
        trials = jnp.broadcast_to(jnp.maximum(jnp.asarray(self.row_data), 1.0), jnp.shape(y))
        return jnp.stack([jnp.minimum(jnp.asarray(y), trials), trials], axis=-1)


def observations(y: Float[NumpyArray, "n ..."], row_data: Float[NumpyArray, "n ..."] | None) -> Float[NumpyArray, "*y"]:
    """Return responses of rows as a family takes them, with what stands beside each in its row.

    >>> observations(np.array([2.0, 0.0]), np.array([3.0, 1.0])).tolist()
    [[2.0, 3.0], [0.0, 1.0]]
    """
    if row_data is None:
        return y
    columns = row_data.reshape(len(row_data), *(1,) * (y.ndim - 1), -1)
    return np.concatenate([y[..., None], np.broadcast_to(columns, (*y.shape, columns.shape[-1]))], axis=-1)
