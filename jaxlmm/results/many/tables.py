"""Tables of many fits: a row for each response and term, in the manner of a single fit's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Bool, Float, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.results.hypotheses import f_tail
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many.tested import ManyTested, many_tested
from jaxlmm.results.many_estimates import FAILED
from jaxlmm.results.tables import (
    COEF_COLUMNS,
    GLANCE,
    SHARE,
    check_group,
    components_of,
    hypothesis,
    in_words,
    intervals,
    on_scale,
    pve_of,
    ratio_of,
    t_columns,
    with_scale,
)


def tidy(many: FittedMany, *, df: str = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
    """Return the fixed effects of all responses, a row for each response and term.

    Parameters
    ----------
    df
        ``"satterthwaite"``, ``"kenward-roger"``, ``"kenward-roger-linear"`` or ``"normal"``, as in
        :meth:`jaxlmm.Fit.coef`.
    level
        The confidence level.

    Returns
    -------
    pandas.DataFrame
        ``response n term estimate std_error df statistic p_value conf_low conf_high q_value status reason``;
        ``q_value`` is the false discovery rate of Benjamini and Hochberg (1995) over the responses, term by term. What
        a response has no estimate of is NaN, and so are the tests of one whose status is neither ``interior`` nor
        ``boundary``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> sleep["log"], sleep["root"] = np.log(sleep["Reaction"]), np.sqrt(sleep["Reaction"])
    >>> many = lmm.fit_many("~ Days + (Days | Subject)", sleep, responses=["Reaction", "log", "root"])
    >>> many.tidy().query("term == 'Days'")[["response", "estimate", "std_error", "df"]].round(4)
       response  estimate  std_error    df
    1  Reaction   10.4673     1.5458  17.0
    3       log    0.0337     0.0048  17.0
    5      root    0.2959     0.0426  17.0
    """
    return coefficients_table(many, many_tested(many, df), level)


def variance(many: FittedMany, scale: str = "sd") -> pd.DataFrame:
    """Return the variance parameters of all responses: ``response n parameter`` and the columns of a single fit's.

    ``scale`` is ``"sd"`` or ``"variance"``, and stands in ``attrs["scale"]``, as in :meth:`jaxlmm.Fit.variance`.
    """
    estimates = many.estimates
    parameters, estimate, std_error = on_scale(estimates, scale)
    low, high = intervals(parameters, estimate, std_error)
    names = [parameter.name for parameter in parameters]
    table = {"estimate": estimate, "std_error": std_error, "conf_low": low, "conf_high": high}
    frame = long_table(many, "parameter", names, {**table, "at_boundary": estimates.at_boundary}, with_n=True)
    frame.insert(3, "group", np.tile(np.array([parameter.group for parameter in parameters], object), len(many)))
    frame.insert(len(frame.columns) - 2, "fixed", np.tile(estimates.fixed, len(many)))
    return with_scale(frame, scale)


def glance(many: FittedMany) -> pd.DataFrame:
    """Return one row of scalars per response; ``seconds`` is each response's share of the time of all."""
    estimates = many.estimates
    n, deviance, beta = estimates.n, estimates.deviance, estimates.beta
    found = np.isfinite(beta).sum(axis=1)
    n_estimated = np.where(
        (estimates.status == FAILED) | (found == 0), beta.shape[1], found
    )  # none: what was asked for
    params = n_estimated + estimates.n_variance_params
    columns = {
        "n": n, "n_params": params, "loglik": -0.5 * deviance, "deviance": deviance, "aic": deviance + 2.0 * params,
        "bic": deviance + np.log(np.maximum(n, 1)) * params, "sigma": estimates.residual_sd, "df_residual": n - params,
        "method": estimates.method, "solver": estimates.solver, "status": estimates.words,
    }  # fmt: skip
    frame = pd.DataFrame({"response": list(estimates.names), **{name: columns[name] for name in GLANCE}})
    return frame.assign(reason=estimates.reason, seconds=estimates.seconds / max(len(estimates.names), 1))


def anova(many: FittedMany, *, df: str = "satterthwaite") -> pd.DataFrame:
    """Return an F test of every term: that all of its coefficients are zero, given the others.

    A factor with seven levels is one test of six degrees of freedom. Tests are of the coefficients as they are coded:
    where a factor takes part in an interaction, its own test is about the other factor's reference level, unless it is
    coded by ``contr.sum``.

    Returns
    -------
    pandas.DataFrame
        ``response term num_df den_df statistic p_value q_value status reason``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> many = lmm.fit_many("cbind(angle, temp) ~ recipe + (1 | replicate)", lmm.datasets.cake())
    >>> many.anova()[["response", "term", "num_df", "statistic"]].round(3)
      response    term  num_df  statistic
    0    angle  recipe     2.0       2.19
    1     temp  recipe     2.0       0.00
    """
    return terms_table(many, many_tested(many, df))


def test(many: FittedMany, h: Any, *, df: str = "satterthwaite") -> pd.DataFrame:  # noqa: PT028
    """Return an F test of a hypothesis about the fixed effects in every response.

    Parameters
    ----------
    h
        Text in names of coefficients, ``"a - b = 0"``, ``"a = 1"`` or ``"a = 0, b = 0"`` (together), a list of such
        texts (together), or a matrix (c, p). Of several names that stand at one place the longest is read; backquotes
        say where one begins and ends, as in ``"`a` - `b` = 0"`` beside a coefficient ``a - b``.

    Returns
    -------
    pandas.DataFrame
        ``response term num_df den_df statistic p_value q_value status reason``; ``term`` is the hypothesis.
    """
    return hypothesis_table(many, many_tested(many, df), h)


def ratio(many: FittedMany, group: str) -> pd.DataFrame:
    """Return the share of ``group`` in all random variance plus residual of every response (an ICC, a heritability).

    Returns ``response n estimate std_error conf_low conf_high status reason``.
    """
    check_group(many.estimates.labels, group)
    share, std_error = ratio_of(many.estimates, group)
    return _shares(many, [group], share[:, None], std_error[:, None]).drop(columns="component")


def pve(many: FittedMany) -> pd.DataFrame:
    """Return the shares of the fixed part, each group and the residual in the total variance of every response.

    Returns ``response n component estimate std_error conf_low conf_high status reason``.
    """
    return _shares(many, components_of(many.estimates), *pve_of(many.estimates))


def failed(many: FittedMany) -> pd.DataFrame:
    """Return the responses without a proven optimum, which have no tests, with the reason: those that have another
    status than ``interior`` or ``boundary``.

    Returns ``response n status reason``.
    """
    estimates = many.estimates
    names, words = np.array(estimates.names, object), estimates.words
    table = {"response": names, "n": estimates.n, "status": words, "reason": estimates.reason}
    return pd.DataFrame({name: values[~estimates.proven] for name, values in table.items()})


def false_discovery_rate(p_value: Float[NumpyArray, "m c"]) -> Float[NumpyArray, "m c"]:
    """Return Benjamini and Hochberg's adjusted p-values, column by column; NaN does not count.

    >>> false_discovery_rate(np.array([[0.01], [0.04], [np.nan], [0.03]])).ravel().tolist()
    [0.03, 0.04, nan, 0.04]
    """
    adjusted = np.full(p_value.shape, np.nan)
    for column in range(p_value.shape[1]):
        finite = np.isfinite(p_value[:, column])
        if finite.any():
            adjusted[finite, column] = scipy.stats.false_discovery_control(p_value[finite, column])
    return adjusted


def coefficients_table(many: FittedMany, own: ManyTested, level: float) -> pd.DataFrame:
    """Return the columns of :func:`tidy` by a way of testing."""
    labels = many.estimates.labels
    columns = t_columns(own.beta, own.std_error, own.degrees(np.eye(own.beta.shape[1])), level)
    table = {name: spread(values, labels.kept) for name, values in zip(COEF_COLUMNS, columns, strict=True)}
    table["q_value"] = false_discovery_rate(table["p_value"])
    return long_table(many, "term", labels.column_names, table, with_n=True)


def terms_table(many: FittedMany, own: ManyTested) -> pd.DataFrame:
    """Return the columns of :func:`anova` by a way of testing."""
    labels = many.estimates.labels
    terms, eye = labels.fixed_terms, np.eye(len(labels.fixed_names))
    return table_of_tests(many, own, [name for name, _ in terms], [eye[columns] for _, columns in terms])


def hypothesis_table(many: FittedMany, own: ManyTested, h: Any) -> pd.DataFrame:
    """Return the columns of :func:`test` by a way of testing."""
    rows, at = hypothesis(h, many.estimates.labels.fixed_names)
    return table_of_tests(many, own, [", ".join(in_words(h)) or "h"], [rows], at)


def table_of_tests(
    many: FittedMany,
    own: ManyTested,
    names: Sequence[str],
    hypotheses: list[Float[NumpyArray, "_ p"]],
    at: Float[NumpyArray, " p"] | float = 0.0,
) -> pd.DataFrame:
    """Return F tests that the products of each matrix with the coefficients are those with ``at``."""
    found = [own.tests(own.beta - at, rows) for rows in hypotheses]
    num_df, den_df, statistic = (np.stack(columns, axis=1) for columns in zip(*found, strict=True))
    p_value = f_tail(statistic, num_df, den_df)
    table = {"num_df": num_df, "den_df": den_df, "statistic": statistic, "p_value": p_value}
    return long_table(many, "term", names, {**table, "q_value": false_discovery_rate(p_value)})


def _shares(
    many: FittedMany, names: Sequence[str], share: Float[NumpyArray, "m c"], std_error: Float[NumpyArray, "m c"]
) -> pd.DataFrame:
    low, high = intervals([SHARE] * len(names), share, std_error)
    table = {"estimate": share, "std_error": std_error, "conf_low": low, "conf_high": high}
    return long_table(many, "component", names, table, with_n=True)


def spread(values: Float[NumpyArray, "m p"], kept: Bool[NumpyArray, " c"]) -> Float[NumpyArray, "m c"]:
    """Return all columns, of which those that are ``kept`` have ``values`` and the others NaN."""
    spread = np.full((len(values), kept.size), np.nan)
    spread[:, kept] = values
    return spread


def long_table(
    many: FittedMany,
    word: str,
    names: Sequence[str],
    table: Mapping[str, Shaped[NumpyArray, "m c"]],
    *,
    with_n: bool = False,
) -> pd.DataFrame:
    """Return the arrays of a ``table`` as columns of m · c rows, each response's together."""
    estimates, count = many.estimates, len(names)

    def repeated(values: tuple[str, ...] | Shaped[NumpyArray, " m"]) -> Shaped[NumpyArray, " _"]:
        return np.repeat(np.asarray(values, object) if isinstance(values, tuple) else values, count)

    columns = {"response": repeated(estimates.names), **({"n": repeated(estimates.n)} if with_n else {})}
    columns[word] = np.tile(np.array(names, object), len(many))
    columns |= {name: np.asarray(values).reshape(-1) for name, values in table.items()}
    columns |= {"status": repeated(estimates.words), "reason": repeated(estimates.reason)}
    if "at_boundary" in columns:
        columns["at_boundary"] = columns["at_boundary"] & (repeated(estimates.status) != FAILED)
    return pd.DataFrame(columns)
