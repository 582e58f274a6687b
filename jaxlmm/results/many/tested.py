"""Tests of combinations of fixed effects in many responses, by each way to count degrees of freedom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError
from jaxlmm.inference import Contrasts, KenwardRoger, Uncertainty
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.tables import choose_df

DEGREES_OF_MANY = ("satterthwaite", "kenward-roger", "kenward-roger-linear", "normal")
"""The values of ``df``."""


class ManyTested(NamedTuple):
    """Coefficients of m responses with the covariances by which combinations of them are tested.

    ``degrees`` returns the degrees of freedom (m, c) of each of c combinations, ``rows`` (c, p); ``tests`` those of all
    together, with the F statistics of coefficients (m, p). What has no estimate or no variance is NaN.
    """

    beta: Float[NumpyArray, "m p"]
    vcov: Float[NumpyArray, "m p p"]
    degrees: Callable[[Float[NumpyArray, "c p"]], Float[NumpyArray, "m c"]]
    tests: Callable[[Float[NumpyArray, "m p"], Float[NumpyArray, "c p"]], Contrasts]

    @classmethod
    def by_satterthwaite(cls, beta: Float[NumpyArray, "m p"], uncertainty: Uncertainty) -> Self:
        """Return tests by Satterthwaite's degrees of freedom."""
        return cls(beta, uncertainty.vcov, uncertainty.degrees_of, partial(uncertainty.contrasts, df="satterthwaite"))

    @property
    def std_error(self) -> Float[NumpyArray, "m p"]:
        """Standard errors of beta."""
        return np.sqrt(np.diagonal(self.vcov, axis1=-2, axis2=-1))

    def combined(
        self, rows: Float[NumpyArray, "c p"]
    ) -> tuple[Float[NumpyArray, "m c"], Float[NumpyArray, "m c"], Float[NumpyArray, "m c"]]:
        """Return estimates, standard errors and degrees of freedom of combinations; NaN where a row is NaN, or needs a
        coefficient that has no estimate or no variance.
        """
        determined = np.asarray(np.isfinite(rows).all(axis=1))
        own = np.where(determined[:, None], rows, 0.0)
        unknown = np.isnan(self.beta) | np.isnan(np.diagonal(self.vcov, axis1=-2, axis2=-1))
        lost = ~determined[None, :] | ((own != 0.0) @ unknown.T).T.astype(bool)
        vcov = np.where(unknown[:, :, None] | unknown[:, None, :], 0.0, self.vcov)
        estimate = np.where(np.isnan(self.beta), 0.0, self.beta) @ own.T
        variance = np.einsum("ci,mij,cj->mc", own, vcov, own, optimize=True)
        return tuple(  # type: ignore[return-value]
            np.where(lost, np.nan, part) for part in (estimate, np.sqrt(np.maximum(variance, 0.0)), self.degrees(own))
        )


def many_tested(many: FittedMany, df: str) -> ManyTested:
    """Return how combinations of the fixed effects are tested; degrees of freedom are NaN without an optimum.

    Raises
    ------
    OptionError
        If ``df`` is none of :data:`DEGREES_OF_MANY`, or is not defined for these fits.
    """
    choose_df(df, DEGREES_OF_MANY)
    estimates = many.estimates
    beta, uncertainty, proven = estimates.beta, estimates.uncertainty, estimates.proven
    if df.startswith("kenward-roger"):
        return _by_kenward_roger(many, df)

    def degrees(rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, "m c"]:
        own = np.full((len(many), len(rows)), np.inf) if df == "normal" else uncertainty.degrees_of(rows)
        return np.where(proven[:, None], own, np.nan)

    def tests(beta: Float[NumpyArray, "m p"], rows: Float[NumpyArray, "c p"]) -> Contrasts:
        found = uncertainty.contrasts(beta, rows, df)
        return found._replace(den_df=np.where(proven, found.den_df, np.nan))

    return ManyTested(beta, uncertainty.vcov, degrees, tests)


def _by_kenward_roger(many: FittedMany, df: str) -> ManyTested:
    estimates = many.estimates
    if estimates.method != "REML":
        raise OptionError(f"df: {df!r} is of fits by REML, got one by {estimates.method}.")
    adjusted: Sequence[KenwardRoger | None] = many.kenward_roger
    if df == "kenward-roger-linear":
        adjusted = [None if one is None else one.without_second_derivatives() for one in adjusted]
    vcov = np.full_like(estimates.uncertainty.vcov, np.nan)
    for number, one in enumerate(adjusted):
        if one is not None:
            known = np.flatnonzero(np.isfinite(estimates.beta[number]))
            vcov[number][np.ix_(known, known)] = one.adjusted

    def degrees(rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, "m c"]:
        found = np.full((len(many), len(rows)), np.nan)
        for number, one in enumerate(adjusted):
            if one is not None:
                known = np.isfinite(estimates.beta[number])
                own = ~(rows[:, ~known] != 0.0).any(axis=1) & rows.any(axis=1)
                found[number, own] = one.degrees(rows[own][:, known])
        return found

    def tests(beta: Float[NumpyArray, "m p"], rows: Float[NumpyArray, "c p"]) -> Contrasts:
        found = np.full((3, len(many)), np.nan)
        for number, one in enumerate(adjusted):
            if one is not None:
                known = np.isfinite(estimates.beta[number])
                lost = (rows[:, ~known] != 0.0).any(axis=1)
                if not (rows[lost][:, known] != 0.0).any():  # rows of coefficients without an estimate do not count
                    found[:, number] = one.test(beta[number, known], rows[~lost][:, known])
        return Contrasts(*found)

    return ManyTested(estimates.beta, vcov, degrees, tests)
