"""A covariance structure from a plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
from jaxtyping import Float

from jaxlmm._util import Array, static
from jaxlmm.covariance.base import AbstractCovariance
from jaxlmm.errors import choose
from jaxlmm.linalg import semidefinite_root

Function: TypeAlias = Callable[[Float[Array, " k"], Float[Array, "q d"]], Float[jax.Array, "q q"]]
"""A user's function; the check of the contract finds out whether it is one."""


class Custom(AbstractCovariance):
    """Wrap ``function(theta, coords)`` that returns a covariance matrix, or a lower factor of one.

    Parameters
    ----------
    function
        Takes ``theta (k,)``, unconstrained, and ``coords (q, d)``, returns ``(q, q)`` in JAX: positive semidefinite
        at any theta, singular ones included, or lower triangular.
    n_params
        The number of parameters k.
    returns
        ``"covariance"`` or ``"factor"``; with another square root, return its product with its transpose.
    coords
        For ``kinship={group: structure}``: where the levels are, a data frame with their labels as index.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> ones = Custom(lambda theta, coords: theta[0] ** 2 * jnp.ones((coords.shape[0],) * 2), 1)
    >>> ones.cholesky(jnp.array([2.0]), jnp.zeros((2, 1))).tolist()
    [[2.0, 0.0], [2.0, 0.0]]
    """

    function: Function = static()
    count: int = static()
    returns: str = static()

    def __init__(
        self,
        function: Function,
        n_params: int,
        *,
        returns: str = "covariance",
        coords: Any = None,
    ) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "count", n_params)
        object.__setattr__(self, "returns", choose("returns", returns, ("covariance", "factor")))
        object.__setattr__(self, "coords", coords)

    @property
    def authored(self) -> bool:
        """True: a user wrote the function, so its contract is checked before the first fit."""
        return True

    def covariance_as_written(
        self, theta: Float[Array, " k"], coords: Float[Array, "q d"]
    ) -> Float[jax.Array, "q q"] | None:
        """Return the matrix that the function returned, for the check of the contract; None if it returns a factor."""
        return self.function(theta, coords) if self.returns == "covariance" else None

    def n_params(self, q: int) -> int:
        return self.count

    def covariance(self, theta: Float[Array, " k"], coords: Float[Array, "q d"]) -> Float[jax.Array, "q q"]:
        matrix = self.function(theta, coords)
        return matrix @ matrix.T if self.returns == "factor" else matrix

    def cholesky(self, theta: Float[Array, " k"], coords: Float[Array, "q d"]) -> Float[jax.Array, "q q"]:
        matrix = self.function(theta, coords)
        return matrix if self.returns == "factor" else semidefinite_root(matrix)
