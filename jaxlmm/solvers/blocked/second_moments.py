"""Rough covariances of all grouping factors at once, by matching second moments of least-squares residuals."""

from __future__ import annotations

import itertools
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, bucket, is_traced, static
from jaxlmm.model import Design

MIN_RESIDUAL_SHARE = 1e-3
"""A guess takes the residual variance to be at least this share of the mean square of the residuals: the equations
may make it negative."""


class SecondMoments(Struct):
    """Moment equations for the covariances, from residuals e = S y, S = I − QQᵀ with Q the fixed effects' basis.

    With ``Z_ga`` (n, L) the columns of Z for column a of grouping g, one per level, ``σ² G_h`` the covariance of the
    columns of grouping h, and ``A : B = Σ_ij A_ij B_ij``,

        ``E Σ_j (Z_gaᵀe)_j (Z_gbᵀe)_j = σ² tr(Z_gaᵀ S Z_gb) + σ² Σ_hcd G_h[c,d] (Z_gaᵀ S Z_hc) : (Z_gbᵀ S Z_hd)``

    and ``E eᵀe`` likewise: linear equations, solved on the host (MINQUE(0), Rao 1971). ``solution`` takes the
    t moments, grouping by grouping (q · q each) and last ``eᵀe``, to ``σ² G`` in the same order and σ². Per grouping:
    its ``columns`` and ``codes``, the ``order`` of its columns (their indices among those of all terms), and the padded
    number of its ``levels``.
    """

    columns: tuple[Float[Array, "N _q"], ...]
    codes: tuple[Int[Array, " N"], ...]
    solution: Float[Array, "t t"]
    order: tuple[tuple[int, ...], ...] = static()
    levels: tuple[int, ...] = static()

    @classmethod
    def of(cls, design: Design, groupings: dict[int, tuple[int, ...]]) -> Self:
        """Return the equations of a design; ``groupings`` maps a grouping's number to those of the terms on it."""
        n = int(design.n)
        firsts = np.cumsum([0, *(term.size for term in design.terms)])
        order = tuple(tuple(c for t in terms for c in range(firsts[t], firsts[t + 1])) for terms in groupings.values())
        columns = [
            np.concatenate([np.asarray(design.terms[t].z) for t in terms], axis=1) for terms in groupings.values()
        ]
        codes = [np.asarray(design.groupings[g].codes) for g in groupings]
        levels = [int(design.groupings[g].n_levels) for g in groupings]
        # For a rough guess, traced fixed effects, which have no numbers, may take nothing away.
        basis = np.zeros((n, design.basis.shape[1])) if is_traced(design.basis) else np.asarray(design.basis)[:n]
        sides = [_Side.of(z[:n], code[:n], count, basis) for z, code, count in zip(columns, codes, levels, strict=True)]
        rows: list[list[NumpyArray]] = []
        for i, one in enumerate(sides):  # symmetric: blocks below the diagonal are transposes
            rows.append([rows[j][i].T for j in range(i)] + [_products(one, other) for other in sides[i:]])
        traces = [side.trace.reshape(-1) for side in sides]
        for i, trace in enumerate(traces):
            rows[i].append(trace[:, None])
        free = np.array([[max(n - basis.shape[1], 1)]], float)
        system = np.block([*rows, [*(trace[None, :] for trace in traces), free]])
        scale = 1.0 / np.sqrt(np.maximum(np.diagonal(system), 1e-300))
        solution = scale[:, None] * np.linalg.pinv(scale[:, None] * system * scale, rcond=1e-10) * scale
        return cls(tuple(columns), tuple(codes), solution, order, tuple(bucket(count, 64) for count in levels))

    def without_rows(self) -> Self:
        """Return the equations alone, by which moments are solved."""
        return self.replace(
            columns=tuple(np.zeros((0, columns.shape[1])) for columns in self.columns),
            codes=tuple(np.zeros(0, codes.dtype) for codes in self.codes),
        )

    def observe(self, e: Float[Array, "N m"]) -> Float[jax.Array, "m t"]:
        """Return the t moments of each response, from its residuals ``e``."""
        e, moments = jnp.asarray(e), []
        for z, codes, size in zip(self.columns, self.codes, self.levels, strict=True):
            scores = jnp.stack([jax.ops.segment_sum(column[:, None] * e, codes, size) for column in jnp.asarray(z).T])
            moments.append(jnp.einsum("alm,blm->mab", scores, scores).reshape(e.shape[1], -1))
        return jnp.concatenate([*moments, jnp.sum(e**2, axis=0)[:, None]], axis=1)

    def guess(self, moments: Float[jax.Array, " t"], count: Float[jax.Array, ""]) -> Float[jax.Array, "q q"]:
        """Return the covariance of the q columns of all terms, relative to σ², from ``moments`` of ``count`` rows."""
        solved = jnp.asarray(self.solution) @ moments
        smallest = MIN_RESIDUAL_SHARE * moments[-1] / jnp.maximum(count, 1.0)
        relative = solved[:-1] / jnp.maximum(solved[-1], smallest)
        size = sum(len(columns) for columns in self.order)
        covariance = jnp.zeros((size, size), relative.dtype)
        start = 0
        for columns in self.order:
            block = relative[start : start + len(columns) ** 2].reshape(len(columns), len(columns))
            index = np.array(columns)
            covariance = covariance.at[index[:, None], index[None, :]].set(0.5 * (block + block.T))
            start += block.size
        return covariance


class _Side(Struct):
    """The columns of one grouping and ``codes`` of its levels, by row; ``fixed`` are ``Z_aᵀ Q``, level by level."""

    columns: Float[NumpyArray, "n q"]
    codes: Int[NumpyArray, " n"]
    fixed: Float[NumpyArray, "L q p"]

    @classmethod
    def of(
        cls,
        columns: Float[NumpyArray, "n q"],
        codes: Int[NumpyArray, " n"],
        levels: int,
        basis: Float[NumpyArray, "n p"],
    ) -> Self:
        """Return the columns with their products with the ``basis`` Q."""
        fixed = np.stack(
            [
                np.stack([np.bincount(codes, z * x, minlength=levels) for x in basis.T], axis=1)
                if basis.shape[1]
                else np.zeros((levels, 0))
                for z in columns.T
            ],
            axis=1,
        )
        return cls(columns, codes, fixed)

    @property
    def trace(self) -> Float[NumpyArray, "q q"]:
        """``tr(Z_aᵀ S Z_b)`` for all pairs of columns a and b."""
        square = np.einsum("ka,kb->ab", self.columns, self.columns)
        trace: NumpyArray = square - np.einsum("lap,lbp->ab", self.fixed, self.fixed)
        return trace


def _products(one: _Side, other: _Side) -> Float[NumpyArray, "_qq _rr"]:
    """Return ``(Z_aᵀ S Z_c) : (Z_bᵀ S Z_d)``, rows by (a, b), columns by (c, d).

    ``Z_aᵀ S Z_c`` is the sparse ``Z_aᵀ Z_c`` less ``(Z_aᵀ Q)(Qᵀ Z_c)``, which has low rank.
    """
    q, r = one.columns.shape[1], other.columns.shape[1]
    shape = (one.fixed.shape[0], other.fixed.shape[0])
    cells = {}
    for a, c in itertools.product(range(q), range(r)):
        values = one.columns[:, a] * other.columns[:, c]
        cells[a, c] = scipy.sparse.coo_array((values, (one.codes, other.codes)), shape=shape).tocsr()
    products = np.zeros((q, q, r, r))
    row = np.repeat(np.arange(shape[0]), np.diff(cells[0, 0].indptr))
    column = cells[0, 0].indices
    low = np.einsum("kap,kcp->ack", one.fixed[row], other.fixed[column])
    gram_one = np.einsum("lap,lbm->abpm", one.fixed, one.fixed)
    gram_other = np.einsum("lcp,ldm->cdpm", other.fixed, other.fixed)
    for a, b, c, d in itertools.product(range(q), range(q), range(r), range(r)):
        first, second = cells[a, c].data, cells[b, d].data
        sparse = np.sum(first * second - first * low[b, d] - second * low[a, c])
        products[a, b, c, d] = sparse + np.sum(gram_one[a, b] * gram_other[c, d])
    return products.reshape(q * q, r * r)
