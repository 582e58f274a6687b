"""Groups of independent clusters of rows, padded to one size, with the dense matrices of their random effects."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct
from jaxlmm.linalg import MAX_SIZE_SWEPT
from jaxlmm.model import Design, Factors
from jaxlmm.solvers.clusters import Cluster, padded_count, rounded, stacked

TermFactor = Float[jax.Array, "q r"] | Float[jax.Array, "G q q"]
"""The factor Λ of a term over columns; over positions, the covariance in each of G blocks, one of all levels or one of
each."""


def between(
    covariance: Float[jax.Array, "L q q"], codes: Int[Array, "B N"], positions: Int[Array, "B N"]
) -> Float[jax.Array, "B N N"]:
    """Return the covariances of positions of a level; (1, q, q) are those of all levels."""
    blocks, positions = jnp.asarray(codes), jnp.asarray(positions)
    blocks = blocks if len(covariance) > 1 else jnp.zeros_like(blocks)
    return covariance[blocks[:, :, None], positions[:, :, None], positions[:, None, :]]


class GroupTerm(Struct):
    """One term in a group of clusters.

    ``columns`` maps the term's independent effects to the cluster's basis; ``levels`` are their levels, past the last
    where padded; ``root`` is a matrix with ``root rootᵀ`` the known matrix across them, or None. ``products`` are the
    derivatives of the covariance on the basis in the q (q + 1) / 2 entries of the upper triangle of the term's
    covariance: q (q + 1) / 2 m² operations, less than with ``columns`` where q is 1, or where a known matrix joins many
    levels; else None.
    """

    columns: Float[Array, "B m L q"]
    levels: Int[Array, "B L"]
    root: Float[Array, "B L L"] | None
    products: Float[Array, "_e B m m"] | None

    def covariance(self, factor: TermFactor) -> Float[jax.Array, "B m m"]:
        """Return the term's covariance ``Uᵀ Z Λ Λᵀ Zᵀ U`` on the basis U."""
        columns = jnp.asarray(self.columns)
        flat = columns.reshape(*columns.shape[:2], -1)
        if self.products is not None:
            entries = (factor @ factor.T)[np.triu_indices(factor.shape[0])]
            return jnp.tensordot(entries, jnp.asarray(self.products), axes=1)
        if factor.ndim == 2:
            spread = (columns @ factor).reshape(*columns.shape[:2], -1)
            return spread @ spread.swapaxes(-1, -2)
        if len(factor) == 1:
            spread = columns @ factor[0]
        else:
            spread = jnp.einsum("bmlq,blqr->bmlr", columns, self.by_level(factor))
        return spread.reshape(*columns.shape[:2], -1) @ flat.swapaxes(-1, -2)

    def by_level(self, factor: TermFactor) -> Float[jax.Array, "_ _ q r"]:
        """Return the factor, or the covariance, of each cluster and level: (1, 1, q, r) if it is the same of all."""
        if factor.ndim == 2:
            return factor[None, None]
        return factor[None] if len(factor) == 1 else factor.at[self.levels].get(mode="fill", fill_value=0.0)


class ClusterGroup(Struct):
    """A group of B clusters of similar size, padded to N rows.

    ``index`` are row numbers, ``basis`` an orthonormal basis of the range of the random effects' columns (zero on
    padding; the identity under a residual structure), ``levels`` and ``positions`` those of the residual structure.
    """

    index: Int[Array, "B N"]
    basis: Float[Array, "B N m"]
    terms: tuple[GroupTerm, ...]
    levels: Int[Array, "B N"] | None
    positions: Int[Array, "B N"] | None

    def covariance(self, factors: Factors) -> Float[jax.Array, "B m m"]:
        """Return H on the basis of each cluster, the identity on padding."""
        size = self.basis.shape[-1]
        total = jnp.broadcast_to(jnp.eye(size), (self.basis.shape[0], size, size))
        if self.levels is not None and self.positions is not None and factors.residual is not None:
            levels = jnp.asarray(self.levels)
            own = between(factors.residual, levels, self.positions)
            real = (self.basis.sum(axis=1) > 0)[:, None, :]
            together = (levels[:, :, None] == levels[:, None, :]) & real
            total = jnp.where(together & together.swapaxes(-1, -2), own, total)
        for term, factor in zip(self.terms, factors.terms, strict=True):
            total = total + term.covariance(factor)
        return total

    def reweighted(self, root_weight: Float[jax.Array, " _rows"]) -> Self:
        """Return the group with rows multiplied by ``root_weight``, on the basis of the rows that the old one spans."""
        basis = jnp.asarray(self.basis)
        weight = root_weight[self.index]
        spanned = jnp.any(basis != 0, axis=2).astype(basis.dtype)
        terms = tuple(
            term.replace(
                columns=jnp.einsum("bnm,bmlq,bn->bnlq", basis, term.columns, weight),
                products=None
                if term.products is None
                else jnp.einsum("bnm,ebmk,bjk,bn,bj->ebnj", basis, term.products, basis, weight, weight, optimize=True),
            )
            for term in self.terms
        )
        return self.replace(basis=spanned[:, :, None] * jnp.eye(basis.shape[1], dtype=basis.dtype)[None], terms=terms)


def _products(columns: Float[NumpyArray, "B m L q"]) -> Float[NumpyArray, "_e B m m"]:
    """Return the products of ``columns``: one for each entry of a covariance's triangle."""
    products = []
    for i, j in zip(*np.triu_indices(columns.shape[-1]), strict=True):
        product = columns[..., i] @ columns[..., j].swapaxes(-1, -2)
        products.append(product if i == j else product + product.swapaxes(-1, -2))
    return np.stack(products)


def group_of(design: Design, clusters: list[Cluster], shape: tuple[int, int] | None = None) -> ClusterGroup:
    """Pad clusters to one size and stack them; ``shape``, if it is known, is their number and that of their rows."""
    n, m = (rounded(max(max(c.basis.shape[axis] for c in clusters), 1)) for axis in (0, 1))
    if design.residual_is_white:  # small clusters share one shape; with bases of the rows m is n, at a cost of n³
        n = max(n, MAX_SIZE_SWEPT)
    count = padded_count(len(clusters), m)
    if shape is not None:
        count, n, m = (*shape, shape[1])
    index = stacked([cluster.rows.astype(np.int32) for cluster in clusters], count, (n,))
    terms = []
    for t, term in enumerate(design.terms):
        parts = [cluster.terms[t] for cluster in clusters]
        wide = rounded(max(part.levels.size for part in parts))
        columns = [
            (c.basis.T @ p.columns.reshape(c.rows.size, -1)).reshape(-1, *p.columns.shape[1:])
            for c, p in zip(clusters, parts, strict=True)
        ]
        levels = stacked([p.levels.astype(np.int32) for p in parts], count, (wide,), fill=design.n_padded + 1)
        roots = [part.root for part in parts if part.root is not None]
        root = stacked(roots, count, (wide, wide)) if roots else None
        padded = stacked(columns, count, (m, wide, term.size))
        products = None if term.over_positions or (term.size > 1 and root is None) else _products(padded)
        terms.append(GroupTerm(padded, levels, root, products))
    residual_levels: NumpyArray | None = None
    residual_positions: NumpyArray | None = None
    if design.residual is not None:
        residual_levels = np.asarray(design.groupings[design.residual.grouping].codes)[index]
        residual_positions = np.asarray(design.residual.positions)[index]
    basis = stacked([cluster.basis for cluster in clusters], count, (n, m))
    return ClusterGroup(index, basis, tuple(terms), residual_levels, residual_positions)
