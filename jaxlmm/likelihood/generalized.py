"""The likelihood of a generalized linear mixed model: Laplace's approximation, or quadrature, with beta in theta."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array
from jaxlmm.families import AbstractFamily, RowDistribution
from jaxlmm.likelihood.contract import Likelihood, Point, Response
from jaxlmm.likelihood.laplace import (
    AbstractEffects,
    EffectsByLevel,
    Given,
    Laplace,
    Observations,
    Quadrature,
    effects_of,
)
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design, Factors, Layout
from jaxlmm.solvers import AbstractSolver, Effects

STEPS, LENGTHS = 8, (1.0, 0.5, 0.25, 0.06, 0.0)
"""Newton steps of the model without random effects, at which the coefficients begin, and lengths tried of each."""


ARRAYS_OF_ROWS = 2
"""Arrays over the rows that an evaluation holds, as many as there are of the solver's work elsewhere."""


class Evaluated(NamedTuple):
    """What a point depends on: ``given`` parameters, and observations."""

    given: Given
    observed: Observations


class Generalized(Likelihood):
    """A family's density with Gaussian random effects on the scale of the linear predictor.

    The coefficients, on √n times the design's basis, and the dispersion stand at the end of theta; columns of the basis
    beyond ``design.n_fixed`` are zero, and theirs are kept at zero. The design says what the distribution of its rows
    is; ``random_effects`` do a solver's work.
    """

    random_effects: AbstractEffects = dataclasses.field(kw_only=True)

    @classmethod
    def of(cls, design: Design, solver: AbstractSolver, layout: Layout) -> Self:
        """Return the likelihood of a design with a distribution of its rows."""
        own = design.without_relations()
        return cls(solver, layout, own, np.float64(0.0), True, random_effects=effects_of(design))

    @property
    def rows(self) -> RowDistribution:
        """The distribution of the rows."""
        assert self.design.distribution is not None
        return self.design.distribution

    @property
    def family(self) -> AbstractFamily:
        """The family."""
        assert self.layout.family is not None
        return self.layout.family.family

    @property
    def approximation(self) -> Laplace:
        """The integral over the random effects."""
        n_nodes = self.rows.n_nodes
        if n_nodes == 1:
            return Laplace(self.family, self.random_effects)
        assert isinstance(self.random_effects, EffectsByLevel)
        return Quadrature(self.family, self.random_effects, n_nodes)

    @property
    def columns(self) -> Float[jax.Array, "N p"]:
        """The columns that the coefficients multiply."""
        return jnp.asarray(self.design.basis) * jnp.sqrt(jnp.asarray(self.design.n, float))

    @property
    def bytes_of_rows(self) -> int:
        return 8 * ARRAYS_OF_ROWS * self.design.n_padded

    def fixed_products(self) -> Any:
        return None

    def observed(self, y: Float[jax.Array, "*m N"]) -> Observations:
        """Return observations of responses; one that is NaN has no weight."""
        weight = jnp.where(jnp.isnan(y), 0.0, jnp.asarray(self.rows.weight))
        first = jnp.take_along_axis(y, jnp.argmax(weight > 0, axis=-1, keepdims=True), axis=-1)
        nothing = jnp.zeros((*y.shape[:-1], 1), y.dtype)
        return Observations(self.rows.observations(jnp.where(weight > 0, y, first)), weight, nothing)

    def offset_by(self, responses: Response, offset: Float[Array, "m N"]) -> Response:
        """Return prepared responses with an ``offset`` of their own."""
        return responses.replace(augmented=responses.augmented.replace(offset=offset))

    def residuals(
        self, y: Float[jax.Array, "N m"]
    ) -> tuple[Float[jax.Array, "p m"], Float[jax.Array, " m"], Float[jax.Array, "N m"]]:
        raise NotImplementedError("a generalized model has no residuals of least squares")

    def observe_all(self, fixed: Any, y: Float[jax.Array, "N m"]) -> Response:
        observed = self.observed(y.T)
        coefficients = jax.vmap(self._without_effects)(observed)
        one = jnp.ones(y.shape[1])
        root = jnp.sqrt(jnp.asarray(self.design.n, float))
        count = jnp.broadcast_to(jnp.asarray(self.design.n, one.dtype), one.shape)
        return Response(fixed, observed, root * coefficients, one, count, 0.0 * one, 0.0 * one)

    def _without_effects(self, observed: Observations) -> Float[jax.Array, " p"]:
        """Return the coefficients without random effects, roughly: at the start of the dispersion, by a few steps."""
        assert self.layout.family is not None
        x, weight = self.columns, jnp.asarray(observed.weight)
        offset, n_fixed = jnp.asarray(self.design.offset) + observed.offset, jnp.asarray(self.design.n_fixed)
        dispersion = self.layout.family.at(jnp.asarray(self.layout.family.start())).dispersion
        filled = jnp.diag((jnp.arange(x.shape[1]) >= n_fixed).astype(x.dtype))

        def value(beta: Float[jax.Array, " p"]) -> Float[jax.Array, ""]:
            found = self.family.log_density(observed.y, x @ beta + offset, dispersion)
            total = jnp.sum(jnp.where(weight > 0, weight * found, 0.0))
            return jnp.where(jnp.isfinite(total), total, -jnp.inf)

        def step(_: Int[jax.Array, ""], beta: Float[jax.Array, " p"]) -> Float[jax.Array, " p"]:
            rows = self.family.derivatives(observed.y, x @ beta + offset, dispersion)
            score, curvature = (jnp.where(weight > 0, weight * part, 0.0) for part in rows[1:])
            information = x.T @ (jnp.maximum(curvature, 1e-3 * weight)[:, None] * x) + filled
            towards = inverse_logdet(information)[0] @ (x.T @ score)
            change = jnp.where(jnp.isfinite(towards), towards, 0.0)
            tried = jnp.stack([beta + length * change for length in LENGTHS])
            return tried[jnp.argmax(jax.vmap(value)(tried))]

        rough = jnp.where(weight > 0, self.family.start(observed.y) - offset, 0.0)
        start = x.T @ rough / jnp.asarray(self.design.n, x.dtype)
        start = jnp.where(jnp.isfinite(value(start)), start, 0.0)
        return jax.lax.fori_loop(0, STEPS, step, start)

    def started(self, start: Float[Array, "*b k"], responses: Response) -> Float[Array, "*b k"]:
        xp = start.__array_namespace__()
        coefficients = xp.asarray(responses.least_squares) / xp.sqrt(xp.asarray(self.design.n, dtype=start.dtype))
        others = start[..., : start.shape[-1] - coefficients.shape[-1]]
        return xp.concatenate([others, coefficients], axis=-1)

    def augmented_around(
        self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"], scale: Float[jax.Array, " m"]
    ) -> Any:
        return self.observed(y.T)

    def around(self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"]) -> Float[jax.Array, "N m"]:
        """Return zeros: modes are found from the observations themselves."""
        return jnp.zeros_like(y)

    def guess(self, response: Response) -> Float[jax.Array, "q q"] | None:
        return None

    def guess_residual(self, response: Response) -> Float[jax.Array, "q q"] | None:
        return None

    def factorized(self, factors: Factors) -> Factors:
        return factors

    def at_factor(self, factor: Factors, response: Response) -> Point:
        assert factor.family is not None
        given = self._given(factor, response.augmented)
        deviance = self.approximation.deviance(given, response.augmented)
        coefficients = factor.family.coefficients
        padding = jnp.arange(coefficients.shape[0]) >= jnp.asarray(self.design.n_fixed)
        deviance = deviance + jnp.sum(jnp.where(padding, coefficients**2, 0.0))
        shift = jnp.sqrt(jnp.asarray(self.design.n, float)) * coefficients - response.least_squares
        size, zero = coefficients.shape[0], jnp.zeros(())
        return Point(deviance, zero, jnp.zeros((size, size)), shift, zero, Evaluated(given, response.augmented))

    def _given(self, factors: Factors, observed: Observations) -> Given:
        assert factors.family is not None
        fixed = self.columns @ factors.family.coefficients + jnp.asarray(self.design.offset) + observed.offset
        return Given(factors, factors.family.dispersion, fixed)

    def criterion(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        return point.logdet + response.constant

    def sigma(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        return jnp.ones_like(point.logdet)

    def loglik(
        self, factors: Factors, beta: Float[jax.Array, " p"], sigma: Float[jax.Array, ""], y: Float[jax.Array, " N"]
    ) -> Float[jax.Array, ""]:
        assert factors.family is not None
        fixed = jnp.asarray(self.design.basis) @ (jnp.asarray(self.design.triangle) @ beta)
        given = Given(factors, factors.family.dispersion, fixed + jnp.asarray(self.design.offset))
        return -0.5 * self.approximation.deviance(given, self.observed(y))

    def products(
        self, factors: Factors, a: Float[jax.Array, "N i"]
    ) -> tuple[Float[jax.Array, "i i"], Float[jax.Array, ""]]:
        raise NotImplementedError("a generalized model has no marginal covariance of the rows")

    def effects(self, factors: Factors, point: Point, residual: Float[jax.Array, " N"]) -> Effects:
        given, observed = point.factor
        return self.approximation.effects_at(self.design, given, observed)

    def curvature(self, factors: Factors, response: Response) -> Float[jax.Array, " N"]:
        """Return the observed curvature of each row in its linear predictor, at the modes."""
        return self.approximation.curvature_at(self._given(factors, response.augmented), response.augmented)

    def residual_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        return jnp.ones(self.design.n_padded)

    def mean_residual_variance(self, factors: Factors) -> Float[jax.Array, ""]:
        return jnp.zeros(())
