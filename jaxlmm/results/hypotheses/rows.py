"""The data behind fixed effects: the variables on the rows that are used, and what they can estimate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.formula import ModelFrame, ModelLabels
from jaxlmm.formula.columns import variables_of
from jaxlmm.results.fitted import Fitted

MAX_NOT_ESTIMABLE = 1e-8
"""Share of a combination's length that may lie off the rows of X, by rounding."""


class FixedPart(NamedTuple):
    """The fixed effects of one model: its labels, and a function that reads the ``variables`` on the rows."""

    labels: ModelLabels
    variables: Callable[[], pd.DataFrame]

    @classmethod
    def of(cls, labels: ModelLabels, rows: Callable[[], tuple[ModelFrame, Any]]) -> Self:
        """Return the fixed effects of a model; ``rows`` returns its frame and data, or raises for loaded results."""

        def variables() -> pd.DataFrame:
            frame, data = rows()
            return variables_of(data, list(labels.encoding.variables))[frame.used]

        return cls(labels, variables)

    def estimable(self, rows: Float[NumpyArray, "c columns"]) -> Bool[NumpyArray, " c"]:
        """Return whether each combination of all columns, dropped ones too, is one of the rows of X."""
        labels = self.labels
        if labels.kept.all():
            return np.ones(len(rows), bool)
        x = labels.encoding.columns(self.variables())
        length = np.linalg.norm(x, axis=0)
        scale = np.where(length > 0, length, 1.0)
        triangle = np.linalg.qr(x / scale, mode="r")
        _, size, vectors = np.linalg.svd(triangle)
        null = vectors[np.sum(size > 1e-9 * size.max(initial=0.0)) :]
        scaled = rows / scale
        off = np.linalg.norm(scaled @ null.T, axis=1)
        return np.asarray(off <= MAX_NOT_ESTIMABLE * np.linalg.norm(scaled, axis=1))


def fixed_part(fit: Fitted) -> FixedPart:
    """Return the fixed effects of a fit."""
    return FixedPart.of(fit.estimates.labels, lambda: (fit.frame, fit.call.data))
