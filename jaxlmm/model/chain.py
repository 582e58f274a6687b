"""Markov chains along the positions of all levels of a term, as one chain with links to nothing where a level begins."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, bucket, pad
from jaxlmm.covariance import AbstractCovariance, Links
from jaxlmm.model.design import Design, Term


class ChainFactor(NamedTuple):
    """The covariance of a chain at one theta, in place of a factor (L, q, q).

    ``links`` (M,) are those from each node to the next; ``into`` and ``onward`` (E,) are, at each position without a
    row, the links from the node before and to the node after it. ``cells`` (M,) are as in :class:`MarkovChain`.
    """

    links: Links
    into: Links
    onward: Links
    cells: Int[jax.Array, "*b M"]

    def __truediv__(self, sigma: Float[jax.Array, ""]) -> ChainFactor:
        """Return the factor divided by ``sigma``."""
        parts = [part._replace(sd=part.sd / sigma) for part in (self.links, self.into, self.onward)]
        return ChainFactor(*parts, self.cells)

    def mean_square(self, weights: Float[Array, "L q"]) -> Float[jax.Array, ""]:
        """Return the sum of the variances at all positions, times ``weights``, which are zero without a row."""
        own = jnp.asarray(weights).reshape(-1).at[self.cells].get(mode="fill", fill_value=0.0)
        return jnp.sum(own * self.links.sd**2)


class Ends(NamedTuple):
    """Positions ``before`` and ``coords`` of links, and which of them ``exist``."""

    before: Float[Array, "*b m d"]
    coords: Float[Array, "*b m d"]
    exist: Bool[Array, "*b m"]

    def links(self, structure: AbstractCovariance, theta: Float[jax.Array, " k"]) -> Links:
        """Return the links; those that do not exist are to nothing."""
        exist = jnp.asarray(self.exist)
        sd, rho, innovation = structure.markov(theta, jnp.asarray(self.before), jnp.asarray(self.coords))
        return Links(sd, jnp.where(exist, rho, 0.0), jnp.where(exist, innovation, 1.0))


class MarkovChain(Struct):
    """The positions with rows, the M nodes, of all levels, each level in increasing order; padded.

    ``cells`` are the nodes' numbers among the L × q positions of all levels, level by level; ``unobserved`` those of E
    positions without a row in a level that has rows, and ``earlier`` and ``later`` the nodes before and after these.
    Padded ones are past all.
    """

    nodes: Ends
    into: Ends
    onward: Ends
    cells: Int[Array, "*b M"]
    unobserved: Int[Array, "*b E"]
    earlier: Int[Array, "*b E"]
    later: Int[Array, "*b E"]

    @classmethod
    def of(cls, design: Design, term: Term) -> tuple[Self, Int[NumpyArray, " n"]]:
        """Return the chain of a term over positions, along one coordinate, and the node of each row."""
        codes = np.asarray(design.groupings[term.grouping].codes)[: int(design.n)].astype(np.int64)
        rows = codes * term.size + np.asarray(term.positions)[: codes.size]
        cells, node = np.unique(rows, return_inverse=True)
        levels = np.unique(codes)
        every = (levels[:, None] * term.size + np.arange(term.size)).reshape(-1)
        unobserved = np.setdiff1d(every, cells, assume_unique=True)
        later = np.searchsorted(cells, unobserved)
        earlier = later - 1
        coords = np.asarray(term.coords)

        def ends(earlier: NumpyArray, later: NumpyArray) -> Ends:
            """Return the links from cells to later cells of the same level; −1 for none."""
            exist = (earlier >= 0) & (later >= 0) & (earlier // term.size == later // term.size)
            at, other = np.where(later >= 0, later, earlier), np.where(earlier >= 0, earlier, later)
            return Ends(*(_at(coords, np.where(exist, cell, at)) for cell in (other, at)), exist)

        padded = np.concatenate([[-1], cells, [-1]])
        into = ends(padded[earlier + 1], unobserved)
        onward = ends(unobserved, padded[later + 1])
        m, e = (bucket(part.size, 64) if part.size else 0 for part in (cells, unobserved))
        past = coords.shape[-2] * int(design.groupings[term.grouping].n_levels)
        chain = cls(
            _padded(ends(padded[:-2], cells), m), _padded(into, e), _padded(onward, e),
            _filled(cells, m, past), _filled(unobserved, e, past),
            pad(np.where(into.exist, earlier, m).astype(np.int32), e),
            pad(np.where(onward.exist, later, m).astype(np.int32), e),
        )  # fmt: skip
        return chain, node.reshape(-1).astype(np.int32)

    def factor(self, structure: AbstractCovariance, theta: Float[jax.Array, " k"]) -> ChainFactor:
        """Return the covariance of a ``structure`` along the chain."""
        parts = [ends.links(structure, theta) for ends in (self.nodes, self.into, self.onward)]
        return ChainFactor(*parts, jnp.asarray(self.cells))


def _at(coords: Float[NumpyArray, "*L q d"], cells: Int[NumpyArray, " m"]) -> Float[NumpyArray, "m d"]:
    """Return the coordinates of cells, where levels have their own or share them."""
    return np.asarray(coords.reshape(-1, coords.shape[-1])[cells if coords.ndim == 3 else cells % coords.shape[-2]])


def _padded(ends: Ends, size: int) -> Ends:
    """Pad links by ones to nothing, at a position that there is."""
    if not size:
        return ends
    extra = size - ends.exist.size
    at = np.repeat(ends.coords[:1], extra, axis=0)
    return Ends(np.concatenate([ends.before, at]), np.concatenate([ends.coords, at]), pad(ends.exist, size))


def _filled(cells: Int[NumpyArray, " _"], size: int, past: int) -> Int[NumpyArray, " {size}"]:
    return np.concatenate([cells, np.full(size - cells.size, past)]).astype(np.int32)


def leading_factor(
    structure: AbstractCovariance,
    theta: Float[jax.Array, " k"],
    coords: Float[Array, "*L q d"],
    basis: Float[Array, "_ _"] | None = None,
) -> Float[jax.Array, "_ _"]:
    """Return the factor of columns, or that of the first level at its leading positions."""
    if coords.ndim == 3:
        return structure.leading_factor(theta, coords[0])
    return structure.cholesky(theta, coords) if basis is None else structure.in_basis(theta, coords, basis)


def first_factor(
    factor: Float[jax.Array, "*L q q"] | ChainFactor,
    sigma: Float[Array, ""] | None,
    structure: AbstractCovariance,
    theta: Float[jax.Array, " k"],
    coords: Float[Array, "*L q d"],
) -> Float[jax.Array, "_ _"]:
    """Return the factor of the first level, of a chain at its leading positions, times ``sigma``."""
    if isinstance(factor, ChainFactor):
        return structure.leading_factor(theta, coords[0] if coords.ndim == 3 else coords)
    one = factor[0] if factor.ndim == 3 else factor
    return one if sigma is None else one * sigma
