"""The exponential kernel."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

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
    >>> Exponential().covariance(jnp.array([2.0, 0.0]), jnp.array([[0.0], [1.0]])).round(3).tolist()
    [[4.0, 1.472], [1.472, 4.0]]
    """

    def decay(self, distance: Float[jax.Array, "q q"], shape: Float[jax.Array, " _"]) -> Float[jax.Array, "q q"]:
        return jnp.exp(-distance)
