"""The Toeplitz structure: a correlation for each number of steps between two positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.correlated import Correlated, nearest_multiple
from jaxlmm.covariance.parameters import Parameter
from jaxlmm.covariance.serial.partial import autoregression
from jaxlmm.covariance.serial.steps import check_steps, whole_steps


class Toeplitz(Correlated):
    """A correlation rho(k) of any two positions k steps apart; standard deviations differ unless ``hom``.

    ``theta`` are the standard deviations (their roots unless ``hom``) and angles whose cosines are the partial
    autocorrelations, so that every theta is a covariance and every stationary covariance has one.

    Parameters
    ----------
    hom
        Whether there is one standard deviation for all positions.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> theta = jnp.append(1.0, jnp.arccos(jnp.array([0.5, 0.2])))
    >>> np.round(np.asarray(Toeplitz(hom=True).covariance(theta, jnp.zeros((3, 1))), float), 3).tolist()
    [[1.0, 0.5, 0.4], [0.5, 1.0, 0.5], [0.4, 0.5, 1.0]]
    """

    steps: tuple[int, ...] | None = static(default=None)

    def placed(self, coords: Float[NumpyArray, "q d"]) -> Self:
        return self.replace(steps=whole_steps(coords))

    def n_angles(self, q: int) -> int:
        return q - 1 if self.steps is None else self.steps[-1]

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        check_steps(coords, "toep")

    def correlation(self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        _, rho = autoregression(jnp.cos(angles))
        steps = np.array(range(coords.shape[0]) if self.steps is None else self.steps)
        return rho[np.abs(steps[:, None] - steps[None, :])]

    def starting_angles(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " a"]:
        partial = np.full(self.n_angles(coords.shape[-2]), 0.1)
        partial[:1] = 0.4
        return np.arccos(partial)

    def angle_ends(self, angles: Float[jax.Array, " a"]) -> Float[jax.Array, " a"]:
        return nearest_multiple(angles, np.pi)

    def angle_parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        return tuple(Parameter(f"rho({k + 1})", "correlation") for k in range(self.n_angles(len(columns))))

    def report_angles(self, angles: Float[Array, " a"], q: int) -> Float[jax.Array, " _"]:
        return autoregression(jnp.cos(jnp.asarray(angles)))[1][1:]
