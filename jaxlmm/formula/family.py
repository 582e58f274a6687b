"""The distribution of the rows of a generalized model, and its observations, checked before anything is computed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, FormulaError, OptionError
from jaxlmm.families import AbstractFamily, RowDistribution, ZeroInflated, observations
from jaxlmm.formula.columns import finite_or_raise
from jaxlmm.formula.functions import as_numbers, is_text
from jaxlmm.formula.groups import FamilyLabels, ZeroLabels
from jaxlmm.formula.rows import Rows, response_of
from jaxlmm.formula.syntax import Bar, ModelOptions, ParsedFormula
from jaxlmm.formula.tokens import Token, join, parts_of_cbind

FEW_BINARY_ROWS = 12
"""Rows of binary data in a level, on average, below which a note says that Laplace's approximation is biased (Joe 2008,
"Accuracy of Laplace approximation for discrete response mixed models")."""

MOST_NODES = 100
"""Nodes of quadrature for one effect: with 25 the integral is exact to more digits than an optimum."""

MOST_QUADRATURE_COLUMNS = 2
"""Random effects of a level up to which quadrature is done: the nodes of two are K²."""


def without_cbind(parsed: ParsedFormula) -> ParsedFormula:
    """Return a formula whose response names the variables of ``cbind(successes, failures)`` without the call."""
    return parsed._replace(response=parsed.response[1:]) if parts_of_cbind(parsed.response) else parsed


def observations_of(
    parsed: ParsedFormula, rows: Rows, family: AbstractFamily | None
) -> tuple[Float[NumpyArray, " n"] | None, Float[NumpyArray, " n"] | None]:
    """Return the response on complete rows, and the trials of a family that has any; None without one.

    Of such a family the response may be ``cbind(successes, failures)``, logical values, or a factor or text of two
    values, of which the first is a failure, as in R.

    Raises
    ------
    FormulaError, DataError
        If the response is no column of numbers.
    """
    trials = None
    if family is not None and family.has_trials:
        trials = np.ones(len(rows.data)) if rows.trials is None else rows.trials.to_numpy(float)
    if not parsed.response:
        return None, trials
    if trials is None:
        return response_of(parsed, rows.data), None
    parts = parts_of_cbind(parsed.response)
    if parts is None:
        column = rows.data[parsed.response[0].name] if len(parsed.response) == 1 else None
        return response_of(parsed, rows.data) if column is None else _of_two_values(parsed, column), trials
    if len(parts) != 2:
        raise FormulaError(
            f"formula {parsed.text!r}: expected cbind(successes, failures), got {len(parts)} columns in "
            f"{join(parsed.response)}."
        )
    if rows.trials is not None:
        raise OptionError(f"trials: {join(parsed.response)} says how many trials there are; leave trials= out.")
    successes, failures = (_column(parsed, part, rows.data) for part in parts)
    assert family is not None
    _check_pairs(parsed, family, successes, failures, rows.data.index)
    return successes, successes + failures


def _check_pairs(
    parsed: ParsedFormula,
    family: AbstractFamily,
    successes: Float[NumpyArray, " n"],
    failures: Float[NumpyArray, " n"],
    index: pd.Index,
) -> None:
    """Raise where the family cannot have a pair since one of the two, as it is written, is no number of them."""
    refused = ~family.allows(observations(successes, successes + failures))
    parts = parts_of_cbind(parsed.response) or []
    for word, part, values in zip(("successes", "failures"), parts, (successes, failures), strict=True):
        wrong = np.flatnonzero(refused & ((values < 0.0) | (np.floor(values) != values)))
        if wrong.size:
            first = int(wrong[0])
            raise DataError(
                f"response {join(parsed.response)}: expected {word} that are whole numbers of at least 0, got "
                f"{join(part)} of {values[first]:g} in row {index[first]!s} ({_such_rows(wrong.size)}); failures are "
                "trials less successes, as in cbind(s, n - s) of s successes among n trials."
            )


def _such_rows(count: int) -> str:
    return f"{count} such rows" if count > 1 else "one such row"


def _column(parsed: ParsedFormula, part: list[Token], data: pd.DataFrame) -> Float[NumpyArray, " n"]:
    return response_of(parsed._replace(response=tuple(part)), data)


def _of_two_values(parsed: ParsedFormula, column: pd.Series) -> Float[NumpyArray, " n"]:
    """Return a column as numbers, of a factor or text the numbers of its two values, 0 and 1."""
    name = join(parsed.response)
    if not isinstance(column.dtype, pd.CategoricalDtype) and not is_text(column):
        return as_numbers(f"response {name}", column)
    factor = column.astype("category").cat.remove_unused_categories()
    if len(factor.cat.categories) != 2:
        raise DataError(
            f"response {name}: expected two values, of which the first is a failure, got "
            f"{len(factor.cat.categories)}: {', '.join(map(str, factor.cat.categories[:6]))}."
        )
    return factor.cat.codes.to_numpy(float)


def check_observations(
    name: str,
    family: AbstractFamily,
    y: Float[NumpyArray, " n"],
    row_data: Float[NumpyArray, "n ..."] | None,
    index: pd.Index,
) -> None:
    """Raise unless the family can have all observations, responses with their ``row_data``.

    Raises
    ------
    DataError
        With the first that it cannot have; if a zero part that depends on columns has no zeros, or a hurdle model has
        nothing else.
    """
    finite_or_raise(y[:, None], (name,))
    wrong = impossible_in_words(family, y, row_data, index)
    if wrong:
        raise DataError(f"response {name}: {wrong}.")
    if not isinstance(family, ZeroInflated):
        return
    zero = y == 0.0
    if family.columns and not zero.any():
        raise DataError(
            f"response {name}: expected zeros, of which zero_inflated= is a model, got none in {y.size} rows; leave "
            "zero_inflated= out."
        )
    if family.is_hurdle and zero.all():
        raise DataError(
            f"response {name}: expected others beside zeros, got {y.size} zeros: of a hurdle model the family is the "
            "distribution of the others, which are not there. Leave the response out."
        )


def impossible_in_words(
    family: AbstractFamily,
    y: Float[NumpyArray, " n"],
    row_data: Float[NumpyArray, "n ..."] | None,
    index: pd.Index,
) -> str:
    """Return what the family expects and the first observation that it cannot have, or ``""`` where it can have all."""
    wrong = np.flatnonzero(~family.allows(observations(y, row_data)))
    if not wrong.size:
        return ""
    trials = row_data if family.has_trials else None
    first = int(wrong[0])
    of = "" if trials is None or trials[first] == 1.0 else f" of {trials[first]:g} trials"
    share = trials is not None and bool(np.all((y >= 0.0) & (y <= 1.0)))
    hint = "; a proportion times its number of trials is a number of successes" if share else ""
    rows = _such_rows(wrong.size)
    return f"expected {family.expected()}, got {y[first]:g}{of} in row {index[first]!s} ({rows}){hint}"


def distribution_of(
    family: AbstractFamily | None,
    prior_weights: Float[NumpyArray, " n"],
    row_data: Float[NumpyArray, "n ..."] | None,
    n_padded: int,
    n_nodes: int,
    zeros: ZeroLabels | None,
) -> tuple[RowDistribution | None, FamilyLabels | None]:
    """Return the distribution of the rows with its labels; None of a linear mixed model."""
    if family is None:
        return None, None
    labels = FamilyLabels.of(family, n_nodes, zeros)
    return RowDistribution.of(family, n_padded, prior_weights, row_data, n_nodes), labels


def notes_of_approximation(
    options: ModelOptions, trials: Float[NumpyArray, " n"] | None, level_counts: list[int], n: int
) -> tuple[str, ...]:
    """Return the note that Laplace's approximation is biased where binary data have few rows in a level.

    ``level_counts`` are the numbers of levels of the grouping factors.
    """
    most = max(level_counts, default=0)
    single = trials is not None and bool(np.all(trials == 1.0))
    if options.quadrature > 1 or not single or n >= FEW_BINARY_ROWS * most:
        return ()
    hint = "quadrature=15 shows by how much" if len(level_counts) == 1 else "their estimates are biased towards zero"
    return (
        f"Laplace's approximation is inexact for binary data with few rows in a level (here {n / most:.1f} on average) "
        f"and estimates their variance too small: {hint}.",
    )


def check_quadrature(options: ModelOptions, bars: tuple[Bar, ...], sizes: list[int]) -> None:
    """Raise unless quadrature can be done: one grouping factor of independent levels, one or two effects in each.

    ``sizes`` are the numbers of columns of the random terms.
    """
    if options.quadrature == 1:
        return
    if options.quadrature > MOST_NODES:
        raise OptionError(f"quadrature: expected at most {MOST_NODES} nodes, got {options.quadrature}.")
    groups = list(dict.fromkeys(bar.group_name for bar in bars))
    got = f"{len(groups)} ({', '.join(groups)})" if groups else "none"
    if len(groups) != 1:
        raise OptionError(
            f"quadrature: expected one grouping factor, got {got}; quadrature=1 is Laplace's approximation, for any "
            "random effects."
        )
    if any(bar.over_positions for bar in bars) or (options.kinship or {}).keys() & set(groups):
        raise OptionError(
            "quadrature: expected independent levels with random columns, got positions or a known matrix across "
            "levels; quadrature=1 is Laplace's approximation."
        )
    if sum(sizes) > MOST_QUADRATURE_COLUMNS:
        raise OptionError(
            f"quadrature: expected one or two random effects in each level, got {sum(sizes)}; quadrature=1 is "
            "Laplace's approximation."
        )
