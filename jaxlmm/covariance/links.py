"""First-order Markov chains along one coordinate: how each position depends on the one before it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array
from jaxlmm.linalg import linear_recurrence

MAX_LEADING_POSITIONS = 64
"""Positions of a chain beyond which a matrix is that of the first ones alone."""


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
        >>> np.round(np.asarray(links.factor(), float), 1).tolist()
        [[2.0, 0.0], [1.2, 1.6]]
        """
        return self.sd[:, None] * linear_recurrence(self.rho, jnp.diag(self.innovation))


class Steps(NamedTuple):
    """Steps from positions ``before`` to later ones, ``coords``, whatever lies between.

    ``number_before`` and ``number`` are their numbers among the positions of the block. Where there is no position
    before, both are the same.
    """

    before: Float[Array, "*b m d"]
    coords: Float[Array, "*b m d"]
    number_before: Int[Array, "*b m"]
    number: Int[Array, "*b m"]


class Markovian:
    """What a covariance structure says of itself where it is a first-order Markov chain along one coordinate."""

    @property
    def is_markov(self) -> bool:
        """Whether it is a first-order Markov chain along one coordinate, of which :meth:`markov` returns the links."""
        return type(self).markov is not Markovian.markov

    def markov(self, theta: Float[jax.Array, " k"], steps: Steps) -> Links:
        """Return the links at ``steps``: with this method, series of any length are fitted in time linear in it.

        Where a step has no position before, rho and innovation are not used, but they and their derivatives must be
        finite.
        """
        raise NotImplementedError(f"{type(self).__name__} is not known to be a Markov chain")

    def leading_factor(self, theta: Float[Array, " k"], coords: Float[Array, "q d"]) -> Float[jax.Array, "_ _"]:
        """Return the factor at ``coords`` (q, d) or, where a chain is long, at the first of these."""
        theta, coords = jnp.asarray(theta), jnp.asarray(coords)
        if len(coords) <= MAX_LEADING_POSITIONS or not self.is_markov:
            factor: Float[jax.Array, "q q"] = self.cholesky(theta, coords)  # type: ignore[attr-defined]
            return factor
        number, some = np.arange(MAX_LEADING_POSITIONS), coords[:MAX_LEADING_POSITIONS]
        before = np.maximum(number - 1, 0)
        sd, rho, innovation = self.markov(theta, Steps(some[before], some, before, number))
        return Links(sd, rho.at[0].set(0.0), innovation.at[0].set(1.0)).factor()


def innovation_of(decline: Float[jax.Array, " m"]) -> Float[jax.Array, " m"]:
    """Return ``sqrt(1 − rho²)`` where −log rho is ``decline``, of at least 0."""
    variance = -jnp.expm1(-2.0 * decline)
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)
