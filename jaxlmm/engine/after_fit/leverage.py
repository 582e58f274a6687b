"""The leverage of each row at an optimum, by the derivative of determinants in the rows' residual variances."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, double_precision, program
from jaxlmm.engine.single import Solution
from jaxlmm.likelihood import Likelihood, Rescaled
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design


def leverages(solution: Solution, design: Design) -> Float[NumpyArray, " n"]:
    """Return the derivative of each row's conditional fitted value in its own response, theta being known.

    It is the diagonal of ``1 − V_e P`` with V_e the covariance of residuals and ``P = V⁻¹ − V⁻¹X(XᵀV⁻¹X)⁻¹XᵀV⁻¹``, and
    so ``1 − ½ ∂(log|V| + log|XᵀV⁻¹X|)/∂log sd_i``, for all rows in one pass.
    """
    with double_precision():
        likelihood = Rescaled.of(solution.likelihood.replace(layout=solution.layout), design)
        found = _leverages(likelihood, solution.theta, solution.bases)
    return np.asarray(found)[: int(design.n)]


@program(once=True)
def _leverages(
    likelihood: Likelihood, theta: Float[Array, " k"], bases: Sequence[Float[Array, "_ _"]]
) -> Float[jax.Array, " N"]:
    factors = likelihood.layout.factors(jnp.asarray(theta), [jnp.asarray(basis) for basis in bases])

    def determinants(log_scale: Float[jax.Array, " N"]) -> Float[jax.Array, ""]:
        own = likelihood.replace(log_scale=log_scale)
        work = own.factorized(factors)
        information = work.solver.inner(work.factor, work.fixed)
        return work.logdet + inverse_logdet(information)[1]

    return 1.0 - 0.5 * jax.grad(determinants)(jnp.zeros(likelihood.design.n_padded))
