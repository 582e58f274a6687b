"""Structures across the levels of a group, as one realization of a random field: no natural parameters per level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import AbstractCovariance, BoundaryCandidates, SearchAxes
from jaxlmm.covariance.parameters import Parameter, declared


class Field(AbstractCovariance):
    """A ``structure`` without ``parameters`` of its own, across the levels of a group.

    The default names, an sd for each column and a corr for each pair, would here be one for each level and each pair of
    levels. Instead: ``sd``, the root of the mean variance over the levels, in response units, and the parameters of the
    structure as they are, ``theta[1]``, ``theta[2]``, …, without the first where it is the ``scale``: the sd says it.

    Examples
    --------
    >>> from jaxlmm.covariance.custom import Custom
    >>> walk = Custom(lambda theta, coords: theta[0] ** 2 * jnp.minimum(coords, coords.T) ** theta[1], 2)
    >>> field = as_field(walk, 1)
    >>> [parameter.label for parameter in field.parameters(["a", "b"])]
    ['sd', 'theta[2]']
    >>> field.report(jnp.ones(2), jnp.eye(2), jnp.array(3.0)).tolist()
    [3.0, 1.0]
    """

    structure: AbstractCovariance
    scale: bool = static(default=False)

    def n_params(self, q: int) -> int:
        return self.structure.n_params(q)

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        return self.structure.cholesky(theta, coords)

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        return self.structure.covariance(theta, coords)

    def reported_factor(self, theta: Float[Array, " k"], coords: Float[Array, "q d"]) -> Float[jax.Array, "q q"]:
        # The report reads the lengths of the rows alone: no root of a matrix of all levels.
        variances = jnp.diagonal(self.covariance(jnp.asarray(theta), jnp.asarray(coords)))
        positive = variances > 0
        return jnp.diag(jnp.where(positive, jnp.sqrt(jnp.where(positive, variances, 1.0)), 0.0))

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return self.structure.start(coords)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        return self.structure.search_axes(coords)

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        return self.structure.boundary_candidates(theta, basis, root, coords)

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        return self.structure.from_basis(theta, basis)

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        count = self.n_params(len(columns))
        return Parameter("sd", "sd"), *(Parameter(f"theta[{k + 1}]") for k in range(int(self.scale), count))

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        variance = jnp.mean(jnp.sum(jnp.asarray(factor) ** 2, axis=-1))
        positive = variance > 0
        sd = sigma * jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)
        return jnp.concatenate([jnp.reshape(sd, (1,)), jnp.asarray(theta)[int(self.scale) :]])


def as_field(structure: AbstractCovariance, d: int) -> AbstractCovariance:
    """Return a structure with natural parameters whose number does not grow with the levels: itself, or a ``Field``.

    ``d`` is the number of coordinates.
    """
    two, three = (len(declared(structure, tuple("abc")[:q])) for q in (2, 3))
    return structure if two == three else Field(structure, _begins_with_a_scale(structure, d))


def _begins_with_a_scale(structure: AbstractCovariance, d: int) -> bool:
    """Whether the first parameter multiplies the factor, and does nothing else, as one sees at a few theta."""
    few = jnp.asarray(np.array([[0.3], [1.1], [2.6]]) + 0.2 * np.arange(d))

    def without_value(leaf: Any) -> Any:  # a hyper-parameter that JAX traces: the scale is one whatever it is
        return np.ones(np.shape(leaf)) if isinstance(leaf, jax.core.Tracer) else leaf

    concrete = jax.tree.map(without_value, structure)
    try:
        for sign in (1.0, -1.0):
            theta = jnp.asarray(structure.start(np.asarray(few)) + sign * 0.1)
            one, other = (concrete.covariance(theta.at[0].multiply(factor), few) for factor in (1.0, 2.0))
            if not np.allclose(np.asarray(other), 4.0 * np.asarray(one), rtol=1e-9, atol=0.0):
                return False
    except Exception:  # what cannot be evaluated is explained by the check of the contract
        return False
    return True


def increasing(coords: Float[NumpyArray, "q d"]) -> Int[NumpyArray, " q"]:
    """Return the order into which the caller puts ``coords`` before ``cholesky`` sees them.

    Increasing for one coordinate, as the contract of ``cholesky`` says; as given for several.

    >>> increasing(np.array([[3.0], [1.0]])).tolist(), increasing(np.array([[3.0, 0.0], [1.0, 0.0]])).tolist()
    ([1, 0], [0, 1])
    """
    return np.argsort(coords[:, 0], kind="stable") if coords.shape[1] == 1 else np.arange(len(coords))
