"""The columns of a model of dispersion, on complete rows, with their labels, and the levels of its variables."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from jaxtyping import Bool

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import finite_or_raise, model_columns
from jaxlmm.formula.groups import DispersionLabels
from jaxlmm.formula.syntax import ParsedFormula
from jaxlmm.formula.tokens import join
from jaxlmm.model import Dispersion, independent_basis


def dispersion_of(
    parsed: ParsedFormula, data: pd.DataFrame, n_padded: int
) -> tuple[Dispersion | None, DispersionLabels | None]:
    """Return the columns of the model of dispersion of a formula and their labels; None without one.

    Raises
    ------
    DataError
        If a column is constant, or those before it and the intercept determine it.
    """
    if not parsed.dispersion:
        return None, None
    text = f"~ {join(parsed.dispersion)}"
    columns = model_columns(parsed.dispersion, data)
    finite_or_raise(columns.matrix, [f"dispersion {text!r}: {name}" for name in columns.names])
    matrix, names = columns.matrix[:, 1:], columns.names[1:]
    for name, column in zip(names, matrix.T, strict=True):
        if np.ptp(column) == 0:
            raise DataError(
                f"dispersion {text!r}: expected columns that vary, got {name} with {column[0]:g} in all {column.size} "
                "rows, which is part of sigma; leave it out."
            )
    kept = independent_basis(np.column_stack([np.ones(len(data)), matrix])).kept[1:]
    if not kept.all():
        raise DataError(
            f"dispersion {text!r}: expected columns none of which the others and the intercept determine, got "
            f"{names[int(np.flatnonzero(~kept)[0])]}; leave it out."
        )
    return Dispersion.of(matrix, n_padded), DispersionLabels(text, names, columns.encoding)


def dispersion_levels(labels: DispersionLabels | None, data: pd.DataFrame) -> dict[str, Bool[NumpyArray, " n"]]:
    """Return the rows of each level of the variables of dispersion, and of pairs of them, by the level in words.

    Where there are more levels than columns, the intercept included, not each can have a standard deviation of its own;
    such variables, as numbers, are left out.
    """
    if labels is None:
        return {}
    found = {}
    variables = list(labels.encoding.variables)
    for names in (*itertools.combinations(variables, 1), *itertools.combinations(variables, 2)):
        grouped = data.groupby(list(names), sort=False, observed=True)
        if grouped.ngroups > len(labels.columns) + 1:
            continue
        codes = grouped.ngroup().to_numpy()
        for level in range(grouped.ngroups):
            first = data.iloc[int(np.argmax(codes == level))]
            found[", ".join(f"{name} = {str(first[name])!r}" for name in names)] = codes == level
    return found
