"""Compound symmetry: the same correlation between any two columns or positions."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.correlated import Correlated, nearest_multiple
from jaxlmm.covariance.parameters import Parameter

STARTING_ANGLE = 0.9
"""An angle at which correlations are moderate and positive for any number of columns."""


class CompoundSymmetry(Correlated):
    """One correlation rho for all pairs, between −1 / (q − 1) and 1; standard deviations differ unless ``hom``.

    ``theta`` are the standard deviations (their roots unless ``hom``) and an angle u: the eigenvalues of the
    correlation matrix are ``q cos²u``, once, and ``q sin²u / (q − 1)``, so that rho is 1 at u = 0 and at its lower end
    at u = π/2.

    Parameters
    ----------
    hom
        Whether there is one standard deviation for all.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> theta = jnp.array([2.0, jnp.arctan(jnp.sqrt(0.5))])
    >>> np.round(np.asarray(CompoundSymmetry(hom=True).covariance(theta, jnp.zeros((3, 1))), float), 3).tolist()
    [[4.0, 2.0, 2.0], [2.0, 4.0, 2.0], [2.0, 2.0, 4.0]]
    """

    def n_angles(self, q: int) -> int:
        return int(q > 1)

    def correlation(self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        if q == 1:
            return jnp.ones((1, 1))
        rho = _rho(angles[0], q)
        return jnp.where(np.eye(q, dtype=bool), 1.0, rho)

    def correlation_factor(
        self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]
    ) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        if q == 1:
            return jnp.ones((1, 1))
        rho, before = _rho(angles[0], q), np.arange(float(q))
        own = jnp.sqrt(q / (q - 1)) * jnp.sin(angles[0])  # the root of 1 − rho
        # The pivots are (1 − rho) (1 + k rho) / (1 + (k − 1) rho); the last one is zero at the lower end of rho.
        left = jnp.maximum(1.0 + (before - 1) * rho, 1.0 / q)
        right = jnp.sqrt(jnp.maximum(1.0 + before[:-1] * rho, 1.0 / q))
        right = jnp.append(right, jnp.sqrt(1.0 * q) * jnp.cos(angles[0]))
        diagonal = own * right / jnp.sqrt(left)
        diagonal = diagonal.at[0].set(1.0)
        below = rho * own / jnp.sqrt(left) / jnp.append(right[:-1], 1.0)
        below = below.at[0].set(rho)
        return jnp.tril(jnp.broadcast_to(below, (q, q)), -1) + jnp.diag(diagonal)

    def starting_angles(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " a"]:
        return np.full(self.n_angles(coords.shape[-2]), STARTING_ANGLE)

    def angle_nodes(self, coords: Float[NumpyArray, "*L q d"]) -> tuple[Float[NumpyArray, " _"], ...]:
        return (np.linspace(0.15, 1.42, 7),) * self.n_angles(coords.shape[-2])

    def angle_ends(self, angles: Float[jax.Array, " a"]) -> Float[jax.Array, " a"]:
        return nearest_multiple(angles, np.pi / 2)

    def angle_parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        q = len(columns)
        return (Parameter("rho", "correlation", lower=-1.0 / (q - 1)),) if q > 1 else ()

    def report_angles(self, angles: Float[Array, " a"], q: int) -> Float[jax.Array, " _"]:
        return jnp.stack([_rho(angle, q) for angle in angles]) if q > 1 else jnp.zeros(0)


def _rho(angle: Float[jax.Array, ""], q: int) -> Float[jax.Array, ""]:
    """Return the correlation of ``q`` columns: ``cos²u − sin²u / (q − 1)``."""
    return jnp.cos(angle) ** 2 - jnp.sin(angle) ** 2 / (q - 1)
