"""Leverage, and what becomes of the estimates without a row or a group of rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.engine import WithoutRows, estimates_without, leverages
from jaxlmm.errors import DataError, choose
from jaxlmm.model import Natural
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.tables import codes_by

METHODS = ("implicit", "exact")
"""The values of ``method``."""

SMALLEST_SIZE = 1e-9
"""Singular values of X, relative to the largest, that are zero but for rounding."""

BYTES_AT_ONCE = 2**27
"""Bytes of the responses without some rows that are made at once."""


@in_double_precision
def leverage(fit: Fitted) -> pd.Series:
    """Return the leverage of each row: the derivative of its fitted value, random effects included, in its response.

    The variance parameters are taken as known. The sum over the rows is the effective number of parameters of the
    fitted values (Hodges and Sargent 2001). R's word is ``hatvalues``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> round(float(fit.leverage().sum()), 2)
    29.02
    """
    fit.estimates.labels.check_gaussian("leverage")
    return pd.Series(leverages(fit.solution, fit.design), index=fit.frame.index, name="leverage")


@in_double_precision
def influence(fit: Fitted, by: Any = "row", method: str = "implicit") -> Influence:
    """Return what becomes of coefficients and variance parameters if a row, or all rows of a level, are left out.

    Parameters
    ----------
    by
        ``"row"``, a grouping factor, a column of the data, or an array with a value for each row.
    method
        ``"implicit"``: Newton's first step or two from the optimum of all rows, with the exact derivatives of those
        that are left (to first order the implicit function theorem's); parameters at a boundary stay there.
        ``"exact"``: the model is fitted again without each.

    Returns
    -------
    Influence
        ``.to_frame()``: a row for each case, with Cook's distance; ``.dfbeta()``, ``.dfbetas()``,
        ``.cooks_distance()``; ``.fixef``, ``.variance`` and ``.sigma`` are the estimates without each case.

    Raises
    ------
    OptionError
        If ``by`` is no factor of the fit and no column.
    DataError
        If the fit was loaded, has no proven optimum, or leaves no residual.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> by_subject = fit.influence(by="Subject")
    >>> by_subject.cooks_distance().nlargest(2).round(3).to_dict()
    {'309': 0.149, '335': 0.129}
    """
    choose("method", method, METHODS)
    fit.estimates.labels.check_gaussian("influence")
    if not fit.estimates.proven:
        raise DataError(f"influence: expected a fit with a proven optimum, got one whose status is {fit.status}.")
    if fit.sigma == 0.0:
        raise DataError("influence: expected a fit with a residual, got one that leaves none (sigma is 0).")
    y, n = fit.frame.y, fit.n
    assert y is not None
    codes, cases = (np.arange(n), fit.frame.index) if isinstance(by, str) and by == "row" else codes_by(fit, by, "by")
    step = max(BYTES_AT_ONCE // (8 * n), 1)
    parts = []
    for first in range(0, len(cases), step):
        chosen = np.arange(first, min(first + step, len(cases)))
        without = np.where(codes[:, None] == chosen[None, :], np.nan, y[:, None])
        parts.append((_refitted if method == "exact" else _stepped)(fit, without))
    beta, report, sigma = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    beta = _determined(fit, codes, beta)
    labels = fit.estimates.labels
    return Influence(
        fit,
        method,
        codes,
        pd.DataFrame(beta, cases, list(labels.fixed_names)),
        pd.DataFrame(report, cases, list(labels.parameters)),
        pd.Series(sigma, cases, name="sigma"),
    )


def _determined(fit: Fitted, codes: Int[NumpyArray, " n"], beta: Float[NumpyArray, "c p"]) -> Float[NumpyArray, "c p"]:
    """Return the coefficients, NaN where the rows that are left do not determine one."""
    beta, x = beta.copy(), fit.frame.x
    scale = np.linalg.norm(x, axis=0)
    for case in np.flatnonzero(np.isnan(beta).any(axis=1) & ~np.isnan(beta).all(axis=1)):
        _, size, vectors = np.linalg.svd(x[codes != case] / scale, full_matrices=True)
        null = vectors[np.sum(size > SMALLEST_SIZE * size.max(initial=0.0)) :]
        beta[case, np.abs(null).max(axis=0, initial=0.0) > SMALLEST_SIZE] = np.nan
    return beta


def _refitted(fit: Fitted, y: NumpyArray) -> WithoutRows:
    """Return the estimates of the optima; NaN where there is none."""
    refits = fit.call.refit_many(fit, y)
    lost = ~refits.proven
    beta, report, sigma = (np.array(part) for part in (refits.beta, refits.report, refits.residual_sd))
    beta[lost] = report[lost] = sigma[lost] = np.nan
    return WithoutRows(beta, report, sigma)


def _stepped(fit: Fitted, y: NumpyArray) -> WithoutRows:
    """Return the estimates after a Newton step."""
    labels, estimates = fit.estimates.labels, fit.estimates
    at = dict(zip(labels.parameters, (float(value) for value in estimates.report), strict=True))
    held = {name: at[name] for name, is_held in zip(labels.parameters, estimates.fixed, strict=True) if is_held}
    return estimates_without(
        fit.solution,
        fit.design,
        y,
        method=fit.method,
        natural=Natural.of(fit.design, labels.blocks, at),
        fixed=Natural.of(fit.design, labels.blocks, held) if held else None,
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Influence:
    """Estimates of a ``fit`` without each case: a row, or the rows of a level.

    ``codes`` (n,) number the case of each row; ``fixef`` (cases × coefficients), ``variance`` (cases × parameters) and
    ``sigma`` are NaN where the rows that are left do not determine them.
    """

    fit: Fitted
    method: str
    codes: Int[NumpyArray, " n"]
    fixef: pd.DataFrame
    variance: pd.DataFrame
    sigma: pd.Series

    def dfbeta(self) -> pd.DataFrame:
        """Return the change that each case makes to the coefficients: those with it less those without."""
        return self.fixef.rsub(self.fit.estimates.beta, axis=1)

    def dfbetas(self) -> pd.DataFrame:
        """Return the change in standard errors of the coefficients, those of all rows."""
        return self.dfbeta().div(self.fit.estimates.uncertainty.std_error, axis=1)

    def cooks_distance(self) -> pd.Series:
        """Return ``dᵀ Var(β̂)⁻¹ d / p`` with d the change of the p coefficients (Cook 1977), Var that of all rows.

        lme4 multiplies it by (m − p)/m with m the number of cases.
        """
        change, vcov = self.dfbeta(), self.fit.estimates.uncertainty.vcov
        values = change.to_numpy()
        distance = np.sum(values * np.linalg.solve(vcov, values.T).T, axis=1) / max(values.shape[1], 1)
        return pd.Series(distance, change.index, name="cooks_distance")

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each case: ``n`` rows, ``cooks_distance``, ``leverage`` summed over them, and the estimates
        without them: ``sigma``, coefficients, variance parameters.
        """
        each = leverage(self.fit).to_numpy()
        table = {
            "n": np.bincount(self.codes, minlength=len(self.sigma)),
            "cooks_distance": self.cooks_distance(),
            "leverage": np.bincount(self.codes, each, minlength=len(self.sigma)),
            "sigma": self.sigma,
        }
        return pd.concat([pd.DataFrame(table, self.sigma.index), self.fixef, self.variance], axis=1)

    def __repr__(self) -> str:
        largest = self.cooks_distance().nlargest(5)
        how = "Newton's first steps" if self.method == "implicit" else "refits"
        return f"{len(self.sigma)} cases left out, by {how}; largest Cook's distances:\n{largest.to_string()}"
