"""The optimum of one response as a pure function: it can be compiled, mapped, and differentiated in the response."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array
from jaxlmm.engine.batch import PERFECT
from jaxlmm.engine.boundary import ZERO_COSTS, snapped
from jaxlmm.engine.descent import MAX_STEPS
from jaxlmm.engine.minimum import ASIDE, NOT_STRICT
from jaxlmm.engine.start import Plan, best_node
from jaxlmm.inference import MAX_DECREMENT, MAX_RIDGE_CURVATURE, MIN_RESIDUAL_SHARE, STATUS, VANISHING_SIGMA
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.linalg import inverse_logdet, singular_vectors
from jaxlmm.optimize import Newton, minimize

ROUNDS = 8
"""Minimizations after which the search for a boundary, and away from it, ends."""


class Estimate(NamedTuple):
    """An optimum in response units.

    ``theta`` (k,) in the order of ``fit.theta``, ``beta`` (p,), ``sigma`` (), ``deviance`` (), and ``status`` (), a
    place in :data:`jaxlmm.STATUS`.
    """

    theta: jax.Array
    beta: jax.Array
    sigma: jax.Array
    deviance: jax.Array
    status: jax.Array


class _Place(NamedTuple):
    """Where the search stands: theta (k,) in its bases, what is held there, the Hessian, and how it was reached."""

    theta: jax.Array
    bases: tuple[jax.Array, ...]
    active_set: jax.Array
    value: jax.Array
    hessian: jax.Array
    gradient: jax.Array
    converged: jax.Array


class _Search(NamedTuple):
    """``place`` is the best so far; the next run starts at ``start`` in ``bases``, holding ``active_set``.

    ``phase`` 0: before anything was set to zero; 1: after; 2: aside of a boundary along ``direction`` that has
    ``slope``; 3: done.
    """

    place: _Place
    start: jax.Array
    bases: tuple[jax.Array, ...]
    active_set: jax.Array
    direction: jax.Array
    slope: jax.Array
    phase: jax.Array


def estimate(likelihood: Likelihood, inverse_triangle: Array, y: jax.Array) -> Estimate:
    """Return the optimum for a response ``y`` (N,), padded, in its own units.

    By the implicit function theorem, ``dθ/dy = −H⁻¹ ∂²f/∂θ∂y`` with the exact Hessian H of the free parameters; what is
    held at a boundary stays there. beta, sigma, and the deviance are functions of theta and y.
    """
    layout = likelihood.layout
    found = _located(likelihood, y)
    response = likelihood.observe(y)
    point = likelihood.at(layout.factors(found.theta, found.bases), response)
    sigma = jnp.sqrt(point.r2 / jnp.maximum(response.count, 1.0)) * response.scale
    beta = jnp.asarray(inverse_triangle) @ (response.least_squares + point.shift * response.scale)
    parts = [
        structure.from_basis(found.theta[place], basis)
        for structure, place, basis in zip(layout.structures, layout.slices(), found.bases, strict=False)
    ]
    if layout.residual is not None:
        parts.append(found.theta[layout.slices()[-1]])
    theta = jnp.concatenate([jnp.zeros(0, y.dtype), *parts])
    deviance = likelihood.profiled(point, response)
    rest = response.count * response.scale**2
    varies = rest > PERFECT**2 * (rest + jnp.sum(response.least_squares**2))
    usable = varies & jnp.isfinite(deviance) & jnp.isfinite(sigma)
    size = jnp.sqrt(response.scale**2 + jnp.sum(response.least_squares**2) / jnp.maximum(response.count, 1.0))
    found = found._replace(converged=found.converged & (sigma > MIN_RESIDUAL_SHARE * size))
    return Estimate(theta, beta, sigma, deviance, _status(found, usable, sigma < VANISHING_SIGMA * response.scale))


def _located(likelihood: Likelihood, y: jax.Array) -> _Place:
    """Return where the optimum is; theta has the derivatives of an implicit function, nothing else has any.

    The derivative solves ``H dθ = −∂²f/∂θ∂y dy``. It is itself differentiated as the solution of these equations, in
    which both H and the right side move with y and theta(y): so derivatives of any order are right, while the first
    takes no more than the Hessian that the search has left.
    """

    def gradient_at(theta: jax.Array, bases: tuple[jax.Array, ...], y: jax.Array) -> jax.Array:
        def deviance(theta: jax.Array) -> jax.Array:
            return likelihood.deviance(likelihood.layout.factors(theta, bases), likelihood.observe(y))

        return jax.grad(deviance)(theta)

    @jax.custom_jvp
    def located(y: jax.Array) -> _Place:
        return _searched(likelihood, likelihood.observe(y))

    @located.defjvp
    def _(primals, tangents):  # type: ignore[no-untyped-def]
        (y,), (dy,) = primals, tangents
        found = located(y)  # so that theta and all that is made of it move with y when this is differentiated again
        free = (found.active_set == 0).astype(y.dtype)
        inverse, _ = inverse_logdet(found.hessian * free[:, None] * free[None, :] + jnp.diag(1.0 - free))

        _, push = jax.linearize(lambda theta, y: gradient_at(theta, found.bases, y), found.theta, y)

        def curved(step: jax.Array) -> jax.Array:
            """Multiply by the Hessian of what is free, and by one what is held."""
            return free * push(free * step, jnp.zeros_like(y)) + (1.0 - free) * step

        moved = push(jnp.zeros_like(found.theta), dy)
        step = jax.lax.custom_linear_solve(curved, -free * moved, lambda _, b: inverse @ b, symmetric=True)
        return found, jax.tree.map(_no_tangent, found)._replace(theta=step)

    if likelihood.layout.n_theta == 0:
        return _searched(likelihood, likelihood.observe(y))
    return located(y)


def _no_tangent(leaf: jax.Array) -> Array:
    return jnp.zeros_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else np.zeros(leaf.shape, jax.dtypes.float0)


def _searched(likelihood: Likelihood, response: Response) -> _Place:
    layout = likelihood.layout
    bases = tuple(jnp.asarray(basis) for basis in layout.bases())
    start = jnp.asarray(layout.start())
    k, dtype = start.size, start.dtype
    nothing = jnp.zeros((), dtype)
    if k == 0:
        value = likelihood.deviance(layout.factors(start, bases), response)
        empty = jnp.zeros(0, dtype)
        return _Place(empty, (), jnp.zeros(0, jnp.int32), value, jnp.zeros((0, 0), dtype), empty, jnp.isfinite(value))
    plan = Plan.of(likelihood)
    start = best_node(likelihood, response, plan, start, bases)
    method = Newton(layout.blocks(), jnp.asarray(likelihood.design.n, dtype))
    active_set = jnp.zeros(k, jnp.int32)
    place = _Place(
        start, bases, active_set, nothing + jnp.inf, jnp.eye(k, dtype=dtype), jnp.zeros(k, dtype), jnp.zeros((), bool)
    )

    def unfinished(carry: tuple[jax.Array, _Search]) -> jax.Array:
        return (carry[0] < ROUNDS) & (carry[1].phase < 3)

    def advance(carry: tuple[jax.Array, _Search]) -> tuple[jax.Array, _Search]:
        count, search = carry

        def objective(theta: jax.Array) -> jax.Array:
            return likelihood.deviance(layout.factors(theta, search.bases), response)

        run = minimize(method, objective, search.start, jnp.int32(MAX_STEPS))
        reached = _Place(run.x, search.bases, search.active_set, run.value, run.hessian, run.gradient, run.converged)

        aside = search.phase == 2
        away = (run.x - search.place.theta) @ search.direction > 0.5 * ASIDE
        ridge = (run.value <= search.place.value + ZERO_COSTS) & away
        descends = search.slope < -NOT_STRICT
        taken = ~aside | descends | ridge
        place = jax.tree.map(lambda new, old: jnp.where(taken, new, old), reached, search.place)

        slope, direction = _steepest(place.hessian, place.active_set)
        theta, turned, holds = snapped(likelihood, response, place.theta, place.bases, place.value)
        changed = [jnp.any(new != old) for new, old in zip(turned, place.bases, strict=True)]
        moved = functools.reduce(jnp.logical_or, changed, jnp.any(holds != 0))
        snaps = (search.phase == 0) | (aside & descends)
        walks = (search.phase == 1) & (slope <= NOT_STRICT)
        phase = jnp.where(snaps & moved, 1, jnp.where(walks, 2, 3)).astype(jnp.int32)
        start = jnp.where(snaps, theta, place.theta + ASIDE * direction)
        bases = jax.tree.map(lambda new, old: jnp.where(snaps, new, old), turned, place.bases)
        active_set = jnp.where(snaps, holds, 0)
        return count + 1, _Search(place, start, bases, active_set, direction, slope, phase)

    first = _Search(place, start, bases, active_set, jnp.zeros(k, dtype), nothing + jnp.inf, jnp.int32(0))
    _, search = jax.lax.while_loop(unfinished, advance, (jnp.int32(0), first))
    return jax.tree.map(jax.lax.stop_gradient, search.place)


def _steepest(hessian: jax.Array, active_set: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the smallest curvature among blocks held at zero, and its direction (k,); infinite without any."""
    dual = active_set > 0
    together = (active_set[:, None] == active_set[None, :]) & dual[:, None]
    block = jnp.where(together, hessian, 0.0)
    size = jnp.max(jnp.abs(block)) * active_set.size + 1e-300
    # Beyond the blocks stands a large number, so that the smallest singular value of the shifted matrix is theirs.
    shifted = block + jnp.diag(jnp.where(dual, size, 4.0 * size))
    vectors, values = singular_vectors(shifted)
    known = jnp.any(dual) & jnp.any(block != 0)
    return jnp.where(known, values[-1] - size, jnp.inf), jnp.where(known & dual, vectors[:, -1], 0.0)


def _status(found: _Place, usable: jax.Array, vanishing: jax.Array) -> jax.Array:
    """Judge an optimum by its gradient and Hessian alone; it has failed where it is not ``usable`` ().

    Where the residual variance is ``vanishing`` (), a flat deviance is that on the way to a boundary.
    """
    free = found.active_set == 0
    size = jnp.where(free, jnp.maximum(jnp.abs(found.theta), 0.1), 0.0)
    scaled = found.hessian * size[:, None] * size[None, :]
    scaled = scaled + jnp.diag(jnp.where(free, 0.0, 1.0))
    inverse, logdet = inverse_logdet(scaled)
    slope = found.gradient * size
    definite = jnp.isfinite(logdet)
    flat = ~definite | (jnp.max(jnp.abs(inverse), initial=0.0) > 1.0 / MAX_RIDGE_CURVATURE)
    proven = found.converged & (flat | (0.5 * slope @ (inverse @ slope) < MAX_DECREMENT))
    at_limit = jnp.any(~free) | (flat & vanishing)
    word = jnp.where(at_limit, STATUS.index("boundary"), STATUS.index("interior"))
    word = jnp.where(flat & ~vanishing, STATUS.index("not_identified"), word)
    word = jnp.where(proven, word, STATUS.index("not_converged"))
    return jnp.where(usable, word, STATUS.index("failed")).astype(jnp.int32)
