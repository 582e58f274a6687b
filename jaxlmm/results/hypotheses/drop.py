"""Models with one term less, each compared with the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm.errors import DataError, OptionError
from jaxlmm.formula.columns import Encoding
from jaxlmm.formula.groups import TermLabels
from jaxlmm.formula.syntax import with_bars
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.hypotheses.likelihood_ratio import Parts, null_distribution, tested_against

DROP_COLUMNS = ["term", "n_params", "loglik", "deviance", "aic", "statistic", "df", "p_value", "null_distribution"]


def drop1(fit: Fitted) -> pd.DataFrame:
    """Leave out each term of the fixed effects that no other contains, and compare by likelihood-ratio tests (ML).

    Returns
    -------
    pandas.DataFrame
        ``term n_params loglik deviance aic statistic df p_value null_distribution``: first the model itself, fitted by
        ML, then the model without each term.

    Raises
    ------
    DataError
        If the fit was loaded, and has no rows.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.datasets.cake())
    >>> fit.drop1()[["term", "statistic", "df", "p_value"]].round(4)
         term  statistic   df  p_value
    0  <none>        NaN  NaN      NaN
    1  recipe     0.5300  2.0   0.7672
    2    temp    79.5306  1.0   0.0000
    """
    whole = fit if fit.method == "ML" else fit.call.update(fit, None, None, {"method": "ML"})
    names = [frozenset(factors) for factors, _ in fit.estimates.labels.encoding.terms if factors]
    dropped = []
    for own in names:
        if not any(own < other for other in names):
            term = ":".join(next(factors for factors, _ in fit.estimates.labels.encoding.terms if set(factors) == own))
            dropped.append((term, whole.call.update(whole, f". ~ . - {term}", None, {})))
    return _table(whole, dropped)


def ranova(fit: Fitted) -> pd.DataFrame:
    """Leave out each random term, and of a term of several columns each of these, and compare by likelihood ratios.

    Of fits by REML the restricted likelihoods are compared. A variance that is zero in the smaller model has the null
    distribution at its boundary, as :func:`jaxlmm.compare` says.

    Returns
    -------
    pandas.DataFrame
        ``term n_params loglik deviance aic statistic df p_value null_distribution``; ``term`` is what is left out.

    Raises
    ------
    OptionError
        If a group has several known matrices.
    DataError
        If the fit was loaded, and has no rows.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.ranova()[["term", "statistic", "df"]].round(2)
                            term  statistic   df
    0                     <none>        NaN  NaN
    1  Days in (Days | Subject)      42.84  2.0
    """
    labels = fit.estimates.labels
    texts = [term.text for term in labels.terms]
    if len(set(texts)) < len(texts):
        raise OptionError(
            "ranova: a group has several known matrices; compare with lmm.compare(fit.update(kinship=...), fit), each "
            "without one of them."
        )
    dropped = []
    for number, term in enumerate(labels.terms):
        for name, kept in _reductions(term.text, term.encoding, term.group):
            bars = [*texts[:number], *([kept] if kept else []), *texts[number + 1 :]]
            left = [own for other, own in enumerate(labels.terms) if other != number]
            formula = with_bars(fit.formula, bars)
            options = _options_of(fit, {own.group for own in left} | ({term.group} if kept else set()), left)
            dropped.append((name, fit.call.update(fit, formula, None, options)))
    return _table(fit, dropped)


def _reductions(text: str, encoding: Encoding | None, group: str) -> list[tuple[str, str]]:
    """Return what is left out of a bar, and the bar without it; of one column the whole bar, which leaves "".

    ``text`` is the bar with its tag.
    """
    tag, written = text[: text.index("(")], text.removeprefix("us")
    terms = [] if encoding is None else [factors for factors, _ in encoding.terms]
    if len(terms) < 2 or tag not in ("us", "diag"):
        return [(written, "")]
    found = []
    for own in terms:
        if not own or any(set(own) < set(other) for other in terms):
            continue  # the intercept stays while there are slopes, and a column while an interaction has it
        rest = [":".join(factors) for factors in terms if factors and factors != own]
        left = " + ".join(["1" if () in terms else "0", *rest])
        found.append((f"{':'.join(own)} in {written}", f"{tag}({left} | {group})"))
    return found


def _options_of(fit: Fitted, groups: set[str], terms: Sequence[TermLabels]) -> dict[str, Any]:
    """Return options without those of what is left out: of other ``groups``, or parameters of other ``terms``."""
    changed: dict[str, Any] = {"start": None}
    options = getattr(fit.call, "options", None)
    for name in ("kinship", "covariance"):
        given = getattr(options, name, None)
        if isinstance(given, Mapping):
            kept = {key: value for key, value in given.items() if str(key).split("|")[-1].strip() in groups}
            if len(kept) < len(given):
                changed[name] = kept or None
    given = getattr(options, "fixed", None)
    if isinstance(given, Mapping):
        of_terms = {parameter.name for term in fit.estimates.labels.terms for parameter in term.natural}
        left = {parameter.name for term in terms for parameter in term.natural}
        changed["fixed"] = {
            name: value for name, value in given.items() if name in left or name not in of_terms
        } or None
    return changed


def _table(whole: Fitted, dropped: list[tuple[str, Fitted]]) -> pd.DataFrame:
    rows = []
    for term, fit in [("<none>", whole), *dropped]:
        row = {
            "term": term, "n_params": fit.n_params, "loglik": fit.loglik, "deviance": fit.deviance, "aic": fit.aic,
            "statistic": np.nan, "df": np.nan, "p_value": np.nan, "null_distribution": "",
        }  # fmt: skip
        if fit is not whole:
            if not np.array_equal(fit.frame.used, whole.frame.used):
                raise DataError(
                    f"without {term} other rows are complete; leave rows with missing values out of the data, and fit "
                    "again."
                )
            row |= tested_against(null_distribution(Parts.of(fit), Parts.of(whole)), fit, whole)
        rows.append(row)
    return pd.DataFrame(rows, columns=DROP_COLUMNS)
