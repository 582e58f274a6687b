"""The deviance of one response where natural parameters are held at values: minima over all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, pad, program
from jaxlmm.engine.compiled import prepare_fixed, prepare_responses
from jaxlmm.engine.descent import MAX_EVALUATIONS, Descent
from jaxlmm.engine.minimum import find_optima
from jaxlmm.engine.problems import Problem, Problems, batches, take
from jaxlmm.engine.single import single_problem
from jaxlmm.engine.start import Plan, start_without_nodes
from jaxlmm.inference import Units
from jaxlmm.likelihood import Generalized, Likelihood, likelihood_of
from jaxlmm.model import Design, Layout, Natural, held_layouts, independent_basis
from jaxlmm.optimize import AbstractMinimizer, Minimum, minimize
from jaxlmm.solvers import AbstractSolver

SMALL_PROFILE, LARGE_PROFILE = 8, 64
"""Sets of values at which a compiled function works at once; numbers between are padded to one of these."""


class Minima(NamedTuple):
    """Minima at c sets of values: the ``deviance`` (c,), and whether the minimizer ``converged``."""

    deviance: Float[NumpyArray, " c"]
    converged: Bool[NumpyArray, " c"]


class Profiler:
    """The deviance of one response as a function of natural parameters that are held, and of coefficients.

    Parameters
    ----------
    design, y
        The design and a response ``(n,)`` in its own units.
    solver, method
        A solver's class and ``"REML"`` or ``"ML"``.
    fixed
        Natural parameters that are held throughout, where coefficients are.
    """

    def __init__(
        self,
        design: Design,
        y: Float[NumpyArray, " n"],
        *,
        solver: type[AbstractSolver],
        method: str,
        fixed: Natural | None = None,
    ) -> None:
        self.design, self.y, self.solver, self.method, self.fixed = design, y, solver, method, fixed
        self._problems: Problems | None = None
        self._without: dict[int, tuple[Likelihood, Any, Units, NumpyArray]] = {}

    def at(self, held: Sequence[Natural]) -> Minima:
        """Return the minima over all other parameters at each set of values.

        Sets of the same parameters are minimized together, and other values compile nothing.

        Raises
        ------
        OptionError
            If a structure cannot have some of the values.
        """
        if self._problems is None:
            likelihood = likelihood_of(self.design, self.solver.build(self.design), self.method)
            self._problems = single_problem(likelihood, self.design, self.y)
        problems, likelihood = self._problems, self._problems.likelihood
        found = Minima(np.full(len(held), np.nan), np.zeros(len(held), bool))
        values = np.stack([one.flat for one in held])
        for alike, template, layouts in held_layouts(self.design, held[0].parameters, values, likelihood.layout.chains):
            own = problems.replace(likelihood=likelihood.replace(layout=template))
            descent, bases = Descent(own), template.bases()
            for chosen, count in batches(alike.size, LARGE_PROFILE, SMALL_PROFILE):
                some = jax.tree.map(lambda leaf, chosen=chosen: np.asarray(leaf)[chosen], layouts)
                minimum = _minima(own, some, bases, template.start(), descent.method, descent.plan)
                to = alike[chosen[:count]]
                found.deviance[to] = np.asarray(minimum.value)[:count]
                found.converged[to] = np.asarray(minimum.converged)[:count]
        return found

    def at_coefficient(self, column: int, values: Float[NumpyArray, " c"]) -> Minima:
        """Return the minima over all other parameters where one coefficient has each of the ``values``.

        They are those of the responses less the column times the value, on a design without it; of a generalized model
        that product is an offset.
        """
        if column not in self._without:
            self._without[column] = self._prepared_without(column)
        likelihood, fixed_products, units, x = self._without[column]
        size = next((size for size in (SMALL_PROFILE, LARGE_PROFILE) if size >= values.size), values.size)
        shift = x[:, None] * np.concatenate([values, np.repeat(values[:1], size - values.size)])[None, :]
        y = np.repeat(pad(self.y, self.design.n_padded)[:, None], size, axis=1)
        generalized = isinstance(likelihood, Generalized)
        prepared = prepare_responses(likelihood, y if generalized else y - shift)
        responses = jax.tree.map(np.asarray, prepared).replace(fixed=fixed_products)
        if isinstance(likelihood, Generalized):
            responses = likelihood.offset_by(responses, np.ascontiguousarray(shift.T))
        optima = find_optima(Problems(likelihood, responses, units, largest=size))
        return Minima(np.array(optima.value[: values.size]), np.array(optima.converged[: values.size]))

    def _prepared_without(self, column: int) -> tuple[Likelihood, Any, Units, Float[NumpyArray, " N"]]:
        """Return the likelihood without a column of X, what responses share, and that column."""
        smaller, x = without_column(self.design, column)
        smaller = smaller.with_padded_columns()
        likelihood = likelihood_of(smaller, self.solver.build(smaller).unpadded(), self.method, self.fixed)
        units = Units(np.linalg.inv(np.asarray(smaller.triangle)), smaller.mean_squares())
        return likelihood, prepare_fixed(likelihood), units, x


def without_column(
    design: Design, column: int, columns: Sequence[int] | None = None
) -> tuple[Design, Float[NumpyArray, " N"]]:
    """Return the design of some ``columns`` of X, by default all, but without one, and that column in its own units."""
    triangle, weight = np.asarray(design.triangle), np.asarray(design.root_weight)
    whole = np.asarray(design.basis) @ triangle
    others = [number for number in (range(whole.shape[1]) if columns is None else columns) if number != column]
    rest = independent_basis(whole[:, others])
    smaller = design.replace(basis=rest.basis, triangle=rest.triangle, n_fixed=np.int64(rest.basis.shape[1]))
    x = whole[:, column]
    return smaller, np.divide(x, weight, where=weight > 0, out=np.zeros_like(x))


@program(once=True)
def _minima(
    problems: Problems,
    layouts: Layout,
    bases: Sequence[Float[Array, "_ _"]],
    start: Float[Array, " k"],
    method: AbstractMinimizer,
    plan: Plan,
) -> Minimum:
    """Minimize the deviance of a single problem in each of the ``layouts``, along a first axis of every leaf."""
    response = take(problems.responses.replace(fixed=None), 0).replace(fixed=problems.responses.fixed)
    sequential, own_bases = problems.likelihood.solver.sequential, [jnp.asarray(basis) for basis in bases]

    def one(layout: Layout) -> Minimum:
        problem = Problem(problems.likelihood, response, problems.units)
        return minimum_in(problem, layout, own_bases, start, method, plan)

    mapped: Minimum = jax.lax.map(one, layouts) if sequential else jax.vmap(one)(layouts)
    return mapped


def minimum_in(
    problem: Problem,
    layout: Layout,
    bases: Sequence[Float[jax.Array, "_ _"]],
    start: Float[Array, " k"],
    method: AbstractMinimizer,
    plan: Plan,
) -> Minimum:
    """Minimize the deviance of one problem in a ``layout`` that holds parameters, from a start near those values."""
    likelihood = problem.likelihood.replace(layout=layout).for_response(problem.response)
    own = Problem(likelihood, problem.response, problem.units)
    if layout.n_theta == 0:
        nothing = jnp.zeros(0)
        value = own.deviance(nothing, bases)
        return Minimum(nothing, value, nothing, jnp.zeros((0, 0)), jnp.isfinite(value), jnp.int32(1))
    objective = own.objective(bases)
    begin = jnp.asarray(likelihood.started(jnp.asarray(start), problem.response))
    near, holds = objective.feasible(begin, jnp.ones_like(begin))
    begin = jnp.where(holds, near, begin)
    begin = start_without_nodes(own, objective, plan, begin, bases)
    return minimize(method, objective, begin, jnp.int32(MAX_EVALUATIONS))
