"""One response: its optimum, with modes and fitted values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import MAX_COARSE_SIZE, NumpyArray, double_precision, pad
from jaxlmm.covariance import Parameter
from jaxlmm.engine.compiled import examine_one, prepare
from jaxlmm.engine.found import Found, concluded
from jaxlmm.engine.minimum import Optima, find_optima
from jaxlmm.engine.problems import Problems
from jaxlmm.inference import OptimumDerivatives, Rows, Units
from jaxlmm.likelihood import Likelihood, likelihood_of
from jaxlmm.model import Design, Layout, Natural
from jaxlmm.optimize import AbstractMinimizer
from jaxlmm.solvers import AbstractSolver, with_matrices


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

    def with_matrices(self) -> Problems:
        """Return the problems with a solver that takes covariance matrices, to move them in any direction.

        Raises
        ------
        OptionError
            If that solver does not take a model of this size.
        """
        design, own = self.likelihood.design, type(self.likelihood.solver)
        solver = with_matrices(own, design)
        if solver is own:
            return self.problems
        layout = self.likelihood.layout.replace(chains=())
        likelihood = self.likelihood.replace(solver=solver.build(design), layout=layout)
        with double_precision():
            return single_problem(likelihood, design, self.y[: int(design.n), 0])

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
        return Solution(problems, found.optima, self.y), found.of_columns(int(self.likelihood.design.n_fixed)), rows


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
    if design.n_padded <= MAX_COARSE_SIZE:  # beyond, an evaluation is dearer than compiling
        design = design.with_padded_columns()
    return solve_likelihood(likelihood_of(design, solver.build(design), method, fixed), design, y, first_order, start)


def solve_likelihood(
    likelihood: Likelihood,
    design: Design,
    y: Float[NumpyArray, " n"],
    first_order: AbstractMinimizer | None = None,
    start: Natural | None = None,
) -> Solution:
    """Minimize the deviance of one response ``y`` by a ``likelihood`` of its ``design``, as :func:`solve_single`."""
    if likelihood.solver.sequential:
        likelihood = jax.device_put(likelihood)  # large arrays travel once, small ones faster with each call
    problems, padded = single_problem(likelihood, design, y), pad(y, design.n_padded)[:, None]
    layout = likelihood.layout
    examine_one.ahead(problems, padded, layout.start()[None], tuple(basis[None] for basis in layout.bases()))
    return Solution(problems, find_optima(problems, first_order, start), padded)


def single_problem(likelihood: Likelihood, design: Design, y: Float[NumpyArray, " n"]) -> Problems:
    """Return one response ``y`` of a ``design``, prepared."""
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())  # from the basis of X to X
    return Problems(likelihood, prepare(likelihood, pad(y, design.n_padded)[:, None]), units)
