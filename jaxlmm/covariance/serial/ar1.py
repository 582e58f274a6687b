"""The first-order autoregression: correlation that decays by the same factor at each whole step."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.correlated import Correlated, nearest_multiple
from jaxlmm.covariance.links import Links, Steps
from jaxlmm.covariance.parameters import Parameter
from jaxlmm.covariance.serial.steps import check_steps


class AR1(Correlated):
    """Correlation ``rho ** steps`` between two positions, −1 ≤ rho ≤ 1; one standard deviation unless ``hom=False``.

    ``theta`` are the standard deviations (their roots unless ``hom``) and an angle whose cosine is rho. Positions are
    whole steps apart; those between that nobody has count.

    Parameters
    ----------
    hom
        Whether there is one standard deviation for all positions.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> theta = jnp.array([2.0, jnp.arccos(0.5)])
    >>> np.round(np.asarray(AR1().covariance(theta, jnp.array([[1.0], [2.0], [4.0]])), float), 3).tolist()
    [[4.0, 2.0, 0.5], [2.0, 4.0, 1.0], [0.5, 1.0, 4.0]]
    """

    hom: bool = static(default=True)

    def n_angles(self, q: int) -> int:
        return int(q > 1)

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        check_steps(coords, "ar1")

    def correlation_factor(
        self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]
    ) -> Float[jax.Array, "q q"]:
        q, time = coords.shape[0], coords[:, 0]
        if q == 1:
            return jnp.ones((1, 1))
        steps = jnp.where(np.tri(q, dtype=bool), time[:, None] - time[None, :], 0.0)
        innovations = jnp.append(1.0, innovation_sd(angles[0], time[1:] - time[:-1]))
        return jnp.tril(power(angles[0], steps)) * innovations[None, :]

    def markov(self, theta: Float[jax.Array, " k"], steps: Steps) -> Links:
        theta = jnp.asarray(theta)
        number = jnp.asarray(steps.number)
        sds = jnp.full(number.shape, theta[0]) if self.hom else theta[:-1][number] ** 2
        if self.hom and theta.size == 1:  # a single position
            return Links(sds, jnp.zeros_like(sds), jnp.ones_like(sds))
        gaps = jnp.asarray(steps.coords)[:, 0] - jnp.asarray(steps.before)[:, 0]
        gaps = jnp.where(gaps > 0, gaps, 1.0)
        return Links(sds, power(theta[-1], gaps), innovation_sd(theta[-1], gaps))

    def starting_angles(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " a"]:
        return np.full(self.n_angles(coords.shape[-2]), np.arccos(0.5))

    def angle_nodes(self, coords: Float[NumpyArray, "*L q d"]) -> tuple[Float[NumpyArray, " _"], ...]:
        nodes = np.arccos([-0.7, -0.3, 0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96, 0.99])
        return (nodes,) * self.n_angles(coords.shape[-2])

    def angle_ends(self, angles: Float[jax.Array, " a"]) -> Float[jax.Array, " a"]:
        return nearest_multiple(angles, np.pi)

    def angle_parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        return (Parameter("rho", "correlation"),) * self.n_angles(len(columns))

    def report_angles(self, angles: Float[Array, " a"], q: int) -> Float[jax.Array, " _"]:
        return jnp.cos(angles)


def power(angle: Float[jax.Array, ""], steps: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``cos(angle) ** steps`` for whole numbers of steps of at least 0."""
    rho = jnp.cos(angle)
    odd = jnp.round(steps) % 2.0 == 1.0
    size = jnp.where(steps > 0, jnp.abs(rho) ** jnp.where(steps > 0, steps, 1.0), 1.0)
    return jnp.where(odd & (rho < 0), -size, size)


def innovation_sd(angle: Float[jax.Array, ""], steps: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return a root of ``1 − rho ** (2 steps)`` that is smooth where rho = cos(angle) is 1, for at least one step.

    It is ``sin(angle)`` times the root of ``1 + rho² + … + rho ** (2 steps − 2)``, without cancellation.
    """
    square = jnp.cos(angle) ** 2
    small = square < 0.5
    low = jnp.where(small, square, 0.25)
    decay = -jnp.log(jnp.where(small, 0.5, square))
    total = jnp.where(small, (1.0 - low**steps) / (1.0 - low), steps * _mean_decay(steps * decay) / _mean_decay(decay))
    return jnp.sin(angle) * jnp.sqrt(total)


def _mean_decay(x: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``(1 − exp(−x)) / x``, 1 at 0."""
    near = x < 1e-2
    series = 1.0 - x / 2 * (1.0 - x / 3 * (1.0 - x / 4 * (1.0 - x / 5 * (1.0 - x / 6 * (1.0 - x / 7)))))
    away = jnp.where(near, 1.0, x)
    return jnp.where(near, series, -jnp.expm1(-away) / away)
