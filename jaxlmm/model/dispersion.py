"""A model of dispersion: the logarithm of the residual standard deviation, linear in columns of the data."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, Struct, pad, static


class Dispersion(Struct):
    """The columns x of ``log sd_i = log sigma + x_i γ``, centered and scaled, so that their units do not matter.

    ``columns`` (N, d) are ``(x − center) / spread``, zero on padding, with ``center`` the mean over the rows of the
    data and ``spread`` the standard deviation.
    """

    columns: Float[Array, "N d"]
    center: Float[Array, " d"]
    spread: Float[Array, " d"]

    @classmethod
    def of(cls, x: Float[NumpyArray, "n d"], n_padded: int) -> Self:
        """Center and scale columns ``x``, none of which is constant, and pad their rows.

        >>> Dispersion.of(np.array([[2000.0], [2004.0]]), 3).columns.tolist()
        [[-1.0], [1.0], [0.0]]
        """
        center, spread = x.mean(axis=0), x.std(axis=0)
        return cls(pad((x - center) / spread, n_padded), center, spread)

    @classmethod
    def by_row(cls, n: int, n_padded: int) -> Self:
        """Return one column in which no two of n rows agree, so that a solver builds nothing that they would share."""
        return cls(pad(np.arange(float(n))[:, None], n_padded), np.zeros(1), np.ones(1))


class Scaling(Struct):
    """The map from theta to the coefficients of :class:`Dispersion`'s columns; no rows.

    ``values`` (d,) are the coefficients γ that are fixed, any number for the ``free`` ones.
    """

    center: Float[Array, "*b d"]
    spread: Float[Array, "*b d"]
    values: Float[Array, "*b d"]
    free: tuple[int, ...] = static()

    @classmethod
    def of(cls, dispersion: Dispersion, fixed: Float[NumpyArray, " d"] | None = None) -> Self:
        """Return the map; ``fixed`` are coefficients that are held, NaN where free."""
        values = np.full(np.shape(dispersion.center), np.nan) if fixed is None else fixed
        free = tuple(int(index) for index in np.flatnonzero(np.isnan(values)))
        return cls(dispersion.center, dispersion.spread, np.where(np.isnan(values), 0.0, values), free)

    @property
    def count(self) -> int:
        """The number of coefficients, d, fixed ones included."""
        return int(np.shape(self.center)[0])

    def start(self, given: Float[NumpyArray, " d"]) -> Float[NumpyArray, " _"]:
        """Return the free coefficients, of scaled columns, at which γ is what is ``given``, 0 where that is NaN."""
        return (np.where(np.isnan(given), 0.0, given) * np.asarray(self.spread))[list(self.free)]

    def at(self, theta: Float[Array, " _"], *, scaled: bool) -> ScaledDispersion:
        """Return the coefficients at the free ones ``theta``, which are those of the ``scaled`` columns, or of x."""
        spread, index = jnp.asarray(self.spread), np.array(self.free, int)
        own = jnp.asarray(theta) if scaled else jnp.asarray(theta) * spread[index]
        coefficients = (jnp.asarray(self.values, own.dtype) * spread).at[index].set(own)
        return ScaledDispersion(coefficients, jnp.asarray(self.center) @ (coefficients / spread))

    def report(self, coefficients: Float[jax.Array, " d"]) -> Float[jax.Array, " d"]:
        """Return γ from ``coefficients`` of the scaled columns."""
        return coefficients / jnp.asarray(self.spread)


class ScaledDispersion(NamedTuple):
    """``coefficients`` of the scaled columns, and ``log_ratio``: the logarithm of the geometric mean of the rows'
    residual standard deviations less log sigma.
    """

    coefficients: Float[jax.Array, " d"]
    log_ratio: Float[jax.Array, ""]

    def log_sd(self, columns: Float[Array, "N d"]) -> Float[jax.Array, " N"]:
        """Return the logarithms of the rows' residual standard deviations, relative to their geometric mean."""
        return jnp.asarray(columns) @ self.coefficients
