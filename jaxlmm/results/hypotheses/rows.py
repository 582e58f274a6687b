"""The data behind a fit's fixed effects: the variables on the rows that are used, and what they can estimate."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.formula.columns import variables_of
from jaxlmm.results.fitted import Fitted

MAX_NOT_ESTIMABLE = 1e-8
"""Share of a combination's length that may lie off the rows of X, by rounding."""


def variables_on_rows(fit: Fitted) -> pd.DataFrame:
    """Return the variables of the fixed effects on the rows that the fit uses.

    Raises
    ------
    DataError
        If the fit was loaded, and has no rows.
    """
    used = fit.frame.used
    return variables_of(fit.call.data, list(fit.estimates.labels.encoding.variables))[used]


def estimable(fit: Fitted, rows: Float[NumpyArray, "c columns"]) -> Bool[NumpyArray, " c"]:
    """Return whether each combination of all columns, dropped ones too, is one of the rows of X."""
    labels = fit.estimates.labels
    if labels.kept.all():
        return np.ones(len(rows), bool)
    x = labels.encoding.columns(variables_on_rows(fit))
    length = np.linalg.norm(x, axis=0)
    scale = np.where(length > 0, length, 1.0)
    triangle = np.linalg.qr(x / scale, mode="r")
    _, size, vectors = np.linalg.svd(triangle)
    null = vectors[np.sum(size > 1e-9 * size.max(initial=0.0)) :]
    scaled = rows / scale
    off = np.linalg.norm(scaled @ null.T, axis=1)
    return np.asarray(off <= MAX_NOT_ESTIMABLE * np.linalg.norm(scaled, axis=1))
