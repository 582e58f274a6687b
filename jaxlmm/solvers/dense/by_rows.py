"""The dense solver where values are traced: matrices of clusters by rows, from a design's incidence alone."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, Struct
from jaxlmm.errors import OptionError
from jaxlmm.model import Design, Factors, Relation, Term
from jaxlmm.solvers.base import Effects
from jaxlmm.solvers.clusters import clusters_of, padded_count, rounded, similar, stacked
from jaxlmm.solvers.dense.dense import MAX_ROWS_OF_CLUSTER, Dense
from jaxlmm.solvers.dense.group import TermFactor, between
from jaxlmm.solvers.dense.records import DenseFactor


class RowTerm(Struct):
    """One term in B clusters of N rows.

    ``z`` are its columns by row, zero on padding, ``codes`` and ``positions`` those of the rows; ``known`` the entries
    of a known matrix between them, or None.
    """

    z: Float[Array, "B N q"]
    codes: Int[Array, "B N"]
    positions: Int[Array, "B N"] | None
    known: Float[Array, "B N N"] | None

    def covariance(self, factor: TermFactor) -> Float[jax.Array, "B N N"]:
        """Return the term's covariance in the rows, times the known matrix."""
        z = jnp.asarray(self.z)
        if self.positions is None:
            spread = z @ factor
            total = spread @ spread.swapaxes(-1, -2)
        else:
            total = z * between(factor, self.codes, self.positions) * z.swapaxes(-1, -2)
        if self.known is not None:
            return total * self.known
        return jnp.where(self.codes[:, :, None] == self.codes[:, None, :], total, 0.0)


class RowGroup(Struct):
    """A group of B clusters, padded to N rows with numbers ``index``, of which some are ``real``.

    ``levels`` and ``positions`` are those of the residual structure.
    """

    index: Int[Array, "B N"]
    real: Bool[Array, "B N"]
    terms: tuple[RowTerm, ...]
    levels: Int[Array, "B N"] | None
    positions: Int[Array, "B N"] | None

    def covariance(self, factors: Factors) -> Float[jax.Array, "B N N"]:
        """Return H of each cluster, the identity on padding."""
        total = jnp.broadcast_to(jnp.eye(self.index.shape[1]), (*self.index.shape, self.index.shape[1]))
        if self.levels is not None and self.positions is not None and factors.residual is not None:
            together = (self.levels[:, :, None] == self.levels[:, None, :]) & self.real[:, :, None]
            own = between(factors.residual, self.levels, self.positions)
            total = jnp.where(together & self.real[:, None, :], own, total)
        for term, factor in zip(self.terms, factors.terms, strict=True):
            total = total + term.covariance(factor)
        return total

    def reweighted(self, root_weight: Float[jax.Array, " _rows"]) -> Self:
        """Return the group with rows multiplied by ``root_weight``."""
        weight = root_weight[self.index][..., None]
        return self.replace(terms=tuple(term.replace(z=jnp.asarray(term.z) * weight) for term in self.terms))


class DenseByRows(Dense):
    """The dense solver on the rows themselves, for weights, columns of Z and known matrices that JAX traces.

    Nothing is decomposed beforehand: the covariance of each cluster is formed from these arrays at each theta, so that
    it is a function of them, with derivatives. The clusters are those of the design's incidence. Adding the identity to
    large variances costs the digits of their ratio, which a basis of the random effects' columns would not.
    """

    groups: tuple[RowGroup, ...]  # type: ignore[assignment]

    @classmethod
    def build(cls, design: Design) -> Self:
        """Arrange the rows of a design whose values may be traced, but not its incidence."""
        clusters = clusters_of(_plain(design))
        largest = max(rows.size for rows in clusters)
        if largest > MAX_ROWS_OF_CLUSTER:
            raise OptionError(
                f"design: with traced weights, columns of Z or known matrices, the rows of a cluster are inverted "
                f"together; expected clusters of at most {MAX_ROWS_OF_CLUSTER:,} dependent rows, got {largest:,} of "
                f"{int(design.n):,}. Close over these values, and trace X, y, offset or a structure's fields alone."
            )
        sizes = np.array([rows.size for rows in clusters])
        groups = tuple(_group(design, [clusters[index] for index in group]) for group in similar(sizes, 0.6, 8))
        return cls(groups, False, design.residual is None and all(not term.over_positions for term in design.terms))

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        return [(group.index.shape[0], group.index.shape[1]) for group in self.groups]

    def _on_bases(self, a: Float[jax.Array, "N i"]) -> list[Float[jax.Array, "_B _m i"]]:
        return [jnp.where(group.real[..., None], a[group.index], 0.0) for group in self.groups]

    def effects(
        self, design: Design, factors: Factors, factor: DenseFactor, residual: Float[jax.Array, " N"]
    ) -> Effects:
        raise NotImplementedError("modes of random effects are computed from numbers")


def largest_cluster(design: Design) -> int:
    """Return the number of rows of the largest cluster of a design, of which values may be traced."""
    return max(rows.size for rows in clusters_of(_plain(design)))


def _plain(design: Design) -> Design:
    """Return the design with known matrices in numbers, zero where they are."""
    return design.replace(groupings=tuple(one.replace(relation=_ones(one.relation)) for one in design.groupings))


def _ones(relation: Relation | None) -> Relation | None:
    return None if relation is None else relation.replace(values=np.ones(relation.values.shape))


def _group(design: Design, clusters: list[Int[NumpyArray, " _"]]) -> RowGroup:
    """Pad clusters to one size and stack them."""
    size = rounded(max(rows.size for rows in clusters))
    count = padded_count(len(clusters), size)
    index = stacked([rows.astype(np.int32) for rows in clusters], count, (size,))
    real = stacked([np.ones(rows.size, bool) for rows in clusters], count, (size,))
    terms = tuple(_term(design, term, index, real) for term in design.terms)
    if design.residual is None:
        return RowGroup(index, real, terms, None, None)
    levels = np.asarray(design.groupings[design.residual.grouping].codes)[index]
    return RowGroup(index, real, terms, levels, np.asarray(design.residual.positions)[index])


def _term(design: Design, term: Term, index: Int[NumpyArray, "B N"], real: Bool[NumpyArray, "B N"]) -> RowTerm:
    grouping = design.groupings[term.grouping]
    codes, relation = np.asarray(grouping.codes)[index], grouping.relation
    z = jnp.where(real[..., None], jnp.asarray(term.z)[index], 0.0)
    positions = None if term.positions is None else np.asarray(term.positions)[index]
    if relation is None:
        return RowTerm(z, codes, positions, None)
    values = jnp.asarray(relation.values).reshape(-1)
    return RowTerm(z, codes, positions, jnp.pad(values, (1, 0))[_entries(relation, codes)])


def _entries(relation: Relation, codes: Int[NumpyArray, "B N"]) -> Int[NumpyArray, "B N N"]:
    """Return which entry of a known matrix, from 1 on, is that between two rows; 0 for a zero that is not stored."""
    if relation.starts is None:
        size = relation.size
        return 1 + codes[:, :, None].astype(np.int64) * size + codes[:, None, :]
    columns = np.asarray(relation.columns)
    number = scipy.sparse.csr_array(
        (np.arange(1, columns.size + 1), columns, np.asarray(relation.starts)),
        shape=(relation.size, relation.size),
    )
    return np.stack([number[own][:, own].toarray() for own in codes])
