"""The likelihood of a generalized linear mixed model: Laplace's approximation, or quadrature, with beta in theta."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.families import AbstractFamily, FamilyLayout
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
from jaxlmm.solvers import Effects, select

STEPS, LENGTHS = 8, (1.0, 0.5, 0.25, 0.06, 0.0)
"""Newton steps of the model without random effects, at which the coefficients begin, and lengths tried of each."""


class Evaluated(NamedTuple):
    """What a point depends on: ``given`` parameters, and observations."""

    given: Given
    observed: Observations


class Generalized(Likelihood):
    """A family's density with Gaussian random effects on the scale of the linear predictor.

    The coefficients, on √n times the design's basis, and the dispersion stand at the end of theta; columns of the basis
    beyond ``design.n_fixed`` are zero, and theirs are kept at zero. ``random_effects`` do a solver's work; prior
    weights multiply the log-densities, and ``trials`` stand beside successes. With ``n_nodes`` more than one the
    likelihood is quadrature's.
    """

    random_effects: AbstractEffects = dataclasses.field(kw_only=True)
    weight: Float[Array, " N"] = dataclasses.field(kw_only=True)
    trials: Float[Array, " N"] | None = dataclasses.field(kw_only=True)
    n_nodes: int = static(kw_only=True, default=1)

    @classmethod
    def of(
        cls,
        design: Design,
        family: AbstractFamily,
        *,
        trials: Float[NumpyArray, " n"] | None = None,
        weights: Float[NumpyArray, " n"] | None = None,
        n_nodes: int = 1,
    ) -> Self:
        """Return the likelihood of a design, which has unit weights."""
        chosen, n, padded = select(design), int(design.n), design.n_padded
        layout = Layout.of(design).replace(
            absolute=True, sigma=np.float64(1.0), family=FamilyLayout(family, design.basis.shape[1])
        )
        weight = np.pad(np.ones(n) if weights is None else weights, (0, padded - n))
        trials = np.ones(n) if trials is None else trials
        return cls(
            chosen.solver.build(design), layout, design.without_relations(), np.float64(0.0), True,
            random_effects=effects_of(design), weight=weight, n_nodes=n_nodes,
            trials=np.pad(trials, (0, padded - n), constant_values=1.0) if family.has_trials else None,
        )  # fmt: skip

    @property
    def family(self) -> AbstractFamily:
        """The family."""
        assert self.layout.family is not None
        return self.layout.family.family

    @property
    def approximation(self) -> Laplace:
        """The integral over the random effects."""
        if self.n_nodes == 1:
            return Laplace(self.family, self.random_effects)
        assert isinstance(self.random_effects, EffectsByLevel)
        return Quadrature(self.family, self.random_effects, self.n_nodes)

    @property
    def columns(self) -> Float[jax.Array, "N p"]:
        """The columns that the coefficients multiply."""
        return jnp.asarray(self.design.basis) * jnp.sqrt(jnp.asarray(self.design.n, float))

    def fixed_products(self) -> Any:
        return None

    def observed(self, y: Float[jax.Array, "*m N"]) -> Observations:
        """Return observations of responses, whose padded rows repeat the first one."""
        real = jnp.asarray(self.weight) > 0
        first = jnp.take_along_axis(y, jnp.broadcast_to(jnp.argmax(real), (*y.shape[:-1], 1)), axis=-1)
        filled = jnp.where(jnp.broadcast_to(real, y.shape), y, first)
        if self.trials is not None:
            trials = jnp.broadcast_to(self.trials, y.shape)
            filled = jnp.stack([jnp.minimum(filled, trials), trials], axis=-1)
        return Observations(filled, jnp.broadcast_to(self.weight, y.shape))

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
        offset, n_fixed = jnp.asarray(self.design.offset), jnp.asarray(self.design.n_fixed)
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

    def started(self, start: Float[NumpyArray, "m k"], responses: Response) -> Float[NumpyArray, "m k"]:
        coefficients = np.asarray(responses.least_squares) / np.sqrt(float(self.design.n))
        return np.concatenate([start[:, : start.shape[1] - coefficients.shape[1]], coefficients], axis=1)

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
        given = self._given(factor)
        deviance = self.approximation.deviance(given, response.augmented)
        coefficients = factor.family.coefficients
        padding = jnp.arange(coefficients.shape[0]) >= jnp.asarray(self.design.n_fixed)
        deviance = deviance + jnp.sum(jnp.where(padding, coefficients**2, 0.0))
        shift = jnp.sqrt(jnp.asarray(self.design.n, float)) * coefficients - response.least_squares
        size, zero = coefficients.shape[0], jnp.zeros(())
        return Point(deviance, zero, jnp.zeros((size, size)), shift, zero, Evaluated(given, response.augmented))

    def _given(self, factors: Factors) -> Given:
        assert factors.family is not None
        fixed = self.columns @ factors.family.coefficients + jnp.asarray(self.design.offset)
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

    def residual_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        return jnp.ones(self.design.n_padded)

    def mean_residual_variance(self, factors: Factors) -> Float[jax.Array, ""]:
        return jnp.zeros(())
