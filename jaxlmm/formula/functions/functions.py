"""R's functions for formulas, where formulaic has none or another one; all names that a formula may call."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, FormulaError
from jaxlmm.formula.functions.variables import check_levels, listed
from jaxlmm.formula.tokens import CONSTANTS, word


def factor(
    values: Any,
    levels: Sequence[object] | None = None,
    ordered: bool | None = None,
    _state: dict[str, Any] | None = None,
) -> pd.Series:
    """Return values as a factor; whole numbers are labelled as such (``1``, not ``1.0``), as in R.

    Parameters
    ----------
    values
        Numbers, text, logicals or a factor, one per row.
    levels
        The levels in their order; by default those of the factor, or the sorted values.
    ordered
        Whether the factor gets polynomial contrasts; by default that of ``values``.
    _state
        The levels of the fit and whether they are ordered: empty at the first call, which fills it.
    """
    state = {} if _state is None else _state
    column = pd.Series(values)
    if pd.api.types.is_float_dtype(column) and (column == np.floor(column)).all():
        column = column.astype(np.int64)
    categorical: pd.Categorical[Any] = pd.Categorical(column)
    occurring = list(categorical.remove_unused_categories().categories)
    if "levels" in state:
        check_levels(occurring, state["levels"])
        categorical = pd.Categorical(np.asarray(column, object), state["levels"], state["ordered"])
        return pd.Series(categorical, index=column.index)
    if levels is not None:
        chosen = [level_among(list(categorical.categories), level) for level in levels]
        left_out = [level for level in occurring if level not in chosen]
        if left_out:
            raise DataError(f"levels= does not list {listed(left_out)}, which is in the data.")
        categorical = categorical.set_categories(chosen)
    if ordered is not None:
        categorical = categorical.as_ordered() if ordered else categorical.as_unordered()
    state.update(levels=list(categorical.categories), ordered=bool(categorical.ordered))
    return pd.Series(categorical, index=column.index)


def ordered(values: Any, levels: Sequence[object] | None = None, _state: dict[str, Any] | None = None) -> pd.Series:
    """Return values as a factor with polynomial contrasts: ``factor(values, levels, ordered=TRUE)``."""
    return factor(values, levels, True, _state)


def relevel(values: Any, ref: object) -> pd.Series:
    """Return a factor whose first level, the reference of treatment contrasts, is ``ref``."""
    if not isinstance(getattr(values, "dtype", None), pd.CategoricalDtype) or values.cat.ordered:
        raise DataError("expected an unordered factor; factor(f, ordered=FALSE) makes it.")
    levels = list(values.cat.categories)
    first = level_among(levels, ref)
    return values.cat.reorder_categories([first, *(level for level in levels if level != first)])


def dummy(
    values: Any, level: object = None, _state: dict[str, Any] | None = None
) -> Float[NumpyArray, " n"] | pd.DataFrame:
    """Return the indicator column of a level, or a frame with one for each of several: lme4's ``dummy``.

    Parameters
    ----------
    values
        A factor, or values for :func:`factor`.
    level
        A level or a list of them; by default all but the first.
    _state
        The levels of the fit: empty at the first call, which fills it.
    """
    state = {} if _state is None else _state
    column = factor(values, _state=state)
    levels = list(state["levels"])
    requested = level if isinstance(level, (list, tuple)) else [level]
    chosen = levels[1:] if level is None else [level_among(levels, value) for value in requested]
    if not chosen:
        raise DataError(f"expected a level whose rows are marked, got none; there are {listed(levels)}.")
    indicators = {str(value): np.asarray(column == value, float) for value in chosen}
    return pd.DataFrame(indicators) if len(indicators) != 1 else indicators[str(chosen[0])]


def number(values: Any) -> Float[NumpyArray, "*n"]:
    """Return values as numbers; a logical is 0 or 1."""
    if isinstance(values, str):
        raise FormulaError(f"{values!r} is text, and no variable; write {word(values)} for a column of this name.")
    if isinstance(getattr(values, "dtype", None), pd.CategoricalDtype):
        raise DataError("expected numbers, got a factor; make a column of numbers first.")
    return np.asarray(values, float)


def level_number(values: pd.Series) -> Float[NumpyArray, " n"]:
    """Return the index of each value among the levels; levels that do not occur count."""
    return values.cat.codes.to_numpy(float)


def log(values: Any, base: float | None = None) -> Any:
    """Return the natural logarithm, or that to ``base``."""
    return np.log(values) if base is None else np.log(values) / np.log(base)


def level_among(levels: Sequence[object], value: object) -> object:
    """Return the level whose text is that of ``value``; levels of logical values are TRUE and FALSE, as in R."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    for level in levels:
        if str(level) == str(value) or (isinstance(level, bool) and str(level).upper() == value):
            return level
        if number and not isinstance(level, bool) and level == value:  # 2.0 is the level 2
            return level
    raise DataError(f"expected one of the levels {listed(levels)}, got {value!r}.")


FUNCTIONS: dict[str, Any] = {
    **{function.__name__: function for function in (factor, ordered, relevel, dummy, number, level_number, log)},
    **{name: getattr(np, name) for name in ("abs", "sqrt", "sin", "cos", "tan", "exp", "log2", "log10", "log1p")},
    "rint": np.rint,
    "c": lambda *values: list(values),
    "pi": np.pi,
}
"""Functions and values by their names in a formula."""

BUILTIN_NAMES = {
    *FUNCTIONS, "I", "C", "contr", "Treatment", "poly", "center", "scale", "bs", "ns", "cs", "cc", "cr", "lag", "np",
    *CONSTANTS,
}  # fmt: skip
"""Names of functions and values in formulas, formulaic's own transforms included."""

_BEFOREHAND = "compute it as a column of the data beforehand"
REPLACEMENTS = {
    "mean": f"to subtract the mean, write center(x) or scale(x, scale=FALSE), or {_BEFOREHAND}",
    **dict.fromkeys(("as.factor", "as.ordered"), "write factor(x), or factor(x, ordered=TRUE)"),
    **dict.fromkeys(
        ("s", "te", "ti", "t2", "smooth"),
        "smooth terms, whose penalty is estimated, are not available; write ns(x, df=4) or bs(x, df=4) for a spline of "
        "fixed degrees of freedom",
    ),
    **dict.fromkeys(("rcs", "pspline", "smoothing"), "write ns(x, df=4), a natural cubic spline"),
    "Q": "write a name in backquotes, `my days`",
    "cbind": "several responses are fitted by fit_many, which takes cbind(y1, y2) left of '~'; cbind(successes, "
    "failures) is for family='binomial'",
    "mvbind": "several responses are fitted by fit_many, which takes cbind(y1, y2) left of '~'",
    **dict.fromkeys(("ceil", "ceiling"), "write np.ceil(x)"),
    "cut": f"{_BEFOREHAND}, as by pandas.cut(data['x'], 4)",
    "interaction": "write a:b for the products of two factors; for one factor of both, "
    "data['ab'] = data['a'].astype(str) + ':' + data['b'].astype(str)",
    **dict.fromkeys(("logit", "qlogis"), "write log(p / (1 - p))"),
    **dict.fromkeys(("paste", "paste0", "substr", "nchar", "strata", "month", "year", "weekdays"), _BEFOREHAND),
    "round": "write rint(x) for whole numbers, np.round(x, 2) for decimals",
    "pmax": "write np.maximum(x, z)",
    "pmin": "write np.minimum(x, z)",
    "ifelse": f"write I(x > 0) for a condition, np.where(x > 0, 1, 0) for numbers, or {_BEFOREHAND}",
    **dict.fromkeys(("as.numeric", "as.integer"), f"a logical column is a number in I(1 * b); otherwise {_BEFOREHAND}"),
    **dict.fromkeys(("median", "sd", "var", "sum", "cumsum", "rank", "is.na"), _BEFOREHAND),
}
"""What to write for functions of R that a formula cannot call, as the end of an error's text."""
