"""The contract of a family: one method to write, the logarithm of its density."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.covariance import Parameter
from jaxlmm.errors import choose
from jaxlmm.families.links import LINKS, LinkName, Mean


class Distribution(Protocol):
    """What SciPy's frozen distributions have: of independent observations, on the host."""

    def cdf(self, x: Any) -> Any:
        """Return the probability of at most ``x``."""

    def rvs(self, size: Any = None, random_state: Any = None) -> Any:
        """Return random observations."""

    def var(self) -> Any:
        """Return the variances."""


class Derivatives(NamedTuple):
    """The log-density of each observation, its ``score``, the derivative in eta, and the ``curvature``, that of the
    score, with its sign changed: the weight of an observation where it is positive.
    """

    value: Float[jax.Array, "*b"]
    score: Float[jax.Array, "*b"]
    curvature: Float[jax.Array, "*b"]


class AbstractFamily(Struct, abc.ABC):
    """The distribution of a response given its linear predictor, of independent observations.

    A family of one's own needs :meth:`log_density` alone; derivatives are JAX's. What else there is to write, each with
    what is gained, has a default. Parameters of dispersion, d of them, are declared by :attr:`parameters` with their
    bounds, and are positive unless they are declared. Objects are frozen; fields that set a branch are declared with
    ``lmm.families.static()``.

    ``discrete`` says that observations are whole numbers or counts among trials, whose quantile residuals are
    randomized; ``has_trials`` that an observation is a pair, of successes and trials.
    """

    discrete: ClassVar[bool] = False
    has_trials: ClassVar[bool] = False
    n_dispersion: ClassVar[int] = 0

    @abc.abstractmethod
    def log_density(
        self, y: Float[Array, "*b"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        """Return the logarithm of the density, or of the probability, of each observation, constants included.

        Parameters
        ----------
        y
            The observations, of any shape; where ``has_trials`` with a last axis of two, successes and trials.
        eta
            The linear predictors, offset included, of the same shape without that axis. Each element of the result
            depends on one element of ``eta`` alone.
        dispersion
            ``(d,)``, the natural :attr:`parameters`.
        """

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of dispersion; of as many as ``n_dispersion`` says, unless they are declared, positive ones.

        One that can be equal to its lower bound is the square of what is searched for, beyond the bound; one between
        two bounds its logistic function; one above a bound its exponential function.
        """
        names = ["dispersion"] if self.n_dispersion == 1 else [f"dispersion{k + 1}" for k in range(self.n_dispersion)]
        return tuple(Parameter(name, "rate") for name in names)

    def expected(self) -> str:
        """Return which observations it has, in words, for errors; a hint after a semicolon."""
        return "finite numbers"

    def allows(self, y: Float[NumpyArray, "*b"]) -> Bool[NumpyArray, "*b"]:
        """Return which observations it can have."""
        return np.asarray(np.isfinite(y).all(axis=-1) if self.has_trials else np.isfinite(y))

    def start(self, y: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
        """Return a rough linear predictor of each observation, at which the fixed effects of a fit begin."""
        y = jnp.asarray(y)
        return jnp.zeros(y.shape[:-1] if self.has_trials else y.shape)

    def mean(self, eta: Float[Array, "*b"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        """Return the mean of each observation, of a proportion where there are trials, for predictions.

        Raises
        ------
        NotImplementedError
            By default: a family with its log-density alone has linear predictors only.
        """
        raise NotImplementedError(f"{type(self).__name__} has no mean; write mean(eta, dispersion).")

    def distribution(
        self,
        eta: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        """Return the distribution of the observations, on the host, for simulations and residuals.

        Raises
        ------
        NotImplementedError
            By default.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be simulated; write distribution(eta, dispersion).")

    # ---- derived -------------------------------------------------------------------------------------------------

    def derivatives(
        self, y: Float[Array, "*b"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Derivatives:
        """Return the log-density and its first two derivatives in eta, exact and differentiable."""

        def score(eta: Float[jax.Array, "*b"]) -> tuple[Float[jax.Array, "*b"], Float[jax.Array, "*b"]]:
            value, slope = jax.jvp(lambda eta: self.log_density(y, eta, dispersion), (eta,), (jnp.ones_like(eta),))
            return slope, value

        eta = jnp.asarray(eta)
        slope, second, value = jax.jvp(score, (eta,), (jnp.ones_like(eta),), has_aux=True)
        return Derivatives(value, slope, -second)

    def natural(self, theta: Float[Array, " d"]) -> Float[jax.Array, " d"]:
        """Return the natural parameters at what is searched for.

        >>> from jaxlmm.families import Tweedie
        >>> Tweedie().natural(jnp.zeros(2)).tolist()
        [1.0, 1.5]
        """
        own = [_natural(parameter, theta[k]) for k, parameter in enumerate(self.parameters)]
        return jnp.stack(own) if own else jnp.zeros(0)

    def searched(self, dispersion: Float[NumpyArray, " d"]) -> Float[NumpyArray, " d"]:
        """Return what is searched for at natural parameters, the inverse of :meth:`natural`."""
        pairs = zip(self.parameters, np.asarray(dispersion, float), strict=True)
        return np.array([_searched(parameter, value) for parameter, value in pairs], float)


def _natural(parameter: Parameter, theta: Float[Array, ""]) -> Float[jax.Array, ""]:
    """Return a natural parameter at what is searched for."""
    lower, upper = parameter.lower, parameter.upper
    if np.isinf(lower):
        return jnp.asarray(theta)
    if np.isfinite(upper):
        return lower + (upper - lower) * jax.nn.sigmoid(theta)
    return lower + (theta**2 if parameter.attained[0] else jnp.exp(theta))


def _searched(parameter: Parameter, value: float) -> float:
    lower, upper = parameter.lower, parameter.upper
    if np.isinf(lower):
        return value
    if np.isfinite(upper):
        return float(np.log((value - lower) / (upper - value)))
    return float(np.sqrt(value - lower) if parameter.attained[0] else np.log(value - lower))


class LinkedFamily(AbstractFamily):
    """A family of which the mean is a function of the linear predictor, its link.

    Parameters
    ----------
    link
        One of the family's ``links``, the first by default.
    """

    link: LinkName = static(default="log")
    links: ClassVar[tuple[LinkName, ...]] = ()

    def __post_init__(self) -> None:
        choose(f"link of {type(self).__name__}", self.link, self.links)

    @abc.abstractmethod
    def log_density_of_mean(
        self, y: Float[Array, "*b"], mean: Mean, dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        """Return the logarithm of the density of each observation by its mean."""

    @abc.abstractmethod
    def distribution_of_mean(
        self,
        mean: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        """Return the distribution of the observations by their means."""

    def log_density(
        self, y: Float[Array, "*b"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        return self.log_density_of_mean(jnp.asarray(y), LINKS[self.link].mean(jnp.asarray(eta)), dispersion)

    def mean(self, eta: Float[Array, "*b"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return LINKS[self.link].mean(jnp.asarray(eta)).value

    def distribution(
        self,
        eta: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b"] | None = None,
    ) -> Distribution:
        return self.distribution_of_mean(np.asarray(LINKS[self.link].mean(jnp.asarray(eta)).value), dispersion, trials)

    def start(self, y: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
        return LINKS[self.link].predictor(self.rough_mean(jnp.asarray(y)))

    @abc.abstractmethod
    def rough_mean(self, y: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
        """Return a possible mean near each observation."""
