"""F tests of terms and of hypotheses about the fixed effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError
from jaxlmm.formula import ModelLabels
from jaxlmm.formula.columns import Terms
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.hypotheses.rows import fixed_part
from jaxlmm.results.tables import Tested, hypothesis, in_words, tested

TEST_COLUMNS = ["term", "num_df", "den_df", "statistic", "p_value"]

RANK_SHARE = 1e-9
"""Singular values below this share of the largest are zero."""

TYPES: dict[object, int] = {1: 1, 2: 2, 3: 3, "1": 1, "2": 2, "3": 3, "I": 1, "II": 2, "III": 3}


def anova(
    fit: Fitted, type: int | str = 3, *, df: str = "satterthwaite", vcov: str = "model", cluster: Any = None
) -> pd.DataFrame:
    """Return an F test of each term of the fixed effects.

    Parameters
    ----------
    type
        What a term is tested for. ``3``: given all others, averaged over the levels of the factors with which it
        interacts, however they are coded (SAS's type III, also where cells are empty); ``2``: given all terms that do
        not contain it; ``1``: given those before it in the formula. All are those of lmerTest.
    df, vcov, cluster
        As in :meth:`jaxlmm.Fit.coef`; the F of a robust covariance is Hotelling's T² of Pustejovsky and Tipton (2018).

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
    0              recipe     2.0    42.0     0.2488   0.7809
    1         temperature     5.0   210.0    20.5199   0.0000
    2  recipe:temperature    10.0   210.0     1.0062   0.4393
    """
    if type not in TYPES:
        raise OptionError(f"type: expected 1, 2 or 3, got {type!r}.")
    kind = TYPES[type]
    hypotheses = _marginal(fit) if kind == 3 else _sequential(fit, kind)
    return test_table(
        [name for name, _ in hypotheses], [rows for _, rows in hypotheses], tested(fit, df, vcov, cluster)
    )


def test(
    fit: Fitted,
    h: Any,
    *,
    df: str = "satterthwaite",  # noqa: PT028
    vcov: str = "model",  # noqa: PT028
    cluster: Any = None,  # noqa: PT028
) -> pd.DataFrame:
    """Return an F test of a hypothesis about the fixed effects.

    Parameters
    ----------
    h
        Text in names of coefficients, ``"a - b = 0"``, ``"a = 1"`` or ``"a = 0, b = 0"`` (together), a list of such
        texts (together), or a matrix (c, p) whose product with the coefficients is zero. Of several names that stand
        at one place the longest is read; backquotes say where one begins and ends.
    df, vcov, cluster
        As in :meth:`jaxlmm.Fit.coef`; the F of a robust covariance is Hotelling's T² of Pustejovsky and Tipton (2018).

    Returns
    -------
    pandas.DataFrame
        One row, ``term num_df den_df statistic p_value``; ``term`` is the hypothesis.

    Raises
    ------
    OptionError
        If the hypothesis cannot be read, names what is no coefficient, contradicts itself, or has another number of
        columns.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("effort ~ Type + (1 | Subject)", lmm.datasets.ergostool())
    >>> fit.test("Type[T.T2] - Type[T.T3] = 0", df="kenward-roger").round(4)
                              term  num_df  den_df  statistic  p_value
    0  Type[T.T2] - Type[T.T3] = 0     1.0    24.0     10.325   0.0037
    """
    rows, at = hypothesis(h, fit.estimates.labels.fixed_names)
    return test_table([", ".join(in_words(h)) or "h"], [rows], tested(fit, df, vcov, cluster), at)


def test_table(
    names: Sequence[str],
    hypotheses: Sequence[Float[NumpyArray, "_ p"]],
    own: Tested,
    at: Float[NumpyArray, " p"] | float = 0.0,  # noqa: PT028
) -> pd.DataFrame:
    """Return F tests that the products of each matrix with the coefficients are those with ``at``."""
    found = [own.test(rows, at) for rows in hypotheses]
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
    x, labels, variables = fit.frame.x, fit.estimates.labels, fixed_part(fit).variables()
    centered, terms = labels.encoding.recoded(variables, "centered")
    if not labels.kept.all() or np.linalg.matrix_rank(centered) != x.shape[1] or centered.shape[1] != x.shape[1]:
        return _estimable_marginal(fit)
    coefficients = np.linalg.lstsq(centered, x, rcond=None)[0]
    coefficients[np.abs(coefficients) < 1e-12 * np.abs(coefficients).max(initial=0.0)] = 0.0
    found = [(name, index) for name, index in _by_term(terms, np.ones(centered.shape[1], bool)) if index.size]
    return _in_own_columns(fit, [(name, coefficients[index]) for name, index in found])


def _estimable_marginal(fit: Fitted) -> list[tuple[str, Float[NumpyArray, "_ p"]]]:
    """Return type III hypotheses where cells are empty, or columns dependent: SAS's, of estimable functions.

    With an indicator for each level of each factor, the functions of a term are those that are zero in all terms
    that do not contain it, orthogonal to those that are zero in the term itself (SAS Institute, "The Four Types of
    Estimable Functions").
    """
    labels = fit.estimates.labels
    whole, terms = labels.encoding.recoded(fixed_part(fit).variables(), "full")
    scale = np.linalg.norm(whole, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    _, size, basis = np.linalg.svd(np.linalg.qr(whole / scale, mode="r"))
    estimable = basis[: np.sum(size > RANK_SHARE * size.max(initial=0.0))] * scale
    # A function of all columns is one of X: its rows are combinations of those of the data.
    to_x = np.linalg.lstsq(whole, fit.frame.x, rcond=None)[0]
    sets = _sets_of_factors(labels)
    ends = np.cumsum([0, *(count for _, count in terms)])
    names = [":".join(factors) or "Intercept" for factors, _ in terms]
    columns = {name: slice(first, end) for name, first, end in zip(names, ends[:-1], ends[1:], strict=True)}
    hypotheses = []
    for name, own in columns.items():
        if name == "Intercept":
            continue
        apart = [estimable[:, columns[other]] for other in names if other != name and not sets.contains(other, name)]
        zero = np.concatenate([np.zeros((len(estimable), 0)), *apart], axis=1)
        functions = _null_space(zero.T) @ estimable
        without = _null_space(functions[:, own].T) @ functions
        if len(without):
            q, _ = np.linalg.qr(without.T)
            functions = functions - (functions @ q) @ q.T
        _, size, rows = np.linalg.svd(functions, full_matrices=False)
        rows = rows[size > RANK_SHARE * size.max(initial=0.0)] @ to_x if size.size else np.zeros((0, to_x.shape[1]))
        if len(rows):
            hypotheses.append((name, rows))
    return hypotheses


def _null_space(matrix: Float[NumpyArray, "i r"]) -> Float[NumpyArray, "_ r"]:
    """Return an orthonormal basis, in rows, of the vectors that a matrix takes to zero."""
    if not matrix.size:
        return np.eye(matrix.shape[1])
    _, size, vectors = np.linalg.svd(matrix)
    return vectors[np.sum(size > RANK_SHARE * size.max(initial=0.0)) :]


def _in_own_columns(
    fit: Fitted, hypotheses: list[tuple[str, Float[NumpyArray, "_ p"]]]
) -> list[tuple[str, Float[NumpyArray, "_ p"]]]:
    """Return the same hypotheses with an identity in each term's own columns, where they can be written so.

    Degrees of freedom of several directions depend, slightly, on how a hypothesis is written. lmerTest writes it so;
    here it is in the columns of factors without contrasts of their own, for results that no coding changes.
    """
    labels, x = fit.estimates.labels, fit.frame.x
    default, terms = labels.encoding.recoded(fixed_part(fit).variables(), "default")
    if default.shape[1] != x.shape[1] or np.linalg.matrix_rank(default) != x.shape[1]:
        return hypotheses
    own, to_default = dict(_by_term(terms, np.ones(x.shape[1], bool))), np.linalg.lstsq(x, default, rcond=None)[0]
    written = []
    for name, rows in hypotheses:
        block = rows @ to_default[:, own[name]]
        square = block.shape[0] == block.shape[1] and np.linalg.cond(block) < 1e10
        written.append((name, np.linalg.solve(block, rows) if square else rows))
    return written


class _Sets(NamedTuple):
    """The factors of each term, and those among them that are numbers."""

    factors: dict[str, frozenset[str]]
    numbers: dict[str, frozenset[str]]

    def contains(self, larger: str, smaller: str) -> bool:
        """Whether a term has the same numbers as another, and all its factors and more."""
        return self.factors[smaller] < self.factors[larger] and self.numbers[smaller] == self.numbers[larger]


def _sets_of_factors(labels: ModelLabels) -> _Sets:
    factors = {":".join(own) or "Intercept": frozenset(own) for own, _ in labels.encoding.terms}
    return _Sets(factors, {name: own - labels.encoding.levels_of.keys() for name, own in factors.items()})


def _sequential(fit: Fitted, kind: int) -> list[tuple[str, Float[NumpyArray, "_ p"]]]:
    """Return hypotheses of type I, or II: of a term's columns less their projection on those of terms before it.

    Of type II, before it are all terms that do not contain it.
    """
    labels, x = fit.estimates.labels, fit.frame.x
    terms = _by_term(labels.encoding.terms, labels.kept)
    sets = _sets_of_factors(labels)
    intercept = np.setdiff1d(np.arange(x.shape[1]), np.concatenate([np.zeros(0, int), *(index for _, index in terms)]))
    hypotheses = []
    for number, (name, index) in enumerate(terms):
        if not index.size:
            continue
        others = terms[number + 1 :]
        if kind == 2:
            others = [(other, columns) for other, columns in terms if sets.contains(other, name)]
        after = np.concatenate([np.zeros(0, int), *(columns for _, columns in others)])
        before = np.setdiff1d(np.arange(x.shape[1]), np.concatenate([index, after]))
        order = np.concatenate([np.union1d(before, intercept), index, after]).astype(int)
        triangle = np.linalg.qr(x[:, order], mode="r")
        rows = np.zeros((index.size, x.shape[1]))
        first = len(order) - len(after) - len(index)
        rows[:, order] = triangle[first : first + index.size] / np.diag(triangle)[first : first + index.size, None]
        hypotheses.append((name, rows))
    return _in_own_columns(fit, hypotheses) if kind == 2 and labels.kept.all() else hypotheses


def _by_term(terms: Terms, kept: NumpyArray) -> list[tuple[str, NumpyArray]]:
    """Return the names of terms but the intercept with the indices of their columns among those that are kept."""
    indices, found, first = np.cumsum(kept) - 1, [], 0
    for factors, count in terms:
        own = slice(first, first + count)
        if factors:
            found.append((":".join(factors), indices[own][kept[own]]))
        first += count
    return found
