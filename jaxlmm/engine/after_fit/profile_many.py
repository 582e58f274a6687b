"""The deviance of many responses where one parameter of each is held at a value: minima over all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, pad, program
from jaxlmm.covariance import Parameter
from jaxlmm.engine.after_fit.profile import LARGE_PROFILE, SMALL_PROFILE, Minima, minimum_in, without_column
from jaxlmm.engine.descent import Descent
from jaxlmm.engine.many import prepared_anew
from jaxlmm.engine.minimum import find_optima, tiled
from jaxlmm.engine.problems import Problem, Problems, batches
from jaxlmm.engine.start import Plan
from jaxlmm.likelihood import Generalized
from jaxlmm.model import Design, Layout, Natural, held_layouts
from jaxlmm.optimize import AbstractMinimizer, Minimum
from jaxlmm.solvers import AbstractSolver

FEW_RESPONSES = 16
"""Responses up to which small batches are minimized."""


class ManyProfiler:
    """The deviances of many responses as functions of a natural parameter that is held, or of a coefficient.

    Parameters
    ----------
    design, y
        The design and responses ``(n, m)`` in their own units, NaN where they are missing.
    solver, method
        A solver's class and ``"REML"`` or ``"ML"``.
    fixed
        Natural parameters that are held throughout, where coefficients are.
    """

    def __init__(
        self,
        design: Design,
        y: Float[NumpyArray, "n m"],
        *,
        solver: type[AbstractSolver],
        method: str,
        fixed: Natural | None = None,
    ) -> None:
        self.design, self.y, self.solver, self.method, self.fixed = design, y, solver, method, fixed
        self.prepared = list(prepared_anew(design, y, solver=solver, method=method, fixed=fixed))
        self._chunk, self._place = np.full((2, y.shape[1]), -1)  # where each response is among what is prepared
        for chunk, (numbers, *_) in enumerate(self.prepared):
            self._chunk[numbers], self._place[numbers] = chunk, np.arange(numbers.size)
        self._without: dict[tuple[int, tuple[int, ...]], tuple[Design, NumpyArray]] = {}

    def at(
        self, blocks: Sequence[Sequence[Parameter]], index: Int[NumpyArray, " c"], values: Float[NumpyArray, "c r"]
    ) -> Minima:
        """Return the minima of responses ``index`` where natural parameters have the values of each, NaN where free.

        ``blocks`` are the parameters of each term. Other values compile nothing.
        """
        found = Minima(np.full(index.size, np.nan), np.zeros(index.size, bool))
        size = SMALL_PROFILE if self.y.shape[1] <= FEW_RESPONSES else LARGE_PROFILE
        for chunk, (_, problems, _) in enumerate(self.prepared):
            here = np.flatnonzero(self._chunk[index] == chunk)
            if not here.size:
                continue
            chains = problems.likelihood.layout.chains
            for alike, template, layouts in held_layouts(self.design, blocks, values[here], chains):
                positions = self._place[index[here[alike]]]
                likelihood = problems.likelihood.replace(layout=template)
                descent = Descent(problems.replace(likelihood=likelihood))
                for chosen, count in batches(alike.size, size, size):
                    some = problems.only(positions[chosen]).replace(likelihood=likelihood, mesh=None)
                    held = jax.tree.map(lambda leaf, at=chosen: np.asarray(leaf)[at], layouts)
                    bases = tiled(template.bases(), chosen.size)
                    minimum = _minima(some.without_rows(), held, bases, template.start(), descent.method, descent.plan)
                    to = here[alike[chosen[:count]]]
                    found.deviance[to] = np.asarray(minimum.value)[:count]
                    found.converged[to] = np.asarray(minimum.converged)[:count]
        return found

    def at_coefficient(self, column: int, index: Int[NumpyArray, " c"], values: Float[NumpyArray, " c"]) -> Minima:
        """Return the minima of responses ``index`` where one coefficient has the value of each."""
        found = Minima(np.full(index.size, np.nan), np.zeros(index.size, bool))
        kept = [tuple(self.prepared[chunk].columns.tolist()) if chunk >= 0 else () for chunk in self._chunk[index]]
        for columns in dict.fromkeys(kept):  # those that a response's rows determine
            alike = np.array([place for place, own in enumerate(kept) if own == columns])
            if column not in columns:
                continue
            if (column, columns) not in self._without:
                self._without[column, columns] = without_column(self.design, column, columns)
            smaller, x = self._without[column, columns]
            shift, y = x[: len(self.y), None] * values[None, alike], self.y[:, index[alike]]
            y = y - shift if self.design.distribution is None else y
            for numbers, problems, _ in prepared_anew(
                smaller, y, solver=self.solver, method=self.method, fixed=self.fixed
            ):
                if isinstance(problems.likelihood, Generalized):
                    offset = pad(shift[:, numbers], problems.likelihood.design.n_padded).T
                    own = problems.likelihood.offset_by(problems.responses, np.ascontiguousarray(offset))
                    problems = problems.replace(responses=own)
                optima = find_optima(problems)
                found.deviance[alike[numbers]], found.converged[alike[numbers]] = optima.value, optima.converged
        return found


def _runs_seldom(problems: Problems, *_: Any) -> bool:
    """Whether the batch is one of few responses, for which optimizing takes longer than it saves."""
    return problems.size <= SMALL_PROFILE


@program(once=_runs_seldom)
def _minima(
    problems: Problems,
    layouts: Layout,
    bases: Sequence[Float[Array, "b _ _"]],
    start: Float[Array, " k"],
    method: AbstractMinimizer,
    plan: Plan,
) -> Minimum:
    """Minimize the deviance of each problem in its own layout; ``layouts`` have a first axis on every leaf."""

    def one(problem: Problem, layout: Layout, bases: Sequence[Float[jax.Array, "_ _"]]) -> Minimum:
        return minimum_in(problem, layout, bases, start, method, plan)

    return problems.each(one, layouts, tuple(bases))
