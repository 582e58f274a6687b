"""The check of a solver that is reweighted: it is the solver of the design whose rows are multiplied."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.model import Design, Dispersion, Layout
from jaxlmm.solvers.base import AbstractSolver
from jaxlmm.solvers.contract.plain import Plain
from jaxlmm.solvers.contract.trial import PARTS, BrokenSolverError, Columns, RowWeights, called, mapped, on_host, take
from jaxlmm.solvers.contract.verdict import check_slopes, check_values
from jaxlmm.solvers.select import unsuitable

DIFFERENCE_STEP = 1e-5
"""Length of the step of the central differences with which derivatives are compared."""


def check_reweighted(solver: type[AbstractSolver], design: Design, thetas: Float[NumpyArray, "2 k"]) -> None:
    """Raise unless a solver of a ``design``, reweighted, is that of multiplied rows, with its derivatives.

    Nothing is tried if it cannot do the design with a model of dispersion.
    """
    if design.dispersion is None:
        column = np.random.default_rng(9).normal(size=(int(design.n), 1))
        design = design.replace(dispersion=Dispersion.of(column, design.n_padded))
    if unsuitable(solver, design):
        return
    built = called("build", lambda: solver.build(design))
    try:
        _check(built, design, thetas)
    except BrokenSolverError as error:
        raise BrokenSolverError(
            f"reweighted: expected the solver of rows that are multiplied by root_weight ({error})"
        ) from error.__cause__


def _check(built: AbstractSolver, design: Design, thetas: Float[NumpyArray, "2 k"]) -> None:
    """Raise unless results at two ``thetas``, each with weights of its own, are those by dense algebra."""
    rng, n = np.random.default_rng(10), int(design.n)
    weights = RowWeights(rng.uniform(-0.5, 0.5, design.n_padded), rng.uniform(-1.0, 1.0, design.n_padded))
    bare, columns = design.replace(dispersion=None), Columns.of(n, design.n_padded)
    layout, own_layout = Layout.of(bare), Layout.of(bare, built.chains)
    points = np.column_stack([thetas, [0.0, 1.0]])
    along = DIFFERENCE_STEP * rng.normal(size=(points.shape[1],))
    together = np.concatenate([points, points + along, points - along])
    trials, slopes = on_host(mapped(built, own_layout, design.without_relations(), together, columns, weights))
    for index, point in enumerate(points):
        root = np.asarray(weights.roots(point[-1]))
        multiplied = design.replace(terms=tuple(term.replace(z=root[:, None] * term.z) for term in design.terms))
        plain = Plain.of(multiplied, on_host(layout.factors(jnp.asarray(point[:-1]))))
        check_values(take(trials, index), plain, columns.weighted(root).rows(n), "a random theta")
        here, above, below = (take(slopes, index + at) for at in (0, len(points), 2 * len(points)))
        check_slopes(here, above, below, along, point, PARTS)
