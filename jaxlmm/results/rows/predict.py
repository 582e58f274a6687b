"""Predictions: the mean of the response on other rows, given the random effects that are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.errors import OptionError, choose
from jaxlmm.families import AbstractFamily, ZeroInflated, limits_of_mean, mean_slopes, means
from jaxlmm.formula.newdata import MISSING_CODE, chosen_columns, offset_on, row_labels
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.rows.errors import prediction_variances
from jaxlmm.results.rows.fitted import linear_predictor, on_response_scale
from jaxlmm.results.rows.limit import fixed_part
from jaxlmm.results.rows.new_residuals import new_residual_variance
from jaxlmm.results.rows.terms import TermRows, left_terms, other_terms, own_terms
from jaxlmm.results.tables import check_level


def predict(
    fit: Fitted,
    newdata: Any = None,
    *,
    type: str = "response",
    re_form: str | None = None,
    new_levels: str = "error",
    interval: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Predict the response: fixed part, offset, and the modes of the random effects that ``re_form`` names.

    Parameters
    ----------
    newdata
        A data frame (pandas, polars, pyarrow) or a mapping, with the variables of the formula's right side that are
        used; factors are coded as in the fit, ``poly`` and ``scale`` use its bases. None for the rows of the fit.
    type
        With a family: ``"response"``, means (of proportions where there are trials), or ``"link"``, linear predictors.
        Of a linear mixed model both are the same. With a zero part also ``"conditional"``, means without it, and
        ``"zprob"``, the probabilities π of a zero that it adds, as glmmTMB calls them.
    re_form
        None for all random terms, ``"~0"`` for none (lme4's ``NA``), or some: ``"~ (1 | g)"`` takes the intercepts also
        out of ``(1 + x | g)``, as in lme4. Grouping factors of terms left out are not needed in ``newdata``.
    new_levels
        What a level is that the fit has not seen: ``"error"``, or ``"zero"``, the mean of its effects, which is then
        also what a row without a level has. The ids of a known matrix (``kinship=``) are not new: without a row in
        the fit they have the conditional mean given those with one, ``K_new,old K_old⁻¹ b_old``.
    interval
        ``"confidence"``, of the mean that is estimated, or ``"prediction"``, of a new observation: with the variances
        of its residual, at weight 1 (of the fit's own rows at theirs), of levels that are new, and of random effects
        that ``re_form`` leaves out, whose level is then taken as new. The limits are those of a normal distribution;
        with a family those of the linear predictor, on the scale of the response, and of the mean alone:
        :meth:`jaxlmm.Fit.simulate` draws observations.
    level
        The confidence level.

    Returns
    -------
    pandas.DataFrame
        ``estimate``, ``std_error``, and with an interval ``conf_low`` and ``conf_high``. The standard error is that of
        the estimate's difference from its target, fixed and random effects, given the variance parameters (Henderson's
        mixed-model equations); of a loaded fit it is NaN where modes take part. With a family it is that of the linear
        predictor, and of the mean by the delta method, given the parameters of the family and of a zero part.
        ``estimate`` on the index of ``newdata``, in units of the formula's left side (under ``log(y) ~ x`` a
        logarithm), the offset included. NaN where a variable that is used is missing (of a level see ``new_levels``) or
        a function of it undefined.

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
    choose("type", type, ("response", "link", "conditional", "zprob"))
    if type in ("conditional", "zprob"):
        _check_zero_part(fit, type)
    if interval is not None:
        choose("interval", interval, ("confidence", "prediction"))
        check_level(level)
    if interval == "prediction":
        fit.estimates.labels.check_gaussian("interval='prediction'")
    columns = chosen_columns(fit.estimates.labels, re_form)
    with np.errstate(all="ignore"):  # what is undefined is NaN, not a warning
        if newdata is None:
            asked = interval == "prediction"  # then what is left out counts too
            terms: list[TermRows | None] = [rows if rows.z.any() or asked else None for rows in own_terms(fit, columns)]
            x, index, estimate = fit.frame.x, fit.frame.index, _own_rows(fit, re_form, terms)
        else:
            terms = other_terms(fit, newdata, columns, new_levels)
            labels = fit.estimates.labels
            x, index = labels.encoding.columns(newdata)[:, labels.kept], row_labels(newdata)
            fixed = fixed_part(fit, x)
            estimate = fixed + offset_on(labels.offset, newdata) + _random_part(fit, terms)
        table = {"estimate": estimate}
        with_effects = any(rows is not None and rows.z.any() for rows in terms)
        if fit.origin is None and (with_effects or interval == "prediction"):
            if interval is not None:
                _ = fit.design  # raises: the errors of modes need the rows
            table = _on_scale(fit, type, newdata, {**table, "std_error": np.full(len(index), np.nan)})
            return pd.DataFrame(table, index=index)
        if interval == "prediction" and newdata is not None:
            terms = [*left_terms(fit, newdata, columns)]
        found = prediction_variances(fit, x, terms, own_rows=newdata is None and re_form is None)
        table["std_error"] = np.sqrt(found.error)
        if interval is not None:
            spread = found.error
            if interval == "prediction":
                spread = found.error + found.left + _residual_variance(fit, newdata)
            half = np.sqrt(spread) * scipy.special.ndtri(0.5 + 0.5 * level)
            table |= {"conf_low": estimate - half, "conf_high": estimate + half}
        return pd.DataFrame(_on_scale(fit, type, newdata, table), index=index)


def _on_scale(
    fit: Fitted, type: str, newdata: Any, table: dict[str, Float[NumpyArray, " m"]]
) -> dict[str, Float[NumpyArray, " m"]]:
    """Return linear predictors with standard errors and limits on the scale of the response, if that is asked for."""
    labels = fit.estimates.labels.family
    if labels is None or type == "link":
        return table
    row_data = fit.frame.row_data if newdata is None else labels.row_data(newdata)
    family: AbstractFamily = labels.known()
    dispersion = fit.estimates.dispersion
    if type == "zprob":
        return _zero_probabilities(fit, row_data, table)
    if type == "conditional":
        assert isinstance(family, ZeroInflated)
        row_data, dispersion = None, dispersion[: family.family.n_dispersion]
        family = family.family
    estimate = (
        on_response_scale(fit, table["estimate"], row_data)
        if type == "response"
        else means(family, table["estimate"], dispersion)
    )
    slope = mean_slopes(family, table["estimate"], dispersion, row_data)
    found = {"estimate": estimate, "std_error": np.abs(slope) * table["std_error"]}
    if "conf_low" in table:
        limits = limits_of_mean(family, table["conf_low"], table["conf_high"], dispersion, row_data)
        found |= dict(zip(("conf_low", "conf_high"), limits, strict=True))
    return found


def _check_zero_part(fit: Fitted, type: str) -> None:
    """Raise unless a model has a zero part."""
    labels = fit.estimates.labels.family
    if labels is None or not isinstance(labels.family, ZeroInflated):
        raise OptionError(f"type: {type!r} is of models with zero_inflated=; expected 'response' or 'link'.")


@in_double_precision
def _zero_probabilities(
    fit: Fitted, row_data: Float[NumpyArray, "m k"] | None, table: dict[str, Float[NumpyArray, " m"]]
) -> dict[str, Float[NumpyArray, " m"]]:
    """Return the probabilities of a zero of the zero part, with errors by the delta method.

    Limits are those on the scale of the logit; the limits of a ``table`` have their level.
    """
    labels, estimates = fit.estimates.labels.family, fit.estimates
    assert labels is not None
    family = labels.known()
    assert isinstance(family, ZeroInflated)
    m, k = len(table["estimate"]), family.n_dispersion - family.family.n_dispersion
    probability = np.broadcast_to(np.asarray(family.probability(estimates.dispersion, row_data)), (m,)).copy()
    covariance = np.asarray(estimates.uncertainty.report_cov)[-k:, -k:]
    inside = probability * (1.0 - probability)
    if row_data is None:
        error = np.full(m, np.sqrt(covariance[0, 0]))
    else:
        error = inside * np.sqrt(np.einsum("ni,ij,nj->n", row_data, covariance, row_data))
    found = {"estimate": probability, "std_error": error}
    if "conf_low" in table:
        quantile = (table["conf_high"] - table["conf_low"]) / (2.0 * table["std_error"])
        logit, half = scipy.special.logit(probability), quantile * error / inside
        found |= {"conf_low": scipy.special.expit(logit - half), "conf_high": scipy.special.expit(logit + half)}
    return found


def estimated(fit: Fitted, newdata: Any, re_form: str | None, new_levels: str) -> pd.Series:
    """Return predictions without their errors, as :func:`predict` does; with a family linear predictors."""
    columns = chosen_columns(fit.estimates.labels, re_form)
    if newdata is None:
        return pd.Series(_own_rows(fit, re_form, [*own_terms(fit, columns)]), fit.frame.index)
    terms, labels = other_terms(fit, newdata, columns, new_levels), fit.estimates.labels
    fixed = fixed_part(fit, labels.encoding.columns(newdata)[:, labels.kept])
    return pd.Series(fixed + offset_on(labels.offset, newdata) + _random_part(fit, terms), row_labels(newdata))


def _own_rows(fit: Fitted, re_form: str | None, terms: list[TermRows | None]) -> Float[NumpyArray, " n"]:
    """Return predictions on the rows of the fit."""
    if re_form is None:
        return linear_predictor(fit).to_numpy()
    return linear_predictor(fit, "marginal").to_numpy() + _random_part(fit, terms)


def _random_part(fit: Fitted, terms: list[TermRows | None]) -> Float[NumpyArray, " n"]:
    """Return what the modes of the random effects add to each row."""
    total: Any = 0.0
    for rows, modes in zip(terms, fit.estimates.modes, strict=True):
        if rows is None:
            continue
        # The last row is that of an unseen level: its number is -1.
        table = np.vstack([modes.values, np.zeros((1, modes.values.shape[1]))])
        levels = np.where(rows.codes == MISSING_CODE, 0, rows.codes)
        effects = table[levels] if rows.positions is None else table[levels, rows.positions][:, None]
        total = total + np.sum(rows.z * effects, axis=1)
    return total


def _residual_variance(fit: Fitted, newdata: Any) -> Float[NumpyArray, " n"]:
    """Return the variance of a new observation's residual: at the weights of the fit's rows, of others at weight 1."""
    if newdata is None:
        return np.asarray(fit.by_row.residual_sds)[: fit.n] ** 2
    return new_residual_variance(fit, newdata)
