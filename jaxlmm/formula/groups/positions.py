"""Positions within levels: read from the left side of a bar, and put on a grid that levels share, or one of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, is_traced
from jaxlmm.covariance import AbstractCovariance, ByLevel, CompoundSymmetry, Diagonal, Kernel, Unstructured
from jaxlmm.errors import DataError, OptionError
from jaxlmm.formula.columns import Encoding, as_arithmetic, finite_or_raise, model_columns
from jaxlmm.formula.groups.levels import Levels, grouping_levels
from jaxlmm.formula.groups.structures import check_structure
from jaxlmm.formula.syntax import Bar
from jaxlmm.formula.tokens import Token, join, split, tokenize
from jaxlmm.genetics.ids import label_texts

MAX_CHECKED = 8
"""Number of positions at which the contract of a structure is checked."""

MAX_SHARED = 32
"""Numbers of different positions up to which levels share a grid; with more, levels that have half of them do."""


class Positions(NamedTuple):
    """The positions of the rows of a term.

    ``indices`` (n,) are those of the rows in the grid of their level, ``coords`` the grids, (1, q, d) where levels
    share one, else (L, q, d), a short one extended in steps of one by positions that no row has. ``structure`` is made
    for these. ``names`` are those of a grid's positions; ``observed`` (L, q) are the values of each level, NaN where no
    row has one, their numbers where they are points in several dimensions; ``encoding`` computes values on new data,
    None where the order of the rows is the position.
    """

    indices: Int[NumpyArray, " n"]
    coords: Float[NumpyArray, "L q d"]
    structure: AbstractCovariance
    names: tuple[str, ...]
    observed: Float[NumpyArray, "L q"]
    encoding: Encoding | None


class _Values(NamedTuple):
    """Positions (n, d) as they are read; ``labels`` of the levels of a factor, by number."""

    values: Float[NumpyArray, "n d"]
    encoding: Encoding | None
    labels: tuple[str, ...] | None


def positions_of(
    bar: Bar,
    structure: AbstractCovariance,
    data: pd.DataFrame,
    levels: Levels,
    *,
    shared: bool = False,
    is_residual: bool = False,
) -> Positions:
    """Return the positions of a term, or of the residual, with its structure made for them.

    Parameters
    ----------
    bar
        The term: a factor, numbers, or coordinates joined by ``+`` stand left of its bar; ``1`` is the order of the
        rows within their level.
    structure
        Its covariance structure.
    data, levels
        The complete rows, and the level of each.
    shared
        Whether levels covary, which then have the same positions.
    is_residual
        Whether it is the residual's, whose first parameter is held at 1.

    Raises
    ------
    DataError
        If positions are no numbers and no factor, are not finite, or have more parameters than there are rows; if the
        factor of ``by=`` varies within a level.
    OptionError
        If the structure cannot be used at the positions.
    """
    read = _read(bar, data, levels)
    finite_or_raise(read.values, (bar.text,))
    points, number = np.unique(read.values, axis=0, return_inverse=True)
    number = number.reshape(-1)
    longest = int(np.bincount(np.unique(levels.codes.astype(np.int64) * len(points) + number) // len(points)).max())
    on_grid = shared or _has_own_parameters(structure) or len(points) <= max(MAX_SHARED, 2 * longest)
    if on_grid:
        structure, coords = structure.placed(points), points[None]
        indices: Int[NumpyArray, " n"] = number.astype(np.int32)
        names = tuple(_name(point, read.labels) for point in points)
    else:
        coords, indices = _own_grids(read.values, number, levels)
        names = tuple(f"position {index + 1}" for index in range(coords.shape[1]))
    q = len(names)
    if structure.n_params(q) > max(len(data), 2):
        raise DataError(
            f"{bar.text}: expected positions that levels share, such as visits, got {q} different ones, and so "
            f"{structure.n_params(q)} parameters for {len(data)} rows."
        )
    structure.check(points)
    check_structure(structure, points[:MAX_CHECKED], f"structure of {bar.text}")
    if is_residual:
        _check_scale(structure, points[:MAX_CHECKED], bar.text)
    if bar.by is not None:
        by, labels = _by_codes(bar, data, levels)
        structure, indices = ByLevel(structure, labels), indices + np.int32(q) * by[levels.codes]
        coords = np.tile(coords, (1, len(labels), 1))
        names = tuple(f"{name}[{label}]" for label in labels for name in names)
    observed = np.full((len(levels.labels), coords.shape[1]), np.nan)
    observed[levels.codes, indices] = read.values[:, 0] if read.values.shape[1] == 1 else number
    return Positions(indices, coords, structure, names, observed, read.encoding)


def _check_scale(structure: AbstractCovariance, coords: Float[NumpyArray, "q d"], text: str) -> None:
    """Raise unless theta[0] of an author's structure is the standard deviation of the first position."""
    if not structure.authored or is_traced(structure):
        return
    theta = np.asarray(structure.start(coords), float)
    for step in (0.0, 0.2):
        at = np.concatenate([[1.0], theta[1:] + step])
        first = float(structure.covariance(jnp.asarray(at), jnp.asarray(coords))[0, 0])
        if not np.isclose(first, 1.0, rtol=1e-6):
            raise OptionError(
                f"residual {text}: expected theta[0] of {type(structure).__name__} to be the standard deviation of the "
                f"first position, which is held at 1 because sigma is the scale; with theta[0] = 1 its variance is "
                f"{first:.4g}. Let theta[0] multiply a factor whose first entry is 1."
            )


def _has_own_parameters(structure: AbstractCovariance) -> bool:
    """Whether parameters belong to positions, so that levels must share them."""
    return structure.n_params(2) != structure.n_params(3) or type(structure).placed is not AbstractCovariance.placed


def _read(bar: Bar, data: pd.DataFrame, levels: Levels) -> _Values:
    """Return the values left of a bar; text is sorted in a structure in which the order means nothing."""
    left = list(bar.left)
    if [token.text for token in left[:2]] == ["0", "+"]:
        left = left[2:]
    if [token.text for token in left] == ["1"]:
        within = pd.Series(levels.codes).groupby(levels.codes).cumcount()
        return _Values(within.to_numpy(float)[:, None], None, None)
    name = left[0].name
    if len(left) == 1 and name in data.columns and not pd.api.types.is_numeric_dtype(data[name]):
        column = data[name]
        if not isinstance(column.dtype, pd.CategoricalDtype):
            if not isinstance(bar.structure, Unstructured | Diagonal | CompoundSymmetry):
                raise DataError(
                    f"{bar.text}: expected positions as numbers or as a factor (whose levels are steps of one), got "
                    f"{column.dtype} such as {column.iloc[0]!s}. Visits in the order of their names: "
                    f"data[{name!r}] = data[{name!r}].astype('category'), of another order "
                    f"pd.Categorical(data[{name!r}], [first, second, …]); a date: days since the first."
                )
            column = column.astype("category")
            data = data.assign(**{name: column})
        left = [*tokenize("level_number"), Token("operator", "("), *left, Token("operator", ")")]
        labels = tuple(map(str, label_texts(pd.Index(column.cat.categories))))
        columns = model_columns(as_arithmetic(left), data)
        return _Values(columns.matrix, columns.encoding, labels)
    several = bar.own is not None or isinstance(bar.structure, Kernel)  # coordinates; of other tags, a sum
    parts = [part for _, part in split(left, ("+",))] if several else [left]
    tokens = as_arithmetic(parts[0])
    for part in parts[1:]:
        tokens += as_arithmetic(part)[1:]
    columns = model_columns(tokens, data)
    if columns.matrix.shape[1] != len(parts):
        raise DataError(
            f"{bar.text}: expected one numeric position per row, got {columns.matrix.shape[1]} columns of {join(left)}."
        )
    return _Values(columns.matrix, columns.encoding, None)


def _name(point: Float[NumpyArray, " d"], labels: Sequence[str] | None) -> str:
    return ", ".join(f"{value:g}" for value in point) if labels is None else labels[int(point[0])]


def _own_grids(
    values: Float[NumpyArray, "n d"], number: Int[NumpyArray, " n"], levels: Levels
) -> tuple[Float[NumpyArray, "L q d"], Int[NumpyArray, " n"]]:
    """Return a grid of each level, and the index of each row's position in it; ``number`` orders the positions."""
    groups = len(levels.labels)
    order = np.lexsort((number, levels.codes))
    sorted_codes, sorted_number = levels.codes[order], number[order]
    first = np.r_[True, np.diff(sorted_codes) != 0]
    is_new = first | np.r_[True, np.diff(sorted_number) != 0]
    rank = np.cumsum(is_new) - 1
    index_sorted = rank - rank[np.flatnonzero(first)][np.cumsum(first) - 1]
    longest = int(index_sorted.max()) + 1
    coords = np.full((groups, longest, values.shape[1]), np.nan)
    coords[sorted_codes, index_sorted] = values[order]
    count = np.bincount(sorted_codes[is_new], minlength=groups)
    last = coords[np.arange(groups), count - 1]
    beyond = np.maximum(np.arange(longest)[None, :] - count[:, None] + 1, 0)
    coords = np.where(np.isnan(coords), last[:, None, :] + beyond[:, :, None], coords)
    indices = np.empty(number.size, np.int32)
    indices[order] = index_sorted
    return coords, indices


def _by_codes(bar: Bar, data: pd.DataFrame, levels: Levels) -> tuple[Int[NumpyArray, " L"], tuple[str, ...]]:
    """Return the level of the factor ``by=`` of each level of the group, and its labels."""
    assert bar.by is not None
    factor = grouping_levels((bar.by,), data)
    by = np.zeros(len(levels.labels), np.int32)
    by[levels.codes] = factor.codes
    varies = np.flatnonzero(by[levels.codes] != factor.codes)
    if varies.size:
        level = levels.labels[levels.codes[varies[0]]]
        raise DataError(
            f"{bar.text}: expected {bar.by!r} to be the same in all rows of a level of {bar.group_name}, got several "
            f"in {level!s}."
        )
    return by, tuple(map(str, label_texts(factor.labels)))
