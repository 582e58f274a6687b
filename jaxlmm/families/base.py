"""The contract of a family: one method to write, the logarithm of its density."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, Struct
from jaxlmm.covariance import Parameter

SMALLEST_SHARE = 1e-6
"""How near to a bound that is not attained a parameter between two bounds can come, relative to their distance."""


class Distribution(Protocol):
    """What SciPy's frozen distributions have: of independent observations, on the host."""

    def cdf(self, x: Any) -> Any:
        """Return the probability of at most ``x``."""

    def rvs(self, size: Any = None, random_state: Any = None) -> Any:
        """Return random observations."""

    def var(self) -> Any:
        """Return the variances."""


class AbstractFamily(Struct, abc.ABC):
    """The distribution of a response given its linear predictor, of independent observations.

    A family of one's own needs :meth:`log_density` alone; derivatives are JAX's. What else there is to write, each with
    what is gained, has a default. Parameters of dispersion are declared by :attr:`parameters`. Objects are frozen;
    fields that set a branch are declared with ``lmm.families.static()``.

    ``discrete`` says that observations are whole numbers or counts among trials, whose quantile residuals are
    randomized; ``has_trials`` that an observation is a pair, of successes and trials.
    """

    discrete: ClassVar[bool] = False
    has_trials: ClassVar[bool] = False

    @abc.abstractmethod
    def log_density(
        self, y: Float[Array, "*y"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        """Return the logarithm of the density, or of the probability, of each observation, constants included.

        Parameters
        ----------
        y
            The observations, of any shape; where ``has_trials`` with a last axis of two, successes and trials.
        eta
            The linear predictors, offset included, of the same shape without that axis. Each element of the result
            depends on one element of ``eta`` alone. The function is differentiated four times in ``eta``: where a
            branch by ``jnp.where`` is not finite, neither may its argument be.
        dispersion
            ``(d,)``, the natural :attr:`parameters`.
        """

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of dispersion, a tuple of :class:`jaxlmm.covariance.Parameter`; none unless it is declared.

        Each has a label, by which tables print it and ``start=`` and ``fixed=`` name it, and a kind, which gives its
        bounds unless ``lower``, ``upper`` and ``attained`` do: a ``"rate"`` is positive, a ``"proportion"`` between 0
        and 1, a ``"number"`` any one. :meth:`log_density` gets their values in this order.

        What is searched for is unbounded. A parameter with one bound is at a distance from it that is its exponential
        function or, where the bound is attained, its square; one with two bounds, of which none is attained, its
        logistic function between them; if the lower one is attained, the odds of its place between them are a square.

        Examples
        --------
        >>> import jaxlmm as lmm
        >>> class Laplace(lmm.families.AbstractFamily):
        ...     @property
        ...     def parameters(self):
        ...         return (lmm.covariance.Parameter("scale", "rate", unit="response"),)
        ...     def log_density(self, y, eta, dispersion):
        ...         return -jnp.abs(y - eta) / dispersion[0] - jnp.log(2.0 * dispersion[0])
        >>> Laplace().parameters[0].expected
        'a number above 0, in units of the response'
        """
        return ()

    @property
    def n_dispersion(self) -> int:
        """The number of parameters of dispersion, d."""
        return len(self.parameters)

    @property
    def has_mass_at_zero(self) -> bool:
        """Whether zero has a probability, the exponential of its :meth:`log_kernel`, so that it can be inflated."""
        return False

    @property
    def underlying(self) -> AbstractFamily:
        """The family without truncation and zero part, whose mean is the inverse link of the linear predictor."""
        return self

    def expected(self) -> str:
        """Return which observations it has, in words, for errors; a hint after a semicolon."""
        return "finite numbers"

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        """Return which observations it can have, on the host: others are an error before anything is computed.

        All finite numbers by default. Where the density of one of them is zero or not a number, as that of a negative
        time, the fit would have the status ``failed``.
        """
        return np.asarray(np.isfinite(y).all(axis=-1) if self.has_trials else np.isfinite(y))

    @property
    def concave(self) -> bool:
        """Whether the log-density is concave in eta whatever the parameters, so that no curvature is negative."""
        return False

    def sides(self, y: Float[NumpyArray, "*y"]) -> Float[NumpyArray, "*b"]:
        """Return in which direction of its linear predictor the density of an observation rises for ever.

        1 or −1, 0 where it has a maximum, as everywhere by default, and NaN where it does not depend on it. Where all
        observations on one side of a predictor are of the first kinds, there is no finite estimate.
        """
        return np.zeros(np.shape(y)[:-1] if self.has_trials else np.shape(y))

    def unbounded_at(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        """Return of which observations the density grows without bound as the first of the parameters goes to a limit.

        It does at the best linear predictor, as that of a normal distribution whose standard deviation goes to zero. A
        response that has such a value in all rows is refused; none is by default.
        """
        return np.zeros(np.shape(y)[:-1] if self.has_trials else np.shape(y), bool)

    def start(self, y: Float[Array, "*y"]) -> Float[jax.Array, "*b"]:
        """Return a rough linear predictor of each observation, at which the fixed effects of a fit begin."""
        y = jnp.asarray(y)
        return jnp.zeros(y.shape[:-1] if self.has_trials else y.shape)

    def on_open_scale(self, eta: Float[Array, "*b"]) -> tuple[AbstractFamily, Float[jax.Array, "*b"]]:
        """Return the family with linear predictors of any size, which increase with the mean and have no unit, and what
        ``eta`` is on that scale; by default they are those that there are.
        """
        return self, jnp.asarray(eta)

    def ends_of_means(
        self, low: Float[NumpyArray, "*b"], high: Float[NumpyArray, "*b"]
    ) -> tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]:
        """Return, for intervals of linear predictors, those at which the mean is least and largest there.

        By default the intervals' own ends; where not all linear predictors are possible, of those that are.
        """
        return low, high

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

    def log_kernel(
        self, y: Float[Array, "*y"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        """Return the log-density less its :meth:`normalizer`: what the search for the modes evaluates."""
        return self.log_density(y, eta, dispersion)

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"] | None:
        """Return the part of the log-density of each observation on which eta has no influence, None without one."""
        return None

    # ---- derived -------------------------------------------------------------------------------------------------

    def mean_of_rows(
        self, eta: Float[Array, "*b"], dispersion: Float[Array, " d"], row_data: Float[Array, "*b k"] | None
    ) -> Float[jax.Array, "*b"]:
        """Return the means of rows, with their ``row_data``: :meth:`mean` where it needs none."""
        return self.mean(eta, dispersion)

    def natural(self, theta: Float[Array, " d"]) -> Float[jax.Array, " d"]:
        """Return the natural parameters at what is searched for."""
        return self.natural_with_held(theta, jnp.zeros(self.n_dispersion), np.ones(self.n_dispersion, bool))

    def natural_with_held(
        self, theta: Float[Array, " d"], held: Float[Array, " d"], free: Bool[NumpyArray, " d"]
    ) -> Float[jax.Array, " d"]:
        """Return the natural parameters where some are not ``free`` but ``held``."""
        own = [_natural(one, theta[k]) if free[k] else held[k] for k, one in enumerate(self.parameters)]
        return jnp.stack(own) if own else jnp.zeros(0)

    def searched(self, dispersion: Float[NumpyArray, " d"]) -> Float[NumpyArray, " d"]:
        """Return what is searched for at natural parameters, the inverse of :meth:`natural`."""
        pairs = zip(self.parameters, np.asarray(dispersion, float), strict=True)
        return np.array([_searched(parameter, value) for parameter, value in pairs], float)


def _natural(parameter: Parameter, theta: Float[Array, ""]) -> Float[jax.Array, ""]:
    """Return a natural parameter at what is searched for."""
    lower, upper = parameter.lower, parameter.upper
    at_lower, at_upper = parameter.attained
    if np.isfinite(lower) and np.isfinite(upper) and at_lower:
        return lower + (upper - lower) * theta**2 / (1.0 + theta**2)
    if np.isfinite(lower) and np.isfinite(upper):
        share = jnp.clip(jax.nn.sigmoid(theta), SMALLEST_SHARE, 1.0 - SMALLEST_SHARE)
        return lower + (upper - lower) * share
    if np.isfinite(lower):
        return lower + (theta**2 if at_lower else jnp.exp(theta))
    return upper - (theta**2 if at_upper else jnp.exp(theta)) if np.isfinite(upper) else jnp.asarray(theta)


def _searched(parameter: Parameter, value: float) -> float:
    lower, upper = parameter.lower, parameter.upper
    at_lower, at_upper = parameter.attained
    if np.isfinite(lower) and np.isfinite(upper):
        odds = (value - lower) / (upper - value)
        return float(np.sqrt(odds) if at_lower else np.log(odds))
    if np.isfinite(lower):
        return float(np.sqrt(value - lower) if at_lower else np.log(value - lower))
    if np.isfinite(upper):
        return float(np.sqrt(upper - value) if at_upper else np.log(upper - value))
    return value
