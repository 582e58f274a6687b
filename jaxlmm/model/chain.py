"""Markov chains along the positions of all levels of a term, as one chain, unlinked where a level begins."""

from __future__ import annotations

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, bucket, pad, static
from jaxlmm.covariance import MAX_LEADING_POSITIONS, AbstractCovariance, Links, Steps
from jaxlmm.model.design import Design, Term

PAST = np.iinfo(np.int32).max
"""The number of a padded position, past all."""


class ChainFactor(NamedTuple):
    """The covariance of a chain at one theta, in place of a factor (L, q, q).

    ``links`` (M,) are those from each node to the next; ``into`` and ``onward`` (E,) are, at each position without a
    row, the links from the node before and to the node after it. ``cells`` (M,) are as in :class:`MarkovChain`.
    """

    links: Links
    into: Links
    onward: Links
    cells: Int[jax.Array, "*b M"]

    def over(self, sigma: Float[jax.Array, ""]) -> ChainFactor:
        """Return the factor divided by ``sigma``."""
        links, into, onward = (part._replace(sd=part.sd / sigma) for part in (self.links, self.into, self.onward))
        return ChainFactor(links, into, onward, self.cells)

    def leading(self) -> Float[jax.Array, "_ _"]:
        """Return the covariance of the first nodes."""
        factor = Links(*(part[:MAX_LEADING_POSITIONS] for part in self.links)).factor()
        return factor @ factor.T

    def sds_at(self, cells: Int[Array, " N"]) -> Float[jax.Array, " N"]:
        """Return the standard deviations at positions with rows, by their numbers among those of all levels."""
        return jnp.abs(self.links.sd)[jnp.searchsorted(self.cells, cells)]

    def mean_square(self, weights: Float[Array, "_ q"]) -> Float[jax.Array, ""]:
        """Return the sum of the variances at all positions of all blocks, times ``weights``, zero without a row."""
        weights, cells = jnp.asarray(weights), self.cells
        if len(weights) == 1:
            cells = jnp.where(cells == PAST, PAST, cells % weights.size)
        variances = jnp.zeros(weights.size).at[cells].set(self.links.sd**2, mode="drop")
        return jnp.sum(weights.reshape(-1) * variances)


class Joints(NamedTuple):
    """The ``steps`` of links, and which of them ``exist``; the others are to nothing."""

    steps: Steps
    exist: Bool[Array, "*b m"]

    @classmethod
    def of(cls, term: Term, earlier: Int[NumpyArray, " m"], later: Int[NumpyArray, " m"]) -> Self:
        """Return the links from cells to later cells, where both are of one level; −1 for none."""
        q, coords = term.size, np.asarray(term.coords)
        exist = (earlier >= 0) & (later >= 0) & (earlier // q == later // q)
        there = np.where(later >= 0, later, earlier)
        before = np.where(exist, earlier, there)

        def at(cells: Int[NumpyArray, " m"]) -> Float[NumpyArray, "m d"]:
            return np.asarray(coords[cells // q if len(coords) > 1 else 0 * cells, cells % q])

        numbers = ((cells % q).astype(np.int32) for cells in (before, there))
        return cls(Steps(at(before), at(there), *numbers), exist)

    def padded(self, size: int) -> Self:
        """Pad by links to nothing, at a position that there is."""
        extra = size - self.exist.size
        if not extra:
            return self
        there = (self.steps.coords, self.steps.coords, self.steps.number, self.steps.number)
        filled = (np.concatenate([own, np.repeat(at[:1], extra, 0)]) for own, at in zip(self.steps, there, strict=True))
        return type(self)(Steps(*filled), pad(np.asarray(self.exist), size))

    def links(self, structure: AbstractCovariance, theta: Float[jax.Array, " k"]) -> Links:
        """Return the links of a ``structure``."""
        exist = jnp.asarray(self.exist)
        sd, rho, innovation = structure.markov(theta, Steps(*map(jnp.asarray, self.steps)))
        return Links(sd, jnp.where(exist, rho, 0.0), jnp.where(exist, innovation, 1.0))


class MarkovChain(Struct):
    """The positions with rows, the M nodes, of all levels, each level in increasing order; padded.

    ``cells`` are the nodes' numbers among the L × q positions of all levels, level by level; ``unobserved`` those of E
    positions without a row in a level that has rows, and ``earlier`` and ``later`` the nodes before and after these.
    Padded ones are past all.
    """

    nodes: Joints
    into: Joints
    onward: Joints
    cells: Int[Array, "*b M"]
    unobserved: Int[Array, "*b E"]
    earlier: Int[Array, "*b E"]
    later: Int[Array, "*b E"]
    n_levels: int = static()  # padded

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
        padded = np.concatenate([[-1], cells, [-1]])
        nodes = Joints.of(term, padded[:-2], cells)
        into = Joints.of(term, padded[earlier + 1], unobserved)
        onward = Joints.of(term, unobserved, padded[later + 1])
        m, e = (bucket(part.size, 64) if part.size else 0 for part in (cells, unobserved))
        chain = cls(
            nodes.padded(m), into.padded(e), onward.padded(e),
            _filled(cells, m), _filled(unobserved, e),
            pad(np.where(into.exist, earlier, m).astype(np.int32), e),
            pad(np.where(onward.exist, later, m).astype(np.int32), e),
            bucket(int(design.groupings[term.grouping].n_levels)),
        )  # fmt: skip
        return chain, node.reshape(-1).astype(np.int32)

    def factor(self, structure: AbstractCovariance, theta: Float[jax.Array, " k"]) -> ChainFactor:
        """Return the covariance of a ``structure`` along the chain."""
        links, into, onward = (joints.links(structure, theta) for joints in (self.nodes, self.into, self.onward))
        return ChainFactor(links, into, onward, jnp.asarray(self.cells))


def long_chains(design: Design) -> tuple[MarkovChain | None, ...]:
    """Return the Markov chains of a design, of each term and last of the residuals, that are too long for a matrix."""
    chains: list[MarkovChain | None] = []
    for term in (*design.terms, design.residual):
        found = None
        long = term is not None and term.over_positions and term.size > MAX_LEADING_POSITIONS
        if term is not None and long and design.groupings[term.grouping].relation is None:
            coords = np.asarray(term.coords)
            increase = coords.shape[-1] == 1 and bool(np.all(np.diff(coords[..., 0], axis=-1) >= 0))
            found = MarkovChain.of(design, term)[0] if term.structure.is_markov and increase else None
        chains.append(found)
    return tuple(chains)


def _filled(cells: Int[NumpyArray, " _"], size: int) -> Int[NumpyArray, " {size}"]:
    return np.concatenate([cells, np.full(size - cells.size, PAST)]).astype(np.int32)
