"""Where each term's parameters stand in theta, and how theta becomes covariance factors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._struct import Struct
from jaxlmm._typing import Array, NumpyArray
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.model.design import Design

LARGEST_GUESS = 40.0
"""A start guessed from the data has no larger relative standard deviation: where rows leave next to no residual, the
guess is a ratio of rounding errors."""


class Factors(NamedTuple):
    """Covariance factors at one theta, relative to sigma.

    ``terms``: per term (q, q), or (G, Q, Q) over positions; ``residual``: (G, Q, Q) or None.
    """

    terms: tuple[jax.Array, ...]
    residual: jax.Array | None


class Layout(Struct):
    """The part of a design that turns theta into factors: structures and coordinates, no rows.

    ``theta`` is the concatenation of the terms' parameters in order, then those of the residual structure without its
    first, the scale, which is held at 1 because sigma is the scale of the residual. ``roots`` are those of the terms.
    """

    structures: tuple[AbstractCovariance, ...]
    coords: tuple[Array, ...]
    roots: tuple[Array, ...]
    residual: AbstractCovariance | None
    residual_coords: Array | None

    @classmethod
    def of(cls, design: Design) -> Layout:
        """Take the layout of a design."""
        return cls(
            tuple(term.structure for term in design.terms),
            tuple(term.coords for term in design.terms),
            design.roots(),
            design.residual.structure if design.residual else None,
            design.residual.coords if design.residual else None,
        )

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of parameters of each term, and last of the residual structure where there is one."""
        counts = [s.n_params(c.shape[-2]) for s, c in zip(self.structures, self.coords, strict=True)]
        if self.residual is not None and self.residual_coords is not None:
            counts.append(self.residual.n_params(self.residual_coords.shape[-2]) - 1)
        return tuple(counts)

    @property
    def n_theta(self) -> int:
        """The length of theta, k."""
        return sum(self.counts)

    def slices(self) -> tuple[slice, ...]:
        """Return the place of each term in theta (the residual structure last)."""
        ends = np.cumsum((0, *self.counts))
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    def factors(self, theta: jax.Array, frames: Sequence[Array] | None = None) -> Factors:
        """Return the covariance factors at ``theta`` (k,); a frame (q, q) per term multiplies its factor."""
        places = self.slices()
        found = []
        for t, (structure, coords) in enumerate(zip(self.structures, self.coords, strict=True)):
            block = theta[places[t]]
            factor = _factor(structure, block, coords)
            found.append(factor if frames is None or factor.ndim == 3 else jnp.asarray(frames[t]) @ factor)
        residual = None
        if self.residual is not None and self.residual_coords is not None:
            residual = _factor(self.residual, self.residual_theta(theta), self.residual_coords)
        return Factors(tuple(found), residual)

    def residual_theta(self, theta: jax.Array) -> jax.Array:
        """Return the residual structure's own parameters, its scale of 1 first."""
        return jnp.concatenate([jnp.ones(1, theta.dtype), theta[self.slices()[-1]]])

    def start(self) -> NumpyArray:
        """Return a starting point (k,)."""
        parts = [s.start(np.asarray(c)) for s, c in zip(self.structures, self.coords, strict=True)]
        if self.residual is not None:
            parts.append(self.residual.start(np.asarray(self.residual_coords))[1:])
        return np.concatenate([np.zeros(0), *parts])

    def search_axes(self) -> tuple[NumpyArray, NumpyArray]:
        """Return parameter numbers (a,) and values (a, v) along which a better start is looked for."""
        places, found = self.slices(), []
        for place, structure, coords in zip(places, self.structures, self.coords, strict=False):
            found += [(place.start + k, values) for k, values in structure.search_axes(np.asarray(coords))]
        if self.residual is not None:
            axes = self.residual.search_axes(np.asarray(self.residual_coords))
            found += [(places[-1].start + k - 1, values) for k, values in axes if k > 0]
        longest = max((len(values) for _, values in found), default=1)
        table = np.zeros((len(found), longest))
        for row, (_, values) in enumerate(found):
            table[row] = np.pad(values, (0, longest - len(values)), mode="edge")
        return np.array([k for k, _ in found], np.int32), table

    def frames(self) -> tuple[NumpyArray, ...]:
        """Return the frame of each term: the basis (q, q) of its columns in which it is optimised."""
        return tuple(
            np.eye(1) if coords.ndim == 3 else structure.frame(np.asarray(root))
            for structure, coords, root in zip(self.structures, self.coords, self.roots, strict=True)
        )

    def guess(self, covariance: jax.Array, start: jax.Array, inverse_frames: Sequence[Array]) -> jax.Array:
        """Return a start (k,) near a rough relative covariance of all columns of Z; where there is none, ``start``."""
        first = 0
        for structure, coords, place, inverse in zip(
            self.structures, self.coords, self.slices(), inverse_frames, strict=False
        ):
            own = slice(first, first + coords.shape[-2])
            inverse = jnp.asarray(inverse)
            rough = inverse @ covariance[own, own] @ inverse.T
            rough = rough * jnp.minimum(1.0, LARGEST_GUESS**2 / jnp.maximum(jnp.max(jnp.diagonal(rough)), 1.0))
            found = structure.guess(rough)
            start = start if found is None else start.at[place].set(found)
            first = own.stop
        return start

    def blocks(self) -> NumpyArray:
        """Return the number of the term that each entry of theta belongs to, (k,) int32."""
        return np.repeat(np.arange(len(self.counts), dtype=np.int32), self.counts)


def _factor(structure: AbstractCovariance, theta: jax.Array, coords: Array) -> jax.Array:
    coords = jnp.asarray(coords)
    if coords.ndim == 3:
        return jax.vmap(structure.cholesky, in_axes=(None, 0))(theta, coords)
    return structure.cholesky(theta, coords)
