"""Families of any real number: normal and Student's t."""

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
from jaxlmm.families.links import LinkName, Mean
from jaxlmm.families.special import log1p_ratio, log_half_step


class RealFamily(LinkedFamily):
    """A family of any real number around its mean."""

    link: LinkName = static(default="identity")
    links: ClassVar[tuple[LinkName, ...]] = ("identity", "log", "inverse")

    def unbounded_at(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.ones(np.shape(y), bool)

    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        if self.link == "identity":
            return y
        return jnp.maximum(y, 0.1 * jnp.mean(jnp.abs(y)))


class Gaussian(RealFamily):
    """The normal distribution, of standard deviation ``sd``.

    A linear mixed model where the link is the identity: ``family="gaussian"`` fits that without an approximation.

    >>> round(float(Gaussian().log_density(jnp.array(1.0), jnp.array(0.0), jnp.array([1.0]))), 4)
    -1.4189
    """

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(kind="sd", attained=(False, False), group="Residual"),)

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        return -0.5 * ((y - mean.value) / dispersion[0]) ** 2

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return jnp.broadcast_to(-0.5 * jnp.log(2.0 * np.pi) - jnp.log(dispersion[0]), jnp.shape(y))

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return scipy.stats.norm(mean, dispersion[0])


class StudentT(RealFamily):
    """Student's t distribution around its center, of a ``scale`` and the inverse of its degrees of freedom, ``1/df``.

    The limit of ``1/df``, 0, is the normal distribution (Lange, Little and Taylor 1989). The logarithm of the density
    is not concave in the center.

    >>> round(float(StudentT().log_density(jnp.array(0.0), jnp.array(0.0), jnp.array([1.0, 0.25]))), 4)
    -0.9808
    """

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return Parameter("scale", "rate", unit="response"), Parameter("1/df", "rate", attained=(True, False))

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        scale, inverse = dispersion
        square = ((y - mean.value) / scale) ** 2
        return -0.5 * (square * log1p_ratio(inverse * square) + jnp.log1p(inverse * square))

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        scale, inverse = dispersion
        constant = log_half_step(inverse) - 0.5 * jnp.log(2.0 * np.pi) - jnp.log(scale)
        return jnp.broadcast_to(constant, jnp.shape(y))

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        scale, inverse = dispersion
        return scipy.stats.t(1.0 / inverse, mean, scale) if inverse > 0.0 else scipy.stats.norm(mean, scale)
