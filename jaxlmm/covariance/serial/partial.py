"""Autocorrelations and coefficients of stationary processes from partial autocorrelations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float


def autoregression(partial: Float[jax.Array, " p"]) -> tuple[Float[jax.Array, " p"], Float[jax.Array, " lags"]]:
    """Return the coefficients of the autoregression with partial autocorrelations ``partial``, and rho_0 … rho_p.

    By the recursion of Levinson and Durbin; partial autocorrelations between −1 and 1 are those of all stationary
    processes, one to one (Barndorff-Nielsen and Schou 1973, "On the parametrization of autoregressive models by partial
    autocorrelations").

    >>> import numpy as np
    >>> [np.round(np.asarray(part, float), 3).tolist() for part in autoregression(jnp.array([0.5, 0.2]))]
    [[0.4, 0.2], [1.0, 0.5, 0.4]]
    """
    coefficients = jnp.zeros(0)
    rho, variance = jnp.ones(1), jnp.ones(())
    for alpha in partial:
        rho = jnp.append(rho, coefficients @ rho[:0:-1] + alpha * variance)
        coefficients = jnp.append(coefficients - alpha * coefficients[::-1], alpha)
        variance = variance * (1.0 - alpha**2)
    return coefficients, rho
