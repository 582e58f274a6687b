"""Compiled functions over a batch of problems.

``program`` is ``jax.jit`` with compiler options for the CPU: ``once``, the function runs once per fit, so its code is
not optimized; ``scatters``, it mostly sums rows by level, which the code generator that compiles faster does slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, program
from jaxlmm.engine.boundary import Snapped, rotated, snapped
from jaxlmm.engine.problems import Problem, Problems, over_devices, run_over_devices, take
from jaxlmm.engine.start import Plan, starts_of
from jaxlmm.inference import OptimumDerivatives, Rows, examine, rows_at
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.optimize import AbstractMinimizer, Minimum, minimize


@program(once=True)
def prepare(likelihood: Likelihood, y: Float[Array, "N m"]) -> Response:
    """Prepare responses, with the cross-products of X that they share."""
    return likelihood.observe_all(likelihood.fixed_products(), jnp.asarray(y))


@program(once=True)
def prepare_fixed(likelihood: Likelihood) -> Any:
    """Return the cross-products of the basis of X, which all responses share."""
    return likelihood.fixed_products()


@program(scatters=True, static=("mesh",))
def prepare_responses(
    likelihood: Likelihood, y: Float[Array, "N m"], mesh: jax.sharding.Mesh | None = None
) -> Response:
    """Prepare responses without the cross-products that they share, each device of a ``mesh`` some of them."""

    def some(likelihood: Likelihood, y: jax.Array) -> Response:
        return likelihood.observe_all(None, y)

    if mesh is None or y.shape[1] % mesh.size != 0:
        return some(likelihood, jnp.asarray(y))
    return run_over_devices(mesh, some, likelihood, y, axis=1)


@program(once=True)
def prepare_around(
    likelihood: Likelihood, y: Float[Array, "N m"], coefficients: Float[Array, "m p"], scale: Float[Array, " m"]
) -> Any:
    """Return the augmented columns of responses less ``basis @ coefficients``, in units of ``scale``.

    The basis is the orthonormal one of √w X (``Design.basis``). For responses with almost no residual
    (:mod:`jaxlmm.engine.vanishing`), where a GLS fit is a closer center than least squares.
    """
    return likelihood.augmented_around(jnp.asarray(y), jnp.asarray(coefficients), jnp.asarray(scale))


class Reached(NamedTuple):
    """The point that a minimization has reached, of each problem along a first axis.

    ``minimum`` as the minimizer left it; ``snapped``, the same with small parameters snapped to the boundary; and
    ``rotated``, theta of ``minimum`` (not snapped) and the bases, turned to the principal axes of each term's
    covariance, from which a further minimization starts.
    """

    minimum: Minimum
    snapped: Snapped
    rotated: tuple[Float[Array, "b k"], tuple[Float[Array, "b _ _"], ...]]


MAX_PARAMETERS_COMPILED_ONCE = 3
"""Parameters up to which optimizing the search of one response takes longer than it saves in hundreds of fits."""


def _runs_once(problems: Problems, start: Array, *_: Any) -> bool:
    """Whether there is one response, and few parameters or a family, whose search is much to compile."""
    few = start.shape[1] <= MAX_PARAMETERS_COMPILED_ONCE or problems.likelihood.layout.family is not None
    return problems.size == 1 and few


@program(once=_runs_once)
@over_devices
def run(
    problems: Problems,
    start: Float[Array, "b k"],
    bases: Sequence[Float[Array, "b _ _"]],
    max_steps: Int[Array, " b"],
    method: AbstractMinimizer,
    plan: Plan,
    search: Bool[Array, ""],
    snaps: Bool[Array, ""],
) -> Reached:
    """Minimize from ``start``, written in ``bases``, or if ``search`` from the start that the plan finds.

    ``bases`` has an array (b, q, q) for each term; ``max_steps`` is that of each problem. Nothing is snapped to the
    boundary unless ``snaps``.
    """
    likelihood, bases = problems.likelihood, tuple(jnp.asarray(basis) for basis in bases)
    sequential = likelihood.solver.sequential
    # The plan's axes are searched where starts_of has no nodes, and does not take the guess of columns instead of them;
    # what a guess of the residuals says is no axis of the plan.
    guessed = likelihood.guesses_all or (likelihood.solver.quasi_newton and likelihood.solver.guesses)
    along_axes = plan.nodes.shape[0] == 0 and not guessed

    def minimized(problem: Problem, start: jax.Array, bases: Sequence[jax.Array], max_steps: jax.Array) -> Minimum:
        objective = problem.objective(bases)
        if along_axes:
            start = plan.searched(objective, start, jnp.where(search, plan.sweeps, 0), sequential=sequential)
        return minimize(method, objective, start, max_steps)

    def rotate(_: Problem, theta: jax.Array, bases: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        return rotated(likelihood.layout, theta, bases)

    start = jax.lax.cond(
        search, starts_of, lambda problems, plan, start, bases: start, problems, plan, jnp.asarray(start), bases
    )
    minimum = problems.each(minimized, start, bases, max_steps)
    x, value = minimum.x, minimum.value
    unsnapped = Snapped(x, bases, jnp.zeros(x.shape, jnp.int32))
    done = jax.lax.cond(snaps, lambda: problems.each(snapped, x, bases, value), lambda: unsnapped)
    return Reached(minimum, done, problems.each(rotate, x, bases))


@program(once=True)
@over_devices
def values(
    problems: Problems, theta: Float[Array, "b k"], bases: Sequence[Float[Array, "b _ _"]]
) -> Float[jax.Array, " b"]:
    """Return the deviances at ``theta`` in ``bases``."""
    return problems.each(Problem.deviance, theta, bases)


@program()
@over_devices
def examine_all(
    problems: Problems, theta: Float[Array, "b k"], bases: Sequence[Float[Array, "b _ _"]]
) -> OptimumDerivatives:
    """Return the derivatives at the optima ``theta`` in ``bases``."""

    def one(problem: Problem, theta: jax.Array, bases: Sequence[jax.Array]) -> OptimumDerivatives:
        return examine(*problem, bases, theta)[0]

    return problems.each(one, theta, bases)


@program()
@over_devices
def rows_all(
    problems: Problems, theta: Float[Array, "b k"], bases: Sequence[Float[Array, "b _ _"]], y: Float[Array, "b N"]
) -> Rows:
    """Return modes and fitted values of the responses ``y`` at ``theta``."""

    def one(problem: Problem, theta: jax.Array, bases: Sequence[jax.Array], y: jax.Array) -> Rows:
        factors = problem.likelihood.layout.factors(theta, bases)
        point = problem.likelihood.at(factors, problem.response)
        return rows_at(problem.likelihood, problem.response, y, factors, point)

    return problems.each(one, theta, bases, y)


@program(once=True)
def examine_one(
    problems: Problems, y: Float[Array, "N 1"], theta: Float[Array, "1 k"], bases: Sequence[Float[Array, "1 _ _"]]
) -> tuple[OptimumDerivatives, Rows]:
    """Return the derivatives at the optimum of a single problem, and its modes and fitted values; no first axis."""
    at_optimum, own_bases = jnp.asarray(theta)[0], [jnp.asarray(basis)[0] for basis in bases]
    # ``fixed``, the cross-products of X, is shared and has no first axis.
    response = take(problems.responses.replace(fixed=None), 0).replace(fixed=problems.responses.fixed)
    likelihood = problems.likelihood.for_response(response)
    # ``units`` is the map from the orthonormal basis to the columns of X.
    derivatives, point = examine(likelihood, response, problems.units, own_bases, at_optimum)
    factors = likelihood.layout.factors(at_optimum, own_bases)
    return derivatives, rows_at(likelihood, response, jnp.asarray(y)[:, 0], factors, point)
