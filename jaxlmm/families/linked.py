"""Families whose mean is a function of the linear predictor: what is written of them is by the mean."""

from __future__ import annotations

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.errors import choose
from jaxlmm.families.base import AbstractFamily, Distribution
from jaxlmm.families.links import LINKS, LINKS_IN_UNITS, POSITIVE, PROPORTION, LinkName, Mean


class LinkedFamily(AbstractFamily):
    """A family of which the mean is a function of the linear predictor, its link.

    Parameters
    ----------
    link
        One of the family's ``links``.
    """

    link: LinkName = static(default="log")
    links: ClassVar[tuple[LinkName, ...]] = ()
    range: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    """Between which bounds its means are."""

    def __post_init__(self) -> None:
        choose(f"link of {type(self).__name__}", self.link, self.links)

    @abc.abstractmethod
    def kernel_of_mean(
        self, y: Float[Array, "*y"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        """Return the logarithm of the density of each observation by its mean, less the :meth:`normalizer`."""

    @abc.abstractmethod
    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        """Return the distribution of the observations by their means."""

    def log_density(
        self, y: Float[Array, "*y"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        kernel, constant = self.log_kernel(y, eta, dispersion), self.normalizer(jnp.asarray(y), dispersion)
        return kernel if constant is None else kernel + constant

    def log_kernel(
        self, y: Float[Array, "*y"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        link, (lower, upper), eta = LINKS[self.link], self.range, jnp.asarray(eta)
        if link.range[0] >= lower and link.range[1] <= upper:
            return self.kernel_of_mean(jnp.asarray(y), link.mean(eta), dispersion)
        mean = link.mean(eta).value  # of some linear predictors it is none of the family's
        possible = (mean > lower) & (mean < upper)
        inside = link.predictor(jnp.asarray(0.5 if np.isfinite(upper) else 1.0))
        kernel = self.kernel_of_mean(jnp.asarray(y), link.mean(jnp.where(possible, eta, inside)), dispersion)
        return jnp.where(possible, kernel, -jnp.inf)

    def on_open_scale(self, eta: Float[Array, "*b"]) -> tuple[AbstractFamily, Float[jax.Array, "*b"]]:
        link, eta = LINKS[self.link], jnp.asarray(eta)
        if link.range == self.range and self.link not in LINKS_IN_UNITS:
            return self, eta
        plain: LinkName = "logit" if self.range == PROPORTION else "log" if self.range == POSITIVE else "identity"
        return self.replace(link=plain), LINKS[plain].predictor(link.mean(eta).value)

    def ends_of_means(
        self, low: Float[NumpyArray, "*b"], high: Float[NumpyArray, "*b"]
    ) -> tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]:
        if self.range[0] >= 0.0 and self.link == "inverse":
            low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
        return LINKS[self.link].ends(low, high)

    def mean(self, eta: Float[Array, "*b"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return LINKS[self.link].mean(jnp.asarray(eta)).value

    def distribution(
        self,
        eta: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return self.distribution_of_mean(np.asarray(LINKS[self.link].mean(jnp.asarray(eta)).value), dispersion, trials)

    def start(self, y: Float[Array, "*y"]) -> Float[jax.Array, "*b"]:
        return LINKS[self.link].predictor(self.rough_mean(jnp.asarray(y)))

    @abc.abstractmethod
    def rough_mean(self, y: Float[jax.Array, "*y"]) -> Float[jax.Array, "*b"]:
        """Return a possible mean near each observation."""
