"""The optimum of one response as a pure function: it can be compiled, mapped, and differentiated in all its values."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, is_zero, program
from jaxlmm.engine.boundary import (
    Snapped,
    boundary_curvature,
    descends,
    has_changed,
    is_weak,
    leaves_boundary,
    off_boundary,
    snapped,
)
from jaxlmm.engine.descent import MAX_EVALUATIONS
from jaxlmm.engine.problems import Problem
from jaxlmm.engine.start import Beginning, start_of
from jaxlmm.engine.vanishing import has_residual, residual_share
from jaxlmm.inference import MAX_DECREMENT, MAX_RIDGE_CURVATURE, MIN_RESIDUAL_SHARE, STATUS, VANISHING_SIGMA, Units
from jaxlmm.likelihood import Likelihood
from jaxlmm.linalg import inverse_logdet, singular_vectors
from jaxlmm.model import Layout
from jaxlmm.optimize import Newton, minimize

T = TypeVar("T")

MAX_MINIMIZATIONS = 8
"""Minimizations after which the search for a boundary, and away from it, ends."""

FIRST, SNAPPED, OFF_BOUNDARY, DONE = range(4)
"""Stages of the search: before anything was snapped to the boundary, after, off a weak boundary, and its end."""


class Estimate(NamedTuple):
    """An optimum in response units.

    ``theta`` (k,) in the order of ``fit.theta``, ``beta`` (p,), ``sigma`` (), ``deviance`` (), and ``status`` (), an
    index into :data:`jaxlmm.STATUS`.
    """

    theta: Float[jax.Array, " k"]
    beta: Float[jax.Array, " p"]
    sigma: Float[jax.Array, ""]
    deviance: Float[jax.Array, ""]
    status: Int[jax.Array, ""]


class _Optimum(NamedTuple):
    """The best point of the search: theta in its bases, the active set, derivatives, and whether it converged."""

    theta: Float[jax.Array, " k"]
    bases: tuple[Float[jax.Array, "_ _"], ...]
    active_set: Int[jax.Array, " k"]
    value: Float[jax.Array, ""]
    hessian: Float[jax.Array, "k k"]
    gradient: Float[jax.Array, " k"]
    converged: Bool[jax.Array, ""]


class _Search(NamedTuple):
    """The ``best`` point so far, and the one from which the next minimization starts, at a ``stage`` of the search.

    The boundary at ``best`` has its smallest ``curvature`` along ``direction``.
    """

    best: _Optimum
    start: Snapped
    direction: Float[jax.Array, " k"]
    curvature: Float[jax.Array, ""]
    stage: Int[jax.Array, ""]


def estimate(
    likelihood: Likelihood,
    inverse_triangle: Float[Array, "p p"],
    y: Float[jax.Array, " N"],
    layout: Layout | None = None,
) -> Estimate:
    """Return the optimum for a response ``y``, padded, in its own units: one compiled function.

    Any array of the likelihood may be traced; where those of its layout are, ``layout`` is the same in numbers, at
    which the search begins.
    """
    beginning = Beginning.of(likelihood if layout is None else likelihood.replace(layout=layout))
    return _estimate(likelihood, inverse_triangle, beginning, y)


@program(once=True)
def _estimate(
    likelihood: Likelihood, inverse_triangle: Float[Array, "p p"], beginning: Beginning, y: Float[jax.Array, " N"]
) -> Estimate:
    """Return the optimum that a search from its ``beginning`` finds.

    By the implicit function theorem, ``dθ/dv = −H⁻¹ ∂²f/∂θ∂v`` with the exact Hessian H of the free parameters, where
    v are the values of the likelihood and y; what is in the active set stays there. beta, sigma, and the deviance are
    functions of theta and v.
    """
    layout, design = likelihood.layout, likelihood.design
    units = Units(inverse_triangle, ())  # no mean squares: no variance shares here
    locate = _located if layout.n_theta else _searched
    optimum = locate(likelihood, units, beginning, y)
    response = likelihood.observe(y)
    factors = layout.factors(optimum.theta, optimum.bases)
    point = likelihood.at(factors, response)
    relative_sigma = likelihood.sigma(point, None, response) / response.scale
    sigma = relative_sigma * response.scale * factors.sigma_ratio
    beta = jnp.asarray(inverse_triangle) @ (response.least_squares + point.shift * response.scale)
    parts = [
        structure.from_basis(optimum.theta[own], basis)
        for structure, own, basis in zip(layout.structures, layout.slices(), optimum.bases, strict=False)
    ]
    if layout.residual is not None:
        parts.append(optimum.theta[layout.slices()[-1]])
    if layout.dispersion is not None and factors.dispersion is not None:
        parts.append(layout.dispersion.report(factors.dispersion.coefficients))
    if layout.family is not None:
        parts.append(optimum.theta[layout.n_theta - layout.n_family : layout.n_theta - layout.family.n_columns])
    theta = jnp.concatenate([jnp.zeros(0, y.dtype), *parts])
    deviance = likelihood.criterion(point, None, response)
    degrees = jnp.asarray(design.n - design.n_fixed, y.dtype)
    usable = has_residual(response, degrees) & jnp.isfinite(deviance) & jnp.isfinite(sigma)
    rounding = residual_share(response, relative_sigma) <= MIN_RESIDUAL_SHARE
    optimum = optimum._replace(converged=optimum.converged & ~rounding)
    return Estimate(theta, beta, sigma, deviance, _status(optimum, usable, relative_sigma < VANISHING_SIGMA))


@jax.custom_jvp
def _located(likelihood: Likelihood, units: Units, beginning: Beginning, y: Float[jax.Array, " N"]) -> _Optimum:
    """Return the optimum; theta has the derivatives of an implicit function, nothing else has any.

    They are derivatives in v, which are y and the arrays of the likelihood: ``H dθ = −∂²f/∂θ∂v dv``. This is itself
    differentiated as the solution of these equations, in which both H and the right side move with v and theta(v): so
    derivatives of any order are right, while the first takes no more than the Hessian that the search has left. The
    bases in which theta is written are constants.
    """
    return _searched(likelihood, units, beginning, y)


def _located_jvp(
    primals: tuple[Likelihood, Units, Beginning, jax.Array], tangents: tuple[Any, Any, Any, Any]
) -> tuple[_Optimum, _Optimum]:
    (likelihood, units, beginning, y), (d_likelihood, _, _, dy) = primals, tangents
    # Located again, so that theta and all that is made of it move with v when this is differentiated once more.
    optimum = _located(likelihood, units, beginning, y)
    free = (optimum.active_set == 0).astype(y.dtype)
    inverse, _ = inverse_logdet(optimum.hessian * free[:, None] * free[None, :] + jnp.diag(1.0 - free))
    values, tree = jax.tree.flatten((likelihood, y))
    steps = jax.tree.leaves((d_likelihood, dy), is_leaf=is_zero)
    moving = [place for place, step in enumerate(steps) if not is_zero(step)]

    def gradient_at(theta: jax.Array, moved: list[jax.Array]) -> jax.Array:
        new = list(values)
        for place, value in zip(moving, moved, strict=True):
            new[place] = value
        likelihood, y = jax.tree.unflatten(tree, new)

        def deviance(theta: jax.Array) -> jax.Array:
            return likelihood.deviance(likelihood.layout.factors(theta, optimum.bases), likelihood.observe(y))

        return jax.grad(deviance)(theta)

    here = [jnp.asarray(values[place]) for place in moving]
    _, push = jax.linearize(gradient_at, optimum.theta, here)
    still = jax.tree.map(jnp.zeros_like, here)

    def curved(step: jax.Array) -> jax.Array:
        """Multiply by the Hessian of the free parameters, and by one those of the active set."""
        return free * push(free * step, still) + (1.0 - free) * step

    moved = push(jnp.zeros_like(optimum.theta), [steps[place] for place in moving])
    step = jax.lax.custom_linear_solve(curved, -free * moved, lambda _, b: inverse @ b, symmetric=True)
    return optimum, jax.tree.map(_no_tangent, optimum)._replace(theta=step)


_located.defjvp(_located_jvp, symbolic_zeros=True)


def _no_tangent(leaf: jax.Array) -> Array:
    return jnp.zeros_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else np.zeros(leaf.shape, jax.dtypes.float0)


def _searched(likelihood: Likelihood, units: Units, beginning: Beginning, y: Float[jax.Array, " N"]) -> _Optimum:
    """Search for the optimum as :func:`jaxlmm.engine.minimum.find_optima` does, inside one traced function."""
    layout, k = likelihood.layout, likelihood.layout.n_theta
    problem = Problem(likelihood, likelihood.observe(y), units)
    bases = tuple(jnp.asarray(basis) for basis in beginning.bases)
    free = jnp.zeros(k, jnp.int32)
    nowhere = _Optimum(
        jnp.zeros(k, y.dtype), bases, free, jnp.full((), jnp.inf, y.dtype), jnp.eye(k, dtype=y.dtype),
        jnp.zeros(k, y.dtype), jnp.zeros((), bool),
    )  # fmt: skip
    if k == 0:
        value = problem.deviance(nowhere.theta, bases)
        return nowhere._replace(value=value, converged=jnp.isfinite(value))
    method = Newton(layout.blocks(), jnp.asarray(likelihood.design.n, y.dtype))

    def unfinished(carry: tuple[jax.Array, _Search]) -> jax.Array:
        return (carry[0] < MAX_MINIMIZATIONS) & (carry[1].stage < DONE)

    def advance(carry: tuple[jax.Array, _Search]) -> tuple[jax.Array, _Search]:
        count, search = carry
        (start, bases, active_set), stage = search.start, search.stage
        run = minimize(method, problem.objective(bases), start, jnp.int32(MAX_EVALUATIONS))
        reached = _Optimum(run.x, bases, active_set, run.value, run.hessian, run.gradient, run.converged)

        here, there = (search.best.theta, search.best.value), (run.x, run.value)
        better = (stage != OFF_BOUNDARY) | leaves_boundary(search.curvature, search.direction, here, there)
        best = _choose(better, reached, search.best)

        new = snapped(problem, best.theta, best.bases, best.value)
        curvature, direction = boundary_curvature(best.hessian, best.active_set, _eigenpair)
        snaps = (stage == FIRST) | ((stage == OFF_BOUNDARY) & descends(search.curvature))
        leaves = (stage == SNAPPED) & is_weak(curvature)
        again = snaps & has_changed(best.bases, new.bases, new.active_set)
        stage = jnp.where(again, SNAPPED, jnp.where(leaves, OFF_BOUNDARY, DONE)).astype(jnp.int32)
        beyond = Snapped(off_boundary(best.theta, direction), best.bases, free)
        return count + 1, _Search(best, _choose(snaps, new, beyond), direction, curvature, stage)

    start = Snapped(start_of(problem, beginning), bases, free)
    first = _Search(nowhere, start, jnp.zeros(k, y.dtype), jnp.full((), jnp.inf, y.dtype), jnp.int32(FIRST))
    _, search = jax.lax.while_loop(unfinished, advance, (jnp.int32(0), first))
    return jax.tree.map(jax.lax.stop_gradient, search.best)


def _choose(condition: Bool[jax.Array, ""], one: T, other: T) -> T:
    chosen: T = jax.tree.map(lambda new, old: jnp.where(condition, new, old), one, other)
    return chosen


def _eigenpair(
    matrix: Float[jax.Array, "k k"], size: Float[jax.Array, ""]
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " k"]]:
    """Return the smallest eigenvalue and its vector, as singular values of a matrix shifted to positive definite."""
    vectors, values = singular_vectors(matrix + size * jnp.eye(len(matrix), dtype=matrix.dtype))
    return values[-1] - size, vectors[:, -1]


def _status(optimum: _Optimum, usable: Bool[jax.Array, ""], vanishing: Bool[jax.Array, ""]) -> Int[jax.Array, ""]:
    """Return the status by gradient and Hessian alone, an index into ``STATUS``; failed where it is not ``usable``.

    Where the residual variance is ``vanishing``, a flat deviance is that on the way to a boundary. This is weaker than
    the certificate (:mod:`jaxlmm.inference.certificate`), which minimizes along flat directions to see whether they are
    ridges, and lets parameters off their boundary one at a time: how many there are is known on the host alone.
    """
    free = optimum.active_set == 0
    size = jnp.where(free, jnp.maximum(jnp.abs(optimum.theta), 0.1), 0.0)
    scaled = optimum.hessian * size[:, None] * size[None, :]
    scaled = scaled + jnp.diag(jnp.where(free, 0.0, 1.0))
    inverse, logdet = inverse_logdet(scaled)
    slope = optimum.gradient * size
    definite = jnp.isfinite(logdet)
    flat = ~definite | (jnp.max(jnp.abs(inverse), initial=0.0) > 1.0 / MAX_RIDGE_CURVATURE)
    proven = optimum.converged & (flat | (0.5 * slope @ (inverse @ slope) < MAX_DECREMENT))
    at_limit = jnp.any(~free) | (flat & vanishing)
    code = jnp.where(at_limit, STATUS.index("boundary"), STATUS.index("interior"))
    code = jnp.where(flat & ~vanishing, STATUS.index("not_identified"), code)
    code = jnp.where(proven, code, STATUS.index("not_converged"))
    return jnp.where(usable, code, STATUS.index("failed")).astype(jnp.int32)
