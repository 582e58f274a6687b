"""The deviance of one response where natural parameters are held at values: minima over all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.engine.descent import MAX_EVALUATIONS, Descent
from jaxlmm.engine.problems import Problem, Problems, batches, take
from jaxlmm.engine.single import single_problem
from jaxlmm.engine.start import AXIS_SWEEPS, Plan, starts_with
from jaxlmm.likelihood import likelihood_of
from jaxlmm.model import Design, Layout, Natural, held_layout
from jaxlmm.optimize import AbstractMinimizer, Minimum, minimize
from jaxlmm.solvers import AbstractSolver

SMALL_PROFILE, LARGE_PROFILE = 8, 64
"""Sets of values at which a compiled function works at once; numbers between are padded to one of these."""


class Profile(NamedTuple):
    """Minima at c sets of values: the ``deviance`` (c,), and whether the minimizer ``converged``."""

    deviance: Float[NumpyArray, " c"]
    converged: Bool[NumpyArray, " c"]


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
    problems = single_problem(likelihood, design, y)
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
            nothing = jnp.zeros(0)
            value = Problem(likelihood, response, problems.units).deviance(nothing, own_bases)
            return Minimum(nothing, value, nothing, jnp.zeros((0, 0)), jnp.isfinite(value), jnp.int32(1))
        objective = Problem(likelihood, response, problems.units).objective(own_bases)
        begin = plan.searched(objective, start, jnp.int32(AXIS_SWEEPS), sequential=sequential)
        return minimize(method, objective, begin, jnp.int32(MAX_EVALUATIONS))

    several = layouts, jnp.asarray(starts)
    mapped: Minimum = jax.lax.map(lambda both: one(*both), several) if sequential else jax.vmap(one)(*several)
    return mapped
