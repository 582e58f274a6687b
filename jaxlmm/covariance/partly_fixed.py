"""A structure with some natural parameters fixed."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import AbstractCovariance, BoundaryCandidates, SearchAxes
from jaxlmm.covariance.reparameterized import Constant


class PartlyFixed(AbstractCovariance):
    """A ``structure`` whose parameters are ``values`` but for the ``free`` ones, which are ``theta``.

    ``natural`` are the fixed values in response units, any number for the free ones; ``values`` are the parameters of
    the structure at these, in some unit and in ``own_basis``, the basis of the structure.

    Examples
    --------
    >>> from jaxlmm.covariance.diagonal import Diagonal
    >>> partly_fixed = PartlyFixed.of(Diagonal(), np.array([np.nan, 3.0]), np.arange(2.0)[:, None], np.eye(2))
    >>> partly_fixed.cholesky(jnp.array([2.0]), jnp.zeros((2, 1))).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """

    structure: AbstractCovariance
    natural: Float[Array, " r"]
    values: Float[Array, " r"]
    own_basis: Float[Array, "q q"]
    free: tuple[int, ...] = static()

    @classmethod
    def of(
        cls,
        structure: AbstractCovariance,
        natural: Float[NumpyArray, " r"],
        coords: Float[NumpyArray, "*L q d"],
        root: Float[NumpyArray, "_ _"],
    ) -> PartlyFixed | None:
        """Fix the ``natural`` parameters of ``structure`` that are not NaN; None where that is not possible.

        ``root`` as in :meth:`AbstractCovariance.basis`.
        """
        reparameterized = structure.reparameterized(natural)
        if reparameterized is None:
            if np.isnan(natural).any():
                return None
            theta = np.asarray(structure.from_natural(natural, np.float64(1.0), coords))
            block = coords[0] if coords.ndim == 3 else coords
            factor = structure.cholesky(jnp.asarray(theta), jnp.asarray(block))
            reported = np.asarray(structure.report(theta, factor, jnp.ones(())))
            defined = np.isfinite(reported)
            if not np.allclose(reported[defined], natural[defined], rtol=1e-6, atol=1e-6 * np.abs(natural).max()):
                return None
            reparameterized = Constant(structure, theta, reported)
            natural = np.ones(1)
        basis = np.eye(1) if coords.ndim == 3 else reparameterized.basis(root)
        free = tuple(int(index) for index in np.flatnonzero(np.isnan(natural)))
        filled = np.where(np.isnan(natural), 0.5, natural)
        return cls(reparameterized, filled, np.zeros(filled.size), basis, free).in_unit(np.float64(1.0))

    def in_unit(self, unit: Float[Array, ""] | float) -> Self:
        """Return the structure relative to another ``unit``, in units of the response."""
        whole = self.structure.from_natural(jnp.asarray(self.natural), jnp.asarray(unit), jnp.zeros((1, 1)))
        return self.replace(values=self.structure.to_basis(whole, jnp.asarray(self.own_basis)))

    def whole(self, theta: Float[jax.Array, " k"]) -> Float[jax.Array, " r"]:
        """Return all parameters of the structure, fixed and free."""
        return jnp.asarray(self.values, theta.dtype).at[np.array(self.free, int)].set(theta)

    def n_params(self, q: int) -> int:
        return len(self.free)

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        return self.structure.cholesky(self.whole(theta), coords)

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return self.structure.start(coords)[list(self.free)]

    def guess(self, covariance: Float[jax.Array, "q q"]) -> Float[jax.Array, " k"] | None:
        theta = self.structure.guess(covariance)
        return None if theta is None else theta[np.array(self.free, int)]

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        axes = self.structure.search_axes(coords)
        return tuple((self.free.index(k), values) for k, values in axes if k in self.free)

    def basis(self, root: Float[NumpyArray, "q q"]) -> Float[NumpyArray, "q q"]:
        return self.structure.basis(root)

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return those of the structure in which no fixed parameter changes."""
        if not self.free:
            return BoundaryCandidates.of([(theta, basis, np.zeros(0), np.True_)])
        free = np.array(self.free)
        count = self.values.shape[0]
        candidates = self.structure.boundary_candidates(
            jnp.ones(count, theta.dtype).at[free].set(theta), basis, root, coords
        )
        number = np.zeros(count + 1, np.int32)
        number[free + 1] = 1 + np.arange(free.size)
        active_set = candidates.active_set[:, free]
        return candidates._replace(
            theta=candidates.theta[:, free],
            active_set=jnp.where(active_set > 0, jnp.asarray(number)[active_set], active_set),
        )

    def from_natural(
        self, natural: Float[Array, " r"], sigma: Float[Array, ""], coords: Float[Array, "*L q d"]
    ) -> Float[Array, " k"]:
        return self.structure.from_natural(natural, sigma, coords)[np.array(self.free, int)]

    def to_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        return self.structure.to_basis(self.whole(jnp.asarray(theta)), basis)[np.array(self.free, int)]

    def away_from_zero(self, theta: Float[NumpyArray, " k"]) -> Float[NumpyArray, " k"]:
        whole = np.ones(self.values.shape[0])
        whole[list(self.free)] = theta
        return self.structure.away_from_zero(whole)[list(self.free)]

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        return self.structure.report(self.whole(jnp.asarray(theta)), factor, sigma)
