"""The Matérn kernel, of any smoothness."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm.covariance.spatial.kernel import Kernel

NODE_STEP, N_NODES = 0.2, 90
"""Step and number of the nodes of the integral of Bessel's function: it ends where cosh(t) is 3e7."""


class Matern(Kernel):
    """Correlation ``(2^(1 − ν) / Γ(ν)) x^ν K_ν(x)``, x = distance / range, with the smoothness ν estimated.

    The process has ν derivatives, in mean square; ν = 1/2 is the exponential kernel, and the limit of large ν the
    Gaussian one. As glmmTMB's ``mat`` and SAS's ``sp(matern)``; ``fixed={"g: smoothness": 1.5}`` fixes ν.

    Parameters
    ----------
    nugget
        Whether a share of the variance is each position's own.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> half = jnp.array([1.0, 0.0, jnp.log(0.5)])
    >>> np.round(np.asarray(Matern().covariance(half, jnp.array([[0.0], [1.0]])), float), 4).tolist()
    [[1.0, 0.3679], [0.3679, 1.0]]
    """

    @property
    def shape_names(self) -> tuple[str, ...]:
        return ("smoothness",)

    def decay(self, distance: Float[jax.Array, "q q"], shape: Float[jax.Array, " _"]) -> Float[jax.Array, "q q"]:
        """Return the correlation, from ``K_ν(x) = ∫ exp(−x cosh t) cosh(ν t) dt`` over t > 0.

        The integrand and all its derivatives are even in t and decay doubly exponentially, so that the trapezoidal rule
        converges faster than any power of its step (Trefethen and Weideman 2014, "The exponentially convergent
        trapezoidal rule").
        """
        (nu,) = shape
        apart = distance > 0
        x = jnp.where(apart, distance, 1.0)
        t = NODE_STEP * np.arange(N_NODES)
        weights = NODE_STEP * np.where(t > 0, 1.0, 0.5)
        log_scale = (1.0 - nu) * np.log(2.0) - jax.scipy.special.gammaln(nu) + nu * jnp.log(x)

        def add(total: Float[jax.Array, "q q"], node: Float[jax.Array, " 2"]) -> tuple[Float[jax.Array, "q q"], None]:
            at, weight = node
            # cosh(ν t) exp(log_scale − x cosh t), both halves of the hyperbolic cosine in one exponent
            exponent = log_scale - x * jnp.cosh(at)
            return total + 0.5 * weight * (jnp.exp(exponent + nu * at) + jnp.exp(exponent - nu * at)), None

        total, _ = jax.lax.scan(add, jnp.zeros_like(x), jnp.asarray(np.stack([t, weights], axis=1)))
        return jnp.where(apart, total, 1.0)
