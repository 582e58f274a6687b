"""Autoregressive moving averages, as nlme's ``corARMA``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.correlated import Correlated
from jaxlmm.covariance.parameters import Parameter
from jaxlmm.covariance.serial.partial import autoregression
from jaxlmm.covariance.serial.steps import check_steps
from jaxlmm.errors import OptionError


class ARMA(Correlated):
    """``e_t = Σ phi_k e_(t−k) + a_t + Σ theta_k a_(t−k)``, stationary and invertible, a independent; for residuals.

    ``theta`` are the standard deviation and angles, whose cosines are the partial autocorrelations of the two parts
    (Jones 1980, "Maximum likelihood fitting of ARMA models to time series with missing observations").

    Parameters
    ----------
    p, q
        The order of the autoregression and of the moving average.
    hom
        Whether there is one standard deviation for all positions.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> found = ARMA(p=0, q=1).covariance(jnp.array([1.0, jnp.pi]), jnp.arange(3.0)[:, None])
    >>> np.round(np.asarray(found, float), 3).tolist()
    [[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]]
    """

    p: int = static(default=1)
    q: int = static(default=1)
    hom: bool = static(default=True)
    steps: tuple[int, ...] | None = static(default=None)

    def placed(self, coords: Float[NumpyArray, "q d"]) -> Self:
        check_steps(coords, "arma")
        return self.replace(steps=tuple(int(step) for step in np.round(coords[:, 0] - coords[0, 0])))

    def n_angles(self, q: int) -> int:
        return self.p + self.q if q > 1 else 0

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        if min(self.p, self.q) < 0 or self.p + self.q < 1:
            raise OptionError(f"arma: expected orders p and q of at least 0, not both 0, got p={self.p}, q={self.q}.")
        check_steps(coords, "arma")

    def correlation(self, angles: Float[jax.Array, " a"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        size = coords.shape[0]
        if size == 1:
            return jnp.ones((1, 1))
        phi, moving = self._coefficients(angles)
        steps = np.array(range(size) if self.steps is None else self.steps)
        rho = _autocorrelations(angles[: self.p], phi, moving, int(steps[-1]))
        return rho[np.abs(steps[:, None] - steps[None, :])]

    def _coefficients(self, angles: Float[Array, " a"]) -> tuple[Float[jax.Array, " p"], Float[jax.Array, " q"]]:
        partial = jnp.cos(jnp.asarray(angles))
        return autoregression(partial[: self.p])[0], -autoregression(partial[self.p :])[0]

    def starting_angles(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " a"]:
        partial = np.append(np.full(self.p, 0.3), np.full(self.q, -0.2))[: self.n_angles(coords.shape[-2])]
        return np.arccos(partial)

    def angle_nodes(self, coords: Float[NumpyArray, "*L q d"]) -> tuple[Float[NumpyArray, " _"], ...]:
        return (np.arccos([-0.8, -0.4, -0.1, 0.2, 0.5, 0.7, 0.85, 0.95]),) * self.n_angles(coords.shape[-2])

    def angle_parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        if len(columns) < 2:
            return ()
        bound = 2.0 ** max(self.p, self.q)
        names = [f"phi{k + 1}" for k in range(self.p)] + [f"theta{k + 1}" for k in range(self.q)]
        return tuple(Parameter(name, "number", lower=-bound, upper=bound) for name in names)

    def report_angles(self, angles: Float[Array, " a"], q: int) -> Float[jax.Array, " _"]:
        return jnp.concatenate(self._coefficients(angles)) if angles.size else jnp.zeros(0)


def _autocorrelations(
    angles: Float[jax.Array, " p"], phi: Float[jax.Array, " p"], moving: Float[jax.Array, " q"], longest: int
) -> Float[jax.Array, " lags"]:
    """Return rho_0 … of the process up to the ``longest`` lag: the autoregression's, averaged by the moving part.

    With weights 1, theta_1, …, the autocovariance at lag k is the sum over two of them of their product times that of
    the autoregression at ``|k + i − j|``.
    """
    p, order = phi.shape[0], moving.shape[0]
    _, first = autoregression(jnp.cos(angles))
    needed = longest + order + 1
    if p and needed > p + 1:

        def step(last: Float[jax.Array, " p"], _: None) -> tuple[Float[jax.Array, " p"], Float[jax.Array, ""]]:
            new = phi @ last
            return jnp.append(new, last[:-1]), new

        _, more = jax.lax.scan(step, first[:0:-1], None, length=needed - p - 1)
        first = jnp.append(first, more)
    rho = jnp.append(first, jnp.zeros(max(needed - first.size, 0)))
    weights = jnp.append(1.0, moving)
    lags = np.arange(longest + 1)
    products = [weights[i] * weights[j] * rho[np.abs(lags + i - j)] for i in range(order + 1) for j in range(order + 1)]
    total = jnp.stack(products).sum(axis=0)
    return total / total[0]
