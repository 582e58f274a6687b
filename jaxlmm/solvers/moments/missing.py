"""The moments solver with missing values: many responses at once, each observed on rows of its own."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxlmm._util import Array
from jaxlmm.linalg import inverse_logdet, semidefinite_cholesky
from jaxlmm.model import Design
from jaxlmm.solvers.level_qr import DEPENDENT_SHARE_OF_LENGTH
from jaxlmm.solvers.moments.records import MomentsAugmented, MomentsProducts

MIN_SHARING_A_PATTERN = 32
"""With at least this many responses, a pattern of missing values is worth a design of its own."""


class MomentsByResponse(NamedTuple):
    """The triangles R_j of all levels, cross-products and least-squares fits of m responses, each on its own rows."""

    triangles: Float[jax.Array, "m L q q"]
    fixed: MomentsProducts
    augmented: MomentsAugmented
    least_squares: Float[jax.Array, "m p"]
    scale: Float[jax.Array, " m"]


class _LevelQR(NamedTuple):
    """The QR decompositions by response and level: ``rows`` has an array for each column of Q, zero where missing."""

    rows: list[Float[jax.Array, "N m"]]
    triangles: Float[jax.Array, "m L q q"]


def moments_by_response(
    design: Design, codes: Int[Array, " N"], levels: int, y: Float[Array, "N m"], present: Float[Array, "N m"]
) -> tuple[MomentsByResponse, Float[jax.Array, "m p p"], Float[jax.Array, " m"]]:
    """Prepare responses as :meth:`jaxlmm.solvers.AbstractSolver.by_response` says; ``codes`` are the rows' levels.

    Arrays over rows have the responses last, so that sums over levels run along contiguous memory.
    """
    present, basis = jnp.asarray(present), jnp.asarray(design.basis)
    codes, p = jnp.asarray(codes), basis.shape[1]

    def total(values: Float[jax.Array, "N m"]) -> Float[jax.Array, "L m"]:
        return jax.ops.segment_sum(values, codes, levels)

    z = jnp.concatenate([jnp.asarray(term.z) for term in design.terms], axis=1)
    qr = _level_qr(z, codes, levels, present)

    def split(a: Float[jax.Array, "N m"]) -> tuple[list[Float[jax.Array, "L m"]], Float[jax.Array, "N m"]]:
        """Return ``Q_jᵀ a``, a list over the columns of Q, and ``a − QQᵀa``, of a column a for each response."""
        projected = [total(row * a) for row in qr.rows]
        for row, part in zip(qr.rows, projected, strict=True):
            a = a - row * part[codes]
        return projected, a

    columns = [split(basis[:, i, None] * present) for i in range(p)]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(basis.shape[0], -1)
    gram = (present.T @ products).reshape(-1, p, p)
    inverse, logdet = inverse_logdet(gram)
    # Upper triangular, as in a QR decomposition: an intercept, the first column, is only scaled, and keeps no part
    # outside the levels' bases. The factor of the inverse with rows and columns reversed, reversed again.
    roots = jax.vmap(functools.partial(semidefinite_cholesky, nearest=True))(inverse[:, ::-1, ::-1])
    to_basis = roots[:, ::-1, ::-1]

    weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None]) * present
    least_squares, residual = jnp.zeros((y.shape[1], p)), weighted
    for _ in range(2):  # the second round takes away the rounding of the first
        change = jnp.einsum("mij,mi->mj", to_basis, (basis.T @ residual).T)
        least_squares = least_squares + change
        residual = (residual - basis @ jnp.einsum("mij,mj->im", to_basis, change)) * present
    n = jnp.sum(present, axis=0)
    scale = jnp.sqrt(jnp.sum(residual**2, axis=0) / jnp.maximum(n - p, 1.0))
    right, outside_e = split(residual / scale[None, :])

    def stacked(parts: list[list[Float[jax.Array, "L m"]]]) -> Float[jax.Array, "m L q p"]:
        """Stack ``parts[i][k]``, of column i of X (or of the response) and k of Q, in the last two axes."""
        shape = (levels, len(parts[0]), len(parts), y.shape[1])
        if 0 in shape:
            return jnp.zeros((shape[3], *shape[:3]))
        return jnp.moveaxis(jnp.stack([jnp.stack(part, axis=1) for part in parts], axis=2), -1, 0)

    left = stacked([part for part, _ in columns]) @ to_basis[:, None]
    outside_x = [rows for _, rows in columns]
    squares = jnp.stack([jnp.stack([jnp.sum(a * b, axis=0) for b in outside_x], axis=-1) for a in outside_x], axis=-2)
    cross = jnp.stack([jnp.sum(a * outside_e, axis=0) for a in outside_x], axis=-1)
    fixed = MomentsProducts(to_basis.swapaxes(-1, -2) @ squares @ to_basis, None, left, left)
    augmented = MomentsAugmented(
        jnp.einsum("mij,mi->mj", to_basis, cross), jnp.sum(outside_e**2, axis=0), None, None, stacked([right])[..., 0]
    )
    return MomentsByResponse(qr.triangles, fixed, augmented, least_squares, scale), to_basis, logdet


def _level_qr(
    z: Float[jax.Array, "N q"], codes: Int[jax.Array, " N"], levels: int, present: Float[jax.Array, "N m"]
) -> _LevelQR:
    """Return :func:`jaxlmm.solvers.level_qr.level_qr` of the present rows, for each response."""
    q, m = z.shape[1], present.shape[1]

    def total(values: Float[jax.Array, "N m"]) -> Float[jax.Array, "L m"]:
        return jax.ops.segment_sum(values, codes, levels)

    rows: list[Float[jax.Array, "N m"]] = []
    triangles = jnp.zeros((levels, q, q, m))
    for k in range(q):  # Gram-Schmidt with reorthogonalization
        column = z[:, k, None] * present
        length = jnp.sqrt(total(column**2))
        for _ in range(2):
            for earlier in range(k):
                dot = total(rows[earlier] * column)
                triangles = triangles.at[:, earlier, k].add(dot)
                column = column - rows[earlier] * dot[codes]
        remaining = jnp.sqrt(total(column**2))
        independent = remaining > DEPENDENT_SHARE_OF_LENGTH * length
        triangles = triangles.at[:, k, k].set(jnp.where(independent, remaining, 0.0))
        scaled = jnp.where(independent, 1.0 / jnp.where(independent, remaining, 1.0), 0.0)
        rows.append(column * scaled[codes])
    return _LevelQR(rows, jnp.moveaxis(triangles, -1, 0))
