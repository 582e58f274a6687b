"""Tests of combinations of fixed effects, by each way to count degrees of freedom."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError, choose
from jaxlmm.inference import Contrasts, KenwardRoger, between_within, nested_order
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.tables.clustered import KINDS_OF_CLUSTERS, sandwich

DEGREES_OF_FREEDOM = ("satterthwaite", "kenward-roger", "kenward-roger-linear", "between-within", "normal")
"""The values of ``df``."""


class Tested(NamedTuple):
    """Coefficients with the covariance by which combinations of them are tested.

    ``degrees`` returns the degrees of freedom of each of c combinations, ``rows`` (c, p); ``tests`` those of all
    together, with the F statistic of coefficients (p,).
    """

    beta: Float[NumpyArray, " p"]
    vcov: Float[NumpyArray, "p p"]
    degrees: Callable[[Float[NumpyArray, "c p"]], Float[NumpyArray, " c"]]
    tests: Callable[[Float[NumpyArray, " p"], Float[NumpyArray, "c p"]], Contrasts]

    def test(self, rows: Float[NumpyArray, "c p"], at: Float[NumpyArray, " p"] | float) -> Contrasts:
        """Return the F test that the products of ``rows`` with the coefficients are those with ``at``."""
        return self.tests(self.beta - at, rows)

    def combined(
        self, rows: Float[NumpyArray, "c p"]
    ) -> tuple[Float[NumpyArray, " c"], Float[NumpyArray, " c"], Float[NumpyArray, " c"]]:
        """Return estimates, standard errors and degrees of freedom of combinations; NaN where a row is NaN."""
        unknown = np.isnan(self.beta) | np.isnan(np.diagonal(self.vcov))
        with np.errstate(invalid="ignore"):
            known = np.asarray(np.isfinite(rows).all(axis=1) & ~(rows[:, unknown] != 0.0).any(axis=1))
        own, vcov = np.where(known[:, None], rows, 0.0)[:, ~unknown], self.vcov[np.ix_(~unknown, ~unknown)]
        estimate, std_error, df = np.full((3, len(rows)), np.nan)
        estimate[known] = (own @ self.beta[~unknown])[known]
        std_error[known] = np.sqrt(np.maximum(np.sum((own @ vcov) * own, axis=1), 0.0))[known]
        df[known] = self.degrees(rows[known])
        return estimate, std_error, df


def choose_df(df: str, choices: tuple[str, ...] = DEGREES_OF_FREEDOM) -> str:
    """Return ``df`` if it is one of the ``choices``; raise if not.

    >>> choose_df("satterthwaite")
    'satterthwaite'
    """
    return choose("df", df, choices)


def tested(fit: Fitted, df: str, vcov: str, cluster: Any) -> Tested:
    """Return how combinations of the fixed effects of a fit are tested; without an optimum all is NaN.

    Raises
    ------
    OptionError
        If ``df`` is none of :data:`DEGREES_OF_FREEDOM`, or is not defined for this fit, or beside ``vcov``.
    """
    choose_df(df)
    if df not in ("satterthwaite", "normal"):
        fit.estimates.labels.check_gaussian(f"df={df!r}")
    choose("vcov", vcov, ("model", *KINDS_OF_CLUSTERS))
    check_cluster(vcov, cluster)
    if vcov != "model":
        fit.estimates.labels.check_gaussian(f"vcov={vcov!r}")
        return _robust(fit, df, vcov, cluster)
    uncertainty, beta = fit.estimates.uncertainty, fit.estimates.beta
    if not fit.estimates.proven:
        nothing = Contrasts(*(np.array(np.nan),) * 3)
        return Tested(beta, uncertainty.vcov, lambda rows: np.full(len(rows), np.nan), lambda *_: nothing)
    if df.startswith("kenward-roger"):
        adjusted = _kenward_roger(fit, df)
        return Tested(beta, adjusted.adjusted, adjusted.degrees, adjusted.test)
    if df == "between-within":
        own = _between_within(fit)

        def lowest(rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, " c"]:
            return np.where(rows != 0.0, own, np.inf).min(axis=1, initial=np.inf)

        def tests(beta: Float[NumpyArray, " p"], rows: Float[NumpyArray, "c p"]) -> Contrasts:
            found = uncertainty.contrasts(beta, rows, "normal")
            return found._replace(den_df=np.where(np.isnan(found.den_df), np.nan, lowest(rows).min()))

        return Tested(beta, uncertainty.vcov, lowest, tests)

    def degrees(rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, " c"]:
        return uncertainty.degrees_of(rows) if df == "satterthwaite" else np.full(len(rows), np.inf)

    return Tested(beta, uncertainty.vcov, degrees, partial(uncertainty.contrasts, df=df))


def check_cluster(kind: str, cluster: Any) -> None:
    """Raise if clusters are given beside a covariance that has none."""
    if cluster is not None and kind not in KINDS_OF_CLUSTERS:
        raise OptionError(f"cluster: clusters are of {', '.join(KINDS_OF_CLUSTERS)}, got {kind!r}.")


def _robust(fit: Fitted, df: str, vcov: str, cluster: Any) -> Tested:
    if df not in ("satterthwaite", "normal"):
        raise OptionError(
            f"df: beside vcov={vcov!r} expected 'satterthwaite' (of that covariance) or 'normal', got {df!r}."
        )
    beta, robust = fit.estimates.beta, sandwich(fit, vcov, cluster)
    if df == "satterthwaite" or not fit.estimates.proven:
        return Tested(beta, robust.vcov, robust.degrees, robust.test)
    wald = fit.estimates.uncertainty._replace(vcov=robust.vcov)
    return Tested(beta, robust.vcov, lambda rows: np.full(len(rows), np.inf), partial(wald.contrasts, df="normal"))


def _kenward_roger(fit: Fitted, df: str) -> KenwardRoger:
    if fit.method != "REML":
        raise OptionError(
            f"df: {df!r} is of fits by REML, got one by {fit.method}; fit.update(method='REML') fits the same model."
        )
    found = fit.kenward_roger
    if found is None:
        raise OptionError(
            f"df: {df!r} needs a model whose covariance is linear in variances and covariances, or else no singular "
            "covariance matrix, and not both a model of dispersion and one of residuals; expected 'satterthwaite'."
        )
    return found.without_second_derivatives() if df == "kenward-roger-linear" else found


def _between_within(fit: Fitted) -> Float[NumpyArray, " p"]:
    frame, labels = fit.frame, fit.estimates.labels
    groups = list(dict.fromkeys(term.group for term in labels.terms))
    codes = [np.unique(frame.levels[group].codes, return_inverse=True)[1] for group in groups]
    order = nested_order(codes)
    if order is None:
        raise OptionError(
            f"df: 'between-within' counts groups within groups, and {', '.join(groups)} are crossed; expected "
            "'satterthwaite' or 'kenward-roger'."
        )
    terms = [columns for _, columns in labels.fixed_terms]
    return between_within(frame.x, terms, [codes[g] for g in order], intercept="Intercept" in labels.fixed_names)
