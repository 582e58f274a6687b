"""The labelled side of a design: which rows, columns and levels its arrays stand for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray, as_frame, as_table, bucket, in_double_precision, pad
from jaxlmm.covariance import RESIDUAL_SD
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import (
    Encoding,
    as_arithmetic,
    check_grouping,
    check_names,
    check_response,
    check_response_apart,
    check_unique,
    check_weights,
    column_or_array,
    finite_or_raise,
    model_columns,
    model_variables,
)
from jaxlmm.formula.functions import as_numbers, plain_dtypes
from jaxlmm.formula.groups import (
    GroupLabels,
    Known,
    Levels,
    Located,
    ModelLabels,
    OffsetLabels,
    TermBuilder,
    TermLabels,
    grouping_levels,
    known_matrices,
    named_like,
    notes_of_copies,
    real_factors,
    repeated,
    structures_of,
)
from jaxlmm.formula.notes import notes_of_responses, notes_of_rows
from jaxlmm.formula.syntax import TAGS, Bar, ModelOptions, ParsedFormula, resolved, resolved_options
from jaxlmm.formula.tokens import join
from jaxlmm.model import Design, Grouping, Term, independent_basis

SMALLEST_ROWS = 256
"""Rows are padded to at least this many, so that small data sets share their programs."""


@dataclasses.dataclass(frozen=True, eq=False)
class ModelFrame:
    """A design with everything that names it.

    ``labels`` hold no row; ``y`` (n,) or None; ``x`` (n, p) the fixed-effect columns that are kept; ``index`` labels
    the n rows, those of the data that are ``used`` (rows,); ``levels`` are those of each group, the residual's too, in
    the order of the design's groupings; ``known`` are the known matrices of those groups that have one, or the
    structures with coordinates, whose levels are one level of the design's grouping. ``notes`` are sentences about the
    rows that a print shows, ``notes_of_y`` those about the response.
    """

    labels: ModelLabels
    y: NumpyArray | None
    x: NumpyArray
    index: pd.Index
    used: NumpyArray
    weights: NumpyArray
    offset: NumpyArray
    levels: dict[str, Levels]
    known: Mapping[str, Known | Located]
    design: Design
    notes: tuple[str, ...] = ()
    notes_of_y: tuple[str, ...] = ()

    def notes_on(self, names: Sequence[str], y: NumpyArray) -> tuple[str, ...]:
        """Return the notes on responses ``y`` (n, m) of the frame's rows, NaN where missing."""
        copies = notes_of_copies(self.levels, self.known, self.x, self.offset, names, y)
        return (*notes_of_responses(names, y), *copies)

    def by_level(self, number: int, effects: NumpyArray) -> NumpyArray:
        """Return what a program found for the effects of a term (..., L, q), levels × columns of its labels."""
        group = self.labels.terms[number].group
        known = self.known.get(group)
        if isinstance(known, Located):
            return np.asarray(effects)[..., 0, known.positions][..., None]
        return np.asarray(effects)[..., : len(self.levels[group].labels), :]

    @property
    def n_dropped(self) -> int:
        """The number of rows of the data that are not used, because a value is missing."""
        return int((~self.used).sum())


def build_frame(parsed: ParsedFormula, data: Any, options: ModelOptions, *, known_residual: bool = False) -> ModelFrame:
    """Evaluate a formula on data: drop incomplete rows once, check, and build the design.

    ``known_residual`` says that the residual's variance is fixed: then a level may have but one row.

    Raises
    ------
    FormulaError, DataError, KinshipError, OptionError
        Before any computing, each with what was expected and what came.
    """
    data = as_table(data)
    parsed = resolved(parsed, data.columns, options)
    options = resolved_options(options, parsed, data.columns)
    residual_bar = options.residual_bar
    bars = (*parsed.bars, *((residual_bar,) if residual_bar else ()))
    rows = _complete_rows(parsed, bars, data, options.weights, options.offset)
    data, n = rows.data, len(rows.data)
    root_weight = np.sqrt(check_weights(rows.weights, n))
    total_offset, encodings = _offset(parsed, rows)
    y = _response(parsed, data) if parsed.response else None
    if y is not None:
        check_response(join(parsed.response), y, total_offset)

    fixed = model_columns(parsed.fixed, data)
    finite_or_raise(fixed.matrix, fixed.names)
    kept, basis, triangle = independent_basis(fixed.matrix * root_weight[:, None])
    x = fixed.matrix[:, kept]
    if n <= x.shape[1]:
        raise DataError(
            f"the model needs more rows than fixed effects: got {n} complete rows and {x.shape[1]} columns "
            f"({', '.join(fixed.names[:8])}). Remove terms or add data."
        )
    if y is not None:
        check_not_perfect(join(parsed.response), root_weight * (y - total_offset), basis)

    levels = {bar.group_name: grouping_levels(bar.group, data) for bar in bars}
    check_names(fixed.names, [bar.group for bar in bars])
    known = known_matrices(options.kinship, {bar.group_name: levels[bar.group_name] for bar in parsed.bars})
    for bar in parsed.bars:
        told_apart = bar.group_name in known or (residual_bar is not None and residual_bar.group == bar.group)
        exempt = told_apart or known_residual or TAGS[bar.tag].left == "positions"
        check_grouping(bar.group_name, len(levels[bar.group_name].labels), n, exempt)
    names = {group: repeated(group, known.get(group, ())) for group in levels}
    across = {one.name: one for several in known.values() for one in several}
    levels = {name: levels[group] for group in levels for name in names[group]}
    padded, places = bucket(n, SMALLEST_ROWS), {name: place for place, name in enumerate(levels)}
    groupings = tuple(_grouping(level, across.get(name), padded) for name, level in levels.items())

    builder = TermBuilder(data, root_weight, padded, set())
    built = [
        builder.build(bar, structure, levels[name], name, places[name], across.get(name))
        for bar, structure in zip(parsed.bars, structures_of(parsed.bars, options.covariance), strict=True)
        for name in names[bar.group_name]
    ]
    residual_term, residual_labels = None, None
    if residual_bar is not None:
        group = names[residual_bar.group_name][0]
        plain = TermBuilder(data, np.ones(n), padded, set())
        structure = TAGS[residual_bar.tag].structure()
        if isinstance(across.get(group), Located):  # whose levels are one block
            groupings = (*groupings, _grouping(levels[group], None, padded))
            places[group] = len(groupings) - 1
        built_residual = plain.build(residual_bar, structure, levels[group], group, places[group], None)
        residual_term, residual_labels = _as_residual(*built_residual, levels[group])

    design = Design(
        pad(basis, padded), triangle, pad(root_weight, padded), pad(total_offset, padded), np.int64(n),
        tuple(term for term, _ in built), groupings, residual_term,
        functools.partial(_replaced, parsed, rows, options, known_residual),
    )  # fmt: skip
    column = options.offset if isinstance(options.offset, str) else None
    offset = OffsetLabels(encodings, column, options.offset is not None and column is None)
    groups = {
        name: _group_labels(bar, levels[name], across.get(name))
        for bar in parsed.bars
        for name in names[bar.group_name]
    }
    labels = ModelLabels(
        parsed.text, join(parsed.response), fixed.names, kept, fixed.encoding, offset, groups,
        tuple(label for _, label in built), residual_labels,
    )  # fmt: skip
    notes, notes_of_y = notes_of_rows(parsed, rows.data, options.offset, rows.offset, y)
    notes = (*notes, *(note for one in across.values() for note in one.notes))
    if y is not None:
        copies = notes_of_copies(levels, across, x, total_offset, [join(parsed.response)], y[:, None])
        notes_of_y = (*notes_of_y, *copies)
    return ModelFrame(
        labels, y, x, data.index, rows.used, root_weight**2, total_offset, levels, across, design, notes, notes_of_y
    )


@in_double_precision
def _replaced(
    parsed: ParsedFormula, rows: _Rows, options: ModelOptions, known_residual: bool, changes: Mapping[str, Any]
) -> Design:
    """Return the design on its complete rows with other options; what a mapping does not name stays."""
    values: dict[str, Any] = {"weights": rows.weights, "offset": rows.offset}
    for name, value in changes.items():
        values[name] = {**(getattr(options, name) or {}), **value} if isinstance(value, Mapping) else value
    changed = dataclasses.replace(options, **values)
    return build_frame(parsed._replace(response=()), rows.data, changed, known_residual=known_residual).design


def _grouping(levels: Levels, known: Known | Located | None, padded: int) -> Grouping:
    """Return a grouping factor as programs see it: levels with coordinates are positions of one block."""
    if isinstance(known, Located):
        return Grouping(np.zeros(padded, np.int32), np.int64(1), None)
    return Grouping(pad(levels.codes, padded), np.int64(len(levels.labels)), None if known is None else known.relation)


def _group_labels(bar: Bar, levels: Levels, known: Known | Located | None) -> GroupLabels:
    relatives, diagonal = None, None
    if known is not None:
        relatives, diagonal = named_like(levels.labels, known.ids[known.others]), known.mean_diagonal
    return GroupLabels(real_factors(bar.group), levels.parts, levels.labels, relatives, diagonal)


class _Rows(NamedTuple):
    """The complete rows of the used columns, with weights and offset on them."""

    data: pd.DataFrame
    used: NumpyArray
    weights: pd.Series | None
    offset: pd.Series | None


def _complete_rows(parsed: ParsedFormula, bars: Sequence[Bar], data: Any, weights: Any, offset: Any) -> _Rows:
    table = as_table(data)
    names = model_variables(parsed, bars, table.columns)
    check_response_apart(parsed, bars, table.columns)
    options = [value for value in (weights, offset) if isinstance(value, str) and value in table.columns]
    check_unique([*names, *options], table.columns)
    frame = as_frame(table, list(dict.fromkeys([*names, *options])))
    weight, shift = (
        column_or_array(option, value, frame, table.columns)
        for option, value in (("weights", weights), ("offset", offset))
    )
    used = frame[names] if options else frame
    complete = np.ones(len(used), bool)
    for name in names:
        complete &= used[name].notna().to_numpy()
    for extra in (weight, shift):
        if extra is not None:
            complete &= extra.notna().to_numpy()
    if not complete.any():
        counts = ", ".join(f"{name} {int(count)}" for name, count in used.isna().sum().items() if count)
        raise DataError(
            f"data: expected at least one complete row, got {len(used)} rows with missing values "
            f"({counts or 'weights'})."
        )
    if not complete.all():
        used = used[complete]
        weight, shift = (None if extra is None else extra[complete] for extra in (weight, shift))
    return _Rows(plain_dtypes(used), complete, weight, shift)


def _response(parsed: ParsedFormula, data: pd.DataFrame) -> NumpyArray:
    name = join(parsed.response)
    if len(parsed.response) == 1 and parsed.response[0].name in data.columns:
        return as_numbers(f"response {name}", data[parsed.response[0].name])
    columns = model_columns(as_arithmetic(parsed.response), data, again=False)
    if columns.matrix.shape[1] != 1:
        raise DataError(
            f"response {name}: expected one column of numbers, got {columns.matrix.shape[1]} "
            f"({', '.join(columns.names[:4])})."
        )
    return columns.matrix[:, 0]


def _offset(parsed: ParsedFormula, rows: _Rows) -> tuple[NumpyArray, tuple[Encoding, ...]]:
    total = np.zeros(len(rows.data)) if rows.offset is None else rows.offset.to_numpy(float)
    parts = [model_columns(as_arithmetic(tokens), rows.data) for tokens in parsed.offsets]
    total = total + sum(part.matrix[:, 0] for part in parts)
    finite_or_raise(total[:, None], ("offset",))
    return total, tuple(part.encoding for part in parts)


def check_not_perfect(name: str, y: NumpyArray, basis: NumpyArray) -> None:
    """Raise if a weighted response (n,) lies in the span of the fixed effects' orthonormal ``basis`` (n, p)."""
    residual = y - basis @ (basis.T @ y)
    residual = residual - basis @ (basis.T @ residual)
    if np.linalg.norm(residual) <= 1e-12 * np.linalg.norm(y):
        raise DataError(f"response {name}: the fixed effects fit it perfectly, so there is no variance to estimate.")


def _as_residual(term: Term, labels: TermLabels, levels: Levels) -> tuple[Term, TermLabels]:
    """Check that each row has a position of its own, and name the parameters after the residual."""
    taken = levels.codes.astype(np.int64) * term.size + np.asarray(term.positions)[: levels.codes.size]
    if np.unique(taken).size < taken.size:
        raise DataError(
            f"residual {labels.text}: expected one row per position within a level, got "
            f"{taken.size - np.unique(taken).size} repeated positions; a residual cannot be shared by two rows."
        )
    group = RESIDUAL_SD.group
    named = tuple(parameter._replace(group=group) for parameter in labels.natural)
    return term, labels._replace(group=group, natural=named, positions=None)
