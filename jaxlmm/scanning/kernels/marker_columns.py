"""Compiled functions of marker columns in a model of any covariance: gᵀPy and gᵀPg, or the response of a refit."""

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
    """Orthonormalize the c columns of each of s markers against the fixed effects and each other, by Gram-Schmidt.

    ``columns`` are those in rows multiplied by √w: g, and g·x with an interaction. Returns the orthonormal ones, the
    triangle of ``columns = [basis, orthonormal] triangle``, and per marker the share of a column's squared length that
    orthogonalizing leaves, the smaller of its columns'.
    """
    basis = jnp.asarray(likelihood.design.basis)
    p, (c, _, s) = basis.shape[1], columns.shape
    orthonormal: list[jax.Array] = []
    triangle, left = jnp.zeros((p + c, c, s)), jnp.full(s, jnp.inf)
    for j in range(c):
        residual = jnp.asarray(columns)[j]
        length = jnp.sum(residual**2, axis=0)
        for _ in range(2):  # the second time takes off what rounding left
            on_basis = basis.T @ residual
            residual, triangle = residual - basis @ on_basis, triangle.at[:p, j].add(on_basis)
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
    """Return gᵀPy, gᵀPg, yᵀPy and sigma at ``theta``, for the c columns g of each of s markers and one response y.

    All are in units of the response; sigma is None where it is profiled out.
    """
    solver, basis = likelihood.solver, jnp.asarray(likelihood.design.basis)
    p, c = basis.shape[1], columns.shape[0]
    _, scale, residual = likelihood.residuals(jnp.asarray(y)[:, None])
    columns = jnp.asarray(columns) - basis @ (basis.T @ jnp.asarray(columns))
    basis_and_y = jnp.concatenate([basis, residual * scale[None]], axis=1)
    layout = likelihood.layout.in_unit(scale[0])
    factors = layout.factors(jnp.asarray(theta), [jnp.asarray(basis) for basis in bases])
    factor = solver.factor(factors)
    products = solver.cross_products(basis_and_y, basis_and_y)
    inner = solver.inner(factor, products)
    vcov = normal_equations(inner[:p, :p], inner[:p, p])[0] if p else jnp.zeros((0, 0))

    def sums_of(g: Float[jax.Array, "N s"]) -> tuple[Float[jax.Array, " s"], Float[jax.Array, " s"]]:
        """Return gᵀPy and gᵀPg of one column g of each marker."""
        augmented = solver.augmented(basis_and_y, g)

        def one(augmented: Any) -> tuple[Float[jax.Array, " _"], Float[jax.Array, ""]]:
            return solver.quadratic_forms(factor, products, augmented)[1:]

        cross, square = jax.lax.map(one, augmented) if solver.sequential else jax.vmap(one)(augmented)
        on_basis = cross[:, :p] @ vcov
        return cross[:, p] - on_basis @ inner[:p, p], square - jnp.sum(on_basis * cross[:, :p], axis=1)

    with_y, own = zip(*(sums_of(column) for column in columns), strict=True)
    matrix = [[own[0]]]
    if c > 1:  # the product of two columns from that of their sum with itself
        product = 0.5 * (sums_of(columns[0] + columns[1])[1] - own[0] - own[1])
        matrix = [[own[0], product], [product, own[1]]]
    squares = inner[p, p] - inner[p, :p] @ vcov @ inner[:p, p]
    sigma = None if factors.sigma is None else factors.sigma * scale[0]
    return jnp.stack(with_y), jnp.stack([jnp.stack(row) for row in matrix]), squares, sigma


@program()
def prepare_with(
    likelihood: Likelihood,
    units: Units,
    y: Float[Array, " N"],
    orthonormal: Float[Array, "c N s"],
    triangle: Float[Array, "p_all c s"],
) -> tuple[Response, RowsByResponse]:
    """Return the response ``y`` prepared once per marker, with that marker's columns among the fixed effects.

    ``orthonormal`` and ``triangle`` are from :func:`orthonormalized`, ``units`` of the model without a marker. Every
    leaf of the result has a first axis over the s markers, as over responses.
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
        marker_basis: Float[jax.Array, "c N"], own_triangle: Float[jax.Array, "p_all c"]
    ) -> tuple[Response, Any, Float[jax.Array, "p_all p_all"]]:
        marker_basis = marker_basis.T
        columns = jnp.concatenate([basis, marker_basis], axis=1)
        on_marker = marker_basis.T @ residual
        own_residual = residual - marker_basis @ on_marker
        free = jnp.maximum(jnp.asarray(design.n, float) - p - c, 1.0)
        own_scale = jnp.sqrt(jnp.sum(own_residual**2) / free)
        augmented = jax.tree.map(lambda leaf: leaf[0], solver.augmented(columns, (own_residual / own_scale)[:, None]))
        log_columns = log_basis + jnp.sum(jnp.log(jnp.diagonal(own_triangle[p:])))
        constant = additive_constant(reml, log_weight, log_columns, count, jnp.log(own_scale))
        coefficients = jnp.concatenate([least_squares[:, 0], on_marker])
        response = Response(
            fixed=None, augmented=augmented, least_squares=coefficients, scale=own_scale, count=count,
            constant=constant, added=jnp.zeros_like(own_scale),
        )  # fmt: skip
        # The inverse of [[triangle of the design, own_triangle[:p]], [0, own_triangle[p:]]], block by block.
        corner = _inverse_triangle([[own_triangle[p + i, j] for j in range(c)] for i in range(c)])
        own_inverse = jnp.concatenate(
            [
                jnp.concatenate([inverse, -inverse @ own_triangle[:p] @ corner], axis=1),
                jnp.concatenate([jnp.zeros((c, p)), corner], axis=1),
            ]
        )
        return response, solver.cross_products(columns, columns), own_inverse

    responses, fixed, inverses = jax.vmap(one)(jnp.moveaxis(orthonormal, -1, 0), jnp.moveaxis(triangle, -1, 0))
    s = orthonormal.shape[-1]
    squares = tuple(jnp.broadcast_to(jnp.asarray(part), (s, *np.shape(part))) for part in units.mean_squares)
    return responses, RowsByResponse(None, fixed, Units(inverses, squares))


def _inverse_triangle(rows: list[list[Float[jax.Array, ""]]]) -> Float[jax.Array, "c c"]:
    """Return the inverse of an upper triangular matrix, given by its one or two rows."""
    if len(rows) == 1:
        return jnp.stack([jnp.stack([1.0 / rows[0][0]])])
    (a, b), (_, d) = rows
    return jnp.stack([jnp.stack([1.0 / a, -b / (a * d)]), jnp.stack([jnp.zeros_like(a), 1.0 / d])])
