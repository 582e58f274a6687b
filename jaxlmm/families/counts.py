"""Families of counts: Poisson, and negative binomial of two kinds."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance import Parameter
from jaxlmm.families.base import Distribution, LinkedFamily
from jaxlmm.families.links import POSITIVE, LinkName, Mean
from jaxlmm.families.special import log1p_ratio, log_rising, log_times


class CountFamily(LinkedFamily):
    """A family of counts."""

    discrete: ClassVar[bool] = True
    link: LinkName = static(default="log")
    links: ClassVar[tuple[LinkName, ...]] = ("log", "sqrt", "identity")
    range: ClassVar[tuple[float, float]] = POSITIVE

    def expected(self) -> str:
        return "counts, whole numbers of at least 0; family='tweedie' takes any number of at least 0, 'gamma' above 0"

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.isfinite(y) & (y >= 0.0) & (np.floor(y) == y)

    def sides(self, y: Float[NumpyArray, "*y"]) -> Float[NumpyArray, "*b"]:
        return np.where(y == 0.0, -1.0, 0.0) if self.link == "log" else np.zeros(np.shape(y))

    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        return y + 0.1


class Poisson(CountFamily):
    """The Poisson distribution.

    >>> round(float(Poisson().log_density(jnp.array(0.0), jnp.array(0.0), jnp.zeros(0))), 4)
    -1.0
    """

    @property
    def concave(self) -> bool:
        return True  # with each of its links

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        return log_times(y, mean.log) - mean.value

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return -jax.lax.lgamma(jnp.asarray(y) + 1.0)

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
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
        return self.quadratic and self.link == "log"

    def kernel_of_mean(
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

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        a = float(dispersion[0])
        if a == 0.0:
            return scipy.stats.poisson(mean)
        if self.quadratic:
            return scipy.stats.nbinom(1.0 / a, 1.0 / (1.0 + a * mean))
        return scipy.stats.nbinom(mean / a, 1.0 / (1.0 + a))
