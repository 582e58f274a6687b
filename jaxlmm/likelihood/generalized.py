"""The likelihood of a generalized linear mixed model: Laplace's approximation, or quadrature, with beta in theta."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, default_device, static
from jaxlmm.families import AbstractFamily, RowDistribution
from jaxlmm.likelihood.contract import Likelihood, Point, Response
from jaxlmm.likelihood.laplace import (
    AbstractEffects,
    EffectsByLevel,
    EffectsBySolver,
    EffectsInBlocks,
    EffectsWithCoefficients,
    Given,
    Laplace,
    Observations,
    Quadrature,
    RestrictedLaplace,
    RowsByLevel,
    coefficients_without_effects,
    effects_of,
    likely_dispersion,
    rough_variances,
)
from jaxlmm.model import Design, Factors, Layout
from jaxlmm.solvers import AbstractSolver, Effects

ARRAYS_OF_ROWS = 2
"""Arrays over the rows that an evaluation holds, as many as there are of the solver's work elsewhere."""


CACHE_BYTES_OF_ROWS = 2**18
"""Bytes of one array over the rows of responses that are evaluated together on a CPU, with its derivatives."""


class Evaluated(NamedTuple):
    """What a point depends on: ``given`` parameters, and observations."""

    given: Given
    observed: Observations


class Generalized(Likelihood):
    """A family's density with Gaussian random effects on the scale of the linear predictor.

    The coefficients, on √n times the design's basis, and the dispersion stand at the end of theta; columns of the basis
    beyond ``design.n_fixed`` are zero, and theirs are kept at zero. The design says what the distribution of its rows
    is; ``random_effects`` do a solver's work, on rows ``by_level`` where these are few enough. ``columns``, which the
    coefficients multiply, and ``offset`` are in the same order.
    """

    random_effects: AbstractEffects = dataclasses.field(kw_only=True)
    columns: Float[Array, "M p"] = dataclasses.field(kw_only=True)
    offset: Float[Array, " M"] = dataclasses.field(kw_only=True)
    by_level: RowsByLevel | None = dataclasses.field(kw_only=True, default=None)
    by_restricted: bool = static(default=False, kw_only=True)

    @classmethod
    def of(cls, design: Design, solver: AbstractSolver, layout: Layout, *, restricted: bool = False) -> Self:
        """Return the likelihood of a design with a distribution of its rows, or the ``restricted`` one."""
        own, effects = design.without_relations(), effects_of(design)
        by_level = RowsByLevel.of(design) if type(effects) is EffectsByLevel else None
        columns, offset = own.basis * np.sqrt(float(own.n)), own.offset
        if by_level is not None:
            effects = EffectsInBlocks.arranged(design, by_level)
            columns, offset = by_level.arranged(columns.T).T, by_level.arranged(offset)
        return cls(
            solver, layout, own, np.float64(0.0), True, random_effects=effects, columns=columns, offset=offset,
            by_level=by_level, by_restricted=restricted,
        )  # fmt: skip

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
    def restricted(self) -> RestrictedLaplace | None:
        """The integral over the coefficients too, None of maximum likelihood."""
        if not self.by_restricted:
            return None
        return RestrictedLaplace(
            self.family, EffectsWithCoefficients.of(self.random_effects, self.columns, self.design.n_fixed)
        )

    @property
    def bytes_of_rows(self) -> int:
        return 8 * ARRAYS_OF_ROWS * self.columns.shape[0]

    @property
    def together(self) -> int | None:
        if default_device().platform != "cpu":
            return None
        of_rows = 8 * self.columns.shape[0] * (self.layout.n_theta + 1)  # one array, and its derivatives
        return 1 << max(CACHE_BYTES_OF_ROWS // of_rows, 1).bit_length() - 1

    @property
    def guesses_all(self) -> bool:
        return not isinstance(self.random_effects, EffectsBySolver)

    def fixed_products(self) -> Any:
        return None

    def observed(self, y: Float[jax.Array, "*m N"]) -> Observations:
        """Return observations of responses, in the order of ``columns``; one that is NaN has no weight."""
        weight = jnp.where(jnp.isnan(y), 0.0, jnp.asarray(self.rows.weight))
        first = jnp.take_along_axis(y, jnp.argmax(weight > 0, axis=-1, keepdims=True), axis=-1)
        nothing = jnp.zeros((*y.shape[:-1], 1), y.dtype)
        found = self.rows.observations(jnp.where(weight > 0, y, first))
        if self.by_level is not None:
            found = jnp.take(found, jnp.asarray(self.by_level.row), axis=y.ndim - 1)
        return Observations(found, self._arranged(weight), nothing)

    def _arranged(self, rows: Float[jax.Array, "*b N"]) -> Float[jax.Array, "*b M"]:
        return rows if self.by_level is None else self.by_level.arranged(rows)

    def offset_by(self, responses: Response, offset: Float[Array, "m N"]) -> Response:
        """Return prepared responses with an ``offset`` of their own."""
        return responses.replace(augmented=responses.augmented.replace(offset=self._arranged(jnp.asarray(offset))))

    def residuals(
        self, y: Float[jax.Array, "N m"]
    ) -> tuple[Float[jax.Array, "p m"], Float[jax.Array, " m"], Float[jax.Array, "N m"]]:
        raise NotImplementedError("a generalized model has no residuals of least squares")

    def observe_all(self, fixed: Any, y: Float[jax.Array, "N m"]) -> Response:
        observed = self.observed(y.T)
        family, offset = self.layout.family, jnp.asarray(self.offset)
        assert family is not None

        def without_effects(observed: Observations) -> Float[jax.Array, " p"]:
            own = observed.replace(offset=offset + observed.offset)
            return coefficients_without_effects(family, jnp.asarray(self.columns), self.design.n_fixed, own)

        coefficients = jax.vmap(without_effects)(observed)
        one = jnp.ones(y.shape[1])
        root = jnp.sqrt(jnp.asarray(self.design.n, float))
        count = jnp.broadcast_to(jnp.asarray(self.design.n, one.dtype), one.shape)
        return Response(fixed, observed, root * coefficients, one, count, 0.0 * one, 0.0 * one)

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
        if not self.guesses_all or not self.design.terms:
            return None
        observed, family = response.augmented, self.layout.family
        assert family is not None
        fixed = self._fixed(response.least_squares / jnp.sqrt(jnp.asarray(self.design.n, float)), observed)
        own = likely_dispersion(family, jnp.asarray(family.start()), fixed, observed)
        nothing = Given(Factors((), None, None), family.at(own).dispersion, fixed)
        rows = self.approximation.conditional(nothing, observed, jnp.zeros_like(fixed))
        score, weight = rows.score, rows.weight
        if self.by_level is not None:
            score, weight = self.by_level.restored(score), self.by_level.restored(weight)
        return jnp.diag(rough_variances(self.design, self.family, score, weight, observed))

    def guess_dispersion(
        self, theta: Float[jax.Array, " k"], bases: Sequence[Float[Array, "_ _"]], response: Response
    ) -> Float[jax.Array, " k"]:
        """Return theta with the dispersion at which the rows are most likely given the modes."""
        observed, family = response.augmented, self.layout.family
        assert family is not None
        given = self._given(self.layout.factors(theta, bases), observed)
        eta = given.fixed + self.approximation.modes(given, observed).predictor
        first = self.layout.n_theta - self.layout.n_family
        return theta.at[first:].set(likely_dispersion(family, theta[first:], eta, observed))

    def guess_residual(self, response: Response) -> Float[jax.Array, "q q"] | None:
        return None

    def factorized(self, factors: Factors) -> Factors:
        return factors

    def at_factor(self, factor: Factors, response: Response) -> Point:
        assert factor.family is not None
        given, coefficients = self._given(factor, response.augmented), factor.family.coefficients
        if self.restricted is None:
            deviance = self.approximation.deviance(given, response.augmented)
        else:
            deviance = self._restricted_deviance(given, coefficients, response.augmented)
        padding = jnp.arange(coefficients.shape[0]) >= jnp.asarray(self.design.n_fixed)
        deviance = deviance + jnp.sum(jnp.where(padding, coefficients**2, 0.0))
        shift = jnp.sqrt(jnp.asarray(self.design.n, float)) * coefficients - response.least_squares
        size, zero = coefficients.shape[0], jnp.zeros(())
        return Point(deviance, zero, jnp.zeros((size, size)), shift, zero, Evaluated(given, response.augmented))

    def _restricted_deviance(
        self, given: Given, coefficients: Float[jax.Array, " p"], observed: Observations
    ) -> Float[jax.Array, ""]:
        """Return the criterion of the restricted likelihood with ``(β − β̂)ᵀ S (β − β̂)`` beside it.

        β̂ is the joint mode given the rest of theta, which is searched for from β, and S its information. The minimum is
        that of the criterion, with β at β̂; half of its Hessian there has the inverse that propagates the errors of the
        rest of theta to β̂ and adds S⁻¹, the covariance of the coefficients (Kass and Steffey 1989).
        """
        assert self.restricted is not None
        # What is integrated over is the difference from the coefficients in theta, near which the mode is.
        start = jax.lax.stop_gradient(coefficients)
        found = self.restricted.restricted(given._replace(fixed=self._fixed(start, observed)), observed)
        away = coefficients - start - found.coefficients
        # From coefficients on the columns to those of X, n^(-p/2) |T| with X = basis · T.
        p, n = (jnp.asarray(size, float) for size in (self.design.n_fixed, self.design.n))
        of_columns = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(self.design.triangle)))))
        return found.deviance + 2.0 * of_columns - p * jnp.log(n) + away @ found.information @ away

    def _given(self, factors: Factors, observed: Observations) -> Given:
        assert factors.family is not None
        return Given(factors, factors.family.dispersion, self._fixed(factors.family.coefficients, observed))

    def _fixed(self, coefficients: Float[jax.Array, " p"], observed: Observations) -> Float[jax.Array, " M"]:
        """Return the fixed part of the linear predictor, offsets included."""
        return jnp.asarray(self.columns) @ coefficients + jnp.asarray(self.offset) + observed.offset

    def criterion(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        return point.logdet + response.constant

    def sigma(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        return jnp.ones_like(point.logdet)

    def loglik(
        self, factors: Factors, beta: Float[jax.Array, " p"], sigma: Float[jax.Array, ""], y: Float[jax.Array, " N"]
    ) -> Float[jax.Array, ""]:
        assert factors.family is not None
        root = jnp.sqrt(jnp.asarray(self.design.n, float))
        fixed = jnp.asarray(self.columns) @ (jnp.asarray(self.design.triangle) @ beta) / root
        given = Given(factors, factors.family.dispersion, fixed + jnp.asarray(self.offset))
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
        found = self.approximation.curvature_at(self._given(factors, response.augmented), response.augmented)
        return found if self.by_level is None else self.by_level.restored(found)

    def residual_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        return jnp.ones(self.design.n_padded)

    def mean_residual_variance(self, factors: Factors) -> Float[jax.Array, ""]:
        return jnp.zeros(())
