"""Covariances as standard deviations times a correlation matrix: what structures with few correlations share."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import (
    NEARLY_ZERO,
    SD_NODES,
    SMALLEST_GUESSED_SD,
    AbstractCovariance,
    BoundaryCandidates,
    Candidate,
    SearchAxes,
)
from jaxlmm.covariance.parameters import Parameter, sds_of
from jaxlmm.linalg import semidefinite_root

STARTING_SD = 0.5
"""The relative standard deviations of a start."""


class Correlated(AbstractCovariance):
    """A covariance ``sd_i sd_j corr_ij``; ``theta`` are standard deviations, then ``n_angles`` of the correlation.

    With ``hom`` (homogeneous) there is one standard deviation for all. Otherwise there are q, of which theta holds the
    square roots: with correlations off zero the deviance has a slope where a standard deviation is zero, and as a
    function of its root it has none, as in all structures here. The angles set correlations by their cosines, so that
    the end of their range is an ordinary point, in which the deviance is even.
    """

    hom: bool = static(default=False)

    @abc.abstractmethod
    def n_angles(self, q: int) -> int:
        """Return how many parameters the correlation of ``q`` columns or positions has."""

    def correlation(self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        """Return the correlation matrix; from its factor, where that is what a class writes."""
        factor = self.correlation_factor(angles, coords)
        return factor @ factor.T

    def correlation_factor(
        self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]
    ) -> Float[jax.Array, "q q"]:
        """Return a factor of the correlation matrix; by elimination, where the matrix is what a class writes."""
        return semidefinite_root(self.correlation(angles, coords))

    @abc.abstractmethod
    def starting_angles(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " a"]:
        """Return angles of a start, at which no derivative vanishes."""

    def angle_nodes(self, coords: Float[NumpyArray, "*L q d"]) -> tuple[Float[NumpyArray, " _"], ...]:
        """Return values at which a better start is searched, for each of the first angles."""
        return ()

    def angle_parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        """Return the natural parameters of the correlation."""
        return ()

    def report_angles(self, angles: Float[Array, " a"], q: int) -> Float[jax.Array, " _"]:
        """Return the natural parameters of the correlation of ``q`` columns, ordered as :meth:`angle_parameters`."""
        return jnp.zeros(0)

    def angle_ends(self, angles: Float[jax.Array, " a"]) -> Float[jax.Array, " a"]:
        """Return, for each angle, the nearest value at which the correlation matrix is singular; NaN without one."""
        return jnp.full(angles.shape, jnp.nan)

    def n_sds(self, q: int) -> int:
        """Return how many standard deviations ``q`` columns or positions have."""
        return 1 if self.hom else q

    def n_params(self, q: int) -> int:
        return self.n_sds(q) + self.n_angles(q)

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        sds, angles = self._parts(theta, coords.shape[0])
        return sds[:, None] * sds[None, :] * self.correlation(angles, coords)

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        sds, angles = self._parts(theta, coords.shape[0])
        return sds[:, None] * self.correlation_factor(angles, coords)

    def _parts(self, theta: Float[Array, " k"], q: int) -> tuple[Float[jax.Array, " q"], Float[jax.Array, " a"]]:
        theta = jnp.asarray(theta)
        sds = jnp.broadcast_to(theta[:1], (q,)) if self.hom else theta[:q] ** 2
        return sds, theta[self.n_sds(q) :]

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        sds = np.full(self.n_sds(coords.shape[-2]), STARTING_SD if self.hom else np.sqrt(STARTING_SD))
        return np.append(sds, self.starting_angles(coords))

    def guess(self, covariance: Float[jax.Array, "q q"]) -> Float[jax.Array, " k"] | None:
        """Return standard deviations."""
        variances = jnp.maximum(jnp.diagonal(covariance), SMALLEST_GUESSED_SD**2)
        sds = jnp.sqrt(jnp.mean(variances)[None]) if self.hom else variances**0.25
        return jnp.append(sds, jnp.full(self.n_angles(covariance.shape[0]), jnp.nan, sds.dtype))

    def guessed(self, q: int) -> Bool[NumpyArray, " k"]:
        return np.arange(self.n_params(q)) < self.n_sds(q)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        count = self.n_sds(coords.shape[-2])
        nodes = SD_NODES if self.hom else np.sqrt(SD_NODES)
        angles = self.angle_nodes(coords)
        return (*((k, nodes) for k in range(count)), *((count + k, own) for k, own in enumerate(angles)))

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return the smallest standard deviations at zero, all first; then each angle at its end; then theta itself."""
        count = self.n_sds(coords.shape[0])
        sds, angles = theta[:count], theta[count:]
        order = jnp.argsort(jnp.abs(sds))
        rank = jnp.argsort(order)
        free = np.zeros(angles.size, np.int32)
        candidates: list[Candidate] = []
        for zeros in range(count, 0, -1):
            active = jnp.where(rank < zeros, 1 + np.arange(count, dtype=np.int32), np.int32(0))
            near = jnp.abs(sds[order[zeros - 1]]) ** (1 if self.hom else 2) < NEARLY_ZERO
            point = jnp.append(jnp.where(rank < zeros, 0.0, sds), angles)
            # Without any standard deviation the correlations drop out.
            candidates.append((point, basis, jnp.append(active, free - 1 if zeros == count else free), near))
        for k, end in enumerate(self.angle_ends(angles)):
            active = jnp.where(np.arange(theta.size) == count + k, count + k + 1, 0)
            near = jnp.abs(angles[k] - end) < NEARLY_ZERO
            candidates.append((theta.at[count + k].set(jnp.where(near, end, angles[k])), basis, active, near))
        candidates.append((theta, basis, np.zeros(theta.size), np.True_))
        return BoundaryCandidates.of(candidates)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        # The basis stays the identity: what is left is the sign convention of the standard deviations.
        q = next(size for size in range(1, theta.size + 1) if self.n_params(size) == theta.size)
        is_sd = np.arange(theta.size) < self.n_sds(q)
        return abs(theta) * np.where(is_sd, 1.0, 0.0) + theta * np.where(is_sd, 0.0, 1.0)

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        sds = (Parameter("sd", "sd"),) if self.hom else sds_of(columns)
        return sds + self.angle_parameters(columns)

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        sds, angles = self._parts(theta, factor.shape[0])
        own = self.report_angles(angles, factor.shape[0])
        # Correlations are not defined where no standard deviation is positive.
        own = jnp.where(jnp.any(sds != 0.0), own, jnp.nan)
        return jnp.concatenate([sigma * jnp.abs(sds[: self.n_sds(factor.shape[0])]), own])


def nearest_multiple(angles: Float[jax.Array, " a"], period: float) -> Float[jax.Array, " a"]:
    """Return the nearest multiples of a ``period``.

    >>> np.round(np.asarray(nearest_multiple(jnp.array([0.1, 3.0]), np.pi), float), 3).tolist()
    [0.0, 3.142]
    """
    return period * jnp.round(angles / period)
