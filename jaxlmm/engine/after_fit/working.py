"""The linear mixed model that a generalized one is at its modes: rows with the observed curvature as weights."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, double_precision, pad, program
from jaxlmm.engine.problems import Problems
from jaxlmm.engine.single import Solution
from jaxlmm.inference import Units
from jaxlmm.likelihood import Generalized, Response, likelihood_of
from jaxlmm.model import Design, independent_basis
from jaxlmm.solvers import select


def curvatures(solution: Solution, design: Design) -> Float[NumpyArray, " n"]:
    """Return the observed curvature of the log-density of each row in its linear predictor, at the modes."""
    assert isinstance(solution.likelihood, Generalized)
    with double_precision():
        response = jax.tree.map(lambda leaf: leaf[0], solution.problems.responses.replace(fixed=None))
        found = _curvature(solution.likelihood, response, solution.theta, solution.bases)
        return np.asarray(found)[: int(design.n)]


def working_model(
    solution: Solution, design: Design, curvature: Float[NumpyArray, " n"]
) -> tuple[Solution, Design] | None:
    """Return the linear mixed model whose conditional variances of the random effects are those of Laplace's
    approximation, with its design; None where a curvature is negative, as outliers of a t distribution and zeros of a
    zero-inflated one can have it.

    Its rows have the observed curvatures at the modes as weights, sigma is 1, and the covariances are the same: the
    random effects given the data have the same covariance, and change with the coefficients in the same way (McCulloch
    and Searle 2001, section 8.6, with the observed in place of the expected curvature).
    """
    n = int(design.n)
    if not (np.isfinite(curvature) & (curvature >= 0.0)).all():
        return None
    with double_precision():
        root = pad(np.sqrt(curvature), design.n_padded)
        columns = np.asarray(design.basis)[:n] @ np.asarray(design.triangle)
        kept = independent_basis(root[:n, None] * columns)
        if not kept.kept.all():
            return None
        working = design.replace(
            basis=pad(kept.basis, design.n_padded),
            triangle=kept.triangle,
            root_weight=root,
            terms=tuple(term.replace(z=root[:, None] * np.asarray(term.z)) for term in design.terms),
            distribution=None,
            built_with=None,
            incidence=None,
        )
        own = likelihood_of(working, select(working).solver.build(working), "ML")
        own = own.replace(layout=solution.layout.replace(family=None, held=(), chains=()))
        nothing, one = np.zeros(1), np.ones(1)
        responses = Response(None, None, np.zeros((1, columns.shape[1])), one, n * one, nothing, nothing)
        units = Units(np.linalg.inv(kept.triangle), working.mean_squares())
        theta = solution.optima.theta[:, : own.layout.n_theta]
    return Solution(Problems(own, responses, units), solution.optima._replace(theta=theta), solution.y), working


@program(once=True)
def _curvature(
    likelihood: Generalized, response: Response, theta: Float[Array, " k"], bases: Sequence[Float[Array, "_ _"]]
) -> Float[jax.Array, " N"]:
    factors = likelihood.layout.factors(jnp.asarray(theta), [jnp.asarray(basis) for basis in bases])
    return likelihood.curvature(factors, response)
