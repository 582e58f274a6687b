"""Comparisons of models by likelihood ratios, with the null distribution at the boundary of a variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, OptionError
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.hypotheses import nesting
from jaxlmm.results.hypotheses.likelihood_ratio import Parts, null_distribution, tested_against
from jaxlmm.results.rows import check_draws, simulate

COMPARE_COLUMNS = [
    "model", "n_params", "loglik", "deviance", "aic", "bic", "statistic", "df", "p_value", "null_distribution",
]  # fmt: skip

EQUAL_DEVIANCES = 1e-7
"""Deviances that differ by less are equal but for rounding, as those of two models whose variance is zero."""


def compare(*fits: Fitted, refit: bool = True, nsim: int = 0, seed: int = 0) -> pd.DataFrame:
    """Compare models of one response on the same rows by likelihood-ratio tests, each with the next larger.

    Parameters
    ----------
    *fits
        Two or more fits. They are ordered by their number of parameters.
    refit
        Fits by REML whose fixed effects differ have criteria that cannot be compared: they are fitted again by ML, and
        the table says so beside the formula; False raises an error instead. REML fits with the same fixed effects are
        compared as they are.
    nsim, seed
        With ``nsim`` p-values are by a parametric bootstrap: the share of so many draws from the smaller model, of a
        generator with this seed, to which both models are fitted, whose statistic is as large (Davison and Hinkley
        1997, section 4.2.5). The null distribution is then that of the draws.

    Returns
    -------
    pandas.DataFrame
        ``model n_params loglik deviance aic bic statistic df p_value null_distribution``. Where the smaller model has
        one variance at zero, alone or with its covariances, the null distribution is a mixture of chi-squared ones
        (Self and Liang 1987; Stram and Lee 1994); with several variances at zero it is the chi-squared one of all
        parameters, whose p-values are too large ("conservative"); ``"bootstrap(n)"`` is that of n draws with a proven
        optimum of both models. ``"not nested"``: no test. ``"not known"``: a statistic without a p-value, as of a zero
        part with columns, whose coefficients mean nothing in the model without one; ``nsim`` has one. NaN where a fit
        has no proven optimum.

    Raises
    ------
    OptionError
        If there are fewer than two fits, REML fits differ in their fixed effects and ``refit`` is False, or ``nsim``
        is negative.
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
    others = [type(fit).__name__ for fit in fits if not isinstance(fit, Fitted)]
    if len(fits) < 2 or others:
        given = f"a {others[0]}" if others else str(len(fits))
        raise OptionError(f"compare: expected two or more fits, as compare(fit0, fit1), got {given}.")
    if nsim:
        check_draws("nsim", nsim)
    _check_same_data(fits)
    fits = tuple(sorted(fits, key=lambda fit: fit.n_params))
    # The restricted likelihood depends on the columns, not on their span alone.
    same_x = all(np.array_equal(fit.frame.x, fits[0].frame.x) for fit in fits)
    again = {fit.method for fit in fits} != {"ML"} and not (same_x and len({fit.method for fit in fits}) == 1)
    if again and not refit:
        raise OptionError(
            "compare: restricted likelihoods of models with other fixed effects, or of REML and ML, cannot be "
            "compared; fit by method='ML', or leave refit=True."
        )
    others = [nesting.beyond_the_formula(fit.estimates.labels) for fit in fits]
    names = [
        f"{fit.formula}{f', {text}' if text and len(set(others)) > 1 else ''}"
        f"{' [by ML]' if again and fit.method != 'ML' else ''}"
        for fit, text in zip(fits, others, strict=True)
    ]
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
            test = tested_against(null, smaller, fit)
            if nsim and np.isfinite(float(test["statistic"])):
                test |= _bootstrapped(smaller, fit, float(test["statistic"]), nsim, seed)
            row |= test
        rows.append(row)
    return pd.DataFrame(rows, columns=COMPARE_COLUMNS)


def _bootstrapped(smaller: Fitted, larger: Fitted, statistic: float, nsim: int, seed: int) -> dict[str, float | str]:
    """Return the p-value by draws from the smaller model."""
    y = simulate(smaller, nsim, seed=seed).to_numpy()
    one, other = (fit.call.refit_many(fit, y) for fit in (smaller, larger))
    usable = one.proven & other.proven
    as_large = (one.deviance - other.deviance)[usable] >= statistic - EQUAL_DEVIANCES
    p_value = (1.0 + as_large.sum()) / (1.0 + usable.sum()) if usable.any() else np.nan
    return {"p_value": float(p_value), "null_distribution": f"bootstrap({usable.sum()})"}


def _check_same_data(fits: Sequence[Fitted]) -> None:
    first = fits[0].frame
    for fit in fits[1:]:
        frame = fit.frame
        if len(frame.index) != len(first.index):
            raise DataError(
                f"compare: expected fits of the same rows, got {len(first.index)} and {len(frame.index)} of them; "
                "leave rows with missing values out of the data before both fits."
            )
        if not frame.index.equals(first.index):
            raise DataError("compare: expected fits of the same rows in the same order, got another index.")
        parts = ["y", "prior_weights", "offset", *(["trials"] if first.trials is not None else [])]
        if not all(_same(getattr(frame, part), getattr(first, part)) for part in parts):
            raise DataError("compare: expected fits of the same response, weights and offset, and trials, got others.")


def _same(one: Float[NumpyArray, " n"] | None, other: Float[NumpyArray, " n"] | None) -> bool:
    return one is not None and other is not None and bool(np.array_equal(one, other))
