"""What kernels share: distances, the range, and the nugget."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.correlated import Correlated
from jaxlmm.covariance.parameters import Parameter

RANGES = (0.1, 0.2, 0.35, 0.6, 1.0, 1.6, 2.5, 4.0, 8.0)
"""Ranges at which a better start is searched, relative to the median distance."""

MOST_POINTS = 500
"""The most positions from whose distances a start is computed."""

STARTING_NUGGET = 0.5
"""The root of the odds of the nugget at a start."""


class Kernel(Correlated):
    """One standard deviation, and a correlation that is a function of distance over a range; ``coords`` as they are.

    ``theta`` is (relative sd, log range, parameters of the shape, the root of the nugget's odds). The nugget is the
    share of the variance that is not shared with any other position, however near.
    """

    hom: bool = static(default=True)
    nugget: bool = static(default=False)

    @abc.abstractmethod
    def decay(self, distance: Float[jax.Array, "q q"], shape: Float[jax.Array, " _"]) -> Float[jax.Array, "q q"]:
        """Return the correlation at distances relative to the range, 1 at 0; ``shape`` are its other parameters."""

    @property
    def shape_names(self) -> tuple[str, ...]:
        """The names of the parameters of the shape, positive numbers whose logarithms are in theta."""
        return ()

    def n_angles(self, q: int) -> int:
        return 1 + len(self.shape_names) + self.nugget

    def correlation(self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        shape = jnp.exp(angles[1 : 1 + len(self.shape_names)])
        correlation = self.decay(distances(coords) * jnp.exp(-angles[0]), shape)
        if not self.nugget:
            return correlation
        return jnp.where(np.eye(coords.shape[0], dtype=bool), 1.0, correlation * (1.0 - _share(angles[-1])))

    def starting_angles(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " a"]:
        shape = np.zeros(len(self.shape_names))
        return np.concatenate([[np.log(_median_distance(coords))], shape, [STARTING_NUGGET] * self.nugget])

    def angle_nodes(self, coords: Float[NumpyArray, "*L q d"]) -> tuple[Float[NumpyArray, " _"], ...]:
        return (np.log(_median_distance(coords) * np.array(RANGES)),)

    def angle_ends(self, angles: Float[jax.Array, " a"]) -> Float[jax.Array, " a"]:
        ends = jnp.full(angles.shape, jnp.nan)
        return ends.at[-1].set(0.0) if self.nugget else ends

    def angle_parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        names = ("range", *self.shape_names)
        own = tuple(Parameter(name, "rate") for name in names)
        nugget = (Parameter("nugget", "proportion", attained=(True, False)),) if self.nugget else ()
        return own + nugget

    def report_angles(self, angles: Float[Array, " a"], q: int) -> Float[jax.Array, " _"]:
        angles = jnp.asarray(angles)
        if not self.nugget:
            return jnp.exp(angles)
        return jnp.append(jnp.exp(angles[:-1]), _share(angles[-1]))


def distances(coords: Float[Array, "q d"]) -> Float[jax.Array, "q q"]:
    """Return Euclidean distances, whose derivatives are zero at a distance of zero.

    >>> distances(jnp.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    coords = jnp.asarray(coords)
    squares = jnp.sum((coords[:, None, :] - coords[None, :, :]) ** 2, axis=-1)
    apart = squares > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1.0)), 0.0)


def _share(root_odds: Float[jax.Array, ""]) -> Float[jax.Array, ""]:
    """Return the share whose odds are the square of a number: a share of zero is where that is zero."""
    return root_odds**2 / (1.0 + root_odds**2)


def _median_distance(coords: Float[NumpyArray, "*L q d"]) -> float:
    """Return the median distance of different positions of a block; 1 where there are none."""
    blocks = coords.reshape(-1, *coords.shape[-2:])
    points = blocks[0] if blocks.shape[1] > 1 else blocks[:, 0]
    points = points[:: max(len(points) // MOST_POINTS, 1)]
    squares = np.sum((points[:, None, :] - points[None, :, :]) ** 2, axis=-1)
    apart = squares[squares > 0]
    return float(np.sqrt(np.median(apart))) if apart.size else 1.0
