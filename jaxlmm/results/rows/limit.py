"""The fixed part of rows where some coefficients have no finite estimate: its value in the limit."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.results.fitted import Fitted

OFF_SPAN = 1e-8
"""The length of a row outside the span of others, relative to its own, up to which it is rounding."""


def fixed_part(fit: Fitted, x: Float[NumpyArray, "m p"]) -> Float[NumpyArray, " m"]:
    """Return ``x β``, in the limit where the response is separated and β is infinite along a direction.

    A row that is a combination of rows of the fit which do not move has that combination of their values. Another one
    that moves is at ±∞, and is NaN where its direction is not determined. Of a fit without its rows a coefficient
    without a finite estimate adds nothing where its column is zero.
    """
    beta = fit.estimates.beta
    if np.isfinite(beta).all():
        return x @ beta
    plain = np.sum(np.where(x == 0.0, 0.0, x * beta), axis=1)
    if fit.origin is None:
        return plain
    marginal: Float[NumpyArray, " n"] = np.array(fit.by_row.marginal)[: fit.n]
    stays = np.flatnonzero(np.isfinite(marginal))
    if not stays.size:
        return plain
    own, known = fit.frame.x[stays], np.asarray(np.isfinite(x).all(axis=1))
    rows = np.where(known[:, None], x, 0.0)
    combination = np.linalg.lstsq(own.T, rows.T, rcond=None)[0]
    off = np.linalg.norm(rows.T - own.T @ combination, axis=0)
    within = off <= OFF_SPAN * np.maximum(np.linalg.norm(rows, axis=1), 1.0)
    ridge = fit.certificate.ridge
    along = x @ np.array([ridge.get(name, 0.0) for name in fit.estimates.labels.fixed_names])
    moved = np.where(along == 0.0, np.nan, np.inf * np.sign(along))
    return np.where(known, np.where(within, marginal[stays] @ combination, moved), np.nan)
