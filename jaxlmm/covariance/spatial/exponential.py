"""The exponential kernel."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm.covariance.links import Links, Steps, innovation_of
from jaxlmm.covariance.spatial.kernel import Kernel


class Exponential(Kernel):
    """Correlation ``exp(−distance / range)``, as nlme's ``corExp``, glmmTMB's ``exp`` and SAS's ``sp(exp)``.

    Parameters
    ----------
    nugget
        Whether a share of the variance is each position's own: at distances above 0 the correlation is then
        ``(1 − nugget) exp(−distance / range)``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> found = Exponential().covariance(jnp.array([2.0, 0.0]), jnp.array([[0.0], [1.0]]))
    >>> np.round(np.asarray(found, float), 3).tolist()
    [[4.0, 1.472], [1.472, 4.0]]
    """

    @property
    def is_markov(self) -> bool:
        """Whether it is a Markov chain, along one coordinate: a nugget breaks it."""
        return not self.nugget

    def markov(self, theta: Float[jax.Array, " k"], steps: Steps) -> Links:
        decline = jnp.exp(-theta[1]) * (jnp.asarray(steps.coords)[:, 0] - jnp.asarray(steps.before)[:, 0])
        return Links(jnp.full_like(decline, theta[0]), jnp.exp(-decline), innovation_of(decline))

    def decay(self, distance: Float[jax.Array, "q q"], shape: Float[jax.Array, " _"]) -> Float[jax.Array, "q q"]:
        return jnp.exp(-distance)
