"""Likelihood-ratio tests of two models for each of many responses."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxlmm.errors import DataError
from jaxlmm.results.hypotheses import Parts, null_distribution
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many.tables import false_discovery_rate


def compare(many: FittedMany, formula: str) -> pd.DataFrame:
    """Compare the model with another one, response by response, by likelihood-ratio tests.

    Parameters
    ----------
    formula
        The other model, larger or smaller; a dot stands for this one: ``"~ . - x"``, ``"~ . + (1 | fam)"``. It is
        fitted to the same responses. Where the fixed effects differ, both are fitted by ML.

    Returns
    -------
    pandas.DataFrame
        ``response n statistic df p_value null_distribution q_value status reason``. The null distribution is that of
        :func:`jaxlmm.compare`; the statistic is that of the larger model against the smaller one; NaN where either has
        no proven optimum, and ``status`` is then that of the one without.

    Raises
    ------
    DataError
        If the other formula uses other rows, or the fits were loaded.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> cake = lmm.datasets.cake()
    >>> cake["log"] = np.log(cake["angle"])
    >>> many = lmm.fit_many("~ recipe + temp + (1 | replicate)", cake, responses=["angle", "log"])
    >>> many.compare("~ . - recipe")[["response", "statistic", "df", "null_distribution"]].round(2)
      response  statistic   df null_distribution
    0    angle       5.83  2.0           chi2(2)
    1      log       8.22  2.0           chi2(2)
    """
    names, y, method = many.responses, many.values, many.estimates.method
    other = many.call.again(names, y, formula, method)
    if not np.array_equal(other.frame.used, many.frame.used):
        raise DataError(
            "compare: expected models of the same rows; leave rows with missing values out of the data first."
        )
    if not np.array_equal(other.frame.offset, many.frame.offset):
        raise DataError("compare: expected models of the same offset, got another one.")
    one: FittedMany = many
    if method != "ML" and not np.array_equal(one.frame.x, other.frame.x):
        one, other = many.call.again(names, y, None, "ML"), many.call.again(names, y, formula, "ML")
    smaller, larger = (one, other) if _parts(one).n_params <= _parts(other).n_params else (other, one)
    null = null_distribution(_parts(smaller), _parts(larger))
    statistic = smaller.estimates.deviance - larger.estimates.deviance
    proven = smaller.estimates.proven & larger.estimates.proven
    statistic = np.where(proven & null.nested, statistic, np.nan)
    p_value = np.array([null.tail(value) for value in statistic])
    unproven = np.where(larger.estimates.proven, smaller.estimates.words, larger.estimates.words)
    reason = np.where(larger.estimates.proven, smaller.estimates.reason, larger.estimates.reason)
    df = float(_parts(larger).n_params - _parts(smaller).n_params)
    return pd.DataFrame(
        {
            "response": list(names),
            "n": many.estimates.n,
            "statistic": statistic,
            "df": np.where(np.isfinite(statistic), df, np.nan),
            "p_value": p_value,
            "null_distribution": null.name,
            "q_value": false_discovery_rate(p_value[:, None])[:, 0],
            "status": np.where(proven, larger.estimates.words, unproven),
            "reason": reason,
        }
    )


def _parts(many: FittedMany) -> Parts:
    estimates = many.estimates
    return Parts.from_frame(many.frame, estimates.given, estimates.beta.shape[1] + estimates.n_variance_params)
