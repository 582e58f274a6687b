"""Compiled functions of marker columns in a model of any covariance: gᵀPy and gᵀPg, or a response for refitting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, program
from jaxlmm.engine import RowsByResponse
from jaxlmm.inference import Units
from jaxlmm.likelihood import Likelihood, Response, additive_constant
from jaxlmm.linalg import normal_equations


@program()
def orthonormalized(
    likelihood: Likelihood, columns: Float[Array, "c N s"]
) -> tuple[Float[jax.Array, "c N s"], Float[jax.Array, "p_all c s"], Float[jax.Array, " s"]]:
    """Orthonormalize the columns of each of s markers against the fixed effects and each other, by Gram-Schmidt.

    Returns these, the triangle of ``columns = [basis, orthonormal] triangle``, and the least share of a column's square
    that is left.
    """
    basis = jnp.asarray(likelihood.design.basis)
    p, (c, _, s) = basis.shape[1], columns.shape
    orthonormal: list[jax.Array] = []
    triangle, left = jnp.zeros((p + c, c, s)), jnp.full(s, jnp.inf)
    for j in range(c):
        residual = jnp.asarray(columns)[j]
        length = jnp.sum(residual**2, axis=0)
        for _ in range(2):
            share = basis.T @ residual
            residual, triangle = residual - basis @ share, triangle.at[:p, j].add(share)
            for i, other in enumerate(orthonormal):
                along = jnp.sum(other * residual, axis=0)
                residual, triangle = residual - other * along[None], triangle.at[p + i, j].add(along)
        square = jnp.sum(residual**2, axis=0)
        left = jnp.minimum(left, square / length)
        orthonormal.append(residual / jnp.sqrt(square)[None])
        triangle = triangle.at[p + j, j].set(jnp.sqrt(square))
    return jnp.stack(orthonormal), triangle, left


@program()
def sums_at(
    likelihood: Likelihood,
    theta: Float[Array, " k"],
    bases: Sequence[Float[Array, "_ _"]],
    y: Float[Array, " N"],
    columns: Float[Array, "c N s"],
) -> tuple[Float[jax.Array, "c s"], Float[jax.Array, "c c s"], Float[jax.Array, ""], Float[jax.Array, ""] | None]:
    """Return gᵀPy, gᵀPg and yᵀPy of marker columns at ``theta``, by the solver of the likelihood.

    Last sigma in response units, or None where it is profiled out.
    """
    solver, basis = likelihood.solver, jnp.asarray(likelihood.design.basis)
    p, c = basis.shape[1], columns.shape[0]
    _, scale, residual = likelihood.residuals(jnp.asarray(y)[:, None])
    columns = jnp.asarray(columns) - basis @ (basis.T @ jnp.asarray(columns))
    augmented_basis = jnp.concatenate([basis, residual * scale[None]], axis=1)
    layout = likelihood.layout.in_unit(scale[0])
    factors = layout.factors(jnp.asarray(theta), [jnp.asarray(basis) for basis in bases])
    factor = solver.factor(factors)
    products = solver.cross_products(augmented_basis, augmented_basis)
    inner = solver.inner(factor, products)
    vcov = normal_equations(inner[:p, :p], inner[:p, p])[0] if p else jnp.zeros((0, 0))

    def sums_of(g: Float[jax.Array, "N s"]) -> tuple[Float[jax.Array, " s"], Float[jax.Array, " s"]]:
        augmented = solver.augmented(augmented_basis, g)

        def one(augmented: Any) -> tuple[Float[jax.Array, " _"], Float[jax.Array, ""]]:
            return solver.quadratic_forms(factor, products, augmented)[1:]

        cross, square = jax.lax.map(one, augmented) if solver.sequential else jax.vmap(one)(augmented)
        on_basis = cross[:, :p] @ vcov
        return cross[:, p] - on_basis @ inner[:p, p], square - jnp.sum(on_basis * cross[:, :p], axis=1)

    a, b = zip(*(sums_of(column) for column in columns), strict=True)
    matrix = [[b[0]]]
    if c > 1:
        product = 0.5 * (sums_of(columns[0] + columns[1])[1] - b[0] - b[1])
        matrix = [[b[0], product], [product, b[1]]]
    squares = inner[p, p] - inner[p, :p] @ vcov @ inner[:p, p]
    sigma = None if factors.sigma is None else factors.sigma * scale[0]
    return jnp.stack(a), jnp.stack([jnp.stack(row) for row in matrix]), squares, sigma


@program()
def prepare_with(
    likelihood: Likelihood,
    units: Units,
    y: Float[Array, " N"],
    orthonormal: Float[Array, "c N s"],
    triangle: Float[Array, "p_all c s"],
) -> tuple[Response, RowsByResponse]:
    """Prepare the response ``y`` with the columns of each of s markers among its fixed effects.

    These are ``orthonormal`` and ``triangle`` of :func:`orthonormalized`.
    """
    design, solver, reml = likelihood.design, likelihood.solver, likelihood.reml
    basis, inverse = jnp.asarray(design.basis), jnp.asarray(units.inverse_triangle)
    p, c = basis.shape[1], orthonormal.shape[0]
    least_squares, scale, residual = likelihood.residuals(jnp.asarray(y)[:, None])
    residual = residual[:, 0] * scale[0]
    count = jnp.asarray(design.n, float) - reml * (p + c)
    root_weight = jnp.asarray(design.root_weight)
    log_weight = jnp.sum(jnp.log(jnp.where(root_weight > 0, root_weight, 1.0)))
    log_basis = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(design.triangle)))))

    def one(
        marker_basis: Float[jax.Array, "c N"], corner: Float[jax.Array, "p_all c"]
    ) -> tuple[Response, Any, Float[jax.Array, "p_all p_all"]]:
        marker_basis = marker_basis.T
        columns = jnp.concatenate([basis, marker_basis], axis=1)
        on_marker = marker_basis.T @ residual
        left = residual - marker_basis @ on_marker
        free = jnp.maximum(jnp.asarray(design.n, float) - p - c, 1.0)
        size = jnp.sqrt(jnp.sum(left**2) / free)
        augmented = jax.tree.map(lambda leaf: leaf[0], solver.augmented(columns, (left / size)[:, None]))
        log_columns = log_basis + jnp.sum(jnp.log(jnp.diagonal(corner[p:])))
        constant = additive_constant(reml, log_weight, log_columns, count, jnp.log(size))
        coefficients = jnp.concatenate([least_squares[:, 0], on_marker])
        response = Response(
            fixed=None, augmented=augmented, least_squares=coefficients, scale=size, count=count, constant=constant,
            added=jnp.zeros_like(size),
        )  # fmt: skip
        small = [[corner[p + i, j] for j in range(c)] for i in range(c)]
        lower = _inverse_triangle(small)
        whole = jnp.concatenate(
            [
                jnp.concatenate([inverse, -inverse @ corner[:p] @ lower], axis=1),
                jnp.concatenate([jnp.zeros((c, p)), lower], axis=1),
            ]
        )
        return response, solver.cross_products(columns, columns), whole

    responses, fixed, inverses = jax.vmap(one)(jnp.moveaxis(orthonormal, -1, 0), jnp.moveaxis(triangle, -1, 0))
    s = orthonormal.shape[-1]
    squares = tuple(jnp.broadcast_to(jnp.asarray(part), (s, *np.shape(part))) for part in units.mean_squares)
    return responses, RowsByResponse(None, fixed, Units(inverses, squares))


def _inverse_triangle(rows: list[list[Float[jax.Array, ""]]]) -> Float[jax.Array, "c c"]:
    """Return the inverse of an upper triangular matrix of one or two rows."""
    if len(rows) == 1:
        return jnp.stack([jnp.stack([1.0 / rows[0][0]])])
    (a, b), (_, d) = rows
    return jnp.stack([jnp.stack([1.0 / a, -b / (a * d)]), jnp.stack([jnp.zeros_like(a), 1.0 / d])])
