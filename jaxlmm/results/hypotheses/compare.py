"""Comparisons of models by likelihood ratios, with the null distribution at the boundary of a variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.errors import DataError, OptionError
from jaxlmm.results.fitted import Fitted

COMPARE_COLUMNS = [
    "model", "n_params", "loglik", "deviance", "aic", "bic", "statistic", "df", "p_value", "null_distribution",
]  # fmt: skip

MAX_OFF_SPACE = 1e-7
"""Share of a column's length that may lie off the columns of another model, by rounding."""


class NullDistribution(NamedTuple):
    """The distribution of a likelihood ratio where the smaller model is true: a mixture of chi-squared ones.

    ``name`` says it in words; ``weights`` are those of ``degrees`` of freedom, none where models are not nested.
    """

    name: str
    degrees: tuple[int, ...]
    weights: tuple[float, ...]

    def tail(self, statistic: float) -> float:
        """Return the probability of a larger statistic; one of at most 0 has 1."""
        if not self.degrees or not np.isfinite(statistic):
            return float("nan")
        if statistic <= 0.0:
            return 1.0
        parts = (
            weight * (scipy.special.chdtrc(df, statistic) if df else 0.0)
            for df, weight in zip(self.degrees, self.weights, strict=True)
        )
        return float(sum(parts))


def compare(*fits: Fitted, refit: bool = True) -> pd.DataFrame:
    """Compare models of one response on the same rows by likelihood-ratio tests, each with the next larger.

    Parameters
    ----------
    *fits
        Two or more fits. They are ordered by their number of parameters.
    refit
        Fits by REML whose fixed effects differ have criteria that cannot be compared: they are fitted again by ML, and
        the table says so beside the formula; False raises an error instead. REML fits with the same fixed effects are
        compared as they are.

    Returns
    -------
    pandas.DataFrame
        ``model n_params loglik deviance aic bic statistic df p_value null_distribution``. Where the smaller model has
        one variance at zero, alone or with its covariances, the null distribution is a mixture of chi-squared ones
        (Self and Liang 1987; Stram and Lee 1994); with several variances at zero it is the chi-squared one of all
        parameters, whose p-values are too large ("conservative"). ``"not nested"``: no test. NaN where a fit has no
        proven optimum.

    Raises
    ------
    OptionError
        If there are fewer than two fits, or REML fits differ in their fixed effects and ``refit`` is False.
    DataError
        If responses, rows or weights differ, or a fit was loaded from a file.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> one = lmm.fit("Reaction ~ Days + (1 | Subject)", sleep)
    >>> both = lmm.fit("Reaction ~ Days + (Days | Subject)", sleep)
    >>> lmm.compare(one, both)[["n_params", "statistic", "df", "null_distribution"]].round(2)
       n_params  statistic   df                null_distribution
    0         4        NaN  NaN
    1         6      42.84  2.0  0.5 chi2(1) + 0.5 chi2(2)
    """
    if len(fits) < 2:
        raise OptionError(f"compare: expected two or more fits, got {len(fits)}.")
    _check_same_data(fits)
    fits = tuple(sorted(fits, key=lambda fit: fit.n_params))
    first = fits[0].frame.x
    same_x = all(within(fit.frame.x, first) and within(first, fit.frame.x) for fit in fits)
    again = {fit.method for fit in fits} != {"ML"} and not (same_x and len({fit.method for fit in fits}) == 1)
    if again and not refit:
        raise OptionError(
            "compare: restricted likelihoods of models with other fixed effects, or of REML and ML, cannot be "
            "compared; fit by method='ML', or leave refit=True."
        )
    names = [f"{fit.formula}{' [by ML]' if again and fit.method != 'ML' else ''}" for fit in fits]
    if again:
        fits = tuple(fit if fit.method == "ML" else fit.call.update(fit, None, None, {"method": "ML"}) for fit in fits)
    rows = []
    for number, fit in enumerate(fits):
        row = {
            "model": names[number], "n_params": fit.n_params, "loglik": fit.loglik, "deviance": fit.deviance,
            "aic": fit.aic, "bic": fit.bic, "statistic": np.nan, "df": np.nan, "p_value": np.nan,
            "null_distribution": "",
        }  # fmt: skip
        if number:
            smaller = fits[number - 1]
            null = null_distribution(Parts.of(smaller), Parts.of(fit))
            statistic = smaller.deviance - fit.deviance if null.degrees else np.nan
            proven = smaller.estimates.proven and fit.estimates.proven
            row |= {
                "statistic": statistic, "df": float(fit.n_params - smaller.n_params),
                "p_value": null.tail(statistic) if proven else np.nan, "null_distribution": null.name,
            }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows, columns=COMPARE_COLUMNS)


class Parts(NamedTuple):
    """What decides whether models are nested: free natural parameters, columns of X, number of parameters."""

    natural: tuple[Parameter, ...]
    x: Float[NumpyArray, "n p"]
    n_params: int

    @classmethod
    def of(cls, fit: Fitted) -> Parts:
        """Return the parts of a fit."""
        estimates = fit.estimates
        free = (p for p, fixed in zip(estimates.labels.natural, estimates.fixed, strict=True) if not fixed)
        return cls(tuple(free), fit.frame.x, fit.n_params)


def null_distribution(smaller: Parts, larger: Parts) -> NullDistribution:
    """Return the null distribution of the likelihood ratio of two models of the same data."""
    df = larger.n_params - smaller.n_params
    names = {parameter.name for parameter in smaller.natural}
    if not (names <= {parameter.name for parameter in larger.natural} and df > 0 and within(smaller.x, larger.x)):
        return NullDistribution("not nested", (), ())
    more = [parameter for parameter in larger.natural if parameter.name not in names]
    variances = [parameter for parameter in more if parameter.is_sd]
    others = [parameter for parameter in more if not parameter.is_sd]
    if not variances:
        return NullDistribution(f"chi2({df})", (df,), (1.0,))
    if len(variances) == 1 and all(parameter.is_correlation_of_columns for parameter in others):
        return NullDistribution(f"0.5 chi2({df - 1}) + 0.5 chi2({df})", (df - 1, df), (0.5, 0.5))
    return NullDistribution(f"chi2({df}), conservative", (df,), (1.0,))


def _check_same_data(fits: Sequence[Fitted]) -> None:
    first = fits[0].frame
    for fit in fits[1:]:
        frame = fit.frame
        if len(frame.index) != len(first.index) or not frame.index.equals(first.index):
            raise DataError(
                f"compare: expected fits of the same rows, got {len(first.index)} and {len(frame.index)} of them; "
                "leave rows with missing values out of the data before both fits."
            )
        if not (_same(frame.y, first.y) and _same(frame.weights, first.weights)):
            raise DataError("compare: expected fits of the same response and weights, got others.")


def _same(one: Float[NumpyArray, " n"] | None, other: Float[NumpyArray, " n"] | None) -> bool:
    return one is not None and other is not None and bool(np.array_equal(one, other))


def within(x: Float[NumpyArray, "n p"], space: Float[NumpyArray, "n _"]) -> bool:
    """Whether the columns ``x`` are combinations of those of another model."""
    if x.shape[1] == 0:
        return True
    off = x - space @ np.linalg.lstsq(space, x, rcond=None)[0] if space.shape[1] else x
    return bool(np.all(np.linalg.norm(off, axis=0) <= MAX_OFF_SPACE * np.linalg.norm(x, axis=0)))
