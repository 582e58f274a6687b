"""What is compiled: programs that work on a block of problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlmm._util import Array, program
from jaxlmm.engine.boundary import Snapped, snapped
from jaxlmm.engine.problems import Problem, Problems, among_devices, spread
from jaxlmm.engine.start import SWEEPS, Plan
from jaxlmm.inference import OptimumDerivatives, Rows, examine, rows_at
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.optimize import WORTHWHILE, AbstractMinimizer, Minimum, minimize, search_axes


@program(once=True)
def prepare(likelihood: Likelihood, y: Array) -> Response:
    """Prepare responses ``y`` (N, m) and the fixed effects."""
    return likelihood.observe_all(likelihood.fixed(), jnp.asarray(y))


@program()
def prepare_fixed(likelihood: Likelihood) -> Any:
    """Prepare the fixed effects."""
    return likelihood.fixed()


@program(scatters=True, static=("mesh",))
def prepare_responses(likelihood: Likelihood, y: Array, mesh: jax.sharding.Mesh | None = None) -> Response:
    """Prepare responses ``y`` (N, m) without the fixed effects, each device of a ``mesh`` some of them."""

    def some(likelihood: Likelihood, y: jax.Array) -> Response:
        return likelihood.observe_all(None, y)

    if mesh is None or y.shape[1] % mesh.size != 0:
        return some(likelihood, jnp.asarray(y))
    return among_devices(mesh, some, likelihood, y, axis=1)


@program(once=True)
def prepare_around(likelihood: Likelihood, y: Array, coefficients: Array, scale: Array) -> Any:
    """Prepare responses ``y`` (N, m) less coefficients on the basis (m, p), in units of ``scale`` (m,)."""
    return likelihood.augmented_around(jnp.asarray(y), jnp.asarray(coefficients), jnp.asarray(scale))


class Reached(NamedTuple):
    """Where a search has come: its ``minimum``, the same ``snapped``, and ``turned``, theta written in the bases that
    are best to go on from it; every leaf has a first axis over the problems.
    """

    minimum: Minimum
    snapped: Snapped
    turned: tuple[Array, tuple[Array, ...]]


@program()
@spread
def run(
    problems: Problems,
    start: Array,
    bases: Sequence[Array],
    max_steps: Array,
    method: AbstractMinimizer,
    plan: Plan,
    search: Array,
    snaps: Array,
) -> Reached:
    """Minimize from ``start`` (b, k) in ``bases`` (b, q, q), or, if ``search`` (), from where the plan leads.

    Nothing is snapped unless ``snaps`` ().
    """
    likelihood, nodes = problems.likelihood, jnp.asarray(plan.nodes)
    by_nodes = nodes.shape[0] > 0
    start = jnp.asarray(start)

    def at_node(theta: jax.Array) -> jax.Array:
        factors = likelihood.layout.factors(theta, [jnp.asarray(basis)[0] for basis in bases])
        shared = None if problems.own else likelihood.solver.factor(factors)

        def one(problem: Problem) -> jax.Array:
            likelihood, response, _ = problem
            factor = likelihood.solver.factor(factors) if shared is None else shared
            return likelihood.profiled(likelihood.given(factor, response), response)  # an absolute layout has no nodes

        return problems.each(one)

    def best_node() -> jax.Array:
        values = jax.lax.map(at_node, nodes) if likelihood.solver.sequential else jax.vmap(at_node)(nodes)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf).at[0].add(-WORTHWHILE)
        lowest = jnp.min(values, axis=0)
        found = jnp.where(jnp.isfinite(lowest)[:, None], nodes[jnp.argmin(values, axis=0)], start)
        guessed, at_guess = problems.each(guess, start, bases)
        return jnp.where((at_guess < lowest - WORTHWHILE)[:, None], guessed, found)

    def rough(problem: Problem, start: jax.Array) -> jax.Array:
        likelihood, response, _ = problem
        covariance = likelihood.solver.guess(response.augmented, response.count)
        return start if covariance is None else likelihood.layout.guess(covariance, start, plan.inverse_frames)

    def guess(problem: Problem, start: jax.Array, bases: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        likelihood, response, _ = problem
        if not likelihood.solver.guesses:
            return start, jnp.full((), jnp.inf, start.dtype)
        theta = rough(problem, start)
        value = likelihood.deviance(likelihood.layout.factors(theta, bases), response)
        return theta, jnp.where(jnp.isfinite(value), value, jnp.inf)

    guided = likelihood.solver.hessian_is_expensive and likelihood.solver.guesses
    if guided:
        start = jax.lax.cond(search, lambda: problems.each(rough, start), lambda: start)
    elif by_nodes:
        start = jax.lax.cond(search, best_node, lambda: start)

    def one(problem: Problem, start: jax.Array, bases: Sequence[jax.Array], max_steps: jax.Array) -> Minimum:
        likelihood, response, _ = problem

        @jax.jit
        def objective(theta: jax.Array) -> jax.Array:
            return likelihood.deviance(likelihood.layout.factors(theta, bases), response)

        if not by_nodes and not guided:
            sweeps = jnp.where(search, SWEEPS, 0)
            start = search_axes(objective, start, *plan.axes, sweeps, sequential=likelihood.solver.sequential)
        return minimize(method, objective, start, max_steps)

    def snap(problem: Problem, theta: jax.Array, bases: Sequence[jax.Array], value: jax.Array) -> Snapped:
        return snapped(problem.likelihood, problem.response, theta, tuple(bases), value)

    def turn(_: Problem, theta: jax.Array, bases: Sequence[jax.Array]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        layout, found = likelihood.layout, list(bases)
        for t, (structure, place) in enumerate(zip(layout.structures, layout.slices(), strict=False)):
            own, found[t] = structure.rotated(theta[place], bases[t])
            theta = theta.at[place].set(own)
        return theta, tuple(found)

    bases = tuple(jnp.asarray(basis) for basis in bases)
    minimum = problems.each(one, start, bases, max_steps)
    x, value = minimum.x, minimum.value
    unsnapped = Snapped(x, bases, jnp.zeros(x.shape, jnp.int32))
    done = jax.lax.cond(snaps, lambda: problems.each(snap, x, bases, value), lambda: unsnapped)
    return Reached(minimum, done, problems.each(turn, x, bases))


@program(once=True)
@spread
def values(problems: Problems, theta: Array, bases: Sequence[Array]) -> jax.Array:
    """Return the deviances (b,) at ``theta`` (b, k) in ``bases`` (b, q, q)."""

    def one(problem: Problem, theta: jax.Array, bases: Sequence[jax.Array]) -> jax.Array:
        likelihood, response, _ = problem
        return likelihood.deviance(likelihood.layout.factors(theta, bases), response)

    return problems.each(one, theta, bases)


@program()
@spread
def examine_all(problems: Problems, theta: Array, bases: Sequence[Array]) -> OptimumDerivatives:
    """Examine the problems at ``theta`` (b, k) in ``bases`` (b, q, q)."""

    def one(problem: Problem, theta: jax.Array, bases: Sequence[jax.Array]) -> OptimumDerivatives:
        return examine(*problem, bases, theta)[0]

    return problems.each(one, theta, bases)


@program()
@spread
def rows_all(problems: Problems, theta: Array, bases: Sequence[Array], y: Array) -> Rows:
    """Return what the problems say of the rows of their responses ``y`` (b, N), at ``theta`` (b, k)."""

    def one(problem: Problem, theta: jax.Array, bases: Sequence[jax.Array], y: jax.Array) -> Rows:
        likelihood, response, _ = problem
        factors = likelihood.layout.factors(theta, bases)
        return rows_at(likelihood, response, y, factors, likelihood.at(factors, response))

    return problems.each(one, theta, bases, y)


@program(once=True)
def examine_one(problems: Problems, y: Array, theta: Array, bases: Sequence[Array]) -> tuple[OptimumDerivatives, Rows]:
    """Examine a single problem at ``theta`` (1, k), with what it says of the rows of ``y`` (N, 1); no first axis."""
    likelihood, theta = problems.likelihood, jnp.asarray(theta)[0]
    bases = [jnp.asarray(basis)[0] for basis in bases]
    response = jax.tree.map(lambda leaf: leaf[0], problems.responses.replace(fixed=None))
    response = response.replace(fixed=problems.responses.fixed)
    likelihood = likelihood.for_response(response)
    found, point = examine(likelihood, response, problems.units, bases, theta)
    factors = likelihood.layout.factors(theta, bases)
    return found, rows_at(likelihood, response, jnp.asarray(y)[:, 0], factors, point)
