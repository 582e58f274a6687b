"""Parameters of a covariance in which a natural one can be fixed while the others are optimized."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import NEARLY_ZERO, SD_NODES, AbstractCovariance, BoundaryCandidates, SearchAxes
from jaxlmm.covariance.diagonal import Diagonal

ANGLE_NODES = np.arcsin([-0.9, -0.7, -0.45, -0.2, 0.0, 0.2, 0.45, 0.7, 0.9])
"""Angles of correlations at which a better start is looked for."""


class Constant(AbstractCovariance):
    """A covariance that is fixed: ``theta`` (1,) is the reciprocal of the unit in which its factor is written.

    ``point`` is the parameter of ``structure`` at which it reports ``natural`` in response units.
    """

    structure: AbstractCovariance
    point: Float[Array, " k"]
    natural: Float[Array, " r"]

    def n_params(self, q: int) -> int:
        return 1

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        return theta[0] * self.structure.cholesky(jnp.asarray(self.point), coords)

    def from_natural(
        self, natural: Float[Array, " r"], sigma: Float[Array, ""], coords: Float[Array, "*L q d"]
    ) -> Float[Array, " k"]:
        return jnp.ones(1) / sigma

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        return jnp.asarray(self.natural)


class PairChart(AbstractCovariance):
    """A covariance of two columns, in a basis that scales them to unit mean square."""

    def n_params(self, q: int) -> int:
        return 3

    def basis(self, root: Float[NumpyArray, "q q"]) -> Float[NumpyArray, "q q"]:
        return np.diag(1.0 / np.linalg.norm(root, axis=0))


class Pivoted(PairChart):
    """Two columns, the standard deviation of the ``first`` being a parameter: a Cholesky factor that begins there.

    ``theta[first]`` is that standard deviation, ``theta[2]`` the other column's entry in the first column of the
    factor, and the other entry of ``theta`` that on the diagonal.
    """

    first: int = static()

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        zero = jnp.zeros((), theta.dtype)
        pivot, other = jnp.stack([theta[self.first], zero]), jnp.stack([theta[2], theta[1 - self.first]])
        return jnp.stack([pivot, other] if self.first == 0 else [other, pivot])

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return np.array([0.5, 0.5, 0.0])

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        return ((0, SD_NODES), (1, SD_NODES))

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        other = 1 - self.first
        active_set = (np.arange(3) == other) * (other + 1)
        singular = (theta.at[other].set(0.0), basis, active_set, abs(theta[other]) < NEARLY_ZERO)
        return BoundaryCandidates.of([singular, (theta, basis, np.zeros(3), np.True_)])

    def from_natural(
        self, natural: Float[Array, " r"], sigma: Float[Array, ""], coords: Float[Array, "*L q d"]
    ) -> Float[Array, " k"]:
        other = natural[1 - self.first] / sigma
        pair = [natural[self.first] / sigma, other * jnp.sqrt(1.0 - natural[2] ** 2)]
        return jnp.stack([*(pair if self.first == 0 else pair[::-1]), other * natural[2]])

    def to_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        length = basis.diagonal()
        return theta / jnp.stack([length[0], length[1], length[1 - self.first]])

    def away_from_zero(self, theta: Float[NumpyArray, " k"]) -> Float[NumpyArray, " k"]:
        return np.where(np.array([True, True, False]) & (theta == 0.0), NEARLY_ZERO, theta)


class Angle(PairChart):
    """Two columns; ``theta`` are the standard deviations and the angle whose sine is the correlation.

    The deviance is even about an angle of ±π/2, where the covariance is singular.
    """

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        zero = jnp.zeros((), theta.dtype)
        second = theta[1] * jnp.stack([jnp.sin(theta[2]), jnp.cos(theta[2])])
        return jnp.stack([jnp.stack([theta[0], zero]), second])

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return np.array([0.5, 0.5, 0.0])

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        return ((2, ANGLE_NODES),)

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        whole = theta.at[2].set(jnp.sign(jnp.sin(theta[2])) * np.pi / 2)
        near = jnp.abs(jnp.cos(theta[2])) < NEARLY_ZERO
        itself = (theta, basis, np.zeros(3), np.True_)
        return BoundaryCandidates.of([(whole, basis, np.array([0, 0, 3]), near), itself])

    def from_natural(
        self, natural: Float[Array, " r"], sigma: Float[Array, ""], coords: Float[Array, "*L q d"]
    ) -> Float[Array, " k"]:
        return jnp.stack([natural[0] / sigma, natural[1] / sigma, jnp.arcsin(natural[2])])

    def to_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        return theta / jnp.append(basis.diagonal(), 1.0)

    def away_from_zero(self, theta: Float[NumpyArray, " k"]) -> Float[NumpyArray, " k"]:
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

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        sd, zero = theta[:2] ** self.power, jnp.zeros((), theta.dtype)
        cosine = jnp.sqrt(jnp.maximum(1.0 - theta[2] ** 2, 0.0))
        return jnp.stack([jnp.stack([sd[0], zero]), sd[1] * jnp.stack([theta[2], cosine])])

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return np.array([0.5, 0.5, 0.0]) ** (1.0 / self.power)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        nodes = SD_NODES ** (1.0 / self.power)
        return ((0, nodes), (1, nodes))

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        candidates = Diagonal().boundary_candidates(theta[:2] ** self.power, basis, root, coords)
        point = jnp.where(candidates.active_set != 0, 0.0, theta[None, :2])
        third = jnp.zeros((len(point), 1), theta.dtype)
        return candidates._replace(
            theta=jnp.concatenate([point, third + theta[2]], axis=1),
            active_set=jnp.concatenate([candidates.active_set, third.astype(candidates.active_set.dtype)], axis=1),
        )

    def from_natural(
        self, natural: Float[Array, " r"], sigma: Float[Array, ""], coords: Float[Array, "*L q d"]
    ) -> Float[Array, " k"]:
        return jnp.append((natural[:2] / sigma) ** (1.0 / self.power), natural[2])

    def to_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        return theta / jnp.append(basis.diagonal() ** (1.0 / self.power), 1.0)

    def away_from_zero(self, theta: Float[NumpyArray, " k"]) -> Float[NumpyArray, " k"]:
        sd = np.where(theta[:2] == 0.0, NEARLY_ZERO ** (1.0 / self.power), theta[:2])
        return np.append(sd, theta[2])
