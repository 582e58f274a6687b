"""Means and residuals of observations given their linear predictors, on the host."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, NumpyArray, in_double_precision, program
from jaxlmm.families.base import AbstractFamily
from jaxlmm.families.rows.derivatives import row_derivatives
from jaxlmm.families.rows.distribution import observations

STEPS, LONGEST_STEP = 100, 2.0
"""Newton steps to the linear predictor at which an observation is most likely, and the longest of them: one that is
most likely at infinity, as a count of zero, is then nearly certain."""

SMALLEST_CURVATURE = 1e-12
"""Below this, or where it is negative, a step goes uphill by ``LONGEST_STEP``."""


class FittedRows(NamedTuple):
    """Rows at their linear predictors ``eta``, offset included, with the family's parameters, and ``row_data`` beside
    the responses: trials, or the columns of the zero part, None of a family without them.
    """

    family: AbstractFamily
    eta: Float[NumpyArray, " n"]
    dispersion: Float[NumpyArray, " d"]
    row_data: Float[NumpyArray, "n ..."] | None

    @property
    def trials(self) -> Float[NumpyArray, " n"] | float:
        """The trials, 1 of a family without any."""
        return self.row_data if self.row_data is not None and self.family.has_trials else 1.0

    @property
    def means(self) -> Float[NumpyArray, " n"]:
        """The means, of proportions where there are trials."""
        return means(self.family, self.eta, self.dispersion, self.row_data)

    def at(self, rows: Bool[NumpyArray, " n"]) -> FittedRows:
        """Return some of the rows."""
        return self._replace(eta=self.eta[rows], row_data=None if self.row_data is None else self.row_data[rows])


@in_double_precision
def means(
    family: AbstractFamily,
    eta: Float[NumpyArray, "*b"],
    dispersion: Float[NumpyArray, " d"],
    row_data: Float[NumpyArray, "*c"] | None = None,
) -> Float[NumpyArray, "*b"]:
    """Return the mean of each row, of a proportion where there are trials.

    Raises
    ------
    NotImplementedError
        If the family has none.
    """
    return np.asarray(family.mean_of_rows(jnp.asarray(eta), jnp.asarray(dispersion), row_data))


def limits_of_mean(
    family: AbstractFamily,
    low: Float[NumpyArray, "*b"],
    high: Float[NumpyArray, "*b"],
    dispersion: Float[NumpyArray, " d"],
    row_data: Float[NumpyArray, "*c"] | None = None,
) -> tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]:
    """Return the limits of means whose linear predictors are between ``low`` and ``high``.

    Where the mean is not monotone in them, as with the links ``sqrt`` and ``inverse``, they are the least and the
    largest mean in between.

    Raises
    ------
    NotImplementedError
        If the family has no mean.
    """
    bounds = getattr(family, "range", (-np.inf, np.inf))
    low, high = family.ends_of_means(low, high)
    with np.errstate(divide="ignore"):
        ends = means(family, low, dispersion, row_data), means(family, high, dispersion, row_data)
    return np.clip(np.minimum(*ends), *bounds), np.clip(np.maximum(*ends), *bounds)


@in_double_precision
def mean_slopes(
    family: AbstractFamily,
    eta: Float[NumpyArray, "*b"],
    dispersion: Float[NumpyArray, " d"],
    row_data: Float[NumpyArray, "*c"] | None = None,
) -> Float[NumpyArray, "*b"]:
    """Return the derivative of the mean of each row in its linear predictor."""

    def mean(eta: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
        return family.mean_of_rows(eta, jnp.asarray(dispersion), row_data)

    own = jnp.asarray(eta, float)
    return np.asarray(jax.jvp(mean, (own,), (jnp.ones_like(own),))[1])


@in_double_precision
def pearson_residuals(fitted: FittedRows, y: Float[NumpyArray, " n"]) -> Float[NumpyArray, " n"]:
    """Return observations less their means, in units of their standard deviations; NaN where these are infinite.

    Raises
    ------
    NotImplementedError
        If the family has no mean, or no distribution.
    """
    center = fitted.means * fitted.trials
    spread = np.asarray(fitted.family.distribution(fitted.eta, fitted.dispersion, fitted.row_data).var())
    return np.asarray((y - center) / np.sqrt(np.where(np.isfinite(spread), spread, np.nan)))


@in_double_precision
def deviance_residuals(fitted: FittedRows, y: Float[NumpyArray, " n"]) -> Float[NumpyArray, " n"]:
    """Return the roots of twice what the log-density of each observation is below its largest, as signed differences.

    The largest is over all means, with the same dispersion; the sign is that of its mean less the fitted one
    (McCullagh and Nelder 1989, section 2.4.3).
    """
    observed = jnp.asarray(observations(y, fitted.row_data))
    family, eta = fitted.family.on_open_scale(fitted.eta)
    best, below = _below_the_largest(family, observed, eta, jnp.asarray(fitted.dispersion))
    return np.sign(np.asarray(best) - np.asarray(eta)) * np.sqrt(2.0 * np.maximum(np.asarray(below), 0.0))


@program(once=True)
def _below_the_largest(
    family: AbstractFamily, y: Float[Array, "*y"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
) -> tuple[Float[jax.Array, "*b"], Float[jax.Array, "*b"]]:
    def step(_: Int[jax.Array, ""], state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        here, best, highest = state
        value, slope, curvature = row_derivatives(family, y, here, dispersion)
        better = value > highest
        best, highest = jnp.where(better, here, best), jnp.where(better, value, highest)
        curved = curvature > SMALLEST_CURVATURE
        newton = slope / jnp.where(curved, curvature, 1.0)
        uphill = jnp.where(curved, jnp.clip(newton, -LONGEST_STEP, LONGEST_STEP), LONGEST_STEP * jnp.sign(slope))
        tried = here + uphill
        possible = jnp.isfinite(family.log_kernel(y, tried, dispersion)) & jnp.isfinite(uphill)
        return jnp.where(possible, tried, 0.5 * (here + best)), best, highest

    eta, rough = jnp.asarray(eta), jnp.broadcast_to(family.start(y), jnp.shape(eta))
    own, other = family.log_kernel(y, eta, dispersion), family.log_kernel(y, rough, dispersion)
    begin = jnp.where(other > own, rough, eta)
    _, best, highest = jax.lax.fori_loop(0, STEPS, step, (begin, begin, jnp.maximum(own, other)))
    return best, highest - own


@in_double_precision
def quantile_residuals(
    fitted: FittedRows, y: Float[NumpyArray, " n"], rng: np.random.Generator
) -> Float[NumpyArray, " n"]:
    """Return the standard normal quantiles of the probabilities below the observations.

    Where observations are discrete, the probability is drawn between that of less and that of at most the observation
    (Dunn and Smyth 1996); of others with a probability of a single value, as zero in a Tweedie distribution, too.

    Raises
    ------
    NotImplementedError
        If the family has no distribution.
    """
    distribution = fitted.family.distribution(fitted.eta, fitted.dispersion, fitted.row_data)
    before, share = y - 1.0 if fitted.family.discrete else np.nextafter(y, -np.inf), rng.uniform(size=y.shape)
    below, upto = (np.asarray(distribution.cdf(one), float) for one in (before, y))
    lower = below + share * (upto - below)
    if not hasattr(distribution, "sf"):
        return np.asarray(scipy.special.ndtri(lower))
    above, beyond = (np.asarray(distribution.sf(one), float) for one in (before, y))
    upper = above + share * (beyond - above)  # 1 − lower, with all its digits where that is nearly 1
    return np.asarray(np.where(lower < 0.5, scipy.special.ndtri(lower), -scipy.special.ndtri(upper)))
