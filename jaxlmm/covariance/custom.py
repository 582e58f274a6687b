"""A covariance structure from a plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._struct import static
from jaxlmm._typing import NumpyArray
from jaxlmm.covariance.base import AbstractCovariance
from jaxlmm.errors import OptionError, choose
from jaxlmm.linalg import semidefinite_cholesky


class Custom(AbstractCovariance):
    """Wrap ``function(theta, coords)`` that returns a covariance matrix, or a factor of one.

    Parameters
    ----------
    function
        Takes ``theta (k,)`` and ``coords (q, d)``, returns ``(q, q)`` in JAX; singular matrices are handled.
    n_params
        The number of parameters k.
    returns
        ``"covariance"`` or ``"factor"``.
    coords
        For ``kinship={group: structure}``: where the levels are, a frame with their labels as index.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> ones = Custom(lambda theta, coords: theta[0] ** 2 * jnp.ones((coords.shape[0],) * 2), 1)
    >>> ones.cholesky(jnp.array([2.0]), jnp.zeros((2, 1))).tolist()
    [[2.0, 0.0], [2.0, 0.0]]
    """

    function: Callable[[jax.Array, jax.Array], jax.Array] = static()
    count: int = static()
    returns: str = static()

    def __init__(
        self,
        function: Callable[[jax.Array, jax.Array], jax.Array],
        n_params: int,
        *,
        returns: str = "covariance",
        coords: Any = None,
    ) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "count", n_params)
        object.__setattr__(self, "returns", choose("returns", returns, ("covariance", "factor")))
        object.__setattr__(self, "coords", coords)

    def check(self, theta: NumpyArray, coords: NumpyArray) -> None:
        matrix = np.asarray(self.function(jnp.asarray(theta), jnp.asarray(coords)))
        if self.returns == "covariance" and not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-12):
            raise OptionError(
                f"Custom: expected a symmetric covariance matrix, got {matrix.tolist()} at "
                f"theta = {theta.tolist()} and coords = {coords.tolist()}."
            )

    def n_params(self, q: int) -> int:
        return self.count

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        matrix = self.function(theta, coords)
        return matrix if self.returns == "factor" else semidefinite_cholesky(matrix)
