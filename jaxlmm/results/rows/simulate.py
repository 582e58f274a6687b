"""Responses drawn from a model: fixed part, random effects drawn anew or at their modes, and residuals."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.errors import DataError, OptionError
from jaxlmm.families import FittedRows
from jaxlmm.formula import ModelFrame
from jaxlmm.formula.columns import variables_of
from jaxlmm.formula.newdata import chosen_columns, levels_on, row_labels
from jaxlmm.linalg import linear_recurrence
from jaxlmm.model import ChainFactor, Design, Factors, Layout, Term, long_chains
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.levels import factors_at, unweighted, with_roots
from jaxlmm.results.rows.predict import estimated

FAR = 300.0
"""A linear predictor in place of an infinite one: what is drawn there is certain."""


@in_double_precision
def simulate(
    fit: Fitted, nsim: int = 1, *, seed: int = 0, newdata: Any = None, re_form: str | None = "~0"
) -> pd.DataFrame:
    """Draw responses from the fitted model.

    Parameters
    ----------
    nsim
        The number of responses.
    seed
        Of NumPy's generator: the same seed gives the same numbers.
    newdata
        Rows to draw responses of, instead of the fit's, at weight 1; levels of its random effects are drawn anew, each
        level once. A structure of residuals, along positions, a known matrix or a model of dispersion needs the fit's
        own rows.
    re_form
        The random effects that stay at their modes, as in :meth:`jaxlmm.Fit.predict`; ``"~0"`` draws all of them anew,
        None none. A term stays as a whole.

    Returns
    -------
    pandas.DataFrame
        Rows × draws, columns 0, 1, …, in units of the formula's left side, with the offset. With a family they are its
        observations: of ``newdata`` a single trial each, where it has trials.

    Raises
    ------
    OptionError
        If ``nsim`` is not positive, ``re_form`` takes some columns of a term only, or a family cannot draw or has
        weights.
    DataError
        If the fit was loaded, and has no rows.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> draws = fit.simulate(nsim=2, seed=1)
    >>> draws.shape, fit.refit(draws[0]).status
    ((180, 2), 'interior')
    """
    check_draws("nsim", nsim)
    labels = fit.estimates.labels
    chosen = chosen_columns(labels, re_form)
    kept = [bool(columns) for columns in chosen]
    for columns, term in zip(chosen, labels.terms, strict=True):
        if columns and len(columns) < len(term.columns):
            raise OptionError(f"re_form: expected whole terms, such as '~ {term.text}', got a part of it: {re_form!r}.")
    rng, sigma = np.random.default_rng(seed), float(fit.by_row.sigma)
    if labels.family is None:
        factors = factors_of(fit.design, fit.estimates.theta)
    else:
        factors = factors_at(fit.solution.layout, fit.solution.theta, fit.solution.bases)
    mean, anew = estimated(fit, newdata, re_form, "error"), [not stays for stays in kept]
    if newdata is None:
        draws = effects_drawn(fit.frame, factors, nsim, rng, anew)
    else:
        draws = _drawn_elsewhere(fit, newdata, factors, nsim, rng, kept)
    if labels.family is not None:
        if (fit.estimates.ranges.weights != 1.0).any():
            raise OptionError("simulate: expected weights of 1 beside a family: a row that counts twice has no draw.")
        row_data = fit.frame.row_data if newdata is None else labels.family.row_data(newdata)
        own = FittedRows(labels.family.known(), mean.to_numpy()[:, None] + draws, fit.estimates.dispersion, row_data)
        return pd.DataFrame(_observed(own, rng), index=mean.index)
    noise = noise_drawn(fit.frame, factors, nsim, rng) if newdata is None else rng.standard_normal(draws.shape)
    return pd.DataFrame(mean.to_numpy()[:, None] + sigma * (draws + noise), index=mean.index)


def _observed(fitted: FittedRows, rng: np.random.Generator) -> Float[NumpyArray, "n s"]:
    """Draw observations of a family, NaN where a variable is missing."""
    eta, row_data, missing = fitted.eta, fitted.row_data, np.isnan(fitted.eta)
    if row_data is not None:
        row_data = np.broadcast_to(row_data[:, None], (*eta.shape, *row_data.shape[1:]))
        missing = missing | np.isnan(row_data).reshape(*eta.shape, -1).any(axis=-1)
        row_data = np.nan_to_num(row_data)
    eta = np.nan_to_num(eta, nan=0.0, posinf=FAR, neginf=-FAR)  # of separated rows too
    try:
        distribution = fitted.family.distribution(eta, fitted.dispersion, row_data)
    except NotImplementedError as error:
        raise OptionError(f"simulate: {error}") from error
    return np.where(missing, np.nan, distribution.rvs(size=eta.shape, random_state=rng))


def check_draws(option: str, count: object) -> None:
    """Raise unless a number of draws is a positive whole number."""
    whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    if not whole or int(count) < 1:  # type: ignore[call-overload]
        raise OptionError(f"{option}: expected a positive whole number, got {count!r}.")


def drawn(
    frame: ModelFrame, factors: Factors, sigma: float, nsim: int, rng: np.random.Generator, anew: list[bool]
) -> Float[NumpyArray, "n s"]:
    """Draw the random effects of the terms that are ``anew``, and residuals, on the rows of a frame."""
    effects = effects_drawn(frame, factors, nsim, rng, anew)
    return np.asarray(sigma * (effects + noise_drawn(frame, factors, nsim, rng)))


def effects_drawn(
    frame: ModelFrame, factors: Factors, nsim: int, rng: np.random.Generator, anew: list[bool]
) -> Float[NumpyArray, "n s"]:
    """Draw what the random effects of the terms that are ``anew`` add to the rows of a frame, relative to sigma."""
    design, n = frame.design, len(frame.index)
    total = np.zeros((n, nsim))
    for term, factor, wanted in zip(design.terms, factors.terms, anew, strict=True):
        if isinstance(factor, ChainFactor):
            own = _along(factor, design, term, rng, nsim)
            total += unweighted(frame, term) * own if wanted else 0.0
            continue
        root = np.asarray(factor)
        grouping = design.groupings[term.grouping]
        codes, count = np.asarray(grouping.codes)[:n], int(np.asarray(grouping.codes)[:n].max(initial=-1)) + 1
        effects = rng.standard_normal((count, root.shape[-1], nsim))
        if not wanted:
            continue
        if grouping.relation is not None:
            across = _root(grouping.relation.among(np.arange(count)))
            effects = np.tensordot(across, effects, axes=1)
        z = unweighted(frame, term)
        rows = z @ root if term.positions is None else z * _at(root, term, codes)
        total += np.einsum("nr,nrs->ns", rows, effects[codes])
    return total


def noise_drawn(frame: ModelFrame, factors: Factors, nsim: int, rng: np.random.Generator) -> Float[NumpyArray, "n s"]:
    """Draw the residuals of the rows of a frame, relative to sigma."""
    design, n = frame.design, len(frame.index)
    sds = 1.0 / np.sqrt(frame.weights)
    if design.dispersion is not None and factors.dispersion is not None:
        sds = sds * np.exp(np.asarray(factors.dispersion.log_sd(design.dispersion.columns)))[:n]
    if design.residual is None or factors.residual is None:
        noise = rng.standard_normal((n, nsim))
    elif isinstance(factors.residual, ChainFactor):
        noise = _along(factors.residual, design, design.residual, rng, nsim)
    else:
        root = np.asarray(factors.residual)
        codes = np.asarray(design.groupings[design.residual.grouping].codes)[:n]
        effects = rng.standard_normal((int(codes.max(initial=-1)) + 1, root.shape[-1], nsim))
        noise = np.einsum("nr,nrs->ns", _at(root, design.residual, codes), effects[codes])
    return np.asarray(sds[:, None] * noise)


def factors_of(design: Design, theta: Float[NumpyArray, " k"]) -> Factors:
    """Return what :func:`drawn` takes: factors and roots at ``theta`` as in results, and links of long chains."""
    return with_roots(Layout.of(design, long_chains(design)).factors(jnp.asarray(theta)))


def _along(
    factor: ChainFactor, design: Design, term: Term, rng: np.random.Generator, nsim: int
) -> Float[NumpyArray, "n s"]:
    """Draw Markov chains, level by level, at the positions of the rows."""
    links, cells = factor.links, np.asarray(factor.cells)
    innovations = rng.standard_normal((cells.size, nsim)) * np.asarray(links.innovation)[:, None]
    relative = linear_recurrence(jnp.asarray(links.rho), jnp.asarray(innovations))
    nodes = np.asarray(links.sd)[:, None] * np.asarray(relative)
    codes = np.asarray(design.groupings[term.grouping].codes)[: int(design.n)].astype(np.int64)
    rows = codes * term.size + np.asarray(term.positions)[: codes.size]
    return np.asarray(nodes[np.searchsorted(cells, rows)])


def _at(root: Float[NumpyArray, "L q r"], term: Term, codes: Int[NumpyArray, " n"]) -> Float[NumpyArray, "n r"]:
    """Return the rows of the roots at the positions of the rows."""
    return np.asarray(root[term.blocks(codes), np.asarray(term.positions)[: len(codes)]])


def _root(matrix: Float[NumpyArray, "L L"]) -> Float[NumpyArray, "L L"]:
    """Return a root of a covariance matrix, which may be singular."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _drawn_elsewhere(
    fit: Fitted, newdata: Any, factors: Factors, nsim: int, rng: np.random.Generator, kept: list[bool]
) -> Float[NumpyArray, "n s"]:
    labels, total = fit.estimates.labels, np.zeros((len(row_labels(newdata)), nsim))
    if factors.residual is not None or factors.dispersion is not None:
        raise DataError(
            "simulate: newdata is there for independent residuals of one variance; draw on the fit's own rows."
        )
    for number, (term, factor) in enumerate(zip(labels.terms, factors.terms, strict=True)):
        if kept[number]:
            continue
        if term.positions is not None or term.group in fit.frame.level_covariances:
            raise DataError(f"simulate: {term.text} relates levels or positions; draw on the fit's own rows.")
        assert term.encoding is not None
        group = labels.groups[term.group]
        keys = pd.MultiIndex.from_frame(variables_of(newdata, group.factors))
        codes = keys.factorize()[0]
        levels_on(group, newdata)  # raises where a factor is absent
        effects = rng.standard_normal((int(codes.max(initial=-1)) + 1, np.shape(factor)[-1], nsim))
        rows = term.encoding.columns(newdata) @ np.asarray(factor)
        total = total + np.einsum("nr,nrs->ns", rows, effects[codes])
    return total
