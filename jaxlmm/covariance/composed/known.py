"""A known matrix times a variance."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import SD_NODES, AbstractCovariance, SearchAxes
from jaxlmm.covariance.parameters import Parameter
from jaxlmm.errors import OptionError

ROUNDING = 1e-8
"""Asymmetry, and negative eigenvalues, relative to the largest entry, up to which a matrix is a covariance."""


class Known(AbstractCovariance):
    """``sd²`` times a known ``matrix``, within columns or along positions; ``theta`` is the relative sd.

    Across the levels of a group, as a relationship matrix, write ``kinship={group: matrix}``.

    Parameters
    ----------
    matrix
        ``(q, q)``, symmetric and positive semidefinite, in the order of the columns or positions; a hyper-parameter,
        so that another matrix compiles nothing.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> known = Known(jnp.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> known.covariance(jnp.array([2.0]), jnp.zeros((2, 1))).tolist()
    [[4.0, 2.0], [2.0, 4.0]]
    """

    matrix: Float[Array, "q q"]

    def n_params(self, q: int) -> int:
        return 1

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        q, matrix = len(coords), np.asarray(self.matrix, float)
        if matrix.shape != (q, q) or not np.isfinite(matrix).all():
            raise OptionError(f"Known: expected a finite matrix of shape {(q, q)}, got shape {matrix.shape}.")
        size = np.abs(matrix).max(initial=0.0)
        if np.abs(matrix - matrix.T).max(initial=0.0) > ROUNDING * size:
            raise OptionError("Known: expected a symmetric matrix, got one that is not its own transpose.")
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        if smallest < -ROUNDING * size:
            raise OptionError(f"Known: expected a positive semidefinite matrix, got an eigenvalue of {smallest:.3g}.")

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        return theta[0] ** 2 * jnp.asarray(self.matrix, theta.dtype)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        return ((0, SD_NODES),)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        return abs(theta)

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        return (Parameter("sd", "sd"),)

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        return sigma * jnp.abs(jnp.asarray(theta))
