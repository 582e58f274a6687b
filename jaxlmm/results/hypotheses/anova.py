"""F tests of terms and of hypotheses about the fixed effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError
from jaxlmm.formula.columns import Terms
from jaxlmm.model import independent_basis
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.hypotheses.rows import fixed_part
from jaxlmm.results.tables import hypothesis, in_words, tested

TEST_COLUMNS = ["term", "num_df", "den_df", "statistic", "p_value"]

TYPES: dict[object, int] = {1: 1, 2: 2, 3: 3, "1": 1, "2": 2, "3": 3, "I": 1, "II": 2, "III": 3}


def anova(fit: Fitted, type: int | str = 3, *, df: str = "satterthwaite") -> pd.DataFrame:
    """Return an F test of each term of the fixed effects.

    Parameters
    ----------
    type
        What a term is tested for. ``3``: given all others, averaged over the levels of the factors with which it
        interacts, however they are coded (SAS's type III; where cells are empty, of the columns that remain
        independent); ``2``: given all terms that do not contain it; ``1``: given those before it in the formula. All
        are those of lmerTest.
    df
        As in :meth:`jaxlmm.Fit.coef`.

    Returns
    -------
    pandas.DataFrame
        ``term num_df den_df statistic p_value``; NaN where the fit has no proven optimum.

    Raises
    ------
    OptionError
        If ``type`` or ``df`` is something else.
    DataError
        If the fit was loaded, and has no rows.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("angle ~ recipe * temperature + (1 | recipe:replicate)", lmm.datasets.cake())
    >>> fit.anova().round(4)
                     term  num_df  den_df  statistic  p_value
    0              recipe     2.0    42.0     0.2495   0.7803
    1         temperature     5.0   210.0    20.5200   0.0000
    2  recipe:temperature    10.0   210.0     1.0176   0.4295
    """
    if type not in TYPES:
        raise OptionError(f"type: expected 1, 2 or 3, got {type!r}.")
    kind = TYPES[type]
    hypotheses = _marginal(fit) if kind == 3 else _sequential(fit, kind)
    return test_table(fit, [name for name, _ in hypotheses], [rows for _, rows in hypotheses], df)


def test(fit: Fitted, h: Any, *, df: str = "satterthwaite") -> pd.DataFrame:  # noqa: PT028
    """Return an F test of a hypothesis about the fixed effects.

    Parameters
    ----------
    h
        Text in names of coefficients, ``"a - b = 0"`` or ``"a = 0, b = 0"`` (together), a list of such texts
        (together), or a matrix (c, p) whose product with the coefficients is zero. Of several names that stand at one
        place the longest is read; backquotes say where one begins and ends.
    df
        As in :meth:`jaxlmm.Fit.coef`.

    Returns
    -------
    pandas.DataFrame
        One row, ``term num_df den_df statistic p_value``; ``term`` is the hypothesis.

    Raises
    ------
    OptionError
        If the hypothesis cannot be read, names what is no coefficient, or has another number of columns.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("effort ~ Type + (1 | Subject)", lmm.datasets.ergostool())
    >>> fit.test("Type[T.T2] - Type[T.T3] = 0", df="kenward-roger").round(4)
                              term  num_df  den_df  statistic  p_value
    0  Type[T.T2] - Type[T.T3] = 0     1.0    24.0    11.1414   0.0027
    """
    rows = hypothesis(h, fit.estimates.labels.fixed_names)
    return test_table(fit, [", ".join(in_words(h)) or "h"], [rows], df)


def test_table(
    fit: Fitted, names: Sequence[str], hypotheses: Sequence[Float[NumpyArray, "_ p"]], df: str
) -> pd.DataFrame:
    """Return F tests that the products of each matrix with the coefficients are zero."""
    own = tested(fit, df)
    found = [own.test(rows) for rows in hypotheses]
    parts = np.array([[float(part) for part in test] for test in found]).reshape(-1, 3)
    num_df, den_df, statistic = parts.T
    table = {"term": list(names), "num_df": num_df, "den_df": den_df, "statistic": statistic}
    return pd.DataFrame({**table, "p_value": f_tail(statistic, num_df, den_df)}, columns=TEST_COLUMNS)


def f_tail(
    statistic: Float[NumpyArray, "*b"], num_df: Float[NumpyArray, "*b"], den_df: Float[NumpyArray, "*b"]
) -> Float[NumpyArray, "*b"]:
    """Return the probability of a larger F statistic; an infinite ``den_df`` is a chi-squared test."""
    with np.errstate(invalid="ignore"):
        return np.where(
            np.isinf(den_df),
            scipy.special.chdtrc(num_df, num_df * statistic),
            scipy.special.fdtrc(num_df, np.where(np.isinf(den_df), 1.0, den_df), statistic),
        )


def _marginal(fit: Fitted) -> list[tuple[str, Float[NumpyArray, "_ p"]]]:
    """Return type III hypotheses: the coefficients of a term where all factors are coded by contrasts of sum zero."""
    x = fit.frame.x
    centered, terms = fit.estimates.labels.encoding.centered_columns(fixed_part(fit).variables())
    kept = independent_basis(centered).kept
    if kept.sum() != x.shape[1]:  # as where the formula leaves the intercept out
        return _as_coded(fit)
    coefficients = np.linalg.lstsq(centered[:, kept], x, rcond=None)[0]
    coefficients[np.abs(coefficients) < 1e-12 * np.abs(coefficients).max(initial=0.0)] = 0.0
    return [(name, coefficients[index]) for name, index in _by_term(terms, kept) if index.size]


def _as_coded(fit: Fitted) -> list[tuple[str, Float[NumpyArray, "_ p"]]]:
    labels = fit.estimates.labels
    eye = np.eye(len(labels.fixed_names))
    return [(name, eye[columns]) for name, columns in labels.fixed_terms]


def _sequential(fit: Fitted, kind: int) -> list[tuple[str, Float[NumpyArray, "_ p"]]]:
    """Return hypotheses of type I, or II: of a term's columns less their projection on those of terms before it.

    Of type II, before it are all terms that do not contain it.
    """
    labels, x = fit.estimates.labels, fit.frame.x
    terms = _by_term(labels.encoding.terms, labels.kept)
    by_name = {":".join(factors) or "Intercept": frozenset(factors) for factors, _ in labels.encoding.terms}
    numeric = {name: own - labels.encoding.levels_of.keys() for name, own in by_name.items()}
    intercept = np.setdiff1d(np.arange(x.shape[1]), np.concatenate([np.zeros(0, int), *(index for _, index in terms)]))
    hypotheses = []
    for number, (name, index) in enumerate(terms):
        if not index.size:
            continue
        others = terms[number + 1 :]
        if kind == 2:
            others = [
                (other, columns)
                for other, columns in terms
                if by_name[name] < by_name[other] and numeric[name] == numeric[other]
            ]
        after = np.concatenate([np.zeros(0, int), *(columns for _, columns in others)])
        before = np.setdiff1d(np.arange(x.shape[1]), np.concatenate([index, after]))
        order = np.concatenate([np.union1d(before, intercept), index, after]).astype(int)
        triangle = np.linalg.qr(x[:, order], mode="r")
        rows = np.zeros((index.size, x.shape[1]))
        first = len(order) - len(after) - len(index)
        rows[:, order] = triangle[first : first + index.size] / np.diag(triangle)[first : first + index.size, None]
        hypotheses.append((name, rows))
    return hypotheses


def _by_term(terms: Terms, kept: NumpyArray) -> list[tuple[str, NumpyArray]]:
    """Return the names of terms but the intercept with the indices of their columns among those that are kept."""
    indices, found, first = np.cumsum(kept) - 1, [], 0
    for factors, count in terms:
        own = slice(first, first + count)
        if factors:
            found.append((":".join(factors), indices[own][kept[own]]))
        first += count
    return found
