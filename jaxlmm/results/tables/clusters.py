"""The rows of a fit by the levels of a factor that is named or given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, OptionError, nearest
from jaxlmm.formula.columns import variables_of
from jaxlmm.results.fitted import Fitted


def codes_by(fit: Fitted, by: Any, option: str) -> tuple[Int[NumpyArray, " n"], pd.Index]:
    """Return the number of each row's level, and the levels that have rows.

    Parameters
    ----------
    by
        A grouping factor, a column of the data, or an array with a value for each row of the fit; a series of the data
        where rows with missing values were left out is taken by its index.
    option
        The option that errors name.

    Raises
    ------
    OptionError
        If there is no such column, or a row has no value.
    """
    levels = fit.frame.levels
    if isinstance(by, str) and by in levels:
        present, codes = np.unique(np.asarray(levels[by].codes), return_inverse=True)
        named = fit.estimates.labels.groups.get(by)  # None for a group of the residual alone
        ids = levels[by].labels if named is None else named.ids
        return codes, pd.Index(np.asarray(ids, object)[present], name=by)
    if isinstance(by, str):
        try:
            values = variables_of(fit.call.data, [by])[by][fit.frame.used]
        except DataError:
            known = nearest(by, levels)
            raise OptionError(f"{option}: {by!r} is no grouping factor and no column; {known}.") from None
    else:
        if isinstance(by, pd.Series) and len(by) != len(fit.frame.index) and by.index.is_unique:
            by = by.reindex(fit.frame.index)  # a column of data of which rows were left out
        values = pd.Series(np.asarray(by))
        if len(values) != len(fit.frame.index):
            raise OptionError(f"{option}: expected a value for each of {len(fit.frame.index)} rows, got {len(values)}.")
    codes, found = pd.factorize(values)
    if (codes < 0).any():
        raise OptionError(f"{option}: expected a value in every row, got {int((codes < 0).sum())} without one.")
    return codes, pd.Index(found, name=by if isinstance(by, str) else option)
