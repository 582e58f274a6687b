"""Whitening along a chain: by its own links, or, where it is observed with noise, by the Kalman filter."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.covariance import Links
from jaxlmm.linalg import after, backward_recurrence, before, linear_recurrence, riccati_recurrence


class Observed(NamedTuple):
    """A chain that is observed itself, R its correlation: ``R⁻¹ = Tᵀ T`` with T of two diagonals."""

    links: Links

    def whitened(self, x: Float[jax.Array, "M i"]) -> Float[jax.Array, "M i"]:
        """Return ``T x``: each value less what the one before says, over its standard deviation then."""
        relative = x / self.links.sd[:, None]
        return (relative - self.links.rho[:, None] * before(relative)) / self.links.innovation[:, None]

    def logdet(self) -> Float[jax.Array, ""]:
        """Return ``log|R|``."""
        return jnp.sum(jnp.log(jnp.square(self.links.sd * self.links.innovation)))


class Filtered(NamedTuple):
    """A chain u of unit variance that is observed as ``x = g u + e``, Var(e) = I: the Kalman filter.

    ``size`` is g; ``variance`` P that of u at a node given all x before it, and ``spread`` ``f = 1 + g² P`` that of x
    there. ``T x = (x − g E(u | x before)) / √f`` is white: ``(I + g K g)⁻¹ = Tᵀ T``, with K the correlation of u
    (Kalman 1960, "A new approach to linear filtering and prediction problems"). All is positive but x: nothing cancels.
    """

    links: Links
    size: Float[jax.Array, " M"]
    variance: Float[jax.Array, " M"]
    spread: Float[jax.Array, " M"]

    @classmethod
    def of(cls, links: Links, root: Float[Array, " M"]) -> Self:
        """Return the filter where each node is observed through ``root``, the length of its column of Z."""
        size = jnp.asarray(root) * links.sd
        precision = jnp.square(size)
        variance = riccati_recurrence(jnp.square(links.rho), jnp.square(links.innovation), before(precision))
        return cls(links, size, variance, 1.0 + precision * variance)

    def whitened(self, x: Float[jax.Array, "M i"]) -> Float[jax.Array, "M i"]:
        """Return ``T x``."""
        return (x - self.size[:, None] * self._predicted(x)) / jnp.sqrt(self.spread)[:, None]

    def logdet(self) -> Float[jax.Array, ""]:
        """Return ``log|I + g K g|``."""
        return jnp.sum(jnp.log1p(jnp.square(self.size) * self.variance))

    def _predicted(self, x: Float[jax.Array, "M i"]) -> Float[jax.Array, "M i"]:
        """Return ``E(u | x before)``."""
        gain = self.size * self.variance / self.spread
        told = self.links.rho[:, None] * before(gain[:, None] * x)
        return linear_recurrence(self.links.rho * before(1.0 / self.spread), told)

    def smoothed(self, x: Float[jax.Array, "M i"]) -> Float[jax.Array, "M i"]:
        """Return ``E(u | x)``, from the end (Rauch, Tung and Striebel 1965)."""
        here = (self._predicted(x) + (self.size * self.variance)[:, None] * x) / self.spread[:, None]
        back, own = self._backward()
        return backward_recurrence(back, own[:, None] * here)

    def smoothed_variance(self) -> tuple[Float[jax.Array, " M"], Float[jax.Array, " M"]]:
        """Return ``Var(u | x)``, and the covariance with u at the node after."""
        back, own = self._backward()
        variance = backward_recurrence(back**2, (own * self.variance / self.spread)[:, None])[:, 0]
        return variance, back * after(variance)

    def _backward(self) -> tuple[Float[jax.Array, " M"], Float[jax.Array, " M"]]:
        """Return J, the coefficient of u at the node after given x so far, and ``1 − J rho``, without cancellation."""
        variance = jnp.append(self.variance[1:], 1.0)
        rho, innovation = after(self.links.rho), jnp.append(self.links.innovation[1:], 1.0)
        return self.variance / self.spread * rho / variance, innovation**2 / variance
