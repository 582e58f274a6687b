"""Fits of the same model to another response, and of a changed model, through the call that made the fit."""

from __future__ import annotations

from typing import Any

from jaxlmm.results.fitted import F


def refit(fit: F, y: Any) -> F:
    """Return the fit of the same model to another response, on the same rows and the same design.

    Parameters
    ----------
    y
        Numbers in the units of the formula's left side (under ``log(y) ~ x`` these are logarithms): one for each row
        of this fit, (n,), or one for each row of the data, (n + n_dropped,), of which those of the rows that this fit
        dropped are ignored. A series is aligned by its index.

    Returns
    -------
    Fit
        A new fit, equal to that of the changed data when the same rows are complete. Its :meth:`update` needs data
        where it changes the model, because the new response is not in the data.

    Raises
    ------
    DataError
        If the length or the index does not fit, or a value is missing, infinite or no number.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> fit.refit(fit.frame.y / 1000.0).fixef().round(4).to_dict()
    {'Intercept': 0.2514, 'Days': 0.0105}
    """
    refitted: F = fit.call.refit(fit, y)
    return refitted


def update(fit: F, formula: str | None = None, data: Any = None, **options: Any) -> F:
    """Return a fit with another formula, other data or other options, in the manner of R's ``update``.

    Parameters
    ----------
    formula
        A ``.`` stands for what the formula has on that side: ``". ~ . - x"``, ``". ~ . + (1 | h)"``,
        ``". ~ . - (1 | g)"``, ``"log(.) ~ ."``. Subtracting a term that is not there is an error.
    data
        Other data; otherwise those of the original call, which are kept without a copy, so that a column added to
        them since can be used.
    **options
        Options of :func:`jaxlmm.fit` that replace those of the original call: ``method="ML"``, ``kinship=None``.

    Returns
    -------
    Fit
        A new fit. The design serves again when only ``method``, ``start``, ``fixed``, ``solver`` or ``optimizer``
        changes.

    Raises
    ------
    FormulaError, DataError, KinshipError, OptionError
        As :func:`jaxlmm.fit` does.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> smaller = fit.update(". ~ . - Days", method="ML")
    >>> smaller.formula, smaller.method, round(smaller.deviance, 2)
    ('Reaction ~ (1 | Subject)', 'ML', 1910.54)
    """
    updated: F = fit.call.update(fit, formula, data, options)
    return updated
