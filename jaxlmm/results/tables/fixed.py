"""Fixed effects: estimates, their covariance, their tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from jaxlmm.errors import choose
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.tables.clustered import KINDS_OF_CLUSTERS, sandwich
from jaxlmm.results.tables.columns import t_table
from jaxlmm.results.tables.tested import check_cluster, tested


def fixef(fit: Fitted) -> pd.Series:
    """Return the fixed effects by term, in units of the response per unit of the column."""
    return pd.Series(fit.estimates.beta.copy(), index=list(fit.estimates.labels.fixed_names), name="estimate")


def vcov(fit: Fitted, kind: str = "model", cluster: Any = None) -> pd.DataFrame:
    """Return the covariance matrix of the fixed effects, terms × terms.

    Parameters
    ----------
    kind
        ``"model"``; ``"kenward-roger"``, adjusted for few groups; ``"CR0"``, ``"CR1"``, ``"CR2"``, robust against other
        covariances within clusters (:func:`jaxlmm.results.tables.clustered.sandwich`).
    cluster
        Of the last three: a grouping factor, a column of the data, or a value for each row of the fit; None for the
        only grouping factor. Clusters must be uncorrelated by the model.

    Raises
    ------
    OptionError
        If ``kind`` is something else, or rows of several clusters are correlated by the model.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.vcov("CR2").round(3).to_numpy().tolist()
    [[46.575, -1.451], [-1.451, 2.389]]
    """
    choose("kind", kind, ("model", "kenward-roger", *KINDS_OF_CLUSTERS))
    if kind != "model":
        fit.estimates.labels.check_gaussian(f"vcov({kind!r})")
    check_cluster(kind, cluster)
    names = list(fit.estimates.labels.fixed_names)
    if kind == "kenward-roger":
        matrix = tested(fit, kind, "model", None).vcov
    elif kind in KINDS_OF_CLUSTERS:
        matrix = sandwich(fit, kind, cluster).vcov
    else:
        matrix = fit.estimates.uncertainty.vcov
    return pd.DataFrame(matrix.copy(), index=names, columns=names)


def coef(
    fit: Fitted, df: str = "satterthwaite", *, level: float = 0.95, vcov: str = "model", cluster: Any = None
) -> pd.DataFrame:
    """Return the table of fixed effects, index ``term``.

    Parameters
    ----------
    df
        How degrees of freedom of t tests are counted (with a family, they are infinite: tests are z tests):
        ``"satterthwaite"``; ``"kenward-roger"``, with their covariance
        of the coefficients too, of fits by REML (Kenward and Roger 1997; ``"kenward-roger-linear"``, without second
        derivatives of V, is the same where V is linear in variances and covariances; elsewhere the parameters are the
        natural ones, with variances in place of standard deviations, as in SAS); ``"between-within"`` nested
        groups, as nlme does; ``"normal"`` for z tests (``df`` is infinite).
    level
        The confidence level.
    vcov, cluster
        Another covariance, as :meth:`vcov` has it: ``"CR0"``, ``"CR1"``, ``"CR2"``, with Satterthwaite's degrees of
        freedom of that covariance (Bell and McCaffrey 2002).

    Returns
    -------
    pandas.DataFrame
        ``estimate std_error df statistic p_value conf_low conf_high``; a column that the others determine has NaN.
        Only an optimum, ``interior`` or ``boundary``, has tests and intervals: else ``df`` and they are NaN.

    Raises
    ------
    OptionError
        If ``df`` is something else or not defined for the fit, or ``level`` is not between 0 and 1.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> fit.coef("normal")[["estimate", "df", "statistic"]].round(3)
               estimate   df  statistic
    term
    Intercept   251.405  inf     25.794
    Days         10.467  inf     13.015
    """
    estimates, names = fit.estimates, list(fit.estimates.labels.fixed_names)
    own = tested(fit, df, vcov, cluster)
    table = t_table(names, estimates.beta, np.sqrt(np.diagonal(own.vcov)), own.degrees(np.eye(len(names))), level)
    return table.reindex(pd.Index(estimates.labels.column_names, name="term"))
