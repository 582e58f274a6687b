"""Products of columns over the rows with the inverse covariance at an optimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, double_precision, pad, program
from jaxlmm.engine.single import Solution
from jaxlmm.likelihood import Likelihood

COLUMNS_AT_ONCE = 64
"""Columns with which a compiled function works at once; others are padded to as many."""


def products_with(
    solution: Solution, n_columns: int, columns: Callable[[slice], Float[NumpyArray, "n m"]]
) -> tuple[Float[NumpyArray, "p c"], Float[NumpyArray, " c"]]:
    """Return ``BᵀH⁻¹C`` and the diagonal of ``CᵀH⁻¹C`` at the optimum of one response.

    B is the basis of X, H relative to the sigma that factors are relative to.

    Parameters
    ----------
    solution
        The optimum.
    n_columns
        The number c of the columns of C.
    columns
        Returns some of them, in rows multiplied by √w.
    """
    likelihood = solution.likelihood.for_response(
        jax.tree.map(lambda leaf: leaf[0], solution.problems.responses.replace(fixed=None))
    )
    padded, crosses, squares = likelihood.design.n_padded, [np.zeros((0, 0))], [np.zeros(0)]
    for start in range(0, n_columns, COLUMNS_AT_ONCE):
        part = columns(slice(start, min(start + COLUMNS_AT_ONCE, n_columns)))
        with double_precision():
            full = pad(pad(part, padded), COLUMNS_AT_ONCE, axis=1)
            cross, square = _products(likelihood, solution.theta, solution.bases, full)
        crosses.append(np.asarray(cross)[:, : part.shape[1]])
        squares.append(np.asarray(square)[: part.shape[1]])
    return np.concatenate(crosses[1:] or crosses, axis=1), np.concatenate(squares)


@program(once=True)
def _products(
    likelihood: Likelihood,
    theta: Float[Array, " k"],
    bases: Sequence[Float[Array, "_ _"]],
    columns: Float[Array, "N m"],
) -> tuple[Float[jax.Array, "p m"], Float[jax.Array, " m"]]:
    factors = likelihood.layout.factors(jnp.asarray(theta), [jnp.asarray(basis) for basis in bases])
    basis = jnp.asarray(likelihood.design.basis)
    products, _ = likelihood.products(factors, jnp.concatenate([basis, jnp.asarray(columns)], axis=1))
    p = basis.shape[1]
    return products[:p, p:], jnp.diagonal(products)[p:]
