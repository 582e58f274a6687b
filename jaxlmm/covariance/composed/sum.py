"""Sums of structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import AbstractCovariance, SearchAxes
from jaxlmm.covariance.composed.parts import split
from jaxlmm.covariance.parameters import Parameter, declared


class Sum(AbstractCovariance):
    """The sum of the covariances of several structures, all on the same columns or positions.

    ``theta`` are the parameters of the first, then of the next; their names end in the number of the part in brackets.

    Parameters
    ----------
    *parts
        Covariance structures.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from jaxlmm.covariance import Diagonal, Unstructured
    >>> both = Sum(Diagonal(hom=True), Unstructured())
    >>> both.covariance(jnp.array([1.0, 1.0, 2.0, 0.0]), jnp.zeros((2, 1))).tolist()
    [[2.0, 2.0], [2.0, 5.0]]
    """

    parts: tuple[AbstractCovariance, ...]
    places: Float[Array, "q d"] | None = None  # the positions, where it acts along some: parts report from theirs

    def __init__(self, *parts: AbstractCovariance, coords: object = None, places: object = None) -> None:
        object.__setattr__(self, "parts", tuple(parts))
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "coords", coords)

    def replace(self, **changes: Any) -> Self:
        """Return the sum with other parts or coordinates."""
        parts: Any = changes.get("parts", self.parts)
        own = {name: changes.get(name, getattr(self, name)) for name in ("coords", "places")}
        return type(self)(*parts, **own)

    def placed(self, coords: Float[NumpyArray, "q d"]) -> Self:
        return self.replace(parts=tuple(part.placed(coords) for part in self.parts), places=coords)

    @property
    def authored(self) -> bool:
        """Whether a user wrote one of the parts."""
        return any(part.authored for part in self.parts)

    def _counts(self, q: int) -> list[int]:
        return [part.n_params(q) for part in self.parts]

    def n_params(self, q: int) -> int:
        return sum(self._counts(q))

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        for part in self.parts:
            part.check(coords)

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        thetas = split(theta, self._counts(coords.shape[0]))
        return sum(
            (part.covariance(jnp.asarray(own), coords) for part, own in zip(self.parts, thetas, strict=True)),
            start=jnp.zeros(()),
        )

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return np.concatenate([part.start(coords) for part in self.parts])

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        firsts = np.cumsum([0, *self._counts(coords.shape[-2])])
        return tuple(
            (int(first) + k, nodes)
            for part, first in zip(self.parts, firsts, strict=False)
            for k, nodes in part.search_axes(coords)
        )

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        return tuple(
            parameter.suffixed(f"[{number + 1}]")
            for number, part in enumerate(self.parts)
            for parameter in declared(part, columns)
        )

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        q = factor.shape[0]
        places = np.arange(float(q))[:, None] if self.places is None else self.places
        return jnp.concatenate(
            [
                part.report(own, part.reported_factor(own, places), sigma)
                for part, own in zip(self.parts, split(jnp.asarray(theta), self._counts(q)), strict=True)
            ]
        )
