"""Structures across the levels of a group: one realization of a random field, whose single levels name nothing."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import AbstractCovariance, BoundaryCandidates
from jaxlmm.covariance.parameters import SD, THETA, Kind


class Field(AbstractCovariance):
    """A ``structure`` whose derived natural parameters would be one for each level and each pair of levels.

    Instead: ``sd``, the root of the mean variance over the levels, in response units, and the parameters of the
    structure as they are, ``theta[1]``, ``theta[2]``, …

    Examples
    --------
    >>> from jaxlmm.covariance.custom import Custom
    >>> walk = Custom(lambda theta, coords: theta[0] ** 2 * jnp.minimum(coords, coords.T), 1)
    >>> field = as_field(walk)
    >>> field.param_names(["a", "b"]), field.report(jnp.ones(1), jnp.eye(2), jnp.array(3.0)).tolist()
    (('sd', 'theta[1]'), [3.0, 1.0])
    """

    structure: AbstractCovariance

    def n_params(self, q: int) -> int:
        return self.structure.n_params(q)

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        return self.structure.cholesky(theta, coords)

    def start(self, coords: NumpyArray) -> NumpyArray:
        return self.structure.start(coords)

    def search_axes(self, coords: NumpyArray) -> tuple[tuple[int, NumpyArray], ...]:
        return self.structure.search_axes(coords)

    def boundary_candidates(
        self, theta: jax.Array, basis: jax.Array, root: jax.Array, coords: jax.Array
    ) -> BoundaryCandidates:
        return self.structure.boundary_candidates(theta, basis, root, coords)

    def from_basis(self, theta: Array, basis: Array) -> Array:
        return self.structure.from_basis(theta, basis)

    def away_from_zero(self, theta: NumpyArray) -> NumpyArray:
        return self.structure.away_from_zero(theta)

    def param_names(self, columns: Sequence[str]) -> tuple[str, ...]:
        return ("sd", *(f"theta[{k + 1}]" for k in range(self.n_params(len(columns)))))

    def param_kinds(self, columns: Sequence[str]) -> tuple[Kind, ...]:
        return (SD,) + (THETA,) * self.n_params(len(columns))

    def report(self, theta: Array, factor: Array, sigma: Array) -> jax.Array:
        variance = jnp.mean(jnp.sum(jnp.asarray(factor) ** 2, axis=-1))
        positive = variance > 0
        sd = sigma * jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)
        return jnp.concatenate([jnp.reshape(sd, (1,)), jnp.asarray(theta)])


def as_field(structure: AbstractCovariance) -> AbstractCovariance:
    """Return a structure with natural parameters whose number does not grow with the levels."""
    two, three = (len(structure.param_names(tuple("abc")[:q])) for q in (2, 3))
    return structure if two == three else Field(structure)


def increasing(coords: NumpyArray) -> NumpyArray:
    """Return the order (q,) in which a structure takes ``coords`` (q, d): increasing where there is one coordinate.

    >>> increasing(np.array([[3.0], [1.0]])).tolist(), increasing(np.array([[3.0, 0.0], [1.0, 0.0]])).tolist()
    ([1, 0], [0, 1])
    """
    return np.argsort(coords[:, 0], kind="stable") if coords.shape[1] == 1 else np.arange(len(coords))
