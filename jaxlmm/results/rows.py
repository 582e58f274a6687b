"""Fitted values and residuals, on the data's index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import choose

if TYPE_CHECKING:
    from jaxlmm.results.fit import Fit


def fitted(fit: Fit, level: str) -> pd.Series:
    """Fitted values (n,) with the offset; ``level`` is conditional or marginal."""
    choose("level", level, ("conditional", "marginal"))
    values = fit.examination.conditional if level == "conditional" else fit.examination.marginal
    return pd.Series(np.asarray(values)[: fit.n] + fit.frame.offset, index=fit.frame.index, name="fitted")


def residuals(fit: Fit, kind: str, level: str) -> pd.Series:
    """Residuals (n,) of a ``kind``: response, pearson or normalized."""
    choose("type", kind, ("response", "pearson", "normalized"))
    raw = fit.frame.y - fitted(fit, level)
    if kind != "response":
        raw = raw * np.sqrt(fit.frame.weights) / fit.sigma
    if kind == "normalized" and fit.design.residual is not None:
        raw = pd.Series(_decorrelated(fit, raw.to_numpy()), index=raw.index)
    return raw.rename("residual")


def _decorrelated(fit: Fit, values: NumpyArray) -> NumpyArray:
    """Solve with the Cholesky factor of the residual correlation, group by group."""
    term = fit.design.residual
    assert term is not None
    factors = np.asarray(fit.examination.residual_factor)
    codes = np.asarray(fit.design.groupings[term.grouping].codes)[: fit.n]
    positions = np.asarray(term.positions)[: fit.n]
    found = np.empty_like(values)
    for level in np.unique(codes):
        rows = np.flatnonzero(codes == level)
        root = factors[level][positions[rows]]
        found[rows] = np.linalg.solve(np.linalg.cholesky(root @ root.T), values[rows])
    return found
