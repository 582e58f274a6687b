"""Where the search for an optimum begins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._struct import Struct
from jaxlmm._typing import Array
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.model import Design, Layout
from jaxlmm.optimise import search_axes
from jaxlmm.optimise.search import WORTHWHILE

NODES = {1: 13, 2: 7, 3: 4, 4: 3, 5: 3}
"""Values tried along each axis of theta, by the number of axes: at all their combinations, a few hundred at most."""

QUANTILES = (np.arange(16) + 0.5) / 16
"""Of the numbers of rows per level, what is remembered."""

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


class ExpectedCurvature(Struct):
    """Roughly the second derivatives of the deviance in relative changes of theta, where a Hessian is learnt.

    A variance ratio θ² of a factor whose level j has n_j rows is known from ``s_j = n_j θ² / (1 + n_j θ²)`` of the
    level's effect: the expected second derivative in log θ is ``4 Σ s_j²`` where it is the only factor. ``rows``
    (k, v) are quantiles of n_j for the term of each parameter, ``levels`` (k,) its number of levels.
    """

    rows: Array
    levels: Array

    @classmethod
    def of(cls, design: Design, layout: Layout) -> Self:
        """Count the rows of the levels of each term."""
        rows, levels = [], []
        for term, count in zip(design.terms, layout.counts, strict=False):
            touched = np.any(np.asarray(term.z) != 0, axis=1)
            found = np.bincount(np.asarray(design.groupings[term.grouping].codes)[touched])
            found = found[found > 0]
            rows += [np.quantile(found, QUANTILES)] * count
            levels += [found.size] * count
        missing = layout.n_theta - len(rows)  # those of a residual structure
        return cls(np.array(rows + [np.ones(QUANTILES.size)] * missing), np.array(levels + [1] * missing, float))

    def __call__(self, mean_square: jax.Array) -> jax.Array:
        """Return them (k,) at theta whose mean square over its term is ``mean_square`` (k,)."""
        size = jnp.asarray(self.rows) * mean_square[:, None]
        return 4.0 * self.levels * jnp.mean((size / (1.0 + size)) ** 2, axis=1)
