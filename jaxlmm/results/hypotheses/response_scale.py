"""Marginal means of linear predictors on the scale of the response, and differences of them as ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError, choose
from jaxlmm.families import AbstractFamily, limits_of_mean, mean_slopes, means
from jaxlmm.formula import FamilyLabels

RATIOS = {"log": "ratio", "logit": "odds ratio"}
"""What the exponential of a difference of linear predictors is, by the link."""

Columns = list[Float[NumpyArray, "*b c"]]
"""``estimate std_error df statistic p_value conf_low conf_high``."""


class ResponseScale(NamedTuple):
    """The scale of the response of a ``family`` with parameters ``dispersion``: of all counts where these are
    truncated, without the zero part where there is one.
    """

    family: AbstractFamily
    dispersion: Float[NumpyArray, "*b d"]

    @classmethod
    def of(cls, type: str, labels: FamilyLabels | None, dispersion: Float[NumpyArray, "*b d"]) -> ResponseScale | None:
        """Return the scale that ``type`` asks for, None where it is that of the linear predictor."""
        choose("type", type, ("link", "response"))
        if type == "link" or labels is None:
            return None
        family = labels.known().underlying
        return cls(family, dispersion[..., : family.n_dispersion])

    @property
    def ratio(self) -> str | None:
        """What differences become, None where they stay differences of linear predictors."""
        return RATIOS.get(getattr(self.family, "link", ""))

    def of_means(self, columns: Columns) -> Columns:
        """Return means with standard errors by the delta method and limits of the linear predictor; tests stay.

        Raises
        ------
        OptionError
            If the family has no mean.
        """
        estimate, std_error, *tests, low, high = columns
        try:
            center, slope = (_by_response(function, self, estimate) for function in (means, mean_slopes))
            limits = _limits_by_response(self, low, high)
        except NotImplementedError as error:
            raise OptionError(f"type='response': {error}") from error
        return [center, np.abs(slope) * std_error, *tests, *limits]

    def of_differences(self, columns: Columns) -> Columns:
        """Return the exponentials of differences where they are ratios, else the differences."""
        if self.ratio is None:
            return columns
        estimate, std_error, *tests, low, high = columns
        ratio = np.exp(estimate)
        return [ratio, ratio * std_error, *tests, np.exp(low), np.exp(high)]

    def names(self, names: Sequence[str]) -> list[str]:
        """Return the names of differences, of ratios with a stroke."""
        return [name.replace(" - ", " / ") for name in names] if self.ratio else list(names)


def _by_response(
    function: Callable[..., NumpyArray], scale: ResponseScale, values: Float[NumpyArray, "*b c"]
) -> Float[NumpyArray, "*b c"]:
    """Return a function of linear predictors, of each response with its own dispersion."""
    if values.ndim == 1:
        return np.asarray(function(scale.family, values, scale.dispersion))
    return np.stack([function(scale.family, *pair) for pair in zip(values, scale.dispersion, strict=True)])


def _limits_by_response(
    scale: ResponseScale, low: Float[NumpyArray, "*b c"], high: Float[NumpyArray, "*b c"]
) -> list[Float[NumpyArray, "*b c"]]:
    """Return the limits of means, of each response with its own dispersion."""
    if low.ndim == 1:
        return [*limits_of_mean(scale.family, low, high, scale.dispersion)]
    rows = [limits_of_mean(scale.family, *own) for own in zip(low, high, scale.dispersion, strict=True)]
    return [np.stack(part) for part in zip(*rows, strict=True)]
