"""Other parameters for a covariance, in which natural ones can be held at a value while the others move."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import NEARLY_ZERO, SD_NODES, AbstractCovariance, BoundaryCandidates
from jaxlmm.covariance.diagonal import Diagonal

ANGLES = np.arcsin([-0.9, -0.7, -0.45, -0.2, 0.0, 0.2, 0.45, 0.7, 0.9])
"""Angles of correlations at which a start is looked for."""


class Constant(AbstractCovariance):
    """A covariance that is known: ``theta`` (1,) is the reciprocal of the unit in which its factor is written.

    ``known`` (k,) is the parameter of ``structure`` at which it reports ``natural`` (r,) in response units.
    """

    structure: AbstractCovariance
    known: Array
    natural: Array

    def n_params(self, q: int) -> int:
        return 1

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        return theta[0] * self.structure.cholesky(jnp.asarray(self.known), coords)

    def from_natural(self, natural: Array, sigma: Array, coords: Array) -> Array:
        return jnp.ones(1) / sigma

    def report(self, theta: Array, factor: Array, sigma: Array) -> jax.Array:
        return jnp.asarray(self.natural)


class PairChart(AbstractCovariance):
    """A covariance of two columns, in a basis that scales them to unit mean square."""

    def n_params(self, q: int) -> int:
        return 3

    def basis(self, root: NumpyArray) -> NumpyArray:
        return np.diag(1.0 / np.linalg.norm(root, axis=0))


class Pivoted(PairChart):
    """Two columns, the standard deviation of the ``first`` being a parameter: a Cholesky factor that begins there.

    ``theta`` has the parameter that is the standard deviation at its own place, and at the other two the other
    column's part along the first and its rest.
    """

    first: int = static()

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        zero = jnp.zeros((), theta.dtype)
        pivot, other = jnp.stack([theta[self.first], zero]), jnp.stack([theta[2], theta[1 - self.first]])
        return jnp.stack([pivot, other] if self.first == 0 else [other, pivot])

    def start(self, coords: NumpyArray) -> NumpyArray:
        return np.array([0.5, 0.5, 0.0])

    def search_axes(self, coords: NumpyArray) -> tuple[tuple[int, NumpyArray], ...]:
        return ((0, SD_NODES), (1, SD_NODES))

    def boundary_candidates(
        self, theta: jax.Array, basis: jax.Array, root: jax.Array, coords: jax.Array
    ) -> BoundaryCandidates:
        rest = 1 - self.first
        singular = (theta.at[rest].set(0.0), basis, (np.arange(3) == rest) * (rest + 1), abs(theta[rest]) < NEARLY_ZERO)
        return BoundaryCandidates.of([singular, (theta, basis, np.zeros(3), np.True_)])

    def from_natural(self, natural: Array, sigma: Array, coords: Array) -> Array:
        other = natural[1 - self.first] / sigma
        pair = [natural[self.first] / sigma, other * jnp.sqrt(1.0 - natural[2] ** 2)]
        return jnp.stack([*(pair if self.first == 0 else pair[::-1]), other * natural[2]])

    def to_basis(self, theta: Array, basis: Array) -> Array:
        length = basis.diagonal()
        return theta / jnp.stack([length[0], length[1], length[1 - self.first]])

    def away_from_zero(self, theta: NumpyArray) -> NumpyArray:
        return np.where(np.array([True, True, False]) & (theta == 0.0), NEARLY_ZERO, theta)


class Angle(PairChart):
    """Two columns; ``theta`` are the standard deviations and the angle whose sine is the correlation.

    The deviance is even about an angle of ±π/2, where the covariance is singular.
    """

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        zero = jnp.zeros((), theta.dtype)
        second = theta[1] * jnp.stack([jnp.sin(theta[2]), jnp.cos(theta[2])])
        return jnp.stack([jnp.stack([theta[0], zero]), second])

    def start(self, coords: NumpyArray) -> NumpyArray:
        return np.array([0.5, 0.5, 0.0])

    def search_axes(self, coords: NumpyArray) -> tuple[tuple[int, NumpyArray], ...]:
        return ((2, ANGLES),)

    def boundary_candidates(
        self, theta: jax.Array, basis: jax.Array, root: jax.Array, coords: jax.Array
    ) -> BoundaryCandidates:
        whole = theta.at[2].set(jnp.sign(jnp.sin(theta[2])) * np.pi / 2)
        near = jnp.abs(jnp.cos(theta[2])) < NEARLY_ZERO
        itself = (theta, basis, np.zeros(3), np.True_)
        return BoundaryCandidates.of([(whole, basis, np.array([0, 0, 3]), near), itself])

    def from_natural(self, natural: Array, sigma: Array, coords: Array) -> Array:
        return jnp.stack([natural[0] / sigma, natural[1] / sigma, jnp.arcsin(natural[2])])

    def to_basis(self, theta: Array, basis: Array) -> Array:
        return theta / jnp.append(basis.diagonal(), 1.0)

    def away_from_zero(self, theta: NumpyArray) -> NumpyArray:
        """An angle at the boundary is moved off it."""
        limit = np.pi / 2 - NEARLY_ZERO
        return np.append(theta[:2], np.clip(theta[2], -limit, limit))


class Correlated(PairChart):
    """Two columns with a correlation that is a parameter; the others are standard deviations to the power 1/``power``.

    Without a correlation the deviance is even in the standard deviations. With one it has a slope where one of them is
    zero; as a function of the root (``power`` 2) it has none, as in all structures here, and half the second derivative
    is that slope.
    """

    power: int = static()

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        sd, zero = theta[:2] ** self.power, jnp.zeros((), theta.dtype)
        rest = jnp.sqrt(jnp.maximum(1.0 - theta[2] ** 2, 0.0))
        return jnp.stack([jnp.stack([sd[0], zero]), sd[1] * jnp.stack([theta[2], rest])])

    def start(self, coords: NumpyArray) -> NumpyArray:
        return np.array([0.5, 0.5, 0.0]) ** (1.0 / self.power)

    def search_axes(self, coords: NumpyArray) -> tuple[tuple[int, NumpyArray], ...]:
        nodes = SD_NODES ** (1.0 / self.power)
        return ((0, nodes), (1, nodes))

    def boundary_candidates(
        self, theta: jax.Array, basis: jax.Array, root: jax.Array, coords: jax.Array
    ) -> BoundaryCandidates:
        found = Diagonal().boundary_candidates(theta[:2] ** self.power, basis, root, coords)
        point = jnp.where(found.active_set != 0, 0.0, theta[None, :2])
        third = jnp.zeros((len(point), 1), theta.dtype)
        return found._replace(
            theta=jnp.concatenate([point, third + theta[2]], axis=1),
            active_set=jnp.concatenate([found.active_set, third.astype(found.active_set.dtype)], axis=1),
        )

    def from_natural(self, natural: Array, sigma: Array, coords: Array) -> Array:
        return jnp.append((natural[:2] / sigma) ** (1.0 / self.power), natural[2])

    def to_basis(self, theta: Array, basis: Array) -> Array:
        return theta / jnp.append(basis.diagonal() ** (1.0 / self.power), 1.0)

    def away_from_zero(self, theta: NumpyArray) -> NumpyArray:
        sd = np.where(theta[:2] == 0.0, NEARLY_ZERO ** (1.0 / self.power), theta[:2])
        return np.append(sd, theta[2])
