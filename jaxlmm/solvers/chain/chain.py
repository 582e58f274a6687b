"""The solver for one first-order Markov chain along positions: recurrences, in time linear in the rows."""

from __future__ import annotations

from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, bucket, pad, static
from jaxlmm.model import ChainFactor, Design, Factors, MarkovChain
from jaxlmm.solvers.base import AbstractSolver, Effects, QuadraticForms
from jaxlmm.solvers.chain.effects import effects_along
from jaxlmm.solvers.chain.kinds import beyond_a_chain, chain_of, column_terms, largest_cluster
from jaxlmm.solvers.chain.levels import LevelEffects
from jaxlmm.solvers.chain.records import Along, ChainAugmented, ChainFactored, ChainProducts
from jaxlmm.solvers.chain.whitening import Filtered, Observed

MIN_ROWS_OF_CLUSTER = 16
"""Rows of the largest cluster from which recurrences over all rows cost less than dense matrices of the clusters."""

MAX_ENTRIES_IN_PARALLEL = 2**19
"""Entries of the columns along the chain beyond which evaluations follow one another."""


class Chain(AbstractSolver):
    """One first-order Markov chain along positions, of the residuals or of a random term, and columns of whole chains.

    The chains of all levels are one, without a link where a level begins. T whitens it: where the residuals are the
    chain, ``Tᵀ T = R⁻¹`` and T has two diagonals; where a random term is, ``Tᵀ T`` is the inverse of
    ``I + Qᵀ Z K Zᵀ Q`` on the basis Q of its columns, and T is a Kalman filter
    (:class:`~jaxlmm.solvers.chain.whitening.Filtered`); off Q, H is the identity. Effects of columns, on levels that
    contain whole chains, are those of a model with white rows:

        ``AᵀH⁻¹B = (TA − TZΛ Û_A)ᵀ (TB − TZΛ Û_B) + Û_Aᵀ Û_B``,  ``Û_A = (I + ΛᵀZᵀTᵀTZΛ)⁻¹ ΛᵀZᵀTᵀTA``

    level by level. Nothing is subtracted from a sum, so nothing cancels at any variance ratio. One theta costs as many
    operations as there are rows, times p.
    """

    name: ClassVar[str] = "chain"
    takes_links: ClassVar[bool] = True

    chain: MarkovChain
    node: Int[Array, "*b N"]  # of each row; past the last where padded
    row: Int[Array, "*b R"]  # the one row of each node, of residuals; past the last where padded
    loading: Float[Array, "*b N"]  # the entry of Z of each row, 1 of residuals
    root: Float[Array, "*b M"]  # the length of the column of Z of each node
    z: Float[Array, "*b N q"]  # the columns of all terms over columns
    columns: Along  # the same along the chain
    codes: Int[Array, "*b r"]  # their levels, of the nodes and then of the rows outside; past the last where padded
    n_levels: int = static()  # padded
    n_terms: int = static()
    term: int = static()  # the number of the chain's term, n_terms of residuals
    members: tuple[int, ...] = static()  # the terms over columns
    has_outside: bool = static()  # whether any row may have a part outside the nodes' columns

    @classmethod
    def unsuitable(cls, design: Design) -> str:
        why = beyond_a_chain(design)
        takes = (
            "one Markov chain along positions, as ou(time | g), of a random term or of the residuals, and columns on "
            "one group of whole chains"
        )
        return f"{why}; it takes {takes}" if why else ""

    @classmethod
    def pays(cls, design: Design) -> bool:
        return largest_cluster(design) >= MIN_ROWS_OF_CLUSTER

    @classmethod
    def reason(cls, design: Design) -> str:
        what = "residuals along a Markov chain" if design.residual is not None else "a Markov chain along positions"
        return f"{what}; longest series {largest_cluster(design)} rows"

    @property
    def sequential(self) -> bool:
        return (np.shape(self.node)[-1] + np.shape(self.root)[-1]) * 8 > MAX_ENTRIES_IN_PARALLEL

    @property
    def chains(self) -> tuple[MarkovChain | None, ...]:
        return tuple(self.chain if number == self.term else None for number in range(self.n_terms + 1))

    @classmethod
    def build(cls, design: Design) -> Self:
        n, padded, (term, number) = int(design.n), design.n_padded, chain_of(design)
        members = column_terms(design)
        chain, node = MarkovChain.of(design, term)
        m = chain.cells.size
        loading = np.asarray(term.z)[:n, 0]
        z = np.concatenate([np.zeros((padded, 0)), *(np.asarray(design.terms[t].z) for t in members)], axis=1)
        row = np.full(m, padded, np.int32)
        row[node] = np.arange(n)
        squares = np.bincount(node, loading**2, minlength=m)
        has_outside = design.residual is None and bool(np.bincount(node).max() > 1 or (loading == 0).any())
        codes, n_levels = np.zeros(0, np.int32), 0
        if members:
            grouping = design.groupings[design.terms[members[0]].grouping]
            n_levels = bucket(int(grouping.n_levels), 16)
            codes = np.full(m + padded * has_outside, n_levels, np.int32)
            codes[node] = np.asarray(grouping.codes)[:n]
            codes[m : m + n * has_outside] = np.asarray(grouping.codes)[: n * has_outside]
        none = Along(np.zeros((m, z.shape[1])), np.zeros((0, z.shape[1])))
        full = np.full(padded, m, np.int32)
        full[:n] = node
        solver = cls(
            chain, full, row, pad(loading, padded), np.sqrt(squares), z, none, codes, n_levels, len(design.terms),
            number, members, has_outside,
        )  # fmt: skip
        return solver.replace(columns=solver._columns_on_host(n))

    def _columns_on_host(self, n: int) -> Along:
        """Return what :meth:`_along` does of the columns z, on the host."""
        z, node = np.asarray(self.z)[:n], np.asarray(self.node)[:n]
        unit = np.asarray(self.loading)[:n] / np.where(self.root > 0, self.root, 1.0)[node]
        nodes = np.zeros((np.shape(self.root)[0], z.shape[1]))
        np.add.at(nodes, node, unit[:, None] * z)
        outside = np.zeros((np.shape(self.z)[0] if self.has_outside and self.members else 0, z.shape[1]))
        if len(outside):
            outside[:n] = z - unit[:, None] * nodes[node]
        return Along(nodes, outside)

    def without_rows(self) -> Self:
        none: NumpyArray = np.zeros(0, np.int32)
        return self.replace(node=none, row=none, loading=np.zeros(0), z=np.zeros((0, self.z.shape[1])))

    def reweighted(self, root_weight: Float[Array, " N"]) -> Self:
        weight = jnp.asarray(root_weight)
        solver = self.replace(z=weight[:, None] * self.z)
        if self.term < self.n_terms:
            loading = weight * self.loading
            square = jnp.zeros(self.root.shape).at[self.node].add(jnp.square(loading), mode="drop")
            positive = square > 0
            root = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)
            solver = solver.replace(loading=loading, root=root)
        return solver.replace(columns=solver._along(solver.z)[0])

    def _along(self, a: Float[jax.Array, "N i"]) -> tuple[Along, Float[jax.Array, "r i"]]:
        """Return columns along the chain, and their part outside of it."""
        if self.term == self.n_terms:
            none = jnp.zeros((0, a.shape[1]))
            return Along(a.at[self.row].get(mode="fill", fill_value=0.0), none), none
        root = jnp.asarray(self.root)
        inverse_root = 1.0 / jnp.where(root > 0, root, 1.0)
        unit = self.loading * inverse_root.at[self.node].get(mode="fill", fill_value=0.0)
        nodes = jnp.zeros((root.shape[0], a.shape[1])).at[self.node].add(unit[:, None] * a, mode="drop")
        if not self.has_outside:
            none = jnp.zeros((0, a.shape[1]))
            return Along(nodes, none), none
        outside = a - unit[:, None] * nodes.at[self.node].get(mode="fill", fill_value=0.0)
        return Along(nodes, outside if self.members else outside[:0]), outside[: 0 if self.members else None]

    def cross_products(self, a: Float[Array, "N i"], b: Float[Array, "N j"]) -> ChainProducts:
        left, outside = self._along(jnp.asarray(a))
        if a is b:
            return ChainProducts(left, None, outside.T @ outside)
        right, other = self._along(jnp.asarray(b))
        return ChainProducts(left, right, outside.T @ other)

    def augmented(self, a: Float[Array, "N i"], e: Float[Array, "N m"]) -> ChainAugmented:
        _, outside = self._along(jnp.asarray(a))
        right, other = self._along(jnp.asarray(e))
        first = Along(*(jnp.moveaxis(part, -1, 0)[..., None] for part in right))
        return ChainAugmented(first, other.T @ outside, jnp.sum(other**2, axis=0))

    def factor(self, factors: Factors) -> ChainFactored:
        own = factors.residual if self.term == self.n_terms else factors.terms[self.term]
        assert isinstance(own, ChainFactor)
        links = own.links
        whitening = Observed(links) if self.term == self.n_terms else Filtered.of(links, self.root)
        logdet = whitening.logdet()
        if not self.members:
            return ChainFactored(whitening, None, logdet)
        z = _white(whitening, Along(*map(jnp.asarray, self.columns)))
        levels = LevelEffects.of(z, jnp.asarray(self.codes), factors.joint(self.members), self.n_levels)
        return ChainFactored(whitening, levels, logdet + levels.logdet)

    def logdet(self, factor: ChainFactored) -> Float[jax.Array, ""]:
        return factor.logdet

    def inner(self, factor: ChainFactored, products: ChainProducts) -> Float[jax.Array, "i j"]:
        left = _parts(factor, products.left)
        right = left if products.right is None else _parts(factor, products.right)
        return products.outside + _inner(left, right)

    def quadratic_forms(
        self, factor: ChainFactored, products: ChainProducts, augmented: ChainAugmented
    ) -> QuadraticForms:
        i = products.left.nodes.shape[1]
        both = Along(*(jnp.concatenate(pair, axis=1) for pair in zip(products.left, augmented.right, strict=True)))
        parts = _parts(factor, both)
        total = _inner(parts, parts)
        return products.outside + total[:i, :i], augmented.outside + total[:i, i], augmented.square + total[i, i]

    def effects(
        self, design: Design, factors: Factors, factor: ChainFactored, residual: Float[jax.Array, " N"]
    ) -> Effects:
        along, _ = self._along(residual[:, None])
        chain = None if self.term == self.n_terms else self.chain
        return effects_along(design, factors, factor, along, Along(*self.columns), self.root, chain, self.members)


def _white(whitening: Observed | Filtered, along: Along) -> Float[jax.Array, "r i"]:
    """Return whitened nodes, then the rows outside, which are white."""
    white = whitening.whitened(along.nodes)
    return jnp.concatenate([white, along.outside]) if along.outside.shape[0] else white


def _parts(factor: ChainFactored, along: Along) -> tuple[Float[jax.Array, "r i"], Float[jax.Array, "s i"]]:
    """Return two matrices with the sum of whose inner products is ``AᵀH⁻¹A``, off the cross-products outside."""
    white = _white(factor.whitening, along)
    if factor.levels is None:
        return white, jnp.zeros((0, white.shape[1]))
    modes = factor.levels.modes(white)
    return factor.levels.left(white, modes), modes.reshape(-1, white.shape[1])


def _inner(
    left: tuple[Float[jax.Array, "r i"], Float[jax.Array, "s i"]],
    right: tuple[Float[jax.Array, "r j"], Float[jax.Array, "s j"]],
) -> Float[jax.Array, "i j"]:
    return left[0].T @ right[0] + left[1].T @ right[1]
