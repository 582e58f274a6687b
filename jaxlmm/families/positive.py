"""Families of positive numbers: gamma and inverse Gaussian."""

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
from jaxlmm.families.links import POSITIVE, LinkName, Mean
from jaxlmm.families.special import stirling


class PositiveFamily(LinkedFamily):
    """A family of positive numbers, whose variance is the ``dispersion`` times a power of the mean."""

    link: LinkName = static(default="log")
    links: ClassVar[tuple[LinkName, ...]] = ("log", "inverse", "identity", "sqrt")
    range: ClassVar[tuple[float, float]] = POSITIVE

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("dispersion", "rate"),)

    def expected(self) -> str:
        return "numbers above 0; family='tweedie' takes zeros too"

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.isfinite(y) & (y > 0.0)

    def unbounded_at(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.ones(np.shape(y), bool)

    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        return y


class Gamma(PositiveFamily):
    """The gamma distribution, of variance ``dispersion · mean²`` and of shape ``1 / dispersion``.

    The link is the logarithm by default, as in brms; that of R's ``Gamma()`` is the inverse.

    >>> round(float(Gamma().log_density(jnp.array(2.0), jnp.array(0.0), jnp.array([1.0]))), 4)
    -2.0
    """

    @property
    def concave(self) -> bool:
        return self.link in ("log", "inverse")

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        return (jnp.log(y) - mean.log - y / mean.value + 1.0) / dispersion[0]

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        shape = 1.0 / dispersion[0]
        return 0.5 * jnp.log(shape / (2.0 * np.pi)) - stirling(shape) - jnp.log(y)

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return scipy.stats.gamma(1.0 / dispersion[0], scale=mean * dispersion[0])


class InverseGaussian(PositiveFamily):
    """The inverse Gaussian distribution, of variance ``dispersion · mean³``; its density is not log-concave in eta.

    >>> round(float(InverseGaussian().log_density(jnp.array(1.0), jnp.array(0.0), jnp.array([1.0]))), 4)
    -0.9189
    """

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        return -0.5 * ((y - mean.value) / mean.value) ** 2 / (dispersion[0] * y)

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return -0.5 * (jnp.log(2.0 * np.pi * dispersion[0]) + 3.0 * jnp.log(y))

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return scipy.stats.invgauss(mean * dispersion[0], scale=1.0 / dispersion[0])
