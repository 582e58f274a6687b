"""Responses of one likelihood, prepared, and the compiled programmes that work on any of them at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._compile import program
from jaxlmm._struct import Struct, static
from jaxlmm._typing import Array, NumpyArray
from jaxlmm.covariance.base import Placements
from jaxlmm.inference import Examination, Rows, Units, examine, rows_at
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.optimise import AbstractMinimiser, Minimum, minimise, search_axes
from jaxlmm.solvers import AbstractSolver

SMALL_BLOCK, LARGE_BLOCK = 64, 1024
"""How many problems a compiled programme works on at once; numbers between are padded to one of these."""

NODES = {1: 13, 2: 7, 3: 4, 4: 3, 5: 3}
"""Values tried along each axis of theta, by the number of axes: at all their combinations, a few hundred at most."""

SWEEPS = 2
"""Rounds of the search for a start, axis by axis, where combinations are too many."""

ZERO_COSTS = 1e-9
"""A parameter is set to exactly zero when that raises the deviance by no more than this and rounding."""

T = TypeVar("T")


class Problem(NamedTuple):
    """One response with its likelihood and what turns its result into the data's units."""

    likelihood: Likelihood
    response: Response
    units: Units


class OwnRows(Struct):
    """What responses do not share when each has rows of its own; every leaf has a first axis over the responses."""

    solver: AbstractSolver
    fixed: Any
    units: Units


class Problems(Struct):
    """``responses`` of one ``likelihood``: every leaf but those of ``fixed`` has a first axis over them.

    ``units`` are those of the design. ``own`` is None where all responses have the rows of the design; otherwise it
    takes the place of solver, ``fixed`` and ``units``. ``largest`` is the largest block that fits into memory, and
    responses are spread over the devices of a ``mesh``, if there is one.
    """

    likelihood: Likelihood
    responses: Response
    units: Units
    own: OwnRows | None = None
    largest: int = static(default=LARGE_BLOCK)
    mesh: jax.sharding.Mesh | None = static(default=None)

    @property
    def size(self) -> int:
        """The number of responses."""
        return int(self.responses.scale.shape[0])

    def blocks(self, size: int) -> Iterator[tuple[NumpyArray, int]]:
        """Split ``size`` places as :func:`blocks`; the sizes are few, because each is a compiled programme."""
        return blocks(size, self.largest, 1 if self.size == 1 else SMALL_BLOCK)

    def each(self, function: Callable[..., T], index: Array, *arguments: Any) -> T:
        """Return ``function(problem, *arguments)`` for the problems ``index`` (b,), along a new first axis.

        ``arguments`` have a first axis over the b problems.
        """
        theirs = self.responses.replace(fixed=None), self.own
        chosen = jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], theirs)
        if self.mesh is not None and index.shape[0] % self.mesh.size == 0:
            spread = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*self.mesh.axis_names))
            chosen, arguments = jax.lax.with_sharding_constraint((chosen, arguments), spread)

        def one(theirs: tuple[Response, OwnRows | None], arguments: tuple[Any, ...]) -> T:
            response, own = theirs
            if own is None:
                problem = Problem(self.likelihood, response.replace(fixed=self.responses.fixed), self.units)
            else:
                problem = Problem(
                    self.likelihood.replace(solver=own.solver), response.replace(fixed=own.fixed), own.units
                )
            return function(problem, *arguments)

        if index.shape[0] == 1:
            found = one(*jax.tree.map(lambda leaf: leaf[0], (chosen, arguments)))
            return jax.tree.map(lambda leaf: leaf[None], found)
        if self.likelihood.solver.one_by_one:
            return jax.lax.map(lambda both: one(*both), (chosen, arguments))
        return jax.vmap(one)(chosen, arguments)


def blocks(size: int, largest: int = LARGE_BLOCK, smallest: int = SMALL_BLOCK) -> Iterator[tuple[NumpyArray, int]]:
    """Split places 0 … size − 1 into blocks of two sizes, each padded by repetition.

    Yields places and how many of them count.

    >>> [(places.size, count) for places, count in blocks(1100)]
    [(1024, 1024), (64, 64), (64, 12)]
    """
    sizes = sorted({min(smallest, largest), largest})
    start = 0
    while start < size:
        left = size - start
        larger = next((block for block in sizes if block >= left), largest)
        block = larger if left > larger // 4 or left > 4 * sizes[0] else sizes[0]
        count = min(block, left)
        yield start + np.resize(np.arange(count), block), count
        start += count


def in_blocks(problems: Problems, run: Callable[..., T], index: NumpyArray, *arguments: Any) -> T:
    """Call ``run(problems, index, *arguments)`` block by block, and join the results (b, ...) on the host."""
    parts = []
    index = index.astype(np.int32)
    for places, count in problems.blocks(index.size):
        chosen = jax.tree.map(lambda leaf, places=places: leaf[places], (index, *arguments))
        parts.append((run(problems, *chosen), count))
    cut = [jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], part) for part, count in parts]
    return cut[0] if len(cut) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *cut)


@program(once=True)
def prepare(likelihood: Likelihood, y: Array) -> Response:
    """Prepare responses ``y`` (N, m) and the fixed effects."""
    return likelihood.observe_all(likelihood.fixed(), jnp.asarray(y))


@program()
def prepare_fixed(likelihood: Likelihood) -> Any:
    """Prepare the fixed effects."""
    return likelihood.fixed()


@program()
def prepare_responses(likelihood: Likelihood, y: Array) -> Response:
    """Prepare responses ``y`` (N, m) without the fixed effects."""
    return likelihood.observe_all(None, jnp.asarray(y))


class Plan(Struct):
    """Where a start is looked for: the best of ``nodes`` (g, k) if there are any, else axis by axis.

    ``axes`` are numbers (a,) of parameters and values (a, v) for each.
    """

    nodes: Array
    axes: tuple[Array, Array]
    inverse_frames: tuple[Array, ...]

    @classmethod
    def of(cls, likelihood: Likelihood) -> Plan:
        """Make the plan of a likelihood: combinations where they are few."""
        start = likelihood.layout.start()
        index, values = likelihood.layout.search_axes()
        points = np.zeros((0, index.size))
        if index.size in NODES:
            some = np.linspace(0, values.shape[1] - 1, NODES[index.size]).round().astype(int)
            points = np.array(list(itertools.product(*values[:, some])))
        nodes = np.tile(start, (len(points), 1))
        nodes[:, index] = points
        return cls(nodes, (index, values), tuple(np.linalg.inv(frame) for frame in likelihood.layout.frames()))


def best_node(
    likelihood: Likelihood, response: Response, plan: Plan, start: jax.Array, frames: Sequence[Array]
) -> jax.Array:
    """Return where the search for one response begins: the best of the plan's nodes, or of values along its axes."""

    def objective(theta: jax.Array) -> jax.Array:
        return likelihood.deviance(likelihood.layout.factors(theta, frames), response)

    nodes = jnp.asarray(plan.nodes)
    if not nodes.shape[0]:
        return search_axes(objective, start, *plan.axes, jnp.int32(SWEEPS), one_by_one=likelihood.solver.one_by_one)
    values = jax.lax.map(objective, nodes) if likelihood.solver.one_by_one else jax.vmap(objective)(nodes)
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    return jnp.where(jnp.isfinite(jnp.min(values)), nodes[jnp.argmin(values)], start)


@program()
def run(
    problems: Problems,
    index: Array,
    start: Array,
    frames: Sequence[Array],
    max_steps: Array,
    method: AbstractMinimiser,
    plan: Plan,
    search: Array,
) -> Minimum:
    """Minimise from ``start`` (b, k) in ``frames`` (b, q, q), or, if ``search`` (), from where the plan leads."""
    likelihood, nodes = problems.likelihood, jnp.asarray(plan.nodes)
    by_nodes = nodes.shape[0] > 0
    start = jnp.asarray(start)

    def at_node(theta: jax.Array) -> jax.Array:
        factors = likelihood.layout.factors(theta, [jnp.asarray(frame)[0] for frame in frames])
        shared = None if problems.own else likelihood.solver.factor(factors)

        def one(problem: Problem) -> jax.Array:
            likelihood, response, _ = problem
            factor = likelihood.solver.factor(factors) if shared is None else shared
            return likelihood.profiled(likelihood.given(factor, response), response)

        return problems.each(one, index)

    def best_node() -> jax.Array:
        values = jax.lax.map(at_node, nodes) if likelihood.solver.one_by_one else jax.vmap(at_node)(nodes)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        lowest = jnp.min(values, axis=0)
        found = jnp.where(jnp.isfinite(lowest)[:, None], nodes[jnp.argmin(values, axis=0)], start)
        guessed, at_guess = problems.each(guess, index, start, frames)
        return jnp.where((at_guess < lowest)[:, None], guessed, found)

    def guess(problem: Problem, start: jax.Array, frames: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        likelihood, response, _ = problem
        covariance = likelihood.solver.guess(response.border, response.count)
        if covariance is None:
            return start, jnp.full((), jnp.inf, start.dtype)
        theta = likelihood.layout.guess(covariance, start, plan.inverse_frames)
        value = likelihood.deviance(likelihood.layout.factors(theta, frames), response)
        return theta, jnp.where(jnp.isfinite(value), value, jnp.inf)

    if by_nodes:
        start = jax.lax.cond(search, best_node, lambda: start)

    def one(problem: Problem, start: jax.Array, frames: Sequence[jax.Array], max_steps: jax.Array) -> Minimum:
        likelihood, response, _ = problem

        @jax.jit
        def objective(theta: jax.Array) -> jax.Array:
            return likelihood.deviance(likelihood.layout.factors(theta, frames), response)

        if not by_nodes:
            sweeps = jnp.where(search, SWEEPS, 0)
            start = search_axes(objective, start, *plan.axes, sweeps, one_by_one=likelihood.solver.one_by_one)
        return minimise(method, objective, start, max_steps)

    return problems.each(one, index, start, frames, max_steps)


@program()
def settle(
    problems: Problems, index: Array, theta: Array, frames: Sequence[Array], value: Array
) -> tuple[jax.Array, tuple[jax.Array, ...], jax.Array]:
    """Settle ``theta`` (b, k) in ``frames`` (b, q, q) with the deviance ``value`` (b,) there, as :func:`settled`."""

    def one(
        problem: Problem, theta: jax.Array, frames: Sequence[jax.Array], value: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, ...], jax.Array]:
        return settled(problem.likelihood, problem.response, theta, tuple(frames), value)

    return problems.each(one, index, theta, frames, value)


@program()
def turn(
    problems: Problems, index: Array, theta: Array, frames: Sequence[Array]
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Write ``theta`` (b, k) in the frames (b, q, q) that are best to go on from it."""
    layout = problems.likelihood.layout

    def one(_: Problem, theta: jax.Array, frames: Sequence[jax.Array]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        found = list(frames)
        for t, (structure, place) in enumerate(zip(layout.structures, layout.slices(), strict=False)):
            own, found[t] = structure.turned(theta[place], frames[t])
            theta = theta.at[place].set(own)
        return theta, tuple(found)

    return problems.each(one, index, theta, frames)


def settled(
    likelihood: Likelihood, response: Response, theta: jax.Array, frames: tuple[jax.Array, ...], value: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...], jax.Array]:
    """Set to exactly zero what the deviance does not miss, term by term.

    Takes ``theta`` (k,) in ``frames`` with the deviance ``value`` () there; returns theta, frames, and ``held`` (k,): 0
    where a parameter is free, else as in :class:`jaxlmm.covariance.base.Placements`, with numbers that differ between
    terms.
    """
    layout, held = likelihood.layout, jnp.zeros(theta.shape, jnp.int32)
    allowed = value + ZERO_COSTS + 1e-12 * (jnp.abs(value) + response.count)
    for t, (structure, place) in enumerate(zip(layout.structures, layout.slices(), strict=False)):
        options = structure.placements(theta[place], frames[t], jnp.asarray(layout.roots[t]))
        choice = _first_good(likelihood, response, _Trials(theta, frames, options, t, place), allowed)
        theta, frames = _Trials(theta, frames, options, t, place).at(choice)
        blocks = options.held[choice]
        held = held.at[place].set(jnp.where(blocks > 0, blocks + place.start, blocks))
    return theta, frames, held


class _Trials(NamedTuple):
    """Other ways of writing term ``t``, whose parameters stand at ``place`` in ``theta`` (k,)."""

    theta: jax.Array
    frames: tuple[jax.Array, ...]
    options: Placements
    t: int
    place: slice

    def at(self, choice: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Return theta and frames with one of them."""
        frame = self.options.frame[choice]
        frames = (*self.frames[: self.t], frame, *self.frames[self.t + 1 :])
        return self.theta.at[self.place].set(self.options.theta[choice]), frames


def _first_good(likelihood: Likelihood, response: Response, trials: _Trials, allowed: jax.Array) -> jax.Array:
    """Return the number of the first valid way whose deviance is ``allowed``, or else of the last."""
    valid = trials.options.valid
    number = np.arange(valid.shape[0])

    def refused(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        return ~state[1]

    def following(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        choice, _ = state
        good = likelihood.deviance(likelihood.layout.factors(*trials.at(choice)), response) <= allowed
        after = jnp.argmax(valid & (number > choice))
        return jnp.where(good, choice, after), good | (after == number[-1])

    first = jnp.argmax(valid)
    return jax.lax.while_loop(refused, following, (first, first == number[-1]))[0]


@program(once=True)
def values(problems: Problems, index: Array, theta: Array, frames: Sequence[Array]) -> jax.Array:
    """Return the deviances (b,) at ``theta`` (b, k) in ``frames`` (b, q, q)."""

    def one(problem: Problem, theta: jax.Array, frames: Sequence[jax.Array]) -> jax.Array:
        likelihood, response, _ = problem
        return likelihood.deviance(likelihood.layout.factors(theta, frames), response)

    return problems.each(one, index, theta, frames)


@program()
def examine_all(problems: Problems, index: Array, theta: Array, frames: Sequence[Array]) -> Examination:
    """Examine problems ``index`` (b,) at ``theta`` (b, k) in ``frames`` (b, q, q)."""

    def one(problem: Problem, theta: jax.Array, frames: Sequence[jax.Array]) -> Examination:
        return examine(*problem, frames, theta)[0]

    return problems.each(one, index, theta, frames)


@program()
def rows_all(problems: Problems, index: Array, theta: Array, frames: Sequence[Array], y: Array) -> Rows:
    """Return what problems ``index`` (b,) say of the rows of their responses ``y`` (b, N), at ``theta`` (b, k)."""

    def one(problem: Problem, theta: jax.Array, frames: Sequence[jax.Array], y: jax.Array) -> Rows:
        likelihood, response, _ = problem
        factors = likelihood.layout.factors(theta, frames)
        return rows_at(likelihood, response, y, factors, likelihood.at(factors, response))

    return problems.each(one, index, theta, frames, y)


@program(once=True)
def examine_one(problems: Problems, y: Array, theta: Array, frames: Sequence[Array]) -> tuple[Examination, Rows]:
    """Examine a single problem at ``theta`` (1, k), with what it says of the rows of ``y`` (N, 1); no first axis."""
    likelihood, theta = problems.likelihood, jnp.asarray(theta)[0]
    frames = [jnp.asarray(frame)[0] for frame in frames]
    response = jax.tree.map(lambda leaf: leaf[0], problems.responses.replace(fixed=None))
    response = response.replace(fixed=problems.responses.fixed)
    found, point = examine(likelihood, response, problems.units, frames, theta)
    factors = likelihood.layout.factors(theta, frames)
    return found, rows_at(likelihood, response, jnp.asarray(y)[:, 0], factors, point)
