"""Kenward and Roger's covariances of many responses at their optima."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, double_precision, program
from jaxlmm.engine.minimum import Optima
from jaxlmm.engine.problems import Problem, Problems, in_batches
from jaxlmm.inference import CovarianceInfluence, KenwardRoger, covariance_influence


def kenward_roger(
    problems: Problems,
    optima: Optima,
    relative_sigma: Float[NumpyArray, " b"],
    p: int,
    psi_cov: Float[NumpyArray, "b s s"],
) -> list[KenwardRoger | None]:
    """Return Kenward and Roger's covariance for each response; None where V is not linear in covariances.

    Parameters
    ----------
    problems, optima
        Prepared responses, and the optima that were found of them.
    relative_sigma
        Sigma in units of the responses' scales.
    p
        The number of columns of X that are no padding.
    psi_cov
        The covariance of psi (:class:`~jaxlmm.inference.Uncertainty`), which is zero where parameters are held.
    """
    layout = problems.likelihood.layout
    psi = np.asarray(optima.theta)
    beyond = layout.n_psi - layout.n_theta
    if beyond:
        psi = np.concatenate([psi, np.log(relative_sigma)[:, None]], axis=1)
    with double_precision():
        everyone = np.arange(problems.size)
        found = in_batches(problems.without_rows(), _influence, everyone, psi, optima.bases)
    scale = np.asarray(problems.responses.scale)
    units = problems.units if problems.own is None else problems.own.units
    inverse_triangle = np.broadcast_to(units.inverse_triangle, (problems.size, *np.shape(units.inverse_triangle)[-2:]))
    free = np.pad(np.asarray(optima.active_set) == 0, ((0, 0), (0, beyond)), constant_values=True)
    made = []
    for number in range(problems.size):
        value, first, second = (
            CovarianceInfluence(part.logdet[number], part.vcov[number][..., :p, :p], part.entries[number])
            for part in found
        )
        columns = scale[number] * inverse_triangle[number, :p, :p]
        held = psi_cov[number] if layout.is_held else None
        made.append(KenwardRoger.of((value, first, second), free[number], columns, held))
    return made


@program(once=True)
def _influence(
    problems: Problems, psi: Float[Array, "b s"], bases: Sequence[Float[Array, "b _ _"]]
) -> tuple[CovarianceInfluence, CovarianceInfluence, CovarianceInfluence]:
    """Return log|V|, (XᵀV⁻¹X)⁻¹ and covariances with their derivatives at ``psi`` in ``bases``."""

    def one(
        problem: Problem, psi: jax.Array, bases: Sequence[jax.Array]
    ) -> tuple[CovarianceInfluence, CovarianceInfluence, CovarianceInfluence]:
        return covariance_influence(problem.likelihood, problem.response, bases, jnp.asarray(psi))

    return problems.each(one, psi, bases)
