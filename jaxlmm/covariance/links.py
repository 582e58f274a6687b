"""The links of a first-order Markov chain: how a position depends on the one before it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm.linalg import linear_recurrence


class Links(NamedTuple):
    """How a process depends on its value at the position before, at m positions: ``b = sd u``, u of unit variance, with

        ``u = rho u_before + innovation ε``

    ``rho`` is the correlation with the position before and ``innovation`` is ``sqrt(1 − rho²)``, without cancellation.
    """

    sd: Float[jax.Array, "*b m"]
    rho: Float[jax.Array, "*b m"]
    innovation: Float[jax.Array, "*b m"]

    def factor(self) -> Float[jax.Array, "m m"]:
        """Return the lower factor of the covariance of one chain, whose first link is to nothing.

        >>> links = Links(jnp.full(2, 2.0), jnp.array([0.0, 0.6]), jnp.array([1.0, 0.8]))
        >>> links.factor().round(1).tolist()
        [[2.0, 0.0], [1.2, 1.6]]
        """
        return self.sd[:, None] * linear_recurrence(self.rho, jnp.diag(self.innovation))
