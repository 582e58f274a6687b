"""Families of counts: Poisson, and negative binomial of two kinds, each of all counts or of those of at least 1."""

from __future__ import annotations

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance import Parameter
from jaxlmm.families.base import Distribution
from jaxlmm.families.distributions import TruncatedCounts
from jaxlmm.families.linked import LinkedFamily
from jaxlmm.families.links import LINKS, POSITIVE, LinkName, Mean
from jaxlmm.families.special import expm1_ratio, log1p_ratio, log_rising, log_times


class CountFamily(LinkedFamily):
    """A family of counts; with ``truncated`` of those of at least 1, given which its probabilities are.

    The link is that of the mean of all counts; ``mean`` is that of the distribution.
    """

    discrete: ClassVar[bool] = True
    link: LinkName = static(default="log")
    truncated: bool = static(default=False, kw_only=True)
    links: ClassVar[tuple[LinkName, ...]] = ("log", "sqrt", "identity")
    range: ClassVar[tuple[float, float]] = POSITIVE

    @abc.abstractmethod
    def kernel_of_counts(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        """Return the kernel of each of all counts."""

    @abc.abstractmethod
    def rate_of_zero(self, mean: Mean, dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        """Return ``−log f(0) / mean``, f(0) the probability of zero among all counts."""

    @abc.abstractmethod
    def distribution_of_counts(
        self, mean: Float[NumpyArray, "*b"], dispersion: Float[NumpyArray, " d"]
    ) -> Distribution:
        """Return the distribution of all counts."""

    @property
    def has_mass_at_zero(self) -> bool:
        return not self.truncated

    @property
    def underlying(self) -> CountFamily:
        return self.replace(truncated=False)

    def expected(self) -> str:
        if self.truncated:
            return "counts of at least 1; zero_inflated='~ 1' adds a model of the zeros"
        return "counts, whole numbers of at least 0; family='tweedie' takes any number of at least 0, 'gamma' above 0"

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.isfinite(y) & (y >= float(self.truncated)) & (np.floor(y) == y)

    def sides(self, y: Float[NumpyArray, "*y"]) -> Float[NumpyArray, "*b"]:
        return np.where(y == float(self.truncated), -1.0, 0.0) if self.link == "log" else np.zeros(np.shape(y))

    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        return y + 0.1

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        kernel = self.kernel_of_counts(y, mean, dispersion)
        if not self.truncated:
            return kernel
        # 1 − f(0) = r μ (1 − exp(−r μ)) / (r μ), with f(0) = exp(−r μ): nothing cancels where the mean is small
        rate = self.rate_of_zero(mean, dispersion)
        return kernel - (mean.log + jnp.log(rate) + jnp.log(expm1_ratio(-rate * mean.value)))

    def mean(self, eta: Float[Array, "*b"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        mean = LINKS[self.link].mean(jnp.asarray(eta))
        if not self.truncated:
            return mean.value
        rate = self.rate_of_zero(mean, dispersion)
        return 1.0 / (rate * expm1_ratio(-rate * mean.value))

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        counts = self.distribution_of_counts(mean, dispersion)
        return TruncatedCounts(counts, mean) if self.truncated else counts


class Poisson(CountFamily):
    """The Poisson distribution, with ``truncated=True`` of counts of at least 1.

    >>> round(float(Poisson().log_density(jnp.array(0.0), jnp.array(0.0), jnp.zeros(0))), 4)
    -1.0
    """

    @property
    def concave(self) -> bool:
        return not self.truncated or self.link == "log"

    def kernel_of_counts(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        return log_times(y, mean.log) - mean.value

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return -jax.lax.lgamma(jnp.asarray(y) + 1.0)

    def rate_of_zero(self, mean: Mean, dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return jnp.ones_like(mean.value)

    def distribution_of_counts(
        self, mean: Float[NumpyArray, "*b"], dispersion: Float[NumpyArray, " d"]
    ) -> Distribution:
        return scipy.stats.poisson(mean)


class NegativeBinomial(CountFamily):
    """The negative binomial distribution: a Poisson distribution whose mean varies as a gamma distribution.

    With the parameter ``overdispersion`` a, the variance is ``mean + a mean²``, or, unless ``quadratic``,
    ``mean + a mean`` (nbinom2 and nbinom1, Hardin and Hilbe 2018); at a = 0 it is the Poisson distribution. In MASS and
    glmmTMB the first has the size, or theta, 1 / a.

    Parameters
    ----------
    quadratic
        Whether the variance is a quadratic function of the mean.
    truncated
        Whether counts are at least 1; mean and variance above are those of all counts.

    Examples
    --------
    >>> round(float(NegativeBinomial().log_density(jnp.array(2.0), jnp.array(0.0), jnp.array([1.0]))), 4)
    -2.0794
    """

    quadratic: bool = static(default=True)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("overdispersion", "rate", attained=(True, False)),)

    @property
    def concave(self) -> bool:
        return self.quadratic and self.link == "log" and not self.truncated

    def kernel_of_counts(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        a, mean_of = dispersion[0], mean.value
        if self.quadratic:
            product = a * mean_of
            return log_times(y, mean.log) - mean_of * log1p_ratio(product) - y * jnp.log1p(product)
        return log_times(y, mean.log) + log_rising(y, a / mean_of) - mean_of * log1p_ratio(a)

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        a = dispersion[0]
        of_a = log_rising(y, a) if self.quadratic else -y * jnp.log1p(a)
        return of_a - jax.lax.lgamma(jnp.asarray(y) + 1.0)

    def rate_of_zero(self, mean: Mean, dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return log1p_ratio(dispersion[0] * mean.value if self.quadratic else jnp.full_like(mean.value, dispersion[0]))

    def distribution_of_counts(
        self, mean: Float[NumpyArray, "*b"], dispersion: Float[NumpyArray, " d"]
    ) -> Distribution:
        a = float(dispersion[0])
        if a == 0.0:
            return scipy.stats.poisson(mean)
        if self.quadratic:
            return scipy.stats.nbinom(1.0 / a, 1.0 / (1.0 + a * mean))
        return scipy.stats.nbinom(mean / a, 1.0 / (1.0 + a))
