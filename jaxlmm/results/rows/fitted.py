"""Fitted values and residuals, on the data's index."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Links
from jaxlmm.engine import leverages
from jaxlmm.errors import DataError, OptionError, choose
from jaxlmm.families import FittedRows, deviance_residuals, means, pearson_residuals, quantile_residuals
from jaxlmm.model import ChainFactor
from jaxlmm.results.fitted import Fitted

SMALLEST_LEFT = 1e-10
"""A row whose leverage leaves less than this has a residual of zero, but for rounding."""

MAX_ROWS_OUT_OF_ORDER = 3_000
"""Rows of a group along a Markov chain up to which its residuals are decorrelated in another order by a matrix."""


def fitted(fit: Fitted, level: str = "conditional") -> pd.Series:
    """Return fitted values on the data's index: with the random effects' modes, or ``"marginal"`` without.

    They hold the offset, and are in units of the response; with a family they are means, of proportions where there are
    trials, ``"marginal"`` those of a level whose random effects are zero; zeros of a zero part count.
    """
    eta = linear_predictor(fit, level)
    return pd.Series(on_response_scale(fit, eta.to_numpy(), fit.frame.row_data), index=eta.index, name="fitted")


def linear_predictor(fit: Fitted, level: str = "conditional") -> pd.Series:
    """Return the fitted linear predictors, offset included, which are the fitted values of a linear mixed model."""
    choose("level", level, ("conditional", "marginal"))
    values = fit.by_row.conditional if level == "conditional" else fit.by_row.marginal
    return pd.Series(np.asarray(values)[: fit.n] + fit.frame.offset, index=fit.frame.index, name="fitted")


def on_response_scale(
    fit: Fitted, eta: Float[NumpyArray, " m"], row_data: Float[NumpyArray, "m ..."] | None
) -> Float[NumpyArray, " m"]:
    """Return the means at linear predictors, of rows with their ``row_data``.

    Raises
    ------
    OptionError
        If the family has none.
    """
    labels = fit.estimates.labels.family
    if labels is None:
        return eta
    try:
        return means(labels.known(), eta, fit.estimates.dispersion, row_data)
    except NotImplementedError as error:
        raise OptionError(f"{error} Without it, ask for type='link'.") from error


RESIDUALS = ("response", "pearson", "normalized", "studentized", "deviance", "quantile")
"""The values of ``type``."""


def residuals(fit: Fitted, type: str = "response", level: str = "conditional", *, seed: int = 0) -> pd.Series:
    """Return residuals on the data's index.

    Parameters
    ----------
    type
        ``"response"``: observed minus fitted, of proportions where there are trials; ``"pearson"``: in units of each
        row's standard deviation; ``"normalized"``: pearson, and decorrelated by the residual structure's Cholesky
        factor; ``"studentized"``: in units of their own standard deviation, pearson over ``√(1 − leverage)``, NaN where
        the leverage is 1; ``"deviance"``: the signed root of what the row adds to the deviance, times its weight;
        ``"quantile"``: the standard normal quantile of the probability of a smaller observation, randomized where
        observations are discrete (Dunn and Smyth 1996), which is standard normal where the model is right, but that
        around conditional fitted values of few rows in a level it spreads less: the modes follow the observations.
    level
        Of the fitted values.
    seed
        Of the generator that randomizes quantiles.

    Raises
    ------
    OptionError
        If studentized residuals are asked of a fit with a residual structure, or around marginal fitted values; if a
        family is asked for normalized or studentized ones, or has no mean or distribution.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> round(float(fit.residuals("pearson").std()), 2)
    0.92
    """
    kind = choose("type", type, RESIDUALS)
    if fit.estimates.labels.family is not None:
        return of_family(fit, kind, level, seed)
    if kind == "studentized" and (level == "marginal" or fit.design.residual is not None):
        what = "marginal fitted values" if level == "marginal" else "a residual structure"
        raise OptionError(
            f"type: 'studentized' is of conditional residuals that are independent, got {what}; expected 'pearson' or "
            "'normalized'."
        )
    raw = np.asarray(fit.frame.y) - fitted(fit, level)
    if kind == "deviance":
        raw = raw * np.sqrt(fit.frame.weights)
    elif kind != "response":
        raw = raw / np.asarray(fit.by_row.residual_sds)[: fit.n]
    if kind == "normalized" and fit.design.residual is not None:
        raw = pd.Series(_decorrelated(fit, raw.to_numpy()), index=raw.index)
    if kind == "studentized":
        left = 1.0 - leverages(fit.solution, fit.design)
        raw = raw / np.sqrt(np.where(left > SMALLEST_LEFT, left, np.nan))
    return raw.rename("residual")


def of_family(fit: Fitted, kind: str, level: str, seed: int) -> pd.Series:
    """Return the residuals of a generalized model."""
    if kind in ("normalized", "studentized"):
        fit.estimates.labels.check_gaussian(f"residuals({kind!r})")
    labels, frame = fit.estimates.labels.family, fit.frame
    assert labels is not None
    assert frame.y is not None
    eta = linear_predictor(fit, level).to_numpy()
    own = FittedRows(labels.known(), eta, fit.estimates.dispersion, frame.row_data)
    found = residuals_of(own, frame.y, kind, frame.prior_weights, np.random.default_rng(seed))
    return pd.Series(found, index=frame.index, name="residual")


def residuals_of(
    fitted: FittedRows, y: Float[NumpyArray, " n"], kind: str, weight: Float[NumpyArray, " n"], rng: np.random.Generator
) -> Float[NumpyArray, " n"]:
    """Return the residuals of one ``kind`` of rows of a family, with prior weights.

    Raises
    ------
    OptionError
        If the family has no mean or distribution.
    """
    far = np.isinf(fitted.eta)  # the rows of a separated response that are certain
    if far.any():
        found = np.zeros(y.shape)
        found[~far] = residuals_of(fitted.at(~far), y[~far], kind, weight[~far], rng)
        return found
    try:
        if kind == "deviance":
            return np.sqrt(weight) * deviance_residuals(fitted, y)
        if kind == "quantile":
            return quantile_residuals(fitted, y, rng)
        if kind == "pearson":
            return np.sqrt(weight) * pearson_residuals(fitted, y)
        return np.asarray(y / fitted.trials - fitted.means)
    except NotImplementedError as error:
        raise OptionError(f"residuals({kind!r}): {error}") from error


def _decorrelated(fit: Fitted, values: Float[NumpyArray, " n"]) -> Float[NumpyArray, " n"]:
    """Solve with the Cholesky factor of the residual correlation, group by group."""
    term = fit.design.residual
    assert term is not None
    codes = np.asarray(fit.design.groupings[term.grouping].codes)[: fit.n]
    positions = np.asarray(term.positions)[: fit.n]
    factor = fit.by_row.residual_covariance
    if isinstance(factor, ChainFactor):
        return _decorrelated_along(factor.links, codes.astype(np.int64) * term.size + positions, codes, values)
    covariances, decorrelated = np.asarray(factor), np.empty_like(values)
    for level in np.unique(codes):
        rows = np.flatnonzero(codes == level)
        own = covariances[int(term.blocks(level))][np.ix_(positions[rows], positions[rows])]
        sds = np.sqrt(np.diagonal(own))
        decorrelated[rows] = np.linalg.solve(np.linalg.cholesky(own / np.outer(sds, sds)), values[rows])
    return decorrelated


def _decorrelated_along(
    links: Links, cells: Int[NumpyArray, " n"], codes: Int[NumpyArray, " n"], values: Float[NumpyArray, " n"]
) -> Float[NumpyArray, " n"]:
    """Solve with the same factor along a Markov chain, of two diagonals where the rows of a group are in its order."""
    order = np.argsort(cells)
    rho, innovation = (np.asarray(part)[: order.size] for part in (links.rho, links.innovation))
    relative = values[order]
    white = (relative - rho * np.r_[0.0, relative[:-1]]) / innovation
    decorrelated = np.empty_like(values)
    decorrelated[order] = white
    by_group = np.argsort(codes, kind="stable")
    same = codes[by_group][1:] == codes[by_group][:-1]
    for level in np.unique(codes[by_group][1:][same & (np.diff(cells[by_group]) < 0)]):
        of_nodes = codes[order] == level
        rows = np.flatnonzero(codes == level)
        if rows.size > MAX_ROWS_OUT_OF_ORDER:
            raise DataError(
                f"type: 'normalized' residuals of {rows.size:,} rows of one group need these in the order of their "
                "positions; sort the data before the fit."
            )
        factor = np.diag(innovation[of_nodes])
        for node, own_rho in enumerate(rho[of_nodes][1:]):
            factor[node + 1] += own_rho * factor[node]
        root = factor[np.argsort(np.argsort(cells[rows]))]
        decorrelated[rows] = np.linalg.solve(np.linalg.cholesky(root @ root.T), values[rows])
    return decorrelated
