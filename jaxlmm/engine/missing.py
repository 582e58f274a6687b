"""Many responses, each observed on rows of its own: one batch whatever the number of patterns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, pad, program
from jaxlmm.covariance import Parameter
from jaxlmm.engine.batch import AT_ONCE, mesh_of_devices, vary
from jaxlmm.engine.found import Found, known
from jaxlmm.engine.minimum import solve
from jaxlmm.engine.problems import LARGE_BLOCK, SMALL_BLOCK, Problems, RowsByResponse, blocks
from jaxlmm.inference import Units
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.model import Design, Natural, mean_products
from jaxlmm.optimize import AbstractMinimizer
from jaxlmm.solvers import SOLVERS, Moments, Spectral, eigen_by_response, moments_by_response

SHARED = 32
"""With at least this many responses, a pattern of missing values is worth a design of its own."""

NEARLY_DEPENDENT = 1e8
"""Where the inverse of the fixed effects' products on the observed rows has a larger entry, some may be determined by
others there, and the response is left to a design of its own."""


def patterns_of(y: NumpyArray, places: NumpyArray) -> list[tuple[NumpyArray, NumpyArray]]:
    """Return, for each pattern of missing values among the ``places`` of y (n, m), the rows that are there and whose.

    >>> y = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])
    >>> [(rows.tolist(), whose.tolist()) for rows, whose in patterns_of(y, np.arange(3))]
    [([0, 1], [0, 2]), ([1], [1])]
    """
    packed = np.packbits(np.isnan(y[:, places]), axis=0).T
    groups: dict[bytes, list[int]] = {}
    for place, pattern in zip(places, packed, strict=True):
        groups.setdefault(pattern.tobytes(), []).append(int(place))
    return [(np.flatnonzero(~np.isnan(y[:, whose[0]])), np.array(whose)) for whose in groups.values()]


def solves_by_response(design: Design, solver: str, sharing: int) -> bool:
    """Whether responses of this design of which ``sharing`` have the same rows are solved in one batch with others."""
    if solver == Spectral.name:  # a pattern is decomposed either way; a design of its own is compiled besides
        return sharing < LARGE_BLOCK
    return solver == Moments.name and len(design.terms) > 0 and design.n_fixed > 0 and sharing < SHARED


def solve_by_response(
    design: Design,
    y: NumpyArray,
    *,
    solver: str,
    method: str,
    parameters: Sequence[Parameter],
    first_order: AbstractMinimizer | None = None,
    start: Natural | None = None,
    fixed: Natural | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[NumpyArray, Found | None]]:
    """Minimize the deviance of responses ``y`` (n, m) with missing values; ``solver`` is moments or spectral.

    Yields places (b,) and what was found for them; None for those whose fixed effects are nearly dependent on their
    rows, or fit them perfectly.
    """
    likelihood = Likelihood.of(design, SOLVERS[solver].build(design).exact(), method, fixed)
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())
    by_pattern = isinstance(likelihood.solver, Spectral)
    prepared = functools.partial(_decomposed, design) if by_pattern else _problems
    per_response = 8 * design.n_padded * (2 * design.n_fixed + 8)
    held = max(AT_ONCE // per_response, 1)
    size = min(SMALL_BLOCK, held)  # one size, and so few compiled programs, whatever the number of responses
    held = min(LARGE_BLOCK, held)
    for first in range(0, y.shape[1], held):
        places = np.arange(first, min(first + held, y.shape[1]))
        problems, good = prepared(likelihood, units, y[:, places], size)
        if problems is not None:
            yield places[good], known(problems, solve(problems, first_order, start), parameters, fixed)
        if not good.all():
            yield places[~good], None
        done(int(good.sum()))


def _decomposed(
    design: Design, likelihood: Likelihood, units: Units, y: NumpyArray, largest: int
) -> tuple[Problems | None, NumpyArray]:
    """Prepare responses (n, m) for the spectral solver, pattern by pattern; return the problems of the good (m,)."""
    assert isinstance(likelihood.solver, Spectral)
    p, size = design.n_fixed, np.size(likelihood.solver.values)
    places, parts = [np.zeros(0, int)], []
    for rows, whose in patterns_of(y, np.arange(y.shape[1])):
        some, kept = design.at_rows(rows)
        if kept.all() and rows.size > p:
            parts.append(_of_pattern(some, y[np.ix_(rows, whose)], likelihood.method, size))
            places.append(whose)
    good, found = np.zeros(y.shape[1], bool), np.concatenate(places)
    if not found.size:
        return None, good
    order = np.argsort(found)
    joined: Any = jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *parts)
    augmented, least_squares, scale, count, constant, own = joined
    responses = Response(None, augmented, least_squares, scale, count, constant, np.zeros_like(scale))
    varying = vary(responses, np.isfinite(y[:, found[order]]).sum(axis=0) - p)
    good[found[order]] = varying
    if not varying.any():
        return None, good
    if not varying.all():
        responses, own = jax.tree.map(lambda leaf: leaf[varying], (responses, own))
    return Problems(likelihood, responses, units, own, largest, mesh_of_devices()), good


def _of_pattern(some: Design, y: NumpyArray, method: str, size: int) -> tuple[Any, ...]:
    """Return the parts of the responses ``y`` (n, m) on the rows of a design, and what they do not share with others.

    ``size`` is the number of eigenvectors that all patterns are padded to.
    """
    n, m = y.shape
    own = eigen_by_response(some, y, size)
    count = n - some.n_fixed if method == "REML" else n
    constant = -2.0 * np.sum(np.log(np.asarray(some.root_weight)[:n]))
    if method == "REML":
        constant = constant + 2.0 * np.sum(np.log(np.abs(np.diagonal(np.asarray(some.triangle)))))

    def repeated(leaf: Array) -> NumpyArray:
        return np.repeat(np.asarray(leaf)[None], m, axis=0)

    inverse, squares = np.linalg.inv(np.asarray(some.triangle)), some.mean_squares()
    rows = RowsByResponse(
        own.solver, own.fixed, Units(repeated(inverse), tuple(repeated(square) for square in squares))
    )
    constants = constant + 2.0 * count * np.log(own.scale)
    return own.augmented, own.least_squares, own.scale, np.full(m, float(count)), constants, rows


def _problems(likelihood: Likelihood, units: Units, y: NumpyArray, largest: int) -> tuple[Problems | None, NumpyArray]:
    """Prepare responses (n, m); return the problems of those that are good (m,)."""
    parts = []
    for places, count in blocks(y.shape[1], largest):
        block = pad(y[:, places], likelihood.design.n_padded)
        present = pad(np.isfinite(y[:, places]).astype(float), likelihood.design.n_padded)
        found = _prepare_own(likelihood, units, np.where(present > 0, block, 0.0), present)
        parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], found))
    responses, own, largest_entry = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    degrees = np.isfinite(y).sum(axis=0) - likelihood.design.n_fixed
    good = np.isfinite(largest_entry) & (largest_entry < NEARLY_DEPENDENT) & (degrees > 0) & vary(responses, degrees)
    if not good.any():
        return None, good
    responses, own = jax.tree.map(lambda leaf: leaf[good], (responses, own))
    return Problems(likelihood, responses, units, own, largest, mesh_of_devices()), good


@program()
def _prepare_own(
    likelihood: Likelihood, units: Units, y: Array, present: Array
) -> tuple[Response, RowsByResponse, jax.Array]:
    design, p, present = likelihood.design, likelihood.design.n_fixed, jnp.asarray(present)
    assert isinstance(likelihood.solver, Moments)
    own = moments_by_response(design, likelihood.solver, y, present)
    n = jnp.sum(present, axis=0)
    count = n - p if likelihood.method == "REML" else n
    weight = jnp.asarray(design.root_weight)
    constant = -2.0 * (present.T @ jnp.log(jnp.where(weight > 0, weight, 1.0)))
    if likelihood.method == "REML":
        diagonal = jnp.abs(jnp.diagonal(jnp.asarray(design.triangle)))
        constant = constant + 2.0 * jnp.sum(jnp.log(diagonal)) + own.logdet
    constant = constant + 2.0 * count * jnp.log(own.scale)
    added = jnp.zeros_like(own.scale)
    response = Response(None, own.augmented, own.least_squares, own.scale, count, constant, added)
    inverse_triangle = jnp.asarray(units.inverse_triangle)[None] @ own.to_basis
    unweighted = jnp.where(weight > 0, 1.0 / jnp.where(weight > 0, weight, 1.0), 0.0)[:, None]
    squares = tuple(mean_products(jnp.asarray(term.z) * unweighted, present) for term in design.terms)
    # Rounding may turn a pivot of zero negative: then there is no log-determinant, and no entry of the root is large.
    entries = jnp.where(jnp.isfinite(own.logdet), jnp.max(own.to_basis**2, axis=(1, 2)), jnp.inf)
    return response, RowsByResponse(own.solver, own.fixed, Units(inverse_triangle, squares)), entries
