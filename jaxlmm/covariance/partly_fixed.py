"""A structure of which some parameters are held at given values."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import AbstractCovariance, BoundaryCandidates
from jaxlmm.covariance.reparameterized import Constant


class PartlyFixed(AbstractCovariance):
    """A ``structure`` whose parameters are ``values`` (K,) but for those that are ``free``; these are ``theta``.

    ``natural`` (r,) are the values in response units that the structure is held at, with anything in the other places;
    ``values`` are what they are in a ``unit`` () and in ``own_basis`` (q, q), the basis of the structure.

    Examples
    --------
    >>> from jaxlmm.covariance.diagonal import Diagonal
    >>> partly_fixed = PartlyFixed.of(Diagonal(), np.array([np.nan, 3.0]), np.arange(2.0)[:, None], np.eye(2))
    >>> partly_fixed.cholesky(jnp.array([2.0]), jnp.zeros((2, 1))).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """

    structure: AbstractCovariance
    natural: Array
    values: Array
    own_basis: Array
    free: tuple[int, ...] = static()

    @classmethod
    def of(
        cls, structure: AbstractCovariance, natural: NumpyArray, coords: NumpyArray, root: NumpyArray
    ) -> PartlyFixed | None:
        """Hold ``structure`` at the ``natural`` parameters (r,) that are not NaN; None where that is not possible.

        ``coords`` (q, d) or (G, q, d); ``root`` (q, q) as in :meth:`AbstractCovariance.basis`.
        """
        reparameterized = structure.reparameterized(natural)
        if reparameterized is None:
            if np.isnan(natural).any():
                return None
            known = np.asarray(structure.from_natural(natural, np.float64(1.0), coords))
            block = coords[0] if coords.ndim == 3 else coords
            factor = structure.cholesky(jnp.asarray(known), jnp.asarray(block))
            found = np.asarray(structure.report(known, factor, jnp.ones(())))
            defined = np.isfinite(found)
            if not np.allclose(found[defined], natural[defined], rtol=1e-6, atol=1e-6 * np.abs(natural).max()):
                return None
            reparameterized = Constant(structure, known, found)
            natural = np.ones(1)
        basis = np.eye(1) if coords.ndim == 3 else reparameterized.basis(root)
        free = tuple(int(place) for place in np.flatnonzero(np.isnan(natural)))
        filled = np.where(np.isnan(natural), 0.5, natural)
        return cls(reparameterized, filled, np.zeros(filled.size), basis, free).in_unit(np.float64(1.0))

    def in_unit(self, unit: Array) -> Self:
        """Return the structure relative to another ``unit`` (), in units of the response."""
        whole = self.structure.from_natural(jnp.asarray(self.natural), unit, jnp.zeros((1, 1)))
        return self.replace(values=self.structure.to_basis(whole, jnp.asarray(self.own_basis)))

    def whole(self, theta: jax.Array) -> jax.Array:
        """Return all parameters (K,) of the structure."""
        return jnp.asarray(self.values, theta.dtype).at[np.array(self.free, int)].set(theta)

    def n_params(self, q: int) -> int:
        return len(self.free)

    def cholesky(self, theta: jax.Array, coords: jax.Array) -> jax.Array:
        return self.structure.cholesky(self.whole(theta), coords)

    def start(self, coords: NumpyArray) -> NumpyArray:
        return self.structure.start(coords)[list(self.free)]

    def guess(self, covariance: jax.Array) -> jax.Array | None:
        found = self.structure.guess(covariance)
        return None if found is None else found[np.array(self.free, int)]

    def search_axes(self, coords: NumpyArray) -> tuple[tuple[int, NumpyArray], ...]:
        axes = self.structure.search_axes(coords)
        return tuple((self.free.index(k), values) for k, values in axes if k in self.free)

    def basis(self, root: NumpyArray) -> NumpyArray:
        return self.structure.basis(root)

    def boundary_candidates(
        self, theta: jax.Array, basis: jax.Array, root: jax.Array, coords: jax.Array
    ) -> BoundaryCandidates:
        """Return those of the structure in which nothing that is held changes."""
        if not self.free:
            return BoundaryCandidates.of([(theta, basis, np.zeros(0), np.True_)])
        free = np.array(self.free)
        count = self.values.shape[0]
        found = self.structure.boundary_candidates(
            jnp.ones(count, theta.dtype).at[free].set(theta), basis, root, coords
        )
        number = np.zeros(count + 1, np.int32)
        number[free + 1] = 1 + np.arange(free.size)
        active_set = found.active_set[:, free]
        return found._replace(
            theta=found.theta[:, free],
            active_set=jnp.where(active_set > 0, jnp.asarray(number)[active_set], active_set),
        )

    def from_natural(self, natural: Array, sigma: Array, coords: Array) -> Array:
        return self.structure.from_natural(natural, sigma, coords)[np.array(self.free, int)]

    def to_basis(self, theta: Array, basis: Array) -> Array:
        return self.structure.to_basis(self.whole(jnp.asarray(theta)), basis)[np.array(self.free, int)]

    def away_from_zero(self, theta: NumpyArray) -> NumpyArray:
        whole = np.ones(self.values.shape[0])
        whole[list(self.free)] = theta
        return self.structure.away_from_zero(whole)[list(self.free)]

    def report(self, theta: Array, factor: Array, sigma: Array) -> jax.Array:
        return self.structure.report(self.whole(jnp.asarray(theta)), factor, sigma)
