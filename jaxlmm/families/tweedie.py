"""The Tweedie family of powers between 1 and 2: sums of a Poisson number of gamma variables, zero where it is 0."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance import Parameter
from jaxlmm.families.base import Distribution
from jaxlmm.families.distributions import CompoundPoisson
from jaxlmm.families.linked import LinkedFamily
from jaxlmm.families.links import POSITIVE, LinkName, Mean
from jaxlmm.families.special import expm1_ratio, stirling

N_TERMS = 72
"""Number of terms of the series."""

NEAR_ZERO = 1e-3
"""Below this a function of terms about the largest is a series."""

SDS_PER_STEP = 1.9
"""Width of the terms, as a standard deviation, for each whole number that a step leaves out. By Poisson's summation
formula the sum of every h-th term, times h, differs from that of all by the series' characteristic function at 2π/h,
below 1e-12 of it."""

REACH = 7.5
"""How far from the largest term the sum reaches, in standard deviations: below, and above where nothing is skewed."""

SKEWED_REACH, SKEWED_TERMS = 3.0, 6.0
"""How much farther above, in standard deviations and in terms, for each unit of power − 1, to which skewness is
proportional."""


class Tweedie(LinkedFamily):
    """The Tweedie distribution, of variance ``dispersion · mean ** power``, with a power between 1 and 2.

    A Poisson number of gamma variables is summed; the density of positive numbers is the series of Dunn and Smyth
    (2005), here over steps about its largest term. Zero has a positive probability.

    >>> round(float(Tweedie().log_density(jnp.array(0.0), jnp.array(0.0), jnp.array([1.0, 1.5]))), 4)
    -2.0
    """

    link: LinkName = static(default="log")
    links: ClassVar[tuple[LinkName, ...]] = ("log", "sqrt", "identity", "inverse")
    range: ClassVar[tuple[float, float]] = POSITIVE

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        power = Parameter("power", "power", lower=1.0, upper=2.0, attained=(False, False), scale="logit")
        return Parameter("dispersion", "rate"), power

    @property
    def has_mass_at_zero(self) -> bool:
        return True

    def expected(self) -> str:
        return "numbers of at least 0"

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.isfinite(y) & (y >= 0.0)

    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        phi, power = dispersion
        zero = jnp.asarray(y) == 0.0
        positive = jnp.where(zero, 1.0, y)
        cumulant = jnp.exp((2.0 - power) * mean.log) / (2.0 - power)
        away = jnp.where(zero, 0.0, mean.log - jnp.log(positive))
        # Half the unit deviance: what is large in the exponent is in the largest term of the series, and cancels.
        apart = expm1_ratio((1.0 - power) * away) - expm1_ratio((2.0 - power) * away)
        return jnp.where(zero, -cumulant, positive ** (2.0 - power) * away * apart) / phi

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        zero = jnp.asarray(y) == 0.0
        return jnp.where(zero, 0.0, relative_series(jnp.where(zero, 1.0, y), *dispersion))

    def sides(self, y: Float[NumpyArray, "*y"]) -> Float[NumpyArray, "*b"]:
        return np.where(y == 0.0, -1.0, 0.0) if self.link == "log" else np.zeros(np.shape(y))

    def unbounded_at(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        return np.asarray(y > 0.0)

    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        mean = jnp.mean(y)
        return jnp.maximum(y, jnp.where(mean > 0.0, 0.1 * mean, 1.0))

    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return CompoundPoisson(np.asarray(mean), float(dispersion[0]), float(dispersion[1]))


def relative_series(y: Float[Array, "*b"], phi: Float[Array, ""], power: Float[Array, ""]) -> Float[jax.Array, "*b"]:
    """Return the logarithm of the factor of the density that the mean does not enter, at positive ``y``, less
    ``(1 + a) J``, with ``a = (2 − power) / (power − 1)`` and ``J = y^(2 − power) / (phi (2 − power))``.

    The factor is ``1/y Σ_j z^j / (j! Γ(j a))``, with
    ``log z = a log y − a log(power − 1) − (1 + a) log phi − log(2 − power)``. The term of number j has the logarithm
    ``(1 + a) (J − J h(j/J − 1)) − s(j) − s(j a) + ½ log a − log 2π``, where
    ``h(t) = (1 + t) log(1 + t) − t`` and s is the rest of Stirling's formula: nothing large is left in a sum from which
    the largest part is taken off, however small phi, and however near to 2 the power is. Terms are largest near J, and
    have the standard deviation √(J (power − 1)).
    """
    y = jnp.asarray(y)
    a = (2.0 - power) / (power - 1.0)
    j, step = jax.lax.stop_gradient(_terms(y, phi, power))
    middle = (y ** (2.0 - power) / (phi * (2.0 - power)))[..., None]
    away = (j - middle) / middle
    logs = -(1.0 + a) * middle * _excess(away) - jax.lax.stop_gradient(stirling(j)) - stirling(j * a)
    constant = 0.5 * jnp.log(a) - np.log(2.0 * np.pi)
    return jax.nn.logsumexp(logs, axis=-1) + jnp.log(step) + constant - jnp.log(y)


def _excess(t: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return ``(1 + t) log(1 + t) − t``, for t > −1."""
    near = jnp.abs(t) < NEAR_ZERO
    small, large = jnp.where(near, t, 0.0), jnp.where(near, 1.0, t)
    series = small**2 * (1 / 2 - small * (1 / 6 - small * (1 / 12 - small * (1 / 20 - small / 30))))
    return jnp.where(near, series, (1.0 + large) * jnp.log1p(large) - large)


def _terms(
    y: Float[jax.Array, "*b"], phi: Float[Array, ""], power: Float[Array, ""]
) -> tuple[Float[jax.Array, "*b terms"], Float[jax.Array, "*b"]]:
    """Return the numbers j of the terms that are summed, and the step between them."""
    largest = jnp.maximum(y ** (2.0 - power) / (phi * (2.0 - power)), 1.0)
    sd = jnp.sqrt(largest * (power - 1.0))
    step = jnp.maximum(jnp.floor(sd / SDS_PER_STEP), 1.0)
    skewness = power - 1.0
    first = jnp.maximum(jnp.floor(largest - REACH * sd), 1.0)
    last = largest + (REACH + SKEWED_REACH * skewness) * sd + SKEWED_TERMS * skewness + 2.0
    step = jnp.maximum(step, jnp.ceil((last - first) / (N_TERMS - 1)))
    numbers = jnp.arange(float(N_TERMS)).reshape((1,) * y.ndim + (N_TERMS,))
    return first[..., None] + step[..., None] * numbers, step
