"""Where the minimization of the deviance starts: nodes of theta, a guess by moments, or natural parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct
from jaxlmm.engine.guesses import guess_columns, guess_residual, guessed_of_residual
from jaxlmm.engine.problems import Problem, Problems
from jaxlmm.errors import OptionError
from jaxlmm.likelihood import Likelihood
from jaxlmm.model import Design, Layout, Natural, beginning_at, near, point_at
from jaxlmm.optimize import WORTHWHILE, Objective, search_axes

VALUES_PER_AXIS = {1: 13, 2: 7, 3: 4, 4: 3, 5: 3}
"""Values tried along each axis of theta, by the number of axes: at all their combinations, a few hundred at most."""

VALUES_PER_AXIS_COARSE = {1: 5, 2: 3, 3: 2, 4: 2, 5: 1}
"""The same where an evaluation is expensive: values from the middle of each axis."""

VALUES_PER_AXIS_OF_FAMILY = 5
"""The same of a generalized model, axis by axis."""

AXIS_SWEEPS, AXIS_SWEEPS_OF_FAMILY = 2, 1
"""Rounds of the search for a start, axis by axis, where combinations are too many; of a generalized model."""

MAX_START_ERROR = 1e-4
"""Relative error of the natural parameters up to which a start has those that were given."""

LEVEL_SIZE_QUANTILES = (np.arange(16) + 0.5) / 16
"""Quantiles of the numbers of rows per level by which the expected curvature is computed."""


class Plan(Struct):
    """Where a start is looked for: the best of ``nodes`` if there are any, else axis by axis.

    The first node is the layout's start, which is left only for a gain: on a ridge rounding does not choose.
    ``axes`` are numbers of parameters and values for each, over which there are so many ``sweeps``; ``inverse_bases``
    take the guess of a covariance into the bases in which theta is written.
    """

    nodes: Float[Array, "g k"]
    axes: tuple[Int[Array, " a"], Float[Array, "a v"]]
    inverse_bases: tuple[Float[Array, "_ _"], ...]
    sweeps: Int[Array, ""]

    @classmethod
    def of(cls, likelihood: Likelihood) -> Self:
        """Make the plan of a likelihood: combinations of values where they are few."""
        start = likelihood.layout.start()
        index, values = likelihood.layout.search_axes()
        if likelihood.layout.family is not None:  # each is a search for modes
            values = values[:, np.linspace(0, values.shape[1] - 1, VALUES_PER_AXIS_OF_FAMILY).round().astype(int)]
        points = np.zeros((int(index.size == 0 and likelihood.layout.family is None), index.size))
        counts = VALUES_PER_AXIS_COARSE if likelihood.solver.coarse_start else VALUES_PER_AXIS
        layout = likelihood.layout
        guessed = guessed_of_residual(layout) & likelihood.solver.guesses_residual
        if guessed.any():
            index, values = index[~guessed[index]], values[~guessed[index]]
            points = np.zeros((0, index.size))
        elif index.size in counts and not (layout.absolute or layout.is_held):  # nodes, which responses share
            last = values.shape[1] - 1
            within = (0.25, 0.75) if likelihood.solver.coarse_start else (0.0, 1.0)
            some = np.linspace(within[0] * last, within[1] * last, counts[index.size]).round().astype(int)
            points = np.array(list(itertools.product(*values[:, some])))
        nodes = np.tile(start, (len(points), 1))
        nodes[:, index] = points
        nodes = np.concatenate([start[None], nodes]) if len(nodes) else nodes
        sweeps = np.int32(AXIS_SWEEPS if layout.family is None else AXIS_SWEEPS_OF_FAMILY)
        return cls(nodes, (index, values), tuple(np.linalg.inv(basis) for basis in layout.bases()), sweeps)

    def searched(
        self, objective: Objective, start: Float[Array, " k"], sweeps: Array, *, sequential: bool
    ) -> Float[jax.Array, " k"]:
        """Return the best start along the plan's axes, looked for in ``sweeps`` rounds."""
        return search_axes(objective.nearest, jnp.asarray(start), *self.axes, sweeps, sequential=sequential)


def best_of_nodes(
    nodes: Float[Array, "g k"], values: Float[jax.Array, "g ..."], start: Float[jax.Array, "*b k"]
) -> tuple[Float[jax.Array, "*b k"], Float[jax.Array, "*b"]]:
    """Return the node with the lowest deviance, and that; ``start`` where no deviance is finite.

    The first node is kept unless another is lower by more than ``WORTHWHILE``.
    """
    values = jnp.where(jnp.isfinite(values), values, jnp.inf).at[0].add(-WORTHWHILE)
    lowest = jnp.min(values, axis=0)
    return jnp.where(jnp.isfinite(lowest)[..., None], nodes[jnp.argmin(values, axis=0)], start), lowest


class Beginning(NamedTuple):
    """What a search begins with: a ``plan`` of where to look for a start, the layout's start, and its bases."""

    plan: Plan
    start: Float[Array, " k"]
    bases: tuple[Float[Array, "_ _"], ...]

    @classmethod
    def of(cls, likelihood: Likelihood) -> Self:
        """Return what a search for the optimum of a likelihood begins with."""
        layout = likelihood.layout
        return cls(Plan.of(likelihood), layout.start(), layout.bases())


def start_of(problem: Problem, beginning: Beginning) -> Float[jax.Array, " k"]:
    """Return the start of one problem: the best of the plan's nodes, or of values along its axes."""
    plan, nodes = beginning.plan, jnp.asarray(beginning.plan.nodes)
    start = jnp.asarray(problem.likelihood.started(jnp.asarray(beginning.start), problem.response))
    objective = problem.objective(beginning.bases)
    if not nodes.shape[0]:
        return start_without_nodes(problem, objective, plan, start, beginning.bases)
    one_by_one = problem.likelihood.solver.sequential
    values = jax.lax.map(objective, nodes) if one_by_one else jax.vmap(objective)(nodes)
    return best_of_nodes(nodes, values, start)[0]


def start_without_nodes(
    problem: Problem, objective: Objective, plan: Plan, start: Float[jax.Array, " k"], bases: Sequence[Array]
) -> Float[jax.Array, " k"]:
    """Return a start by guesses, and of what is not guessed by the best of values along the plan's axes."""
    likelihood = problem.likelihood
    start = guessed_start(problem, plan, start, bases) if likelihood.guesses_some else start
    if likelihood.guesses_all:
        return start
    return plan.searched(objective, start, jnp.asarray(plan.sweeps), sequential=likelihood.solver.sequential)


def starts_of(
    problems: Problems, plan: Plan, start: Float[jax.Array, "b k"], bases: Sequence[Array]
) -> Float[jax.Array, "b k"]:
    """Return the starts of a batch; the plan's axes are left to the search of each problem.

    The best of the plan's nodes, at each of which responses share the work that depends on theta alone, or the solver's
    guess by moments where that is lower; where a Hessian is expensive the guess alone. Where there are no nodes, the
    guess of the residuals' covariance, if the solver has one, or of all that the likelihood guesses.
    """
    likelihood, nodes = problems.likelihood, jnp.asarray(plan.nodes)

    def from_guess(problem: Problem, start: jax.Array, bases: Sequence[jax.Array]) -> jax.Array:
        return guessed_start(problem, plan, start, bases)

    if likelihood.solver.quasi_newton and likelihood.solver.guesses:
        return problems.each(from_guess, start, tuple(bases))
    if nodes.shape[0] == 0:
        return problems.each(from_guess, start, tuple(bases)) if likelihood.guesses_some else start

    def at_node(theta: jax.Array) -> jax.Array:
        factors = likelihood.layout.factors(theta, [jnp.asarray(basis)[0] for basis in bases])
        shared = None if problems.own else likelihood.factorized(factors)

        def value(problem: Problem) -> jax.Array:
            factor = problem.likelihood.factorized(factors) if shared is None else shared
            point = problem.likelihood.at_factor(factor, problem.response)
            return problem.likelihood.criterion(point, None, problem.response)  # an absolute layout has no nodes

        return problems.each(value)

    def guess(problem: Problem, start: jax.Array, bases: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        theta = guessed_start(problem, plan, start, bases)
        value = problem.deviance(theta, bases)
        return theta, jnp.where(jnp.isfinite(value), value, jnp.inf)

    values = jax.lax.map(at_node, nodes) if likelihood.solver.sequential else jax.vmap(at_node)(nodes)
    best, lowest = best_of_nodes(nodes, values, start)
    if not likelihood.solver.guesses:
        return best
    guessed, at_guess = problems.each(guess, start, bases)
    return jnp.where((at_guess < lowest - WORTHWHILE)[:, None], guessed, best)


def guessed_start(
    problem: Problem, plan: Plan, start: Float[jax.Array, " k"], bases: Sequence[Array]
) -> Float[jax.Array, " k"]:
    """Return theta at the solver's rough covariances by moments, if what is held can be had near it."""
    layout, covariance = problem.likelihood.layout, problem.likelihood.guess(problem.response)
    residual, rough = problem.likelihood.guess_residual(problem.response), start
    if residual is not None:
        rough = guess_residual(layout, residual, rough)
    if covariance is not None:
        rough = guess_columns(layout, covariance, rough, plan.inverse_bases)
    rough = problem.likelihood.guess_dispersion(rough, bases, problem.response)
    guess, holds = problem.objective(bases).feasible(rough, jnp.ones_like(start))
    return jnp.where(holds & jnp.all(jnp.isfinite(guess)), guess, start)


def starts_with(layout: Layout, given: Natural | None, scales: Float[NumpyArray, " m"]) -> Float[NumpyArray, "m k"]:
    """Return starts of responses with residual standard deviations ``scales``, at which what is held has its values.

    They are those of :func:`start_at` where natural parameters are ``given``; a response at whose scale none is found,
    though there is one at another, begins as usual.

    Raises
    ------
    OptionError
        If a structure cannot have the values that are given.
    """
    if given is None and not layout.is_held:
        return np.tile(layout.start(), (scales.size, 1))
    by_scale = given is not None or layout.absolute
    different, same = np.unique(scales if by_scale else np.ones_like(scales), return_inverse=True)
    found = [_start_at(layout, given, float(scale)) for scale in different]
    exists = [error < MAX_START_ERROR for _, error in found]
    if given is not None and not any(exists):
        start_at(layout, given, given.size)  # raises unless it is these scales that have none
    starts = [
        start if known else _start_at(layout, None, float(scale))[0]
        for (start, _), known, scale in zip(found, exists, different, strict=True)
    ]
    return np.stack(starts)[same.reshape(-1)]


def start_at(layout: Layout, given: Natural, scale: float) -> Float[NumpyArray, " k"]:
    """Return a start at which the natural parameters are those ``given``, and the others as usual.

    ``scale`` is the residual standard deviation of least squares, which sigma is taken to be where it is neither given
    nor fixed.

    Raises
    ------
    OptionError
        If a structure cannot have these values.
    """
    start, error = _start_at(layout, given, scale)
    if not error < MAX_START_ERROR:
        named = {name: value for block in range(len(given.values)) for name, value in given.named(block).items()}
        raise OptionError(f"start: the search cannot begin at {named}: no covariance with these values was found.")
    return start


def _start_at(layout: Layout, given: Natural | None, scale: float) -> tuple[Float[NumpyArray, " k"], float]:
    """Return :func:`start_at`, or the usual start where nothing is given, and the relative error of the values."""
    own = layout.in_unit(np.float64(scale))
    if given is None:
        return point_at(own, own.start()) if own.is_held else (own.start(), 0.0)
    residual = given.values[-1]
    of_residual = float(residual[0]) if own.family is None else np.nan
    geometric_mean = of_residual if np.isfinite(of_residual) else scale
    if own.dispersion is not None:
        coefficients = own.dispersion.start(residual[-own.dispersion.count :])
        if np.isfinite(of_residual):
            geometric_mean *= float(np.exp(own.dispersion.at(coefficients, scaled=True).log_ratio))
    beginning = beginning_at(own, given, scale if own.absolute else geometric_mean)
    start, error = point_at(beginning, own.start()) if beginning.is_held else (own.start(), 0.0)
    if not error < MAX_START_ERROR:  # as where standard deviations differ by powers of ten
        closer = near(own, given, scale if own.absolute else geometric_mean, own.start())
        start, error = min((start, error), point_at(beginning, closer), key=lambda found: found[1])
    if own.dispersion is not None:
        start[own.beyond] = coefficients
    if own.sigma_is_free and np.isfinite(of_residual):
        start[-1] = np.log(geometric_mean / scale)
    if own.family is not None:
        start[own.n_theta - own.n_family :] = own.family.start(residual)
    return start, error


class ExpectedCurvature(Struct):
    """Roughly the second derivatives of the deviance in relative changes of theta, where a Hessian is learned.

    A variance ratio θ² of a factor whose level j has n_j rows is known from ``s_j = n_j θ² / (1 + n_j θ²)`` of the
    level's effect: the expected second derivative in log θ is ``4 Σ s_j²`` where it is the only factor. ``rows``
    are quantiles of n_j for the term of each parameter, ``levels`` its number of levels. ``sigma`` is the second
    derivative in the logarithm of sigma where that is a parameter, and in coefficients of dispersion, and 0 for the
    others.
    """

    rows: Float[Array, "k v"]
    levels: Float[Array, " k"]
    sigma: Float[Array, " k"]

    @classmethod
    def of(cls, design: Design, layout: Layout) -> Self:
        """Count the rows of the levels of each term."""
        rows, levels = [], []
        for term, count in zip(design.terms, layout.counts, strict=False):
            touched = np.any(np.asarray(term.z) != 0, axis=1)
            found = np.bincount(np.asarray(design.groupings[term.grouping].codes)[touched])
            found = found[found > 0]
            rows += [np.quantile(found, LEVEL_SIZE_QUANTILES)] * count
            levels += [found.size] * count
        missing = layout.n_theta - len(rows)  # those of a residual structure
        sigma = np.zeros(layout.n_theta)
        sigma[layout.beyond.start :] = 4.0 * float(design.n)
        return cls(
            np.array(rows + [np.ones(LEVEL_SIZE_QUANTILES.size)] * missing),
            np.array(levels + [1] * missing, float),
            sigma,
        )

    def __call__(self, mean_square: jax.Array) -> jax.Array:
        """Return them (k,) at theta whose mean square over its term is ``mean_square`` (k,)."""
        size = jnp.asarray(self.rows) * mean_square[:, None]
        relative = 4.0 * self.levels * jnp.mean((size / (1.0 + size)) ** 2, axis=1)
        return jnp.where(jnp.asarray(self.sigma) > 0, self.sigma * mean_square, relative)
