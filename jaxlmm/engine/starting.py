"""Where the search for an optimum begins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._struct import Struct
from jaxlmm._typing import Array
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.optimise import search_axes
from jaxlmm.optimise.search import WORTHWHILE

NODES = {1: 13, 2: 7, 3: 4, 4: 3, 5: 3}
"""Values tried along each axis of theta, by the number of axes: at all their combinations, a few hundred at most."""

FEW = {1: 5, 2: 3, 3: 2, 4: 2, 5: 1}
"""The same where evaluations are dear: values from the middle of each axis."""

SWEEPS = 2
"""Rounds of the search for a start, axis by axis, where combinations are too many."""


class Plan(Struct):
    """Where a start is looked for: the best of ``nodes`` (g, k) if there are any, else axis by axis.

    The first node is the layout's start, which is left only for a gain: on a ridge rounding does not choose.

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
        counts = FEW if likelihood.solver.few_nodes else NODES
        if index.size in counts:
            last = values.shape[1] - 1
            within = (0.25, 0.75) if likelihood.solver.few_nodes else (0.0, 1.0)
            some = np.linspace(within[0] * last, within[1] * last, counts[index.size]).round().astype(int)
            points = np.array(list(itertools.product(*values[:, some])))
        nodes = np.tile(start, (len(points), 1))
        nodes[:, index] = points
        nodes = np.concatenate([start[None], nodes]) if len(nodes) else nodes
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
    values = jnp.where(jnp.isfinite(values), values, jnp.inf).at[0].add(-WORTHWHILE)
    return jnp.where(jnp.isfinite(jnp.min(values)), nodes[jnp.argmin(values)], start)
