"""One response: its optimum, with modes and fitted values, and its deviance where parameters are held at values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, pad, program
from jaxlmm.covariance import Parameter
from jaxlmm.engine.compiled import examine_one, prepare
from jaxlmm.engine.descent import MAX_EVALUATIONS, Descent
from jaxlmm.engine.found import Found, concluded
from jaxlmm.engine.minimum import Optima, find_optima
from jaxlmm.engine.problems import Problem, Problems, batches, take
from jaxlmm.engine.start import AXIS_SWEEPS, Plan, starts_with
from jaxlmm.inference import OptimumDerivatives, Rows, Units
from jaxlmm.likelihood import Likelihood, likelihood_of
from jaxlmm.model import Design, Layout, Natural, held_layout
from jaxlmm.optimize import AbstractMinimizer, Minimum, minimize
from jaxlmm.solvers import AbstractSolver

SMALL_PROFILE, LARGE_PROFILE = 8, 64
"""Sets of values at which a compiled function works at once; numbers between are padded to one of these."""


class Profile(NamedTuple):
    """Minima at c sets of values: the ``deviance`` (c,), and whether the minimizer ``converged``."""

    deviance: Float[NumpyArray, " c"]
    converged: Bool[NumpyArray, " c"]


class Solution(NamedTuple):
    """An optimum and where it lies: ``optima`` of the one response of ``problems``, and its padded ``y``."""

    problems: Problems
    optima: Optima
    y: Float[NumpyArray, "N 1"]

    @property
    def likelihood(self) -> Likelihood:
        """The likelihood whose deviance is minimal."""
        return self.problems.likelihood

    @property
    def theta(self) -> Float[NumpyArray, " k"]:
        """The optimum, written in the bases."""
        return self.optima.theta[0]

    @property
    def bases(self) -> tuple[Float[NumpyArray, "_ _"], ...]:
        """One per term."""
        return tuple(basis[0] for basis in self.optima.bases)

    @property
    def scale(self) -> float:
        """The response's residual standard deviation of least squares, in whose units it is fitted."""
        return float(np.asarray(self.problems.responses.scale)[0])

    @property
    def layout(self) -> Layout:
        """The layout that turns theta into factors, what is fixed being in units of the response's scale."""
        return self.likelihood.layout.in_unit(np.float64(self.scale))

    @property
    def n_evaluations(self) -> int:
        """How often the deviance was evaluated, with derivatives."""
        return int(self.optima.n_evaluations[0])

    @property
    def active_set(self) -> Int[NumpyArray, " k"]:
        """The parameters kept at a boundary, as in :class:`Optima`."""
        return self.optima.active_set[0]

    def certified(self, parameters: Sequence[Parameter], fixed: Natural | None) -> tuple[Solution, Found, Rows]:
        """Return the solution, in the limit if no residual is left, its derivatives and certificate, and its rows.

        Of the natural ``parameters`` some are ``fixed``; derivatives and certificate have a first axis of length one.
        """

        def examined(problems: Problems, optima: Optima) -> tuple[OptimumDerivatives, tuple[Problems, Rows]]:
            at_optimum = examine_one(problems, self.y, optima.theta, optima.bases)
            found, rows = jax.tree.map(np.asarray, at_optimum)
            return jax.tree.map(lambda leaf: leaf[None], found), (problems, rows)

        def rows_of(index: NumpyArray) -> NumpyArray:
            return self.y[:, index]

        found, (problems, rows) = concluded(self.problems, self.optima, examined, parameters, fixed, rows_of)
        return Solution(problems, found.optima, self.y), found, rows


def solve_single(
    design: Design,
    y: Float[NumpyArray, " n"],
    *,
    solver: type[AbstractSolver],
    method: str,
    first_order: AbstractMinimizer | None = None,
    start: Natural | None = None,
    fixed: Natural | None = None,
) -> Solution:
    """Minimize the deviance of one response.

    Parameters
    ----------
    design, y
        The design and a response ``(n,)`` in its own units.
    solver, method
        A solver's class, and ``"REML"`` or ``"ML"``.
    first_order
        Another minimizer to find the optimum with; Newton's method then only confirms it.
    start, fixed
        Natural parameters to begin at, and to hold.
    """
    likelihood = likelihood_of(design, solver.build(design), method, fixed)
    if likelihood.solver.sequential:
        likelihood = jax.device_put(likelihood)  # large arrays travel once, small ones faster with each call
    padded = pad(y, design.n_padded)[:, None]
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())  # from the basis of X to X
    problems = Problems(likelihood, prepare(likelihood, padded), units)
    return Solution(problems, find_optima(problems, first_order, start), padded)


def profile(
    design: Design, y: Float[NumpyArray, " n"], *, solver: type[AbstractSolver], method: str, held: Sequence[Natural]
) -> Profile:
    """Minimize the deviance of one response with natural parameters held at each of several sets of values.

    Nothing is examined: no derivatives, certificate or standard errors. Sets of the same parameters are minimized
    together, and other values compile nothing.

    Parameters
    ----------
    design, y
        The design and a response ``(n,)`` in its own units.
    solver, method
        A solver's class and ``"REML"`` or ``"ML"``.
    held
        The sets of values.

    Raises
    ------
    OptionError
        If a structure cannot have some of the values.
    """
    likelihood = likelihood_of(design, solver.build(design), method)
    problems = Problems(
        likelihood,
        prepare(likelihood, pad(y, design.n_padded)[:, None]),
        Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares()),
    )
    layouts = [held_layout(design, values) for values in held]
    alike: dict[jax.tree_util.PyTreeDef, list[int]] = {}
    for number, layout in enumerate(layouts):
        alike.setdefault(jax.tree.structure(layout), []).append(number)
    found = Profile(np.full(len(held), np.nan), np.zeros(len(held), bool))
    for group in alike.values():
        own = problems.replace(likelihood=likelihood.replace(layout=layouts[group[0]]))
        descent, bases, scale = Descent(own), layouts[group[0]].bases(), np.asarray(problems.responses.scale)
        for chosen, count in batches(len(group), LARGE_PROFILE, SMALL_PROFILE):
            index = np.array(group)[chosen]
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(layouts[i] for i in index))
            starts = np.concatenate([starts_with(layouts[i], None, scale) for i in index])
            minimum = _minima(own, stacked, bases, starts, descent.method, descent.plan)
            found.deviance[index[:count]] = np.asarray(minimum.value)[:count]
            found.converged[index[:count]] = np.asarray(minimum.converged)[:count]
    return found


@program()
def _minima(
    problems: Problems,
    layouts: Layout,
    bases: Sequence[Float[Array, "_ _"]],
    starts: Float[Array, "c k"],
    method: AbstractMinimizer,
    plan: Plan,
) -> Minimum:
    """Minimize the deviance of a single problem in each of the ``layouts``, along a first axis of every leaf.

    ``starts`` are those of the layouts.
    """
    response = take(problems.responses.replace(fixed=None), 0).replace(fixed=problems.responses.fixed)

    sequential, own_bases = problems.likelihood.solver.sequential, [jnp.asarray(basis) for basis in bases]

    def one(layout: Layout, start: Float[jax.Array, " k"]) -> Minimum:
        likelihood = problems.likelihood.replace(layout=layout).for_response(response)
        if layout.n_theta == 0:
            nothing, value = (
                jnp.zeros(0),
                Problem(likelihood, response, problems.units).deviance(jnp.zeros(0), own_bases),
            )
            return Minimum(nothing, value, nothing, jnp.zeros((0, 0)), jnp.isfinite(value), jnp.int32(1))
        objective = Problem(likelihood, response, problems.units).objective(own_bases)
        begin = plan.searched(objective, start, jnp.int32(AXIS_SWEEPS), sequential=sequential)
        return minimize(method, objective, begin, jnp.int32(MAX_EVALUATIONS))

    mapped: Minimum = (
        jax.lax.map(lambda both: one(*both), (layouts, jnp.asarray(starts)))
        if sequential
        else jax.vmap(one)(layouts, jnp.asarray(starts))
    )
    return mapped
