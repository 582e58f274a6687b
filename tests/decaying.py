"""A structure of a user's: a correlation that decays with distance, whose length-scale is a field."""

import jax.numpy as jnp

import jaxlmm as lmm
from jaxlmm.linalg import semidefinite_cholesky


class Decay(lmm.covariance.AbstractCovariance):
    """Covariance ``theta² exp(−distance / length)`` across places."""

    length: float

    def n_params(self, q):
        return 1

    def cholesky(self, theta, coords):
        squares = jnp.sum((coords[:, None] - coords[None]) ** 2, axis=-1)
        distance = jnp.sqrt(squares + jnp.eye(len(coords)))  # no root at zero
        return theta[0] * semidefinite_cholesky(jnp.exp(-jnp.where(squares > 0, distance, 0.0) / self.length))
