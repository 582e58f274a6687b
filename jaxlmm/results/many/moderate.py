"""Moderated tests: residual variances of all responses borrow strength from each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.inference import Prior, fit_prior
from jaxlmm.results.hypotheses import f_tail
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many.tables import false_discovery_rate, long_table, spread
from jaxlmm.results.tables import COEF_COLUMNS, hypothesis, in_words, t_columns

FEWEST_RESPONSES = 3
"""Responses with a proven optimum that a prior is estimated from, at least."""


def moderate(many: FittedMany) -> Moderated:
    """Moderate the residual variances across responses by empirical Bayes, as limma and dream do.

    The residual variances s² of the responses are taken to be scaled chi-squared with the degrees of freedom d of the
    contrast that is tested, by Satterthwaite, and their expectations inverse chi-squared with prior degrees of freedom
    d₀ and scale s₀² (Smyth 2004). Standard errors are those with ``s̃² = (d₀ s₀² + d s²)/(d₀ + d)`` in place of s², and
    degrees of freedom d₀ + d, but not more than those of all responses together.

    Returns
    -------
    Moderated
        ``.tidy()``, ``.anova()``, ``.test(h)`` as of ``many``, and ``.prior``: d₀ and s₀² of each coefficient.

    Raises
    ------
    DataError
        If fewer than three responses have a proven optimum.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> y = sleep[["Reaction"]].to_numpy() + np.random.default_rng(0).normal(size=(180, 20), scale=30.0)
    >>> many = lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=y)
    >>> many.moderate().tidy().loc[1, ["term", "df"]].tolist()[0]
    'Days'
    """
    proven = int(many.estimates.proven.sum())
    if proven < FEWEST_RESPONSES:
        raise DataError(f"moderate: expected {FEWEST_RESPONSES} responses or more with a proven optimum, got {proven}.")
    return Moderated(many)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Moderated:
    """Tests of ``many`` fits with moderated residual variances."""

    many: FittedMany

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return the fixed effects with moderated t tests: the columns of ``many.tidy()``."""
        estimates, labels = self.many.estimates, self.many.estimates.labels
        degrees = self._degrees()
        std_error, df = estimates.uncertainty.std_error.copy(), degrees.copy()
        for column in range(degrees.shape[1]):
            ratio, df[:, column], _ = self._moderated(degrees[:, column])
            std_error[:, column] *= np.sqrt(ratio)
        columns = t_columns(estimates.beta, std_error, df, level)
        table = {name: spread(values, labels.kept) for name, values in zip(COEF_COLUMNS, columns, strict=True)}
        table["q_value"] = false_discovery_rate(table["p_value"])
        return long_table(self.many, "term", labels.column_names, table, with_n=True)

    def anova(self) -> pd.DataFrame:
        """Return moderated F tests of all terms, given the others: the columns of ``many.anova()``."""
        labels = self.many.estimates.labels
        terms, eye = labels.fixed_terms, np.eye(len(labels.fixed_names))
        return self._tests([name for name, _ in terms], [eye[columns] for _, columns in terms])

    def test(self, h: Any) -> pd.DataFrame:
        """Return a moderated F test of a hypothesis, as ``many.test(h)`` reads it."""
        return self._tests([", ".join(in_words(h)) or "h"], [hypothesis(h, self.many.estimates.labels.fixed_names)])

    @property
    def prior(self) -> pd.DataFrame:
        """The prior of each coefficient, index ``term``: ``df variance``."""
        priors = [self._moderated(degrees)[2] for degrees in self._degrees().T]
        index = pd.Index(list(self.many.estimates.labels.fixed_names), name="term")
        return pd.DataFrame(priors, index=index, columns=["df", "variance"])

    def _degrees(self) -> Float[NumpyArray, "m p"]:
        estimates = self.many.estimates
        return np.where(estimates.proven[:, None], estimates.uncertainty.satterthwaite(), np.nan)

    def _moderated(self, df: Float[NumpyArray, " m"]) -> tuple[Float[NumpyArray, " m"], Float[NumpyArray, " m"], Prior]:
        """Return the ratio of moderated to plain variances, degrees of freedom, and the prior."""
        variance = np.where(self.many.estimates.proven, self.many.estimates.residual_sd**2, np.nan)
        prior = fit_prior(variance, df)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = prior.posterior(variance, df) / variance
        return ratio, np.minimum(df + prior.df, np.nansum(df)), prior

    def _tests(self, names: Sequence[str], hypotheses: list[Float[NumpyArray, "_ p"]]) -> pd.DataFrame:
        estimates = self.many.estimates
        num_df, den_df, statistic = (np.empty((len(self.many), len(hypotheses))) for _ in range(3))
        for j, rows in enumerate(hypotheses):
            found = estimates.uncertainty.contrasts(estimates.beta, rows, "satterthwaite")
            own = np.where(estimates.proven, found.den_df, np.nan)
            ratio, den_df[:, j], _ = self._moderated(own)
            num_df[:, j], statistic[:, j] = found.num_df, found.statistic / ratio
        p_value = f_tail(statistic, num_df, den_df)
        table = {"num_df": num_df, "den_df": den_df, "statistic": statistic, "p_value": p_value}
        return long_table(self.many, "term", names, {**table, "q_value": false_discovery_rate(p_value)})
