"""Families of proportions: binomial, of successes among trials, and beta."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance import Parameter
from jaxlmm.families.base import Distribution
from jaxlmm.families.linked import LinkedFamily
from jaxlmm.families.links import PROPORTION, LinkName, Mean
from jaxlmm.families.special import log_gamma, log_times


class Binomial(LinkedFamily):
    """The binomial distribution of successes among trials; Bernoulli's where there is one trial.

    >>> one_of_two = jnp.array([1.0, 2.0])
    >>> round(float(Binomial().log_density(one_of_two, jnp.array(0.0), jnp.zeros(0))), 4)
    -0.6931
    """

    discrete: ClassVar[bool] = True
    has_trials: ClassVar[bool] = True
    link: LinkName = static(default="logit")
    links: ClassVar[tuple[LinkName, ...]] = ("logit", "probit", "cloglog", "cauchit", "log", "identity")
    range: ClassVar[tuple[float, float]] = PROPORTION

    def expected(self) -> str:
        return "successes, whole numbers from 0 to the number of trials, which is 1 without trials="

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        successes, trials = y[..., 0], y[..., 1]
        whole = np.isfinite(y).all(axis=-1) & (np.floor(successes) == successes) & (np.floor(trials) == trials)
        return whole & (successes >= 0.0) & (successes <= trials) & (trials >= 1.0)

    @property
    def concave(self) -> bool:
        return self.link in ("logit", "probit", "cloglog")

    def sides(self, y: Float[NumpyArray, "*y"]) -> Float[NumpyArray, "*b"]:
        none, all_of_them = y[..., 0] == 0.0, y[..., 0] == y[..., 1]
        if self.link == "identity":
            return np.zeros(none.shape)
        return np.where(none, -1.0, np.where(all_of_them & (self.link != "log"), 1.0, 0.0))

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        successes, failures = y[..., 0], y[..., 1] - y[..., 0]
        return log_times(successes, mean.log) + log_times(failures, mean.log_complement)

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        successes, trials = y[..., 0], y[..., 1]
        apart = jax.lax.lgamma(successes + 1.0) + jax.lax.lgamma(trials - successes + 1.0)
        return jax.lax.lgamma(trials + 1.0) - apart

    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        return (y[..., 0] + 0.5) / (y[..., 1] + 1.0)

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return scipy.stats.binom(1 if trials is None else np.asarray(trials, int), mean)


class Beta(LinkedFamily):
    """The beta distribution of numbers strictly between 0 and 1, of variance ``mean (1 − mean) / (1 + precision)``.

    The parameters of its density are ``mean · precision`` and ``(1 − mean) precision`` (Ferrari and Cribari-Neto 2004).

    >>> round(float(Beta().log_density(jnp.array(0.5), jnp.array(0.0), jnp.array([4.0]))), 4)
    0.4055
    """

    link: LinkName = static(default="logit")
    links: ClassVar[tuple[LinkName, ...]] = ("logit", "probit", "cloglog", "cauchit", "log")
    range: ClassVar[tuple[float, float]] = PROPORTION

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("precision", "rate"),)

    def expected(self) -> str:
        return "proportions strictly between 0 and 1; those of counts are for family='binomial'"

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return (y > 0.0) & (y < 1.0)

    def unbounded_at(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.ones(np.shape(y), bool)

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        precision = dispersion[0]
        a, b = jnp.exp(mean.log) * precision, jnp.exp(mean.log_complement) * precision
        return (a - 1.0) * jnp.log(y) + (b - 1.0) * jnp.log1p(-y) - log_gamma(a) - log_gamma(b)

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return jnp.broadcast_to(log_gamma(dispersion[0]), jnp.shape(y))

    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        return 0.98 * y + 0.01

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return scipy.stats.beta(mean * dispersion[0], (1.0 - mean) * dispersion[0])
