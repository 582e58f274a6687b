"""What a generalized model estimates beside covariances, in theta: the dispersion of its family, and coefficients."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.covariance import NEARLY_ZERO, Parameter
from jaxlmm.families.base import AbstractFamily
from jaxlmm.families.zeros import ZeroInflated

ROOT_NODES = np.array([0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.5, 5.0])
"""Values at which a start is looked for of the root of a parameter that can be zero; never 0, where the slope is 0."""

NODES = np.array([-12.0, -8.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 12.0])
"""The same on the scale, logarithmic, of parameters with one bound; far out for scales in units of the data."""

FINER_NODES = np.array([-2.0, -1.0, 1.0, 2.0])
"""Differences from the best of these, at which a better one is looked for."""

NODES_BETWEEN = np.array([-1.5, -0.75, 0.0, 0.75, 1.5])
"""The same on the scale, logistic, of parameters between two bounds, near which densities have maxima of their own."""

STARTING_ROOT = 0.6

LIMIT_BETWEEN, NEAR_LIMIT = 15.0, 6.0
"""The end of the scale of parameters between two bounds, and where a parameter may be put at that end."""


class FamilyParameters(NamedTuple):
    """The natural ``dispersion`` of a family, and ``coefficients`` on √n times the design's orthonormal basis."""

    dispersion: Float[jax.Array, " d"]
    coefficients: Float[jax.Array, " p"]


class FamilyLayout(Struct):
    """The entries at the end of theta: what is searched for of the dispersion, then the ``n_columns`` coefficients.

    Parameters of dispersion that are not ``free`` (their numbers) are held at ``values``, which are 0 where they are
    free, and have no entry.
    """

    family: AbstractFamily
    values: Float[Array, "*b d"]
    free: tuple[int, ...] = static()
    n_columns: int = static()

    @classmethod
    def of(cls, family: AbstractFamily, n_columns: int) -> Self:
        """Return the layout in which all parameters of a family are free."""
        return cls(family, np.zeros(family.n_dispersion), tuple(range(family.n_dispersion)), n_columns)

    def holding(self, values: Float[NumpyArray, " d"]) -> Self:
        """Return the layout in which the parameters that are not NaN are held at these values."""
        free = tuple(np.flatnonzero(np.isnan(values)).tolist())
        return self.replace(values=np.where(np.isnan(values), 0.0, values), free=free)

    @property
    def size(self) -> int:
        """The number of entries."""
        return len(self.free) + self.n_columns

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters that have an entry."""
        return tuple(self.family.parameters[k] for k in self.free)

    def at(self, theta: Float[jax.Array, " _"]) -> FamilyParameters:
        """Return the parameters at these entries of theta."""
        count, dispersion = len(self.free), jnp.asarray(self.values)
        if count:
            searched = jnp.zeros(dispersion.shape[-1]).at[np.array(self.free)].set(theta[:count])
            is_free = np.isin(np.arange(dispersion.shape[-1]), self.free)
            dispersion = self.family.natural_with_held(searched, dispersion, is_free)
        return FamilyParameters(dispersion, theta[count:])

    def limits(self) -> tuple[tuple[int, float, float], ...]:
        """Return the limits of the entries that have some: number, limit, and how near to it an entry may be put there.

        They are 0 for roots of parameters beyond a bound that they can attain, and the ends of the scale of other
        parameters between two bounds.
        """
        found = [(k, 0.0, NEARLY_ZERO) for k, one in enumerate(self.parameters) if _is_root(one)]
        for k, one in enumerate(self.parameters):
            if _is_between(one):
                found += [(k, sign * LIMIT_BETWEEN, LIMIT_BETWEEN - NEAR_LIMIT) for sign in (-1.0, 1.0)]
        return tuple(found)

    def limit_of_zero_part(self) -> tuple[int, Float[jax.Array, " k"]] | None:
        """Return the first entry of a zero part with columns, and the values of its entries where it adds no zeros.

        None where there is no such limit, or some parameters are held.
        """
        family = self.family
        if not isinstance(family, ZeroInflated) or len(self.free) < family.n_dispersion:
            return None
        limit = family.limit
        return None if limit is None else (family.family.n_dispersion, limit)

    def start(self, given: Float[NumpyArray, " d"] | None = None) -> Float[NumpyArray, " _"]:
        """Return a start, of coefficients 0, at the natural parameters that are ``given`` and not NaN."""
        own = [STARTING_ROOT if _is_root(parameter) else 0.0 for parameter in self.parameters]
        if given is not None:
            searched = self.family.searched(given)
            for place, k in enumerate(self.free):
                if np.isfinite(given[k]):  # at a root of 0 the slope is 0
                    own[place] = max(searched[k], ROOT_NODES[0]) if _is_root(self.family.parameters[k]) else searched[k]
        return np.concatenate([own, np.zeros(self.n_columns)])

    def finer_axes(self) -> list[tuple[int, Float[NumpyArray, " _"]]]:
        """Return differences at which one is looked for once more, of each entry on a logarithmic scale."""
        return [(k, FINER_NODES) for k, one in enumerate(self.parameters) if _nodes(one) is NODES]

    def search_axes(self) -> list[tuple[int, Float[NumpyArray, " _"]]]:
        """Return the values at which a better start is looked for, of each entry of the dispersion."""
        return [(k, _nodes(one)) for k, one in enumerate(self.parameters)]


def _nodes(parameter: Parameter) -> Float[NumpyArray, " _"]:
    if _is_root(parameter):
        return ROOT_NODES
    return NODES_BETWEEN if _is_between(parameter) else NODES


def _is_root(parameter: Parameter) -> bool:
    return bool(np.isfinite(parameter.lower) and parameter.attained[0])


def _is_between(parameter: Parameter) -> bool:
    """Whether it is between two bounds, the lower of which it cannot attain."""
    return bool(np.isfinite(parameter.lower) and np.isfinite(parameter.upper) and not _is_root(parameter))
