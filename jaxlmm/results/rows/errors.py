"""Variances of the errors of predictions, given the variance parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.engine import Solution, curvatures, leverages, products_with, working_model
from jaxlmm.formula.groups import KnownMatrix, LevelStructure
from jaxlmm.model import Design
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.levels import factors_at, root_across
from jaxlmm.results.rows.terms import TermRows, own_terms

MOST_DENSE_ROWS = 5_000
"""Rows up to which a matrix over them is inverted, where a curvature is negative."""


class PredictionVariances(NamedTuple):
    """Variances of m rows: of the ``error`` of the estimate, and of the random effects that are ``left`` out of it."""

    error: Float[NumpyArray, " m"]
    left: Float[NumpyArray, " m"]


class _Term(NamedTuple):
    """Vectors whose inner products, times a factor between levels, are a term's covariances relative to σ².

    Of the rows of the fit ``old`` (n, r), multiplied by √w; of the rows that are predicted ``new`` (m, r), and ``left``
    of what they leave out. ``between`` returns the factors (n, c) of some of the rows, ``own`` are those of a row with
    itself. ``known`` (m,) says that the level has effects in the fit.
    """

    old: Float[NumpyArray, "n r"]
    new: Float[NumpyArray, "m r"]
    left: Float[NumpyArray, "m r"]
    between: Callable[[slice], Float[NumpyArray, "n c"]]
    own: Float[NumpyArray, " m"]
    known: Int[NumpyArray, " m"]


@in_double_precision
def prediction_variances(
    fit: Fitted, x: Float[NumpyArray, "m p"], terms: Sequence[TermRows | None], *, own_rows: bool = False
) -> PredictionVariances:
    """Return the variances of the errors of predictions ``x β + Σ z b``, and of the effects that they leave out.

    With c the covariance of y with ``z b`` and G that of b, relative to σ², and ``d = x − XᵀH⁻¹c``, the variance of the
    error is ``σ² (zᵀGz − cᵀH⁻¹c) + dᵀ Var(β̂) d``: that of Henderson's mixed-model equations (Henderson 1975). No n × n
    matrix is formed, but a column over the rows for each prediction. Of a generalized model y and H are those of its
    linear model at the modes (:func:`jaxlmm.engine.working_model`); where a curvature is negative there is none, and
    the same products are those of dense matrices over the rows, up to ``MOST_DENSE_ROWS``, of more rows NaN.

    Parameters
    ----------
    x
        The columns of the fixed effects that are kept.
    terms
        The random effects on the rows; None where a term has no part in them.
    own_rows
        Whether these are the fitted values of the rows themselves, of which a leverage is the variance of the error
        over that of the residual, where residuals are independent.
    """
    vcov, m = fit.estimates.uncertainty.vcov, len(x)
    unknown = np.isnan(np.diagonal(vcov))
    if unknown.any() and fit.estimates.labels.family is not None:  # of coefficients without a finite estimate
        known = np.where(np.any(x[:, unknown] != 0.0, axis=1), np.nan, 1.0)
        vcov = np.where(unknown[:, None] | unknown[None, :], 0.0, vcov)
        x = x * known[:, None]
    if all(rows is None for rows in terms):  # a loaded fit has this too
        return PredictionVariances(np.sum((x @ vcov) * x, axis=1), np.zeros(m))
    curvature, found = None, (fit.solution, fit.design)
    if fit.design.distribution is not None:
        curvature = curvatures(fit.solution, fit.design)
        working = working_model(fit.solution, fit.design, curvature)
        if working is None and (not np.isfinite(curvature).all() or fit.n > MOST_DENSE_ROWS):
            return PredictionVariances(np.full(m, np.nan), np.full(m, np.nan))
        found, curvature = (found, curvature) if working is None else (working, None)
    solution, design = found
    if own_rows and fit.design.residual is None and fit.design.distribution is None:
        sds = np.asarray(fit.by_row.residual_sds)[:m]
        return PredictionVariances(sds**2 * leverages(solution, fit.design), np.zeros(m))
    factors = factors_at(solution.layout, solution.theta, solution.bases)
    variance = float(fit.by_row.sigma) ** 2
    parts = [
        _term(fit, found, number, rows, np.asarray(factor), 1.0 if factors.sigma is None else float(factors.sigma))
        for number, (rows, factor) in enumerate(zip(terms, factors.terms, strict=True))
        if rows is not None
    ]
    prior, left = np.zeros(m), np.zeros(m)
    for part in parts:
        squares = part.own * np.sum(part.new**2, axis=1)
        prior += np.where(part.known, squares, np.where(np.isnan(squares), np.nan, 0.0))
        left += part.own * np.sum(part.left**2, axis=1) + np.where(part.known, 0.0, squares)
    shift, explained = np.zeros((x.shape[1], m)), np.zeros(m)
    if parts:

        def columns(some: slice) -> Float[NumpyArray, "n c"]:
            total = np.zeros((fit.n, some.stop - some.start))
            for part in parts:
                new = np.nan_to_num(np.where(part.known[some, None], part.new[some], 0.0))
                total += part.between(some) * (part.old @ new.T)
            return total

        if curvature is None:
            cross, explained = products_with(solution, m, columns)
            shift = np.asarray(design.triangle).T @ cross[: x.shape[1]]
        else:
            related = columns(slice(0, m))
            solved = _solved(fit, found, curvature, related)
            shift, explained = fit.frame.x.T @ solved, np.sum(related * solved, axis=0)
    moved = x - shift.T
    error = variance * (prior - explained) + np.sum((moved @ vcov) * moved, axis=1)
    return PredictionVariances(np.where(np.isnan(error), np.nan, np.maximum(error, 0.0)), variance * left)


def _solved(
    fit: Fitted,
    linear: tuple[Solution, Design],
    curvature: Float[NumpyArray, " n"],
    columns: Float[NumpyArray, "n m"],
) -> Float[NumpyArray, "n m"]:
    """Return ``(W⁻¹ + ZGZᵀ)⁻¹ C``, W the diagonal matrix of curvatures of any sign, by a matrix over the rows."""
    solution, _ = linear
    factors, covariance = factors_at(solution.layout, solution.theta, solution.bases), np.zeros((fit.n, fit.n))
    every = tuple(tuple(range(len(term.columns))) for term in fit.frame.labels.terms)
    for number, (rows, factor) in enumerate(zip(own_terms(fit, every), factors.terms, strict=True)):
        own = _term(fit, linear, number, rows, np.asarray(factor), 1.0)
        covariance += own.between(slice(0, fit.n)) * (own.old @ own.new.T)
    return np.linalg.solve(np.eye(fit.n) + curvature[:, None] * covariance, curvature[:, None] * columns)


def _term(
    fit: Fitted,
    linear: tuple[Solution, Design],
    number: int,
    rows: TermRows,
    factor: Float[NumpyArray, "*L q r"],
    unit: float,
) -> _Term:
    """Return the vectors of one term of a ``linear`` model, given by its solution and design.

    ``unit`` is sigma where theta is not relative to it, else 1.
    """
    solution, design = linear
    term, labels = design.terms[number], fit.frame.labels.terms[number]
    zw, codes = np.asarray(term.z)[: fit.n], np.asarray(fit.frame.levels[labels.group].codes)
    across = fit.frame.level_covariances.get(labels.group)
    known = rows.codes >= 0
    level = np.where(known, rows.codes, 0)
    if isinstance(across, LevelStructure):
        layout, own = solution.layout, solution.layout.slices()[number]
        root = root_across(across, layout.structures[number], solution.theta[own], unit)
        ones = np.ones(len(level))
        return _Term(
            zw * root[codes], rows.z * root[level], rows.left * root[level],
            lambda some: np.ones((fit.n, some.stop - some.start)), ones, known,
        )  # fmt: skip
    if rows.positions is None:
        old, new, left = zw @ factor, rows.z @ factor, rows.left @ factor
    else:
        blocks = factor if factor.ndim == 3 else factor[None]
        at = np.where(level < len(blocks), level, 0)  # ids without a row have the positions of the others
        old = zw * blocks[codes if len(blocks) > 1 else 0 * codes, np.asarray(term.positions)[: fit.n]]
        of_new = blocks[at, rows.positions]
        new, left = rows.z * of_new, rows.left * of_new
    if isinstance(across, KnownMatrix):
        ids = np.concatenate([across.indices, across.unobserved])[level]
        diagonal = np.where(known, across.matrix.diagonal()[ids], across.mean_diagonal)

        def related(some: slice) -> Float[NumpyArray, "n c"]:
            return np.asarray(across.between(across.indices, ids[some]).toarray())[codes]

        return _Term(old, new, left, related, diagonal, known)
    return _Term(old, new, left, lambda some: codes[:, None] == level[None, some], np.ones(len(level)), known)
