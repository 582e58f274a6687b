"""First-order ante-dependence: a correlation of its own between each two neighboring positions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.correlated import Correlated, nearest_multiple
from jaxlmm.covariance.links import Links, Steps
from jaxlmm.covariance.parameters import Parameter


class AnteDependence(Correlated):
    """The correlation of two positions is the product of those of the neighbors between them (Gabriel 1962).

    ``theta`` are the standard deviations (their roots unless ``hom``) and q − 1 angles, whose cosines are the
    correlations of neighbors. SAS calls the structure ANTE(1), mmrm ``adh`` (and ``ad`` with ``hom``).

    Parameters
    ----------
    hom
        Whether there is one standard deviation for all positions.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> theta = jnp.append(jnp.ones(3), jnp.arccos(jnp.array([0.5, 0.8])))
    >>> np.round(np.asarray(AnteDependence().covariance(theta, jnp.zeros((3, 1))), float), 3).tolist()
    [[1.0, 0.5, 0.4], [0.5, 1.0, 0.8], [0.4, 0.8, 1.0]]
    """

    def n_angles(self, q: int) -> int:
        return q - 1

    def correlation_factor(
        self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]
    ) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        row, column = np.indices((q, q))
        links = jnp.append(1.0, jnp.cos(angles))
        products = jnp.cumprod(jnp.where(row > column, links[:, None], 1.0), axis=0)
        return jnp.tril(products) * jnp.append(1.0, jnp.sin(angles))[None, :]

    def markov(self, theta: Float[jax.Array, " k"], steps: Steps) -> Links:
        q = next(size for size in range(1, theta.size + 1) if self.n_params(size) == theta.size)
        sds, angles = self._parts(theta, q)
        before, number = jnp.asarray(steps.number_before), jnp.asarray(steps.number)
        factor = self.correlation_factor(angles, jnp.zeros((q, 1)))
        rho = jnp.sum(factor[before] * factor[number], axis=-1)
        # What is new since the position before: of the next one its own innovation, whose sign says nothing.
        new = jnp.sum(jnp.where(np.arange(q)[None, :] > before[:, None], factor[number] ** 2, 0.0), axis=-1)
        several = new > 0
        own = jnp.append(1.0, jnp.sin(angles))[number]
        innovation = jnp.where(number == before + 1, own, jnp.sqrt(jnp.where(several, new, 1.0)) * several)
        return Links(sds[number], rho, innovation)

    def starting_angles(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " a"]:
        return np.full(self.n_angles(coords.shape[-2]), np.arccos(0.5))

    def angle_ends(self, angles: Float[jax.Array, " a"]) -> Float[jax.Array, " a"]:
        return nearest_multiple(angles, np.pi)

    def angle_parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        pairs = itertools.pairwise(columns)
        return tuple(Parameter(kind="correlation", columns=pair) for pair in pairs)

    def report_angles(self, angles: Float[Array, " a"], q: int) -> Float[jax.Array, " _"]:
        return jnp.cos(angles)
