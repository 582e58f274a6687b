"""The moments solver for many responses at once, each observed on rows of its own: missing values."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlmm._util import Array, Struct
from jaxlmm.linalg import inverse_logdet, semidefinite_cholesky
from jaxlmm.model import Design
from jaxlmm.solvers.moments.moments import Moments, MomentsBorder, MomentsPair

DEPENDENT = 1e-11
"""A column of which less than this part of its length is left, within a level, depends on the ones before."""


class OwnMoments(Struct):
    """What a response that has rows of its own needs; every leaf has a first axis over the m responses.

    ``solver`` and ``fixed`` are those of the observed rows; ``to_basis`` (p, p) takes coefficients on an orthonormal
    basis of the fixed effects there to the design's; ``logdet`` () is the log-determinant of the products of the
    design's basis there; ``augmented`` is what the response adds, ``least_squares`` (p,) and ``scale`` () its fit's.
    """

    solver: Moments
    fixed: MomentsPair
    augmented: MomentsBorder
    to_basis: jax.Array
    logdet: jax.Array
    least_squares: jax.Array
    scale: jax.Array


class _Levels(NamedTuple):
    """Per column k: orthonormal ``rows`` (N, m); ``triangles`` (m, L, q, q)."""

    rows: list[jax.Array]
    triangles: jax.Array


def moments_by_response(design: Design, solver: Moments, y: Array, present: Array) -> OwnMoments:
    """Prepare responses ``y`` (N, m), zero where missing, on the rows that are ``present`` (N, m), one or zero.

    Arrays over rows have the responses last, so that sums over levels run along contiguous memory.
    """
    present, basis = jnp.asarray(present), jnp.asarray(design.basis)
    levels, p = solver.level_class.shape[0], basis.shape[1]
    codes = jnp.asarray(solver.codes)

    def total(values: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(values, codes, levels)

    z = jnp.concatenate([jnp.asarray(term.z) for term in design.terms], axis=1)
    found = _level_qr(z, codes, levels, present)

    def parted(a: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        own = [total(row * a) for row in found.rows]
        for row, part in zip(found.rows, own, strict=True):
            a = a - row * part[codes]
        return own, a

    columns = [parted(basis[:, i, None] * present) for i in range(p)]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(basis.shape[0], -1)
    gram = (present.T @ products).reshape(-1, p, p)
    inverse, logdet = inverse_logdet(gram)
    # The upper root, as of a QR decomposition: the intercept stays between the levels, and mixes with no other column.
    to_basis = jax.vmap(functools.partial(semidefinite_cholesky, nearest=True))(inverse[:, ::-1, ::-1])[
        :, ::-1, ::-1
    ]  # (m, p, p)

    weighted = jnp.asarray(design.root_weight)[:, None] * (y - jnp.asarray(design.offset)[:, None]) * present
    least_squares, rest = jnp.zeros((y.shape[1], p)), weighted
    for _ in range(2):
        once = jnp.einsum("mij,mi->mj", to_basis, (basis.T @ rest).T)
        least_squares = least_squares + once
        rest = (rest - basis @ jnp.einsum("mij,mj->im", to_basis, once)) * present
    n = jnp.sum(present, axis=0)
    scale = jnp.sqrt(jnp.sum(rest**2, axis=0) / jnp.maximum(n - p, 1.0))
    own, outside = parted(rest / scale[None, :])

    def stacked(parts: list[list[jax.Array]]) -> jax.Array:
        """Stack (L, m) by column of Z and of X into (m, L, q, p)."""
        shape = (levels, len(parts[0]), len(parts), y.shape[1])
        if 0 in shape:
            return jnp.zeros((shape[3], *shape[:3]))
        return jnp.moveaxis(jnp.stack([jnp.stack(part, axis=1) for part in parts], axis=2), -1, 0)

    left = stacked([part for part, _ in columns]) @ to_basis[:, None]
    beyond = [rows for _, rows in columns]
    within = jnp.stack([jnp.stack([jnp.sum(a * b, axis=0) for b in beyond], axis=-1) for a in beyond], axis=-2)
    across = jnp.stack([jnp.sum(a * outside, axis=0) for a in beyond], axis=-1)
    fixed = MomentsPair(to_basis.swapaxes(-1, -2) @ within @ to_basis, None, left, left)
    augmented = MomentsBorder(
        jnp.einsum("mij,mi->mj", to_basis, across), jnp.sum(outside**2, axis=0), None, None, stacked([own])[..., 0]
    )
    m = y.shape[1]
    alone = Moments(
        jnp.zeros((m, 0, z.shape[1])),
        jnp.zeros((m, 0), jnp.int32),
        jnp.broadcast_to(jnp.arange(levels, dtype=jnp.int32), (m, levels)),
        found.triangles,
        jnp.ones((m, levels)),
        pooled=False,
        by_entry=True,
    )
    return OwnMoments(alone, fixed, augmented, to_basis, logdet, least_squares, scale)


def _level_qr(z: jax.Array, codes: jax.Array, levels: int, present: jax.Array) -> _Levels:
    """Return a rank-revealing QR of the present rows of each level, as :func:`jaxlmm.solvers.level_qr.level_qr`."""
    q, m = z.shape[1], present.shape[1]

    def total(values: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(values, codes, levels)

    rows: list[jax.Array] = []
    triangles = jnp.zeros((levels, q, q, m))
    for k in range(q):
        column = z[:, k, None] * present
        length = jnp.sqrt(total(column**2))
        for _ in range(2):
            for earlier in range(k):
                dot = total(rows[earlier] * column)
                triangles = triangles.at[:, earlier, k].add(dot)
                column = column - rows[earlier] * dot[codes]
        rest = jnp.sqrt(total(column**2))
        independent = rest > DEPENDENT * length
        triangles = triangles.at[:, k, k].set(jnp.where(independent, rest, 0.0))
        scaled = jnp.where(independent, 1.0 / jnp.where(independent, rest, 1.0), 0.0)
        rows.append(column * scaled[codes])
    return _Levels(rows, jnp.moveaxis(triangles, -1, 0))
