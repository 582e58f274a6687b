"""The Gaussian, or squared exponential, kernel."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm.covariance.spatial.kernel import Kernel


class Gaussian(Kernel):
    """Correlation ``exp(−(distance / range)²)``, as nlme's ``corGaus``, glmmTMB's ``gau`` and SAS's ``sp(gau)``.

    Parameters
    ----------
    nugget
        Whether a share of the variance is each position's own.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> np.round(np.asarray(Gaussian().covariance(jnp.array([1.0, 0.0]), jnp.array([[0.0], [2.0]])), float), 3).tolist()
    [[1.0, 0.018], [0.018, 1.0]]
    """

    def decay(self, distance: Float[jax.Array, "q q"], shape: Float[jax.Array, " _"]) -> Float[jax.Array, "q q"]:
        return jnp.exp(-(distance**2))
