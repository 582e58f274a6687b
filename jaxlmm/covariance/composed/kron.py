"""Kronecker products of structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import AbstractCovariance, SearchAxes
from jaxlmm.covariance.composed.parts import split
from jaxlmm.covariance.parameters import Parameter, declared
from jaxlmm.errors import OptionError


class Kron(AbstractCovariance):
    """The Kronecker product of two structures, within columns whose order is that of ``np.kron``: the right one's vary
    fastest, as in ``0 + trait:visit`` those of the visits.

    ``theta`` are the parameters of the left structure, then those of the right one without its first, which is 1: a
    product has one scale. The right one's standard deviations are relative to that of its first column.

    Parameters
    ----------
    left, right
        Covariance structures; ``theta[0]`` of the right one is the standard deviation of its first column.
    size
        The number of columns of the right one.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from jaxlmm.covariance import Diagonal, Unstructured
    >>> kron = Kron(Diagonal(), Unstructured(), size=2)
    >>> kron.covariance(jnp.array([1.0, 2.0, 0.5, 1.0]), jnp.zeros((4, 1))).tolist()[2]
    [0.0, 0.0, 4.0, 2.0]
    """

    left: AbstractCovariance
    right: AbstractCovariance
    size: int = static()

    @property
    def authored(self) -> bool:
        """Whether a user wrote one of the two."""
        return self.left.authored or self.right.authored

    def placed(self, coords: Float[NumpyArray, "q d"]) -> Self:
        raise OptionError("Kron: acts within the columns of a term, got positions; give the matrix by Custom there.")

    def _counts(self, q: int) -> list[int]:
        return [self.left.n_params(q // self.size), self.right.n_params(self.size) - 1]

    def n_params(self, q: int) -> int:
        return sum(self._counts(q))

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        if self.size < 1 or len(coords) % self.size:
            raise OptionError(f"Kron: expected a multiple of size={self.size} columns, got {len(coords)}.")
        self.left.check(coords[: len(coords) // self.size])
        self.right.check(coords[: self.size])

    def _parts(self, theta: Float[Array, " k"], q: int) -> list[Float[jax.Array, " _"]]:
        left, right = (jnp.asarray(part) for part in split(theta, self._counts(q)))
        return [left, jnp.append(1.0, right)]

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        left, right = self._parts(theta, q)
        return jnp.kron(
            self.left.cholesky(left, coords[: q // self.size]), self.right.cholesky(right, coords[: self.size])
        )

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        q = coords.shape[0]
        left, right = self._parts(theta, q)
        return jnp.kron(
            self.left.covariance(left, coords[: q // self.size]), self.right.covariance(right, coords[: self.size])
        )

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        left, right = self._coords(coords)
        return np.append(self.left.start(left), self.right.start(right)[1:])

    def _coords(self, coords: Float[NumpyArray, "*L q d"]) -> list[Float[NumpyArray, "*L _ d"]]:
        return [coords[..., : coords.shape[-2] // self.size, :], coords[..., : self.size, :]]

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        left, right = self._coords(coords)
        first = self.left.n_params(left.shape[-2])
        own = [(first + k - 1, nodes) for k, nodes in self.right.search_axes(right) if k > 0]
        return (*self.left.search_axes(left), *own)

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        left, right = declared(self.left, columns[:: self.size]), declared(self.right, columns[: self.size])
        relative = (
            Parameter(f"relative {one.label}", "number", lower=0.0) if one.has_unit else one.suffixed("[right]")
            for one in right[1:]
        )
        return (*left, *relative)

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        q = factor.shape[0]
        left, right = self._parts(theta, q)
        numbers = np.arange(float(q))[:, None]
        of_left = self.left.report(left, self.left.reported_factor(left, numbers[: q // self.size]), sigma)
        own = self.right.reported_factor(right, numbers[: self.size])
        return jnp.append(of_left, self.right.report(right, own, jnp.ones(()))[1:])
