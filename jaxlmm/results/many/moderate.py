"""Moderated tests: residual variances of all responses borrow strength from each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm.errors import DataError, OptionError
from jaxlmm.inference import Prior, Uncertainty, fit_prior, fit_robust_prior, moderated, residual_degrees
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many.tables import coefficients_table, hypothesis_table, terms_table
from jaxlmm.results.many.tested import ManyTested

FEWEST_RESPONSES = 3
"""Responses with a proven optimum that a prior is estimated from, at least."""


def moderate(many: FittedMany, *, robust: bool = False) -> Moderated:
    """Moderate the residual variances across responses by empirical Bayes: limma's tests, for mixed models.

    The residual variances s² of the responses are taken to be scaled chi-squared with d degrees of freedom, by
    Satterthwaite, and their expectations inverse chi-squared with prior degrees of freedom d₀ and scale s₀² (Smyth
    2004). Each becomes ``s̃² = (d₀ s₀² + d s²)/(d₀ + d)``, with d₀ + d degrees of freedom, but not more than those of
    all responses together. Standard errors and degrees of freedom of the coefficients follow by the fit's own
    derivatives: those of a contrast within groups nearly as s̃/s, while one between groups, whose error is mostly that
    of the random effects, hardly changes. Where there are no random effects they are limma's.

    Parameters
    ----------
    robust
        Whether outlying variances have less weight in the prior, and fewer prior degrees of freedom themselves (Phipson
        et al. 2016), as in limma's ``eBayes(robust=TRUE)``.

    Returns
    -------
    Moderated
        ``.tidy()``, ``.anova()``, ``.test(h)`` as of ``many``, and ``.prior``: d₀ (``df``) and s₀² (``variance``).

    Raises
    ------
    DataError
        If fewer than three responses have a proven optimum, or the residual standard deviation is fixed.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> y = sleep[["Reaction"]].to_numpy() + np.random.default_rng(0).normal(size=(180, 20), scale=30.0)
    >>> many = lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=y)
    >>> many.moderate().tidy().loc[1, ["term", "df"]].tolist()[0]
    'Days'
    """
    many.estimates.labels.check_gaussian("moderate")
    if not isinstance(robust, bool | np.bool_):
        raise OptionError(f"robust: expected True or False, got {robust!r}.")
    proven = int(many.estimates.proven.sum())
    if proven < FEWEST_RESPONSES:
        raise DataError(f"moderate: expected {FEWEST_RESPONSES} responses or more with a proven optimum, got {proven}.")
    estimates = many.estimates
    own = np.where(estimates.proven, estimates.residual_sd**2, np.nan)
    prior = (fit_robust_prior if robust else fit_prior)(own, residual_degrees(estimates.uncertainty))
    if estimates.theta.shape[1] == estimates.uncertainty.psi_cov.shape[1] or np.isnan(prior.df):
        raise DataError("moderate: expected residual variances that are estimated, got a residual sd that is fixed.")
    return Moderated(many, prior, moderated(estimates.uncertainty, own, prior))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Moderated:
    """Tests of ``many`` fits with moderated residual variances, and their ``prior``."""

    many: FittedMany
    prior: Prior
    uncertainty: Uncertainty

    def __repr__(self) -> str:
        df, variance = self.prior.df, self.prior.variance
        return (
            f"<{len(self.many)} responses, prior residual variance {variance:.4g} with {df:.4g} degrees of freedom: "
            "tidy(), anova(), test()>"
        )

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return the fixed effects with moderated t tests: the columns of ``many.tidy()``."""
        return coefficients_table(self.many, self._tested(), level)

    def anova(self) -> pd.DataFrame:
        """Return moderated F tests of all terms, given the others: the columns of ``many.anova()``."""
        return terms_table(self.many, self._tested())

    def test(self, h: Any) -> pd.DataFrame:
        """Return a moderated F test of a hypothesis, as ``many.test(h)`` reads it."""
        return hypothesis_table(self.many, self._tested(), h)

    def _tested(self) -> ManyTested:
        estimates, proven = self.many.estimates, self.many.estimates.proven
        psi_cov = np.where(proven[:, None, None], self.uncertainty.psi_cov, np.nan)
        return ManyTested.by_satterthwaite(estimates.beta, self.uncertainty._replace(psi_cov=psi_cov))
