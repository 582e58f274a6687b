"""Zero inflation: a response that is zero with a probability of its own, else an observation of another family."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance import Parameter
from jaxlmm.errors import OptionError
from jaxlmm.families.base import AbstractFamily, Distribution
from jaxlmm.families.distributions import WithZeros
from jaxlmm.families.links import LINKS
from jaxlmm.families.special import log_sum

ZERO_PART = "Zero inflation"
"""The group of its parameters."""

NOWHERE = -800.0
"""The logit of a probability that is zero in double precision, as are its derivatives."""

ROUNDING = 1e-9
"""How far a combination of columns, or a coefficient, may be off by rounding."""


class ZeroInflated(AbstractFamily):
    """Zero with the probability π, else an observation of a ``family``.

    Of a family that has zeros itself, as Poisson's, ``P(0) = π + (1 − π) f(0)`` (Lambert 1992); of one that has none,
    as a truncated one or the gamma, ``P(0) = π``, a hurdle model (Mullahy 1986). Any other observation has the density
    ``(1 − π) f(y)``. The parameters are those of the family, followed by those of π: without ``columns`` π itself,
    which may be 0; with k columns the coefficients γ of logit π. An observation is then a response and its k columns.

    ``lmm.fit(..., zero_inflated="~ x")`` makes it.

    Parameters
    ----------
    family
        A family of counts, of positive numbers, of proportions between 0 and 1, or Tweedie's.
    columns
        The names of the columns of logit π.
    triangle
        ``(k, k)``, upper triangular: what is searched for is its product with γ. The identity by default.
    constant
        ``(k,)``, the γ with which Zγ is 1 in all rows, None where there is none.

    Raises
    ------
    OptionError
        If zero is an observation of the family, but without a probability, or if that has trials.

    Examples
    --------
    >>> from jaxlmm.families import Poisson
    >>> inflated = ZeroInflated(Poisson())
    >>> round(float(inflated.log_density(jnp.array(0.0), jnp.array(0.0), jnp.array([0.5]))), 4)
    -0.3799
    >>> hurdle = ZeroInflated(Poisson(truncated=True))
    >>> round(float(hurdle.log_density(jnp.array(0.0), jnp.array(0.0), jnp.array([0.5]))), 4)
    -0.6931
    """

    family: AbstractFamily
    columns: tuple[str, ...] = static(default=())
    triangle: Float[Array, "k k"] | None = None
    constant: Float[Array, " k"] | None = None

    def __post_init__(self) -> None:
        family = self.family
        nested = family.has_trials or isinstance(family, ZeroInflated)
        if nested or (not family.has_mass_at_zero and bool(np.all(family.allows(np.zeros(1))))):
            raise OptionError(
                "zero_inflated: expected a family of counts, of positive numbers, of proportions strictly between 0 "
                f"and 1, or 'tweedie', got {type(family).__name__}; one of one's own declares has_mass_at_zero, or "
                "does not allow zeros."
            )

    @classmethod
    def of(cls, family: AbstractFamily, columns: tuple[str, ...], matrix: Float[NumpyArray, "n k"]) -> Self:
        """Return the family with columns of full rank, whose coefficients are searched for on √n times their basis."""
        triangle = np.linalg.qr(matrix / np.sqrt(len(matrix)), mode="r")
        sum_to_one = np.linalg.lstsq(matrix, np.ones(len(matrix)), rcond=None)[0]
        exact = np.allclose(matrix @ sum_to_one, 1.0, rtol=0.0, atol=ROUNDING)
        constant = np.where(np.abs(sum_to_one) > ROUNDING, sum_to_one, 0.0) if exact else None
        return cls(family, columns, triangle * np.where(np.diag(triangle) < 0.0, -1.0, 1.0)[:, None], constant)

    @property
    def is_hurdle(self) -> bool:
        """Whether the family has no zeros itself."""
        return not self.family.has_mass_at_zero

    @property
    def discrete(self) -> bool:  # type: ignore[override]
        return self.family.discrete

    @property
    def link(self) -> str:
        """The link of the family, none of one of one's own."""
        return getattr(self.family, "link", "")

    @property
    def range(self) -> tuple[float, float]:
        """Between which bounds its means are."""
        lower, upper = getattr(self.family, "range", (-np.inf, np.inf))
        return min(lower, 0.0), upper

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        if not self.columns:
            probability = Parameter("probability", "proportion", attained=(True, False), group=ZERO_PART)
            return (*self.family.parameters, probability)
        return (*self.family.parameters, *(Parameter(f"logit({name})", group=ZERO_PART) for name in self.columns))

    @property
    def underlying(self) -> AbstractFamily:
        return self.family.underlying

    @property
    def concave(self) -> bool:
        return self.is_hurdle and self.family.concave

    def expected(self) -> str:
        return f"zeros, or {self.family.expected()}" if self.is_hurdle else self.family.expected()

    def allows(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        count, columns = self._parts(np.asarray(y))
        known = True if columns is None else np.isfinite(columns).all(axis=-1)
        return np.asarray(((count == 0.0) | self.family.allows(count)) & known)

    def sides(self, y: Float[NumpyArray, "*y"]) -> Float[NumpyArray, "*b"]:
        count, _ = self._parts(y)
        own = self.family.sides(count)
        return np.where(count == 0.0, np.nan, own) if self.is_hurdle else own

    def unbounded_at(self, y: Float[NumpyArray, "*y"]) -> Bool[NumpyArray, "*b"]:
        count, _ = self._parts(y)
        return np.asarray((count != 0.0) & self.family.unbounded_at(count))

    def sides_of_zero_part(self, y: Float[NumpyArray, "*y"]) -> Float[NumpyArray, "*b"]:
        """Return in which direction of Zγ the density of an observation rises for ever, as :meth:`sides` of eta.

        That of a zero rises with π whatever the probability of one is in the family, and that of another observation
        falls.
        """
        return np.where(self._parts(y)[0] == 0.0, 1.0, -1.0)

    def on_open_scale(self, eta: Float[Array, "*b"]) -> tuple[AbstractFamily, Float[jax.Array, "*b"]]:
        family, own = self.family.on_open_scale(eta)
        return self.replace(family=family), own

    def ends_of_means(
        self, low: Float[NumpyArray, "*b"], high: Float[NumpyArray, "*b"]
    ) -> tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]:
        return self.family.ends_of_means(low, high)

    @property
    def limit(self) -> Float[jax.Array, " k"] | None:
        """What is searched for of γ where no row has a zero more than the family's.

        None of a hurdle model, and where columns cannot be a constant.
        """
        if self.constant is None or self.triangle is None or self.is_hurdle:
            return None
        return NOWHERE * jnp.asarray(self.triangle) @ jnp.asarray(self.constant)

    def reported(self, dispersion: Float[NumpyArray, "*b d"]) -> Float[NumpyArray, "*b d"]:
        """Return natural parameters as they are reported: at the :attr:`limit` infinite, or NaN, which are then zeros.

        A coefficient that moves towards the limit is −∞ there, and one that does not has no value.
        """
        if self.constant is None or self.is_hurdle:
            return dispersion
        d, constant = self.family.n_dispersion, np.asarray(self.constant)
        there = np.all(np.abs(dispersion[..., d:] - NOWHERE * constant) < -1e-6 * NOWHERE, axis=-1)
        with np.errstate(invalid="ignore"):
            limit = np.where(constant != 0.0, -np.inf * np.sign(constant), np.nan)
        own = np.where(there[..., None], limit, dispersion[..., d:])
        return np.concatenate([dispersion[..., :d], own], axis=-1)

    def start(self, y: Float[Array, "*y"]) -> Float[jax.Array, "*b"]:
        count, _ = self._parts(jnp.asarray(y))
        if not self.is_hurdle:
            return self.family.start(count)
        positive = count > 0.0
        mean = jnp.sum(jnp.where(positive, count, 0.0)) / jnp.maximum(jnp.sum(positive.astype(count.dtype)), 1.0)
        return self.family.start(jnp.where(positive, count, jnp.where(mean > 0.0, mean, 0.5)))

    def log_density(
        self, y: Float[Array, "*y"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        return self.log_kernel(y, eta, dispersion) + self.normalizer(y, dispersion)

    def log_kernel(
        self, y: Float[Array, "*y"], eta: Float[Array, "*b"], dispersion: Float[Array, " d"]
    ) -> Float[jax.Array, "*b"]:
        count, columns = self._parts(jnp.asarray(y))
        zero, others = count == 0.0, dispersion[: self.family.n_dispersion]
        kernel = self.family.log_kernel(self._without_zeros(count), eta, others)
        if self.is_hurdle:
            return jnp.where(zero, 0.0, kernel)
        if columns is None:
            of_zero = log_sum(self._odds(dispersion), jnp.where(zero, kernel, 0.0))
        else:  # log(ω + f(0)), with log ω = Zγ
            of_zero = kernel - LINKS["logit"].mean(kernel - self._logits(columns, dispersion)).log
        return jnp.where(zero, of_zero, kernel)

    def normalizer(self, y: Float[Array, "*y"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        count, columns = self._parts(jnp.asarray(y))
        if columns is None:
            odds = self._odds(dispersion)
            possible = odds > 0.0
            log_other = -jnp.log1p(odds)
            log_zero = jnp.where(possible, jnp.log(jnp.where(possible, odds, 1.0)) + log_other, -jnp.inf)
        else:
            _, log_zero, log_other = LINKS["logit"].mean(self._logits(columns, dispersion))
        constant = self.family.normalizer(self._without_zeros(count), dispersion[: self.family.n_dispersion])
        other = log_other + (jnp.zeros_like(count) if constant is None else constant)
        return jnp.where(count == 0.0, log_zero, other) if self.is_hurdle else other

    def mean(self, eta: Float[Array, "*b"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        return self.mean_of_rows(eta, dispersion, None)

    def mean_of_rows(
        self, eta: Float[Array, "*b"], dispersion: Float[Array, " d"], row_data: Float[Array, "*b k"] | None
    ) -> Float[jax.Array, "*b"]:
        own = self.family.mean(eta, dispersion[: self.family.n_dispersion])
        return (1.0 - self.probability(dispersion, row_data)) * own

    def distribution(
        self,
        eta: Float[NumpyArray, "*b"],
        dispersion: Float[NumpyArray, " d"],
        trials: Float[NumpyArray, "*b k"] | None = None,
    ) -> Distribution:
        """Return the distribution of the observations; in the place of trials stand their columns."""
        others = dispersion[: self.family.n_dispersion]
        mean = np.asarray(self.family.mean(jnp.asarray(eta), jnp.asarray(others)))
        return WithZeros(self.family.distribution(eta, others), mean, np.asarray(self.probability(dispersion, trials)))

    def probability(
        self, dispersion: Float[Array, " d"], row_data: Float[Array, "*b k"] | None
    ) -> Float[jax.Array, "*b"]:
        """Return π, of each row where it depends on columns.

        Raises
        ------
        OptionError
            If it does, and they are not given.
        """
        if not self.columns:
            return self._own(dispersion)[0]
        if row_data is None:
            raise OptionError(f"the zero part has the columns {', '.join(self.columns)}, of which there are no values.")
        return LINKS["logit"].mean(self._logits(row_data, dispersion)).value

    def natural_with_held(
        self, theta: Float[Array, " d"], held: Float[Array, " d"], free: Bool[NumpyArray, " d"]
    ) -> Float[jax.Array, " d"]:
        natural, d = super().natural_with_held(theta, held, free), self.family.n_dispersion
        if self.triangle is None:
            return natural
        triangle, own = jnp.asarray(self.triangle), list(natural[d:])
        for i in reversed(range(len(own))):  # backwards, so that what is held moves those before it as a column would
            if free[d + i]:
                later = sum((triangle[i, j] * own[j] for j in range(i + 1, len(own))), jnp.zeros(()))
                own[i] = (theta[d + i] - later) / triangle[i, i]
        return jnp.concatenate([natural[:d], jnp.stack(own)])

    def searched(self, dispersion: Float[NumpyArray, " d"]) -> Float[NumpyArray, " d"]:
        if self.triangle is None:
            return super().searched(dispersion)
        d, own = self.family.n_dispersion, np.asarray(dispersion, float)
        product = np.asarray(self.triangle) @ np.nan_to_num(own[d:])
        return np.concatenate([self.family.searched(own[:d]), np.where(np.isnan(own[d:]), np.nan, product)])

    def _parts(self, y: Any) -> tuple[Any, Any]:
        """Return responses, and their columns, None without any."""
        return (y[..., 0], y[..., 1:]) if self.columns else (y, None)

    def _without_zeros(self, count: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
        """Return responses with another in the place of zeros that the family does not have."""
        return jnp.where(count == 0.0, 1.0 if self.family.discrete else 0.5, count) if self.is_hurdle else count

    def _own(self, dispersion: Float[Array, " d"]) -> Float[jax.Array, " k"]:
        return jnp.asarray(dispersion)[self.family.n_dispersion :]

    def _logits(self, columns: Float[Array, "*b k"], dispersion: Float[Array, " d"]) -> Float[jax.Array, "*b"]:
        """Return Zγ; where γ is :meth:`reported` at the limit, what it is there."""
        own = self._own(dispersion)
        known = jnp.all(jnp.isfinite(own))
        return jnp.where(known, jnp.asarray(columns) @ jnp.where(known, own, 0.0), NOWHERE)

    def _odds(self, dispersion: Float[Array, " d"]) -> Float[jax.Array, ""]:
        """Return π / (1 − π), where π is a parameter."""
        probability = self._own(dispersion)[0]
        return probability / (1.0 - probability)
