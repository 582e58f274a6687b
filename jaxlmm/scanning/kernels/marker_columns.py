"""What is compiled for columns of markers in a model of any structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, program
from jaxlmm.engine import RowsByResponse
from jaxlmm.inference import Units
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.linalg import normal_equations


@program()
def off_basis(likelihood: Likelihood, columns: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return columns (c, N, s) of s markers orthonormal off the fixed effects and each other.

    With them their triangle (p + c, c, s), ``columns = [basis, orthonormal] triangle``, and the least share (s,) of a
    column that is left.
    """
    basis = jnp.asarray(likelihood.design.basis)
    p, (c, _, s) = basis.shape[1], columns.shape
    found: list[jax.Array] = []
    triangle, left = jnp.zeros((p + c, c, s)), jnp.full(s, jnp.inf)
    for j in range(c):
        rest = jnp.asarray(columns)[j]
        length = jnp.sum(rest**2, axis=0)
        for _ in range(2):
            share = basis.T @ rest
            rest, triangle = rest - basis @ share, triangle.at[:p, j].add(share)
            for i, other in enumerate(found):
                along = jnp.sum(other * rest, axis=0)
                rest, triangle = rest - other * along[None], triangle.at[p + i, j].add(along)
        square = jnp.sum(rest**2, axis=0)
        left = jnp.minimum(left, square / length)
        found.append(rest / jnp.sqrt(square)[None])
        triangle = triangle.at[p + j, j].set(jnp.sqrt(square))
    return jnp.stack(found), triangle, left


@program()
def sums_at(
    likelihood: Likelihood, theta: Array, bases: Sequence[Array], y: Array, columns: Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Return ``gᵀPy`` (c, s), ``gᵀPg`` (c, c, s) and ``yᵀPy`` () of columns (c, N, s) at ``theta`` (k,).

    Last sigma () in response units, or None where it is profiled out.
    """
    solver, basis = likelihood.solver, jnp.asarray(likelihood.design.basis)
    p, c = basis.shape[1], columns.shape[0]
    _, scale, rest = likelihood.residuals(jnp.asarray(y)[:, None])
    columns = jnp.asarray(columns) - basis @ (basis.T @ jnp.asarray(columns))
    beside = jnp.concatenate([basis, rest * scale[None]], axis=1)
    layout = likelihood.layout.in_unit(scale[0])
    factors = layout.factors(jnp.asarray(theta), [jnp.asarray(basis) for basis in bases])
    factor = solver.factor(factors)
    pair = solver.cross_products(beside, beside)
    inner = solver.inner(factor, pair)
    vcov = normal_equations(inner[:p, :p], inner[:p, p])[0] if p else jnp.zeros((0, 0))

    def of(own: jax.Array) -> tuple[jax.Array, jax.Array]:
        augmented = solver.augmented(beside, own)

        def one(augmented: Any) -> tuple[jax.Array, jax.Array]:
            return solver.quadratic_forms(factor, pair, augmented)[1:]

        cross, square = jax.lax.map(one, augmented) if solver.sequential else jax.vmap(one)(augmented)
        pulled = cross[:, :p] @ vcov
        return cross[:, p] - pulled @ inner[:p, p], square - jnp.sum(pulled * cross[:, :p], axis=1)

    a, b = zip(*(of(own) for own in columns), strict=True)
    matrix = [[b[0]]]
    if c > 1:
        both = 0.5 * (of(columns[0] + columns[1])[1] - b[0] - b[1])
        matrix = [[b[0], both], [both, b[1]]]
    squares = inner[p, p] - inner[p, :p] @ vcov @ inner[:p, p]
    sigma = None if factors.sigma is None else factors.sigma * scale[0]
    return jnp.stack(a), jnp.stack([jnp.stack(row) for row in matrix]), squares, sigma


@program()
def prepare_with(
    likelihood: Likelihood, units: Units, y: Array, on_basis: Array, triangle: Array
) -> tuple[Response, RowsByResponse]:
    """Prepare the response ``y`` (N,) with the columns of each of s markers among its fixed effects."""
    design, solver = likelihood.design, likelihood.solver
    basis, inverse = jnp.asarray(design.basis), jnp.asarray(units.inverse_triangle)
    p, c = basis.shape[1], on_basis.shape[0]
    least_squares, scale, rest = likelihood.residuals(jnp.asarray(y)[:, None])
    rest = rest[:, 0] * scale[0]
    count = jnp.asarray(design.n, float) - (p + c if likelihood.method == "REML" else 0)
    weight = jnp.asarray(design.root_weight)
    constant = -2.0 * jnp.sum(jnp.log(jnp.where(weight > 0, weight, 1.0)))
    if likelihood.method == "REML":
        constant = constant + 2.0 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(design.triangle)))))

    def one(own: jax.Array, corner: jax.Array) -> tuple[Response, Any, jax.Array]:
        own = own.T  # (N, c)
        beside = jnp.concatenate([basis, own], axis=1)
        along = own.T @ rest
        left = rest - own @ along
        free = jnp.maximum(jnp.asarray(design.n, float) - p - c, 1.0)
        size = jnp.sqrt(jnp.sum(left**2) / free)
        augmented = jax.tree.map(lambda leaf: leaf[0], solver.augmented(beside, (left / size)[:, None]))
        also = constant
        if likelihood.method == "REML":
            also = constant + 2.0 * jnp.sum(jnp.log(jnp.diagonal(corner[p:])))
        also = also + 2.0 * count * jnp.log(size)
        both = jnp.concatenate([least_squares[:, 0], along])
        response = Response(None, augmented, both, size, count, also, jnp.zeros_like(size))
        small = [[corner[p + i, j] for j in range(c)] for i in range(c)]
        lower = _inverse_triangle(small)
        whole = jnp.concatenate(
            [
                jnp.concatenate([inverse, -inverse @ corner[:p] @ lower], axis=1),
                jnp.concatenate([jnp.zeros((c, p)), lower], axis=1),
            ]
        )
        return response, solver.cross_products(beside, beside), whole

    responses, fixed, inverses = jax.vmap(one)(jnp.moveaxis(on_basis, -1, 0), jnp.moveaxis(triangle, -1, 0))
    s = on_basis.shape[-1]
    squares = tuple(jnp.broadcast_to(jnp.asarray(part), (s, *np.shape(part))) for part in units.mean_squares)
    return responses, RowsByResponse(None, fixed, Units(inverses, squares))


def _inverse_triangle(rows: list[list[jax.Array]]) -> jax.Array:
    """Return the inverse of an upper triangular matrix of one or two rows."""
    if len(rows) == 1:
        return jnp.stack([jnp.stack([1.0 / rows[0][0]])])
    (a, b), (_, d) = rows
    return jnp.stack([jnp.stack([1.0 / a, -b / (a * d)]), jnp.stack([jnp.zeros_like(a), 1.0 / d])])
