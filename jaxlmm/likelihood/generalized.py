"""The likelihood of a generalized linear mixed model: Laplace's approximation, or quadrature, with beta in theta."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

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
    Places,
    Quadrature,
    RestrictedLaplace,
    effects_of,
)
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Design, Factors, Layout
from jaxlmm.solvers import AbstractSolver, Effects

STEPS, LENGTHS = 8, (1.0, 0.5, 0.25, 0.06, 0.0)
"""Newton steps of the model without random effects, at which the coefficients begin, and lengths tried of each."""


ARRAYS_OF_ROWS = 2
"""Arrays over the rows that an evaluation holds, as many as there are of the solver's work elsewhere."""


CACHE_BYTES_OF_ROWS = 2**19
"""Bytes of one array over the rows of responses that are evaluated together on a CPU, with its derivatives."""


STARTING_VARIANCE, GUESSED_VARIANCES = 0.25, (0.01, 4.0)
"""Variances of effects at which a search begins where no level has two rows, and between which it begins elsewhere."""


class Evaluated(NamedTuple):
    """What a point depends on: ``given`` parameters, and observations."""

    given: Given
    observed: Observations


class Generalized(Likelihood):
    """A family's density with Gaussian random effects on the scale of the linear predictor.

    The coefficients, on √n times the design's basis, and the dispersion stand at the end of theta; columns of the basis
    beyond ``design.n_fixed`` are zero, and theirs are kept at zero. The design says what the distribution of its rows
    is; ``random_effects`` do a solver's work, on rows in their ``places`` where they have some. ``columns``, which the
    coefficients multiply, and ``offset`` are in the same order.
    """

    random_effects: AbstractEffects = dataclasses.field(kw_only=True)
    columns: Float[Array, "M p"] = dataclasses.field(kw_only=True)
    offset: Float[Array, " M"] = dataclasses.field(kw_only=True)
    places: Places | None = dataclasses.field(kw_only=True, default=None)
    by_restricted: bool = static(default=False, kw_only=True)

    @classmethod
    def of(cls, design: Design, solver: AbstractSolver, layout: Layout, *, restricted: bool = False) -> Self:
        """Return the likelihood of a design with a distribution of its rows, or the ``restricted`` one."""
        own, effects = design.without_relations(), effects_of(design)
        places = Places.of(design) if type(effects) is EffectsByLevel else None
        columns, offset = own.basis * np.sqrt(float(own.n)), own.offset
        if places is not None:
            effects = EffectsInBlocks.placed(design, places)
            columns, offset = places.put(columns.T).T, places.put(offset)
        return cls(
            solver, layout, own, np.float64(restricted), True, random_effects=effects, columns=columns, offset=offset,
            places=places, by_restricted=restricted,
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
        return 8 * ARRAYS_OF_ROWS * self.design.n_padded

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
        """Return observations of responses, in their places; one that is NaN has no weight."""
        weight = jnp.where(jnp.isnan(y), 0.0, jnp.asarray(self.rows.weight))
        first = jnp.take_along_axis(y, jnp.argmax(weight > 0, axis=-1, keepdims=True), axis=-1)
        nothing = jnp.zeros((*y.shape[:-1], 1), y.dtype)
        found = self.rows.observations(jnp.where(weight > 0, y, first))
        if self.places is not None:
            found = jnp.take(found, jnp.asarray(self.places.rows), axis=y.ndim - 1)
        return Observations(found, self._placed(weight), nothing)

    def _placed(self, rows: Float[jax.Array, "*b N"]) -> Float[jax.Array, "*b M"]:
        return rows if self.places is None else self.places.put(rows)

    def offset_by(self, responses: Response, offset: Float[Array, "m N"]) -> Response:
        """Return prepared responses with an ``offset`` of their own."""
        return responses.replace(augmented=responses.augmented.replace(offset=self._placed(jnp.asarray(offset))))

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
        x, weight = jnp.asarray(self.columns), jnp.asarray(observed.weight)
        offset, n_fixed = jnp.asarray(self.offset) + observed.offset, jnp.asarray(self.design.n_fixed)
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
        """Return a diagonal matrix of variances, from products of the scores of different rows of a level.

        They are those of the model without random effects, where ``E(s_i s_j) = w_i w_j z_i z_j τ²`` with curvatures w,
        to first order in the variance τ², whatever the dispersion is. The logarithm of one plus it is as exact where
        it is small, and where the mean is an exponential function closer where it is not.
        """
        if not self.guesses_all or not self.design.terms:
            return None
        observed, family = response.augmented, self.layout.family
        assert family is not None
        coefficients = response.least_squares / jnp.sqrt(jnp.asarray(self.design.n, float))
        fixed = jnp.asarray(self.columns) @ coefficients + jnp.asarray(self.offset) + observed.offset
        dispersion = family.at(jnp.asarray(family.start())).dispersion
        nothing = Given(Factors((), None, None), dispersion, fixed)
        rows = self.approximation.conditional(nothing, observed, jnp.zeros_like(fixed))
        score, weight = rows.score, rows.weight
        if self.places is not None:
            score, weight = self.places.taken(score), self.places.taken(weight)
        found = []
        for term in self.design.terms:
            grouping = self.design.groupings[term.grouping]
            for z in jnp.asarray(term.z).T:
                own = z * score, weight * z**2
                levels = (jax.ops.segment_sum(part, jnp.asarray(grouping.codes), self.design.n_padded) for part in own)
                products, sizes = (jnp.sum(a**2) - jnp.sum(b**2) for a, b in zip(levels, own, strict=True))
                known = sizes > 0.0
                found.append(jnp.where(known, products / jnp.where(known, sizes, 1.0), STARTING_VARIANCE))
        smallest, largest = GUESSED_VARIANCES
        return jnp.diag(jnp.clip(jnp.log1p(jnp.maximum(jnp.stack(found), 0.0)), smallest, largest))

    def guess_dispersion(
        self, theta: Float[jax.Array, " k"], bases: Sequence[Float[Array, "_ _"]], response: Response
    ) -> Float[jax.Array, " k"]:
        """Return theta with the dispersion at which the rows are most likely given the modes, one entry at a time."""
        family, observed = self.layout.family, response.augmented
        assert family is not None
        axes = family.search_axes()
        if not axes:
            return theta
        given = self._given(self.layout.factors(theta, bases), observed)
        eta, weight = given.fixed + self.approximation.modes(given, observed).predictor, jnp.asarray(observed.weight)
        first = self.layout.n_theta - self.layout.n_family

        def value(own: Float[jax.Array, " _"]) -> Float[jax.Array, ""]:
            found = self.family.log_density(observed.y, eta, family.at(own).dispersion)
            total = jnp.sum(jnp.where(weight > 0, weight * found, 0.0))
            return jnp.where(jnp.isfinite(total), total, -jnp.inf)

        own = theta[first:]
        for entry, nodes in axes:
            tried = jnp.concatenate([own[entry][None], jnp.asarray(nodes)])
            candidates = jnp.tile(own[None], (tried.size, 1)).at[:, entry].set(tried)
            own = candidates[jnp.argmax(jax.vmap(value)(candidates))]
        return theta.at[first:].set(own)

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

        β̂ is the joint mode given the rest of theta, and S its information. The minimum is that of the criterion, with β
        at β̂; half of its Hessian there has the inverse that propagates the errors of the rest of theta to β̂ and adds
        S⁻¹, the covariance of the coefficients (Kass and Steffey 1989).
        """
        assert self.restricted is not None
        alone = given._replace(fixed=jnp.asarray(self.offset) + observed.offset)
        found = self.restricted.restricted(alone, observed)
        away = coefficients - found.coefficients
        # From coefficients on the columns to those of X, n^(-p/2) |T| with X = basis · T.
        p, n = (jnp.asarray(size, float) for size in (self.design.n_fixed, self.design.n))
        of_columns = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.asarray(self.design.triangle)))))
        return found.deviance + 2.0 * of_columns - p * jnp.log(n) + away @ found.information @ away

    def _given(self, factors: Factors, observed: Observations) -> Given:
        assert factors.family is not None
        columns, offset = jnp.asarray(self.columns), jnp.asarray(self.offset)
        fixed = columns @ factors.family.coefficients + offset + observed.offset
        return Given(factors, factors.family.dispersion, fixed)

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
        return found if self.places is None else self.places.taken(found)

    def residual_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        return jnp.ones(self.design.n_padded)

    def mean_residual_variance(self, factors: Factors) -> Float[jax.Array, ""]:
        return jnp.zeros(())
