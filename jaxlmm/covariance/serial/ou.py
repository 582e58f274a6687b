"""The Ornstein-Uhlenbeck process: correlation that decays exponentially along one continuous coordinate."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import NEARLY_ZERO, SD_NODES, AbstractCovariance, BoundaryCandidates, SearchAxes
from jaxlmm.covariance.links import Links, Steps, innovation_of
from jaxlmm.covariance.parameters import Parameter
from jaxlmm.errors import OptionError


class OU(AbstractCovariance):
    """Correlation ``rho ** |t - s|`` at positions t and s; ``theta`` is (relative sd, log rate), rho = exp(-rate).

    The factor is that of a first-order Markov chain, so it costs no decomposition and is exact at any spacing (the
    continuous autoregression of nlme's ``corCAR1`` and of glmmTMB's ``ou``).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> factor = OU().cholesky(jnp.array([1.0, 0.0]), jnp.array([[0.0], [1.0], [3.0]]))
    >>> bool(jnp.allclose((factor @ factor.T)[2, 0], jnp.exp(-3.0)))
    True
    """

    def n_params(self, q: int) -> int:
        return 2

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        if coords.shape[1] != 1:
            raise OptionError(
                f"OU: expected one coordinate, got {coords.shape[1]}; for a process in two or more dimensions write "
                "your own structure with lmm.covariance.Custom."
            )

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        order = jnp.argsort(coords[:, 0])
        time = coords[order, 0]
        rate = jnp.exp(theta[1])
        decay = jnp.exp(-rate * jnp.abs(time[:, None] - time[None, :]))
        innovation_sd = innovation_of(rate * (time[1:] - time[:-1]))
        scale = jnp.concatenate([jnp.ones(1, time.dtype), innovation_sd])
        factor = jnp.tril(decay) * scale[None, :]
        return theta[0] * factor[jnp.argsort(order)]

    def markov(self, theta: Float[jax.Array, " k"], steps: Steps) -> Links:
        decline = jnp.exp(theta[1]) * (steps.coords[:, 0] - steps.before[:, 0])
        return Links(jnp.full_like(decline, theta[0]), jnp.exp(-decline), innovation_of(decline))

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        # A relative sd of 0.5, and a correlation that falls to exp(-1) over the median gap between neighbors.
        gaps = np.diff(np.sort(coords[..., 0], axis=-1), axis=-1)
        gaps = gaps[gaps > 0]
        return np.array([0.5, -np.log(np.median(gaps)) if gaps.size else 0.0])

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        rates = self.start(coords)[1] + np.log([0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 8.0, 12.0])
        return ((0, SD_NODES), (1, rates))

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        # Only a small sd is tried at 0, its boundary (active set 1), where the rate drops out (-1).
        zero = (theta.at[0].set(0.0), basis, np.array([1, -1]), jnp.abs(theta[0]) <= NEARLY_ZERO)
        return BoundaryCandidates.of([zero, (theta, basis, np.zeros(2), np.True_)])

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        # The basis stays the identity: what is left is the sign convention, sd >= 0, in terms that NumPy and JAX share.
        return abs(theta) * np.array([1.0, 0.0]) + theta * np.array([0.0, 1.0])

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        return Parameter("sd", "sd"), Parameter("rho", "proportion")

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        # rho is not defined where the sd is 0.
        return jnp.stack([sigma * jnp.abs(theta[0]), jnp.where(theta[0] == 0, jnp.nan, jnp.exp(-jnp.exp(theta[1])))])
