"""Reference grids: combinations of factor levels and values of covariates, and averages over them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, OptionError, choose, nearest
from jaxlmm.formula.functions import listed
from jaxlmm.results.hypotheses.rows import FixedPart

MAX_CELLS = 100_000
"""The most combinations of levels that a grid may have."""

WEIGHTS = ("equal", "proportional", "outer", "cells")
"""The values of ``weights``."""

SLOPE_STEP = 1e-3
"""The step of the central difference that is the slope over a covariate, as a part of the covariate's range."""


class Grid(NamedTuple):
    """Combinations of coefficients whose values are marginal means.

    ``cells``: the levels of the factors that means are of; ``rows`` (c, p) of the kept columns, NaN where the rows of
    the fit determine no mean; ``covariates`` the values at which the others were held; ``averaged`` the factors that
    were averaged over.
    """

    cells: pd.DataFrame
    rows: Float[NumpyArray, "c p"]
    covariates: dict[str, Any]
    averaged: tuple[str, ...]


def names_in(option: str, value: Any) -> tuple[str, ...]:
    """Return the names of factors in ``"a"``, ``"a:b"``, ``"~ a + b"`` or a list of names; ``"~ 1"`` has none.

    >>> names_in("spec", "~ a * b"), names_in("spec", ["a", "b"]), names_in("spec", "~ 1")
    (('a', 'b'), ('a', 'b'), ())
    """
    if value is None:
        return ()
    if isinstance(value, str):
        words = value.replace("~", " ").replace("*", " ").replace(":", " ").replace("+", " ").split()
        return () if words == ["1"] else tuple(dict.fromkeys(words))
    if isinstance(value, Sequence) and all(isinstance(name, str) for name in value):
        return tuple(dict.fromkeys(value))
    raise OptionError(f"{option}: expected the name of a factor or a list of names, got {value!r}.")


def factors_and_by(spec: Any, by: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the factors that means are of, and those within whose levels they are compared; "a | b" says both.

    >>> factors_and_by("~ a | b", None), factors_and_by("a", ["b"])
    ((('a',), ('b',)), (('a',), ('b',)))
    """
    if isinstance(spec, str) and "|" in spec and by is None:
        spec, by = spec.split("|", 1)
    factors, within = names_in("spec", spec), names_in("by", by)
    both = [name for name in factors if name in within]
    if both:
        raise OptionError(f"by: {both[0]!r} is among the factors that means are of, too.")
    return factors, within


def reference_grid(
    part: FixedPart, factors: Sequence[str], at: Mapping[str, Any] | None, weights: str, *, slope: str | None = None
) -> Grid:
    """Return the combinations of the ``factors``' levels, averaged over all other factors, covariates at their means.

    Parameters
    ----------
    factors
        Names of variables of the fixed effects; none for one average over all.
    at
        Values of covariates, or levels of factors, in place of these.
    weights
        ``"equal"`` averages over the levels of other factors, ``"proportional"`` over their combinations by how many
        rows have them, ``"outer"`` by the product of the shares of each factor's levels, ``"cells"`` by how many rows
        of each of the means have them.
    slope
        A covariate, over which the grid is of slopes instead of means.

    Raises
    ------
    OptionError
        If a name is no variable of the fixed effects, or a value of ``at`` is no level.
    """
    choose("weights", weights, WEIGHTS)
    if not (at is None or isinstance(at, Mapping)):
        raise OptionError(f"at: expected a dict from variables to values, as {{'x': [1, 2]}}, got {at!r}.")
    labels = part.labels
    variables, at = labels.encoding.variables, dict(at or {})
    for option, name in (*(("spec", name) for name in factors), *(("at", name) for name in at)):
        if name not in variables:
            raise OptionError(f"{option}: {name!r} is no variable of the fixed effects; {nearest(name, variables)}.")
    values: dict[str, list[Any]] = {}
    covariates: dict[str, Any] = {}
    for name, variable in variables.items():
        levels = _levels(part, name)
        if name in at:
            given = list(at[name]) if isinstance(at[name], (list, tuple, np.ndarray, pd.Series)) else [at[name]]
            unknown = [] if levels is None else [value for value in given if value not in levels]
            if unknown or not given:
                known = "numbers" if levels is None else listed(levels)
                raise OptionError(f"at: expected values of {name} among {known}, got {listed(unknown)}.")
            values[name] = given
        elif levels is not None:
            values[name] = list(levels)
        else:
            values[name] = [float(np.mean(part.variables()[name].to_numpy(float)))]
        if levels is None and len(values[name]) == 1:
            covariates[name] = values[name][0]
        if name in factors and variable.is_number and levels is None and name not in at:
            raise OptionError(
                f"spec: {name} is a number, of which there are no levels; at={{{name!r}: [1, 2]}} says at which values."
            )
    count = int(np.prod([len(own) for own in values.values()], dtype=float))
    if count > MAX_CELLS:
        raise OptionError(
            f"spec: expected up to {MAX_CELLS:,} combinations of levels, got {count:,}; say some with at=."
        )
    whole = pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))
    columns = labels.encoding.columns(whole) if slope is None else _slopes(part, whole, slope)
    cells = whole[list(factors)].drop_duplicates().reset_index(drop=True) if factors else pd.DataFrame(index=[0])
    others = [name for name in values if name not in factors and len(values[name]) > 1]
    weighted = [name for name in others if _levels(part, name) is not None]
    share, own = np.ones(len(whole)), [name for name in factors if _levels(part, name) is not None]
    if weighted and weights == "outer":
        share = np.prod([_shares(part, whole, [name]) for name in weighted], axis=0)
    elif weighted and weights != "equal":
        share = _shares(part, whole, [*weighted, *(own if weights == "cells" else ())])
    number = _numbers(whole, cells, list(factors))
    average = np.zeros((len(cells), len(whole)))
    average[number, np.arange(len(whole))] = share
    with np.errstate(invalid="ignore"):
        average /= average.sum(axis=1, keepdims=True)  # NaN: a cell without rows
    means = average @ columns
    determined = part.estimable(np.nan_to_num(means)) & np.isfinite(means).all(axis=1)
    rows = np.where(determined[:, None], means[:, labels.kept], np.nan)
    return Grid(cells, rows, covariates, tuple(others))


def _slopes(part: FixedPart, whole: pd.DataFrame, name: str) -> Float[NumpyArray, "c p"]:
    """Return the derivatives of the columns in a covariate, by central differences."""
    labels = part.labels
    variables = labels.encoding.variables
    if name not in variables:
        raise OptionError(f"var: {name!r} is no variable of the fixed effects; {nearest(name, variables)}.")
    if _levels(part, name) is not None or not variables[name].is_number:
        raise OptionError(f"var: expected a covariate, got {name}, a factor, over which there is no slope.")
    step = SLOPE_STEP * float(np.ptp(part.variables()[name].to_numpy(float)))
    above, below = (
        labels.encoding.columns(whole.assign(**{name: whole[name].astype(float) + h})) for h in (step, -step)
    )
    return np.asarray((above - below) / (2.0 * step))


def _levels(part: FixedPart, name: str) -> tuple[Any, ...] | None:
    """Return the levels of a variable that is a factor, or that the formula makes one; None of a number."""
    encoding = part.labels.encoding
    variable = encoding.variables[name]
    stand_in = encoding.stand_ins.column(list(encoding.variables).index(name))
    alone = re.compile(rf"{stand_in}|(C|factor|ordered)\(\s*{stand_in}\s*(,.*)?\)", re.DOTALL)
    for text, state in encoding.codings.items():
        if alone.fullmatch(text):  # its levels that occur
            return tuple(state["categories"])
    return None if variable.is_number else variable.levels or (False, True)


def _shares(part: FixedPart, whole: pd.DataFrame, others: list[str]) -> Float[NumpyArray, " c"]:
    """Return the share of the fit's rows that has the levels of the ``others``, for each combination."""
    counts = part.variables()[others].astype(object).value_counts()
    keys = [tuple(row) for row in whole[others].itertuples(index=False)]
    shares = np.array([float(counts.get(key, 0.0)) for key in keys])
    if not shares.any():
        raise DataError("weights: no row of the fit has these levels; expected weights='equal'.")
    return shares


def _numbers(whole: pd.DataFrame, cells: pd.DataFrame, factors: list[str]) -> NumpyArray:
    """Return which of the cells each combination belongs to."""
    if not factors:
        return np.zeros(len(whole), int)
    index = {tuple(row): number for number, row in enumerate(cells.itertuples(index=False))}
    return np.array([index[tuple(row)] for row in whole[factors].itertuples(index=False)])


def same_cells(cells: pd.DataFrame, by: Sequence[str]) -> list[tuple[dict[str, Any], Bool[NumpyArray, " c"]]]:
    """Return which cells have each combination of the levels of the factors ``by``."""
    if not by:
        return [({}, np.ones(len(cells), bool))]
    keys = [tuple(row) for row in cells[list(by)].itertuples(index=False)]
    return [
        (dict(zip(by, key, strict=True)), np.array([other == key for other in keys])) for key in dict.fromkeys(keys)
    ]
