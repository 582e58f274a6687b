"""Kenward and Roger's covariances of many responses at their optima."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, double_precision, program
from jaxlmm.covariance import Parameter
from jaxlmm.engine.descent import Bases
from jaxlmm.engine.problems import Problem, Problems, in_batches
from jaxlmm.inference import (
    CovarianceInfluence,
    Curvature,
    KenwardRoger,
    Products,
    covariance_influence,
    curvature,
    natural_products,
    psi_at,
)


def kenward_roger(
    problems: Problems,
    theta: Float[NumpyArray, "b k"],
    bases: Bases,
    psi_cov: Float[NumpyArray, "b s s"],
    p: int,
    parameters: Sequence[Parameter],
) -> list[KenwardRoger | None]:
    """Return Kenward and Roger's covariance for each response.

    None where V is not linear in covariances, and a covariance matrix is singular, or residuals are correlated and have
    a model of dispersion too.

    Parameters
    ----------
    problems, theta, bases
        Prepared responses, and the optima that were found of them.
    psi_cov
        The covariance of psi (:class:`~jaxlmm.inference.Uncertainty`), zero where a parameter is kept at a boundary, or
        held.
    p
        The number of columns of X that are no padding.
    parameters
        The natural parameters.
    """
    layout = problems.likelihood.layout
    everyone = np.arange(problems.size)
    with double_precision():
        psi, found = in_batches(problems.without_rows(), _influence, everyone, theta, tuple(bases))
    scale = np.asarray(problems.responses.scale)
    units = problems.units if problems.own is None else problems.own.units
    inverse_triangle = np.broadcast_to(units.inverse_triangle, (problems.size, *np.shape(units.inverse_triangle)[-2:]))
    free = np.diagonal(psi_cov, axis1=1, axis2=2) != 0.0
    observed = layout.residual is not None
    linear = layout.dispersion is None  # else rows differ in ways that no covariance matrix of a term shows
    bent = None
    made: list[KenwardRoger | None] = []
    for number in range(problems.size):
        value, first, second = (
            CovarianceInfluence(part.logdet[number], part.vcov[number][..., :p, :p], part.entries[number])
            for part in found
        )
        columns = scale[number] * inverse_triangle[number, :p, :p]
        parts = (value, first, second), free[number], columns, psi_cov[number] if layout.is_held or observed else None
        own = KenwardRoger.of(*parts, observed=observed) if linear else None
        if own is None and not (layout.dispersion is not None and layout.residual is not None):
            if bent is None:
                products = natural_products(parameters)
                run = functools.partial(_curvature, products=products)
                with double_precision():
                    bent = in_batches(problems.without_rows(), run, everyone, psi, tuple(bases))
            curved = Curvature(
                bent.logdet[number], bent.vcov[number][..., :p, :p], bent.natural[number], bent.natural_second[number]
            )
            own = KenwardRoger.of(*parts, curved, observed=observed)
        made.append(own)
    return made


@program(once=True)
def _influence(
    problems: Problems, theta: Float[Array, "b k"], bases: Sequence[Float[Array, "b _ _"]]
) -> tuple[Float[jax.Array, "b s"], tuple[CovarianceInfluence, CovarianceInfluence, CovarianceInfluence]]:
    """Return psi, and log|V|, (XᵀV⁻¹X)⁻¹ and covariances with their derivatives at ``theta`` in ``bases``."""

    def one(problem: Problem, theta: jax.Array, bases: Sequence[jax.Array]) -> Any:
        likelihood, response, theta = problem.likelihood, problem.response, jnp.asarray(theta)
        psi = psi_at(likelihood, response, bases, theta)
        return psi, covariance_influence(likelihood, response, bases, psi)

    return problems.each(one, theta, bases)


@program(once=True, static=("products",))
def _curvature(
    problems: Problems, psi: Float[Array, "b s"], bases: Sequence[Float[Array, "b _ _"]], *, products: Products
) -> Curvature:
    """Return derivatives along the second derivatives of V at ``psi`` in ``bases``."""

    def one(problem: Problem, psi: jax.Array, bases: Sequence[jax.Array]) -> Curvature:
        return curvature(problem.likelihood, problem.response, bases, jnp.asarray(psi), products)

    return problems.each(one, psi, bases)
