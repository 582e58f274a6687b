"""The random effects of rows, those of the fit or others: levels, columns and positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula.functions import listed
from jaxlmm.formula.newdata import MISSING_CODE, UNSEEN_LEVEL, levels_on, positions_on
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.levels import unweighted


class TermRows(NamedTuple):
    """One random term on n rows.

    ``codes`` are the rows' levels as in :class:`jaxlmm.formula.newdata.RowLevels`; ``z`` (n, q) the columns that are
    asked for, others zero, and ``left`` (n, q) the remaining ones; of a term over positions ``z`` or ``left`` is (n,
    1), of ones, and ``positions`` are indices.
    """

    codes: Int[NumpyArray, " n"]
    z: Float[NumpyArray, "n q"]
    left: Float[NumpyArray, "n q"]
    positions: Int[NumpyArray, " n"] | None


def own_terms(fit: Fitted, chosen: Sequence[tuple[int, ...]]) -> list[TermRows]:
    """Return the random terms on the rows of the fit, with the ``chosen`` columns of each."""
    found = []
    for term, labels, columns in zip(fit.design.terms, fit.frame.labels.terms, chosen, strict=True):
        codes = np.asarray(fit.frame.levels[labels.group].codes)
        positions = None if labels.positions is None else np.asarray(term.positions)[: fit.n]
        found.append(_split(codes, unweighted(fit.frame, term), columns, positions))
    return found


def other_terms(fit: Fitted, newdata: Any, chosen: Sequence[tuple[int, ...]], new_levels: str) -> list[TermRows | None]:
    """Return the random terms on the rows of ``newdata``; None where no column of a term is asked for.

    Raises
    ------
    DataError
        If a variable is missing, or a level is new and ``new_levels`` is ``"error"``.
    """
    found: list[TermRows | None] = []
    for term, columns in zip(fit.estimates.labels.terms, chosen, strict=True):
        found.append(_term_on(fit, term, newdata, columns, new_levels) if columns else None)
    return found


def left_terms(fit: Fitted, newdata: Any, chosen: Sequence[tuple[int, ...]]) -> list[TermRows]:
    """Return all random terms on the rows of ``newdata``, at new levels those of which no column is asked for."""
    found = []
    for term, columns in zip(fit.estimates.labels.terms, chosen, strict=True):
        if columns:
            found.append(_term_on(fit, term, newdata, columns, "zero"))
            continue
        if term.positions is not None:
            raise DataError(
                f"predict: an interval of predictions needs the level and position of {term.text}; re_form=None."
            )
        assert term.encoding is not None
        z = term.encoding.columns(newdata)
        found.append(_split(np.full(len(z), UNSEEN_LEVEL), z, (), None))
    return found


def _term_on(fit: Fitted, term: Any, newdata: Any, columns: tuple[int, ...], new_levels: str) -> TermRows:
    group = fit.estimates.labels.groups[term.group]
    levels = levels_on(group, newdata)
    if new_levels == "error" and len(levels.unseen):
        raise DataError(
            f"predict: expected levels of {term.group} that the fit has seen, such as {listed(group.labels[:3])}; "
            f"got {listed(levels.unseen)}. With new_levels='zero' their random effects are zero; re_form= leaves a "
            "term out."
        )
    codes = levels.codes
    if new_levels == "zero":
        codes = np.where(codes == MISSING_CODE, UNSEEN_LEVEL, codes)
    if term.positions is None:
        assert term.encoding is not None
        return _split(codes, term.encoding.columns(newdata), columns, None)
    positions = positions_on(term, group, codes, newdata)
    z = np.where(positions == MISSING_CODE, np.nan, 1.0)[:, None]
    return _split(codes, z, columns, np.maximum(positions, 0))


def _split(
    codes: Int[NumpyArray, " n"],
    z: Float[NumpyArray, "n q"],
    columns: tuple[int, ...],
    positions: Int[NumpyArray, " n"] | None,
) -> TermRows:
    asked = np.zeros(z.shape[1], bool)
    asked[list(columns) if positions is None else (slice(None) if columns else [])] = True
    z = np.where((codes == MISSING_CODE)[:, None], np.nan, z)
    return TermRows(codes, np.where(asked, z, 0.0), np.where(asked, 0.0, z), positions)
