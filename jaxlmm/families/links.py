"""Links: from the linear predictor to the mean, with logarithms that lose no digits where the mean is extreme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray

LinkName = Literal["logit", "probit", "cloglog", "cauchit", "log", "identity", "sqrt", "inverse"]
"""The links: of means between 0 and 1 the first four; of positive means the logarithm, the root and the inverse."""

PROPORTION, POSITIVE, REAL = (0.0, 1.0), (0.0, np.inf), (-np.inf, np.inf)
"""Ranges of means."""

Map: TypeAlias = Callable[[Float[Array, "*b"]], Float[jax.Array, "*b"]]
"""An elementwise function."""


class Mean(NamedTuple):
    """A mean ``value``, its logarithm, and that of its ``complement``, 1 − mean, where these are real."""

    value: Float[jax.Array, "*b"]
    log: Float[jax.Array, "*b"]
    log_complement: Float[jax.Array, "*b"]

    @classmethod
    def of(cls, value: Float[Array, "*b"]) -> Mean:
        """Return the logarithms of means that are given."""
        value = jnp.asarray(value)
        return cls(value, jnp.log(value), jnp.log1p(-value))


Interval: TypeAlias = tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]
"""The ends of intervals."""


class Link(NamedTuple):
    """``predictor`` is the link g, ``mean`` its inverse, from eta to the mean and its logarithms; ``range`` that of it.

    ``ends`` returns, for intervals of eta, linear predictors at which the mean is least and largest there, in any
    order; by default the intervals' own ends, between which a monotone mean has no other.

    >>> import jax.numpy as jnp
    >>> [round(float(part), 4) for part in LINKS["cloglog"].mean(jnp.array(0.0))]
    [0.6321, -0.4587, -1.0]
    """

    predictor: Map
    mean: Callable[[Float[Array, "*b"]], Mean]
    range: tuple[float, float]
    ends: Callable[[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]], Interval] = lambda low, high: (low, high)


@jax.custom_jvp
def _sigmoid(eta: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the logistic function; unlike that of JAX's, its derivatives keep their digits where it is nearly 1."""
    return jax.nn.sigmoid(eta)


@_sigmoid.defjvp
def _of_sigmoid(primals: tuple[Array], tangents: tuple[Array]) -> tuple[jax.Array, jax.Array]:
    (eta,), (along,) = primals, tangents
    return _sigmoid(eta), _sigmoid(eta) * _sigmoid(-eta) * along


@jax.custom_jvp
def _log_sigmoid(eta: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    return jax.nn.log_sigmoid(eta)


@_log_sigmoid.defjvp
def _of_log_sigmoid(primals: tuple[Array], tangents: tuple[Array]) -> tuple[jax.Array, jax.Array]:
    (eta,), (along,) = primals, tangents
    return _log_sigmoid(eta), _sigmoid(-eta) * along


def _logit(eta: Float[Array, "*b"]) -> Mean:
    return Mean(_sigmoid(eta), _log_sigmoid(eta), _log_sigmoid(-eta))


def _probit(eta: Float[Array, "*b"]) -> Mean:
    ndtr, log_ndtr = jax.scipy.special.ndtr, jax.scipy.special.log_ndtr
    return Mean(ndtr(eta), log_ndtr(eta), log_ndtr(-eta))


def _cloglog(eta: Float[Array, "*b"]) -> Mean:
    rate = jnp.exp(eta)
    value = -jnp.expm1(-rate)
    small = rate < 1e-2  # log(1 − exp(−r)) = log r − r/2 + r²/24 − r⁴/2880 + r⁶/181440 − …
    near = jnp.where(small, rate, 0.0)
    series = eta - near / 2 + near**2 / 24 - near**4 / 2880 + near**6 / 181440
    log = jnp.log1p(-jnp.exp(-jnp.where(small, 1.0, rate)))
    return Mean(value, jnp.where(small, series, log), -rate)


def _cauchit(eta: Float[Array, "*b"]) -> Mean:
    value = jnp.arctan2(jnp.ones_like(eta), -eta) / jnp.pi
    return Mean(value, jnp.log(value), jnp.log(jnp.arctan2(jnp.ones_like(eta), eta) / jnp.pi))


def _log(eta: Float[Array, "*b"]) -> Mean:
    near = eta > -np.log(2.0)  # log(1 − exp(eta)), by the one of two formulas that loses no digits (Mächler 2012)
    complement = jnp.log(-jnp.expm1(jnp.where(near, eta, -1.0)))
    return Mean(jnp.exp(eta), eta, jnp.where(near, complement, jnp.log1p(-jnp.exp(jnp.where(near, -1.0, eta)))))


def _ends_of_square(low: Float[NumpyArray, "*b"], high: Float[NumpyArray, "*b"]) -> Interval:
    """Return where a square is least and largest: where an interval holds 0, there and at its far end."""
    within = (low < 0.0) & (high > 0.0)
    return np.where(within, 0.0, low), np.where(within & (-low > high), low, high)


def _ends_of_inverse(low: Float[NumpyArray, "*b"], high: Float[NumpyArray, "*b"]) -> Interval:
    """Return where an inverse is least and largest: where an interval holds 0, on either side of it."""
    within = (low < 0.0) & (high > 0.0)
    return np.where(within, -0.0, low), np.where(within, 0.0, high)


def _cauchit_of(mean: Float[Array, "*b"]) -> Float[jax.Array, "*b"]:
    return jnp.tan(jnp.pi * (jnp.asarray(mean) - 0.5))


LINKS: dict[str, Link] = {
    "logit": Link(jax.scipy.special.logit, _logit, PROPORTION),
    "probit": Link(jax.scipy.special.ndtri, _probit, PROPORTION),
    "cloglog": Link(lambda mean: jnp.log(-jnp.log1p(-mean)), _cloglog, PROPORTION),
    "cauchit": Link(_cauchit_of, _cauchit, PROPORTION),
    "log": Link(jnp.log, _log, POSITIVE),
    "identity": Link(jnp.asarray, Mean.of, REAL),
    "sqrt": Link(jnp.sqrt, lambda eta: Mean.of(eta**2), POSITIVE, _ends_of_square),
    "inverse": Link(lambda mean: 1.0 / mean, lambda eta: Mean.of(1.0 / eta), REAL, _ends_of_inverse),
}
"""The links by name."""

assert tuple(LINKS) == get_args(LinkName)


LINKS_IN_UNITS = ("identity", "inverse", "sqrt")
"""Links whose linear predictors have a unit of the data, and no scale of their own."""


def has_unit(family: object) -> bool:
    """Return whether the linear predictors of a family have a unit of the data; not of one without a named link."""
    return getattr(family, "link", "") in LINKS_IN_UNITS
