"""Predictions: the mean of the response on other rows, given the random effects that are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, choose
from jaxlmm.formula.functions import listed
from jaxlmm.formula.newdata import MISSING, UNSEEN, chosen_columns, offset_on, places_on, positions_on, row_labels
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.levels import unweighted
from jaxlmm.results.rows.fitted import fitted


def predict(fit: Fitted, newdata: Any = None, *, re_form: str | None = None, new_levels: str = "error") -> pd.DataFrame:
    """Predict the response: fixed part, offset, and the modes of the random effects that ``re_form`` names.

    Parameters
    ----------
    newdata
        A data frame (pandas, polars, pyarrow) or a mapping, with the variables of the formula's right side that are
        used; factors are coded as in the fit, ``poly`` and ``scale`` use its bases. None for the rows of the fit.
    re_form
        None for all random terms, ``"~0"`` for none (lme4's ``NA``), or some: ``"~ (1 | g)"`` takes the intercepts also
        out of ``(1 + x | g)``, as in lme4. Grouping factors of terms left out are not needed in ``newdata``.
    new_levels
        What a level is that the fit has not seen: ``"error"``, or ``"zero"``, the mean of its effects, which is then
        also what a row without a level has. The ids of a known matrix (``kinship=``) are not new: without a row in
        the fit they have the conditional mean given those with one, ``K_new,old K_old⁻¹ b_old``.

    Returns
    -------
    pandas.DataFrame
        ``estimate`` on the index of ``newdata``, in units of the formula's left side (under ``log(y) ~ x`` a
        logarithm), the offset included. NaN where a variable that is used is missing (of a level see
        ``new_levels``) or a function of it undefined.

    Raises
    ------
    DataError
        If a variable is missing, a level is new, a position of an ``ou`` term has no row in its level, or the fit had
        its ``offset=`` as an array (a column's name, or ``offset(o)`` in the formula, is evaluated in ``newdata``).
    OptionError, FormulaError
        If ``re_form`` is no part of the model's random terms.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> later = {"Subject": ["308", "309"], "Days": [10, 10]}
    >>> fit.predict(later)["estimate"].round(2).tolist()
    [450.33, 229.48]
    >>> fit.predict(later, re_form="~0")["estimate"].round(2).tolist()
    [356.08, 356.08]
    >>> fit.predict({"Subject": ["308", "new"], "Days": [10, 10]}, new_levels="zero")["estimate"].round(2).tolist()
    [450.33, 356.08]
    """
    choose("new_levels", new_levels, ("error", "zero"))
    columns = chosen_columns(fit.estimates.labels, re_form)
    if newdata is None:
        return (fitted(fit) if re_form is None else _own_rows(fit, columns)).rename("estimate").to_frame()
    with np.errstate(all="ignore"):  # what is undefined is NaN, not a warning
        return pd.DataFrame({"estimate": _other_rows(fit, newdata, columns, new_levels)}, index=row_labels(newdata))


def _own_rows(fit: Fitted, chosen: tuple[tuple[int, ...], ...]) -> pd.Series:
    """Return predictions on the rows of the fit."""
    total = fitted(fit, "marginal")
    labels = fit.frame.labels.terms
    for term, own, modes, columns in zip(fit.design.terms, labels, fit.estimates.modes, chosen, strict=True):
        codes = fit.frame.levels[own.group].codes
        if own.positions is not None and columns:
            total = total + modes.values[codes, np.asarray(term.positions)[: fit.n]]
        elif columns:
            total = total + _products(unweighted(fit.frame, term), modes.values[codes], columns)
    return total


def _other_rows(
    fit: Fitted, newdata: Any, chosen: tuple[tuple[int, ...], ...], new_levels: str
) -> Float[NumpyArray, " n"]:
    """Return predictions on other rows."""
    estimates, labels = fit.estimates, fit.estimates.labels
    total = labels.encoding.columns(newdata)[:, labels.kept] @ estimates.beta + offset_on(labels.offset, newdata)
    for term, modes, columns in zip(labels.terms, estimates.modes, chosen, strict=True):
        if not columns:
            continue
        group = labels.groups[term.group]
        levels = places_on(group, newdata)
        if new_levels == "error" and len(levels.unseen):
            raise DataError(
                f"predict: expected levels of {term.group} that the fit has seen, such as {listed(group.labels[:3])}; "
                f"got {listed(levels.unseen)}. With new_levels='zero' their random effects are zero; re_form= leaves a "
                "term out."
            )
        if new_levels == "zero":
            levels = levels._replace(codes=np.where(levels.codes == MISSING, UNSEEN, levels.codes))
        # The last row is that of an unseen level: its number is -1.
        table = np.vstack([modes.values, np.zeros((1, len(term.columns)))])
        effects = table[np.where(levels.codes == MISSING, 0, levels.codes)]
        if term.positions is not None:
            position = positions_on(term, group, levels.codes, newdata)
            part = np.where(position == MISSING, np.nan, effects[np.arange(len(position)), np.maximum(position, 0)])
        else:
            assert term.encoding is not None
            part = _products(term.encoding.columns(newdata), effects, columns)
        total = total + np.where(levels.codes == MISSING, np.nan, part)
    return total


def _products(
    z: Float[NumpyArray, "n q"], effects: Float[NumpyArray, "n q"], columns: tuple[int, ...]
) -> Float[NumpyArray, " n"]:
    """Return the row sums of the products of some ``columns`` of z and of effects."""
    return np.sum(z[:, columns] * effects[:, columns], axis=1)
