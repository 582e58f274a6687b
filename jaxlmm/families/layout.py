"""What a generalized model estimates beside covariances, in theta: the dispersion of its family, and coefficients."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray, Struct, static
from jaxlmm.covariance import Parameter
from jaxlmm.families.base import AbstractFamily

ROOT_NODES = np.array([0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.5, 5.0])
"""Values at which a start is looked for of the root of a parameter that can be zero; never 0, where the slope is 0."""

NODES = np.array([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0])
"""The same on the scale, logarithmic or logistic, of other parameters."""

STARTING_ROOT = 0.6


class FamilyParameters(NamedTuple):
    """The natural ``dispersion`` of a family, and ``coefficients`` on √n times the design's orthonormal basis."""

    dispersion: Float[jax.Array, " d"]
    coefficients: Float[jax.Array, " p"]


class FamilyLayout(Struct):
    """The entries at the end of theta: what is searched for of the dispersion, then the ``n_columns`` coefficients."""

    family: AbstractFamily
    n_columns: int = static()

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.family.n_dispersion + self.n_columns

    def at(self, theta: Float[jax.Array, " _"]) -> FamilyParameters:
        """Return the parameters at these entries of theta."""
        d = self.family.n_dispersion
        return FamilyParameters(self.family.natural(theta[:d]), theta[d:])

    def can_be_zero(self) -> tuple[int, ...]:
        """Return the numbers of the entries that are roots of parameters beyond a bound that they can attain."""
        return tuple(k for k, parameter in enumerate(self.family.parameters) if _is_root(parameter))

    def start(self) -> Float[NumpyArray, " _"]:
        """Return a start, of coefficients 0."""
        own = [STARTING_ROOT if _is_root(parameter) else 0.0 for parameter in self.family.parameters]
        return np.concatenate([own, np.zeros(self.n_columns)])

    def search_axes(self) -> list[tuple[int, Float[NumpyArray, " _"]]]:
        """Return the values at which a better start is looked for, of each entry of the dispersion."""
        parameters = enumerate(self.family.parameters)
        return [(k, ROOT_NODES if _is_root(parameter) else NODES) for k, parameter in parameters]


def _is_root(parameter: Parameter) -> bool:
    return bool(np.isfinite(parameter.lower) and np.isinf(parameter.upper) and parameter.attained[0])
