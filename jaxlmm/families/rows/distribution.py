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

    Prior weights multiply the log-densities; they are zero on padded rows. ``trials`` stand beside successes, and are
    None of a family without them. With ``n_nodes`` of 1 the integral is Laplace's approximation, with more it is
    adaptive quadrature.
    """

    family: AbstractFamily
    weight: Float[Array, " N"]
    trials: Float[Array, " N"] | None
    n_nodes: int = static(default=1)

    @classmethod
    def of(
        cls,
        family: AbstractFamily,
        n_padded: int,
        weights: Float[NumpyArray, " n"],
        trials: Float[NumpyArray, " n"] | None = None,
        n_nodes: int = 1,
    ) -> Self:
        """Return the distribution of n rows, padded; a single trial each without ``trials``, if the family has any."""
        trials = np.ones(weights.size) if trials is None else trials
        return cls(family, pad(weights, n_padded), pad(trials, n_padded) if family.has_trials else None, n_nodes)

    def of_rows(self, take: Callable[[Array], NumpyArray]) -> Self:
        """Return the same with what ``take`` returns of each array over rows."""
        return self.replace(weight=take(self.weight), trials=None if self.trials is None else take(self.trials))

    def observations(self, y: Float[Array, "*b N"]) -> Float[Array, "*y"]:
        """Return responses as the family takes them, with trials if it has any; padded rows have one trial."""
        if self.trials is None:
            return jnp.asarray(y)
        trials = jnp.broadcast_to(jnp.maximum(jnp.asarray(self.trials), 1.0), jnp.shape(y))
        return jnp.stack([jnp.minimum(jnp.asarray(y), trials), trials], axis=-1)
