"""Many responses, each observed on rows of its own: responses of different patterns share batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, mesh_of_devices, pad, program
from jaxlmm.covariance import Parameter
from jaxlmm.engine.found import Found, certified, examine_soon
from jaxlmm.engine.many.batch import BYTES_AT_ONCE
from jaxlmm.engine.minimum import find_optima
from jaxlmm.engine.problems import SMALL_BATCH, Problems, RowsByResponse, batches, large_batch, take
from jaxlmm.engine.vanishing import has_residual
from jaxlmm.inference import Units
from jaxlmm.likelihood import Likelihood, Response, additive_constant, likelihood_of
from jaxlmm.model import Design, Natural, mean_products
from jaxlmm.optimize import AbstractMinimizer
from jaxlmm.solvers import AbstractSolver, Route

MAX_SQUARED_ROOT_ENTRY = 1e8
"""Largest squared entry of the triangular root U, ``(QᵀQ)⁻¹ = UUᵀ``, with which a response stays in a batch; Q are the
rows of ``Design.basis`` on which it is observed. That entry is at least 1/p of the largest of the inverse. Where it is
larger, columns of X may be linearly dependent on these rows, and the response is left to a design of its own."""


def patterns_of(
    y: Float[NumpyArray, "n m"], columns: Int[NumpyArray, " _"]
) -> list[tuple[Int[NumpyArray, " _"], Int[NumpyArray, " _"]]]:
    """Return, for each pattern of missing values among ``columns`` of y, the observed rows and the columns with it.

    >>> y = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])
    >>> [(rows.tolist(), having.tolist()) for rows, having in patterns_of(y, np.arange(3))]
    [([0, 1], [0, 2]), ([1], [1])]
    """
    packed = np.packbits(np.isnan(y[:, columns]), axis=0).T
    groups: dict[bytes, list[int]] = {}
    for column, pattern in zip(columns, packed, strict=True):
        groups.setdefault(pattern.tobytes(), []).append(int(column))
    return [(np.flatnonzero(~np.isnan(y[:, having[0]])), np.array(having)) for having in groups.values()]


def solve_by_response(
    design: Design,
    y: Float[NumpyArray, "n m"],
    *,
    solver: type[AbstractSolver],
    route: Route,
    method: str,
    parameters: Sequence[Parameter],
    first_order: AbstractMinimizer | None = None,
    start: Natural | None = None,
    fixed: Natural | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[Int[NumpyArray, " b"], Found | None]]:
    """Minimize the deviance of responses ``y`` with missing values, by a ``route`` other than ``Route.DESIGN``.

    The ``design`` is without padding (``Design.unpadded``). Yields the indices (columns of y) of some responses and
    what was found for them, or None for those that :func:`prepared_by_response` does not prepare. ``done`` is called
    with the number of responses just solved, without those yielded with None, which the caller counts.
    """
    likelihood = likelihood_of(design, solver.build(design).unpadded(), method, fixed)
    for index, problems in prepared_by_response(design, likelihood, y, route):
        if problems is not None:
            examine_soon(problems)
            yield index, certified(problems, find_optima(problems, first_order, start), parameters, fixed)
            done(index.size)
        else:
            yield index, None


def prepared_by_response(
    design: Design, likelihood: Likelihood, y: Float[NumpyArray, "n m"], route: Route
) -> Iterator[tuple[Int[NumpyArray, " b"], Problems | None]]:
    """Prepare responses ``y`` with missing values, by a ``route`` other than ``Route.DESIGN``, some of them at a time.

    The ``likelihood`` is that of the ``design``, with its solver unpadded. Yields indices (columns of y) with their
    problems, or with None for those that need a design of their own: the columns of X are nearly collinear on their
    rows, there are no more rows than columns, or the fixed effects fit perfectly.
    """
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())
    prepare = functools.partial(_on_host, design) if route is Route.PATTERN else _compiled
    bytes_per_response = 8 * design.n_padded * (2 * design.basis.shape[1] + 8)  # about 2p + 8 doubles a row
    in_memory = max(BYTES_AT_ONCE // bytes_per_response, 1)
    size = min(SMALL_BATCH, in_memory)  # one size, and so few compiled functions, whatever the number of responses
    step = min(large_batch(), in_memory)
    for first in range(0, y.shape[1], step):
        index = np.arange(first, min(first + step, y.shape[1]))
        problems, good = prepare(likelihood, units, y[:, index], size)
        if problems is not None:
            yield index[good], problems
        if not good.all():
            yield index[~good], None


def _on_host(
    design: Design, likelihood: Likelihood, units: Units, y: Float[NumpyArray, "n m"], largest_batch: int
) -> tuple[Problems | None, Bool[NumpyArray, " m"]]:
    """Prepare responses pattern by pattern; return problems of those that need no design of their own, and which."""
    p, columns, parts = design.basis.shape[1], [np.zeros(0, int)], []
    for rows, having in patterns_of(y, np.arange(y.shape[1])):
        some, kept = design.at_rows(rows)
        if kept.all() and rows.size > p:
            parts.append(_of_pattern(likelihood, some, y[np.ix_(rows, having)]))
            columns.append(having)
    good, index = np.zeros(y.shape[1], bool), np.concatenate(columns)
    if not index.size:
        return None, good
    order = np.argsort(index)
    responses, own = jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *parts)
    kept = has_residual(responses, np.isfinite(y[:, index[order]]).sum(axis=0) - p)
    good[index[order]] = kept
    if not kept.any():
        return None, good
    if not kept.all():
        responses, own = take((responses, own), kept)
    return Problems(likelihood, responses, units, own, largest_batch, mesh_of_devices()), good


def _of_pattern(likelihood: Likelihood, some: Design, y: Float[NumpyArray, "n m"]) -> tuple[Response, RowsByResponse]:
    """Prepare the responses ``y`` of one pattern, with their own solver; ``some`` is the design of its rows."""
    (n, m), reml = y.shape, likelihood.reml
    prepared = likelihood.solver.by_pattern(some, y)
    count = np.full(m, float(n - reml * int(some.n_fixed)))
    log_weight = np.sum(np.log(np.asarray(some.root_weight)[:n]))
    log_basis = np.sum(np.log(np.abs(np.diagonal(np.asarray(some.triangle)))))
    constant = additive_constant(reml, log_weight, log_basis, count, np.log(prepared.scale))

    def repeated(leaf: Array) -> NumpyArray:
        return np.repeat(np.asarray(leaf)[None], m, axis=0)

    inverse, squares = np.linalg.inv(np.asarray(some.triangle)), some.mean_squares()
    units = Units(repeated(inverse), tuple(repeated(square) for square in squares))
    response = Response(
        fixed=None, augmented=prepared.augmented, least_squares=prepared.least_squares, scale=prepared.scale,
        count=count, constant=constant, added=np.zeros(m),
    )  # fmt: skip
    return response, RowsByResponse(prepared.solver, prepared.fixed, units)


def _compiled(
    likelihood: Likelihood, units: Units, y: Float[NumpyArray, "n m"], largest_batch: int
) -> tuple[Problems | None, Bool[NumpyArray, " m"]]:
    """Prepare responses in compiled functions; return problems of those that need no design of their own, and which."""
    parts = []
    for index, count in batches(y.shape[1], largest_batch):
        batch = pad(y[:, index], likelihood.design.n_padded)
        present = pad(np.isfinite(y[:, index]).astype(float), likelihood.design.n_padded)
        part = _prepare_by_response(likelihood, units, np.where(present > 0, batch, 0.0), present)
        parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], part))
    responses, own, largest_squared = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    degrees = np.isfinite(y).sum(axis=0) - int(likelihood.design.n_fixed)
    regular = np.isfinite(largest_squared) & (largest_squared < MAX_SQUARED_ROOT_ENTRY)
    good = regular & (degrees > 0) & has_residual(responses, degrees)
    if not good.any():
        return None, good
    responses, own = take((responses, own), good)
    return Problems(likelihood, responses, units, own, largest_batch, mesh_of_devices()), good


@program()
def _prepare_by_response(
    likelihood: Likelihood, units: Units, y: Float[Array, "N b"], present: Float[Array, "N b"]
) -> tuple[Response, RowsByResponse, Float[jax.Array, " b"]]:
    """Prepare responses on the rows where they are ``present``, one or zero.

    The last result is the entry of each response that ``MAX_SQUARED_ROOT_ENTRY`` bounds, infinite where rounding leaves
    no root.
    """
    design, p, present = likelihood.design, likelihood.design.basis.shape[1], jnp.asarray(present)
    prepared, to_basis, logdet = likelihood.solver.by_response(design, y, present)
    n = jnp.sum(present, axis=0)
    count = n - likelihood.reml * p
    root_weight = jnp.asarray(design.root_weight)
    has_weight = root_weight > 0
    log_weight = present.T @ jnp.log(jnp.where(has_weight, root_weight, 1.0))
    log_basis = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(design.triangle))))) + 0.5 * logdet
    constant = additive_constant(likelihood.reml, log_weight, log_basis, count, jnp.log(prepared.scale))
    response = Response(
        fixed=None, augmented=prepared.augmented, least_squares=prepared.least_squares, scale=prepared.scale,
        count=count, constant=constant, added=jnp.zeros_like(prepared.scale),
    )  # fmt: skip
    inverse_triangle = jnp.asarray(units.inverse_triangle)[None] @ to_basis
    inverse_root_weight = jnp.where(has_weight, 1.0 / jnp.where(has_weight, root_weight, 1.0), 0.0)[:, None]
    # As Design.mean_squares: models of this route have terms over columns alone, and no known matrix.
    squares = tuple(mean_products(jnp.asarray(term.z) * inverse_root_weight, present) for term in design.terms)
    # Rounding may turn a pivot of zero negative: then there is no log-determinant, and no entry of the root is large.
    largest_squared = jnp.where(jnp.isfinite(logdet), jnp.max(to_basis**2, axis=(1, 2)), jnp.inf)
    return response, RowsByResponse(prepared.solver, prepared.fixed, Units(inverse_triangle, squares)), largest_squared
