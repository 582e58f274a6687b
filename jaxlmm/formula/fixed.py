"""The columns of the fixed effects on complete rows, with their QR decomposition."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import Columns, finite_or_raise, model_columns
from jaxlmm.formula.syntax import ParsedFormula
from jaxlmm.model import independent_basis, least_squares

MAX_PERFECT_RESIDUAL = 1e-12
"""Share of the length of a response up to which its residual from the fixed effects is rounding."""


class FixedColumns(NamedTuple):
    """The fixed effects: all ``columns``, those ``kept`` as ``x``, and the QR decomposition of ``sqrt(w) x``."""

    columns: Columns
    kept: Bool[NumpyArray, " _"]
    x: Float[NumpyArray, "n p"]
    basis: Float[NumpyArray, "n p"]
    triangle: Float[NumpyArray, "p p"]


def fixed_columns(parsed: ParsedFormula, data: pd.DataFrame, root_weight: Float[NumpyArray, " n"]) -> FixedColumns:
    """Evaluate the fixed effects of a formula; ``root_weight`` are the roots of the rows' weights.

    Raises
    ------
    DataError
        If there are no more rows than columns, or a value is not finite.
    """
    columns = model_columns(parsed.fixed, data)
    finite_or_raise(columns.matrix, columns.names)
    kept, basis, triangle = independent_basis(columns.matrix * root_weight[:, None])
    x = columns.matrix[:, kept]
    if len(data) <= x.shape[1]:
        raise DataError(
            f"the model needs more rows than fixed effects: got {len(data)} complete rows and {x.shape[1]} columns "
            f"({', '.join(columns.names[:8])}). Remove terms or add data."
        )
    return FixedColumns(columns, kept, x, basis, triangle)


def check_not_perfect(name: str, y: Float[NumpyArray, " n"], basis: Float[NumpyArray, "n p"]) -> None:
    """Raise if a weighted response lies in the span of the fixed effects' orthonormal ``basis``, but for rounding."""
    _, residual = least_squares(basis, y[:, None])
    if np.linalg.norm(residual) <= MAX_PERFECT_RESIDUAL * np.linalg.norm(y):
        raise DataError(f"response {name}: the fixed effects fit it perfectly, so there is no variance to estimate.")
