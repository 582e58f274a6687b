"""The Gaussian likelihood with a model of dispersion: rows are weighted anew at each theta."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.likelihood.contract import Likelihood, Point, Response
from jaxlmm.likelihood.gaussian import Gaussian
from jaxlmm.model import Design, Dispersion, Factors
from jaxlmm.solvers import AbstractSolver, Effects, select, unsuitable


class WeightedFactor(NamedTuple):
    """The work at one theta: the ``solver`` of rows over their residual standard deviations, and its ``factor``.

    ``root_weight`` is the inverse of these, ``basis`` that of the fixed effects in such rows, with its cross-products
    ``fixed``; ``logdet`` is log|H| of rows that are not divided by them.
    """

    solver: AbstractSolver
    factor: Any
    root_weight: Float[jax.Array, " N"]
    basis: Float[jax.Array, "N p"]
    fixed: Any
    logdet: Float[jax.Array, ""]


class Dispersed(Gaussian):
    """Residuals with ``log sd_i = log sigma + x_i γ``: each row is divided by its standard deviation at each theta.

    With D their diagonal matrix, ``H = D R D + Z Λ Λᵀ Zᵀ = D (R + D⁻¹Z Λ Λᵀ ZᵀD⁻¹) D``: the solver's model on rows
    multiplied by ``D⁻¹``, and ``log|H|`` has ``2 Σ log D_ii`` besides. Prepared responses keep their rows.
    """

    def fixed_products(self) -> Any:
        return None

    def prepared(self, residual: Float[jax.Array, "N m"]) -> Any:
        return residual.T

    def guess(self, response: Response) -> Float[jax.Array, "q q"] | None:
        return self.solver.guess(self._augmented(response), response.count)

    def guess_residual(self, response: Response) -> Float[jax.Array, "q q"] | None:
        return self.solver.guess_residual(self._augmented(response))

    def _augmented(self, response: Response) -> Any:
        augmented = self.solver.augmented(self.design.basis, response.augmented[:, None])
        return jax.tree.map(lambda leaf: leaf[0], augmented)

    def factorized(self, factors: Factors) -> WeightedFactor:
        log_sd = self.log_sds(factors)
        root_weight = jnp.exp(-log_sd)
        solver = self.solver.reweighted(root_weight)
        basis = root_weight[:, None] * jnp.asarray(self.design.basis)
        factor = solver.factor(factors)
        logdet = solver.logdet(factor) + 2.0 * jnp.sum(log_sd)  # which is zero on padded rows
        return WeightedFactor(solver, factor, root_weight, basis, solver.cross_products(basis, basis), logdet)

    def at_factor(self, factor: WeightedFactor, response: Response) -> Point:
        solver, own = factor.solver, factor.root_weight * response.augmented
        augmented = jax.tree.map(lambda leaf: leaf[0], solver.augmented(factor.basis, own[:, None]))
        forms = solver.quadratic_forms(factor.factor, factor.fixed, augmented)
        return self.point(forms, factor.logdet, response, factor)

    def products(
        self, factors: Factors, a: Float[jax.Array, "N i"]
    ) -> tuple[Float[jax.Array, "i i"], Float[jax.Array, ""]]:
        work = self.factorized(factors)
        own = work.root_weight[:, None] * a
        return work.solver.inner(work.factor, work.solver.cross_products(own, own)), work.logdet

    def effects(self, factors: Factors, point: Point, residual: Float[jax.Array, " N"]) -> Effects:
        work = point.factor
        return work.solver.effects(self.design, factors, work.factor, work.root_weight * residual)

    def residual_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        return jnp.exp(self.log_sds(factors)) * self.structure_sds(factors)

    def mean_residual_variance(self, factors: Factors) -> Float[jax.Array, ""]:
        real = jnp.asarray(self.design.root_weight) > 0
        squares = jnp.where(real, self.residual_sds(factors) ** 2, 0.0)
        return jnp.sum(squares) / jnp.asarray(self.design.n, squares.dtype)

    def log_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        """Return the logarithms of the rows' residual standard deviations, relative to sigma."""
        assert factors.dispersion is not None
        assert self.design.dispersion is not None
        return factors.dispersion.log_sd(self.design.dispersion.columns)


class Rescaled(Dispersed):
    """Rows whose residual standard deviations are multiplied by ``exp(log_scale)``, for derivatives in these."""

    log_scale: Float[Array, " N"] = dataclasses.field(kw_only=True)

    @classmethod
    def of(cls, likelihood: Likelihood, design: Design) -> Self:
        """Return the ``likelihood`` on its ``design``, with its own solver or another one that can be reweighted."""
        if design.dispersion is None:
            none = Dispersion.of(np.zeros((int(design.n), 0)), design.n_padded)
            design = design.replace(dispersion=none)
        varied = design.replace(dispersion=Dispersion.by_row(int(design.n), design.n_padded))
        own = type(likelihood.solver)
        solver = (select(varied).solver if unsuitable(own, varied) else own).build(varied)
        return cls(
            solver, likelihood.layout.replace(chains=solver.chains), design.without_relations(), likelihood.reml,
            likelihood.related, log_scale=np.zeros(design.n_padded),
        )  # fmt: skip

    def log_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        own = jnp.zeros(()) if factors.dispersion is None else super().log_sds(factors)
        real = jnp.asarray(self.design.root_weight) > 0
        return own + jnp.where(real, jnp.asarray(self.log_scale), 0.0)  # padded rows have no part in log|H|
