"""The labelled side of a design: which rows, columns and levels its arrays stand for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray, as_table, bucket, in_double_precision, pad
from jaxlmm.covariance import RESIDUAL_SD
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import (
    Columns,
    check_grouping,
    check_names,
    check_response,
    check_weights,
    finite_or_raise,
    model_columns,
)
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
from jaxlmm.formula.rows import Rows, complete_rows, offset_of, response_of
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
    table = as_table(data)
    parsed = resolved(parsed, table.columns, options)
    options = resolved_options(options, parsed, table.columns)
    bars = (*parsed.bars, *((options.residual_bar,) if options.residual_bar else ()))
    rows = complete_rows(parsed, bars, table, options.weights, options.offset)
    root_weight = np.sqrt(check_weights(rows.weights, len(rows.data)))
    total_offset, encodings = offset_of(parsed, rows)
    y = response_of(parsed, rows.data) if parsed.response else None
    if y is not None:
        check_response(join(parsed.response), y, total_offset)
    fixed = _fixed_effects(parsed, rows.data, root_weight)
    if y is not None:
        check_not_perfect(join(parsed.response), root_weight * (y - total_offset), fixed.basis)
    check_names(fixed.columns.names, [bar.group for bar in bars])
    factors = _factors(parsed, bars, rows.data, options, known_residual)
    terms = _random_terms(parsed, rows.data, options, factors, root_weight)

    padded = bucket(len(rows.data), SMALLEST_ROWS)
    design = Design(
        pad(fixed.basis, padded), fixed.triangle, pad(root_weight, padded), pad(total_offset, padded),
        np.int64(len(rows.data)), tuple(term for term, _ in terms.built), terms.groupings, terms.residual,
        functools.partial(_replaced, parsed, rows, options, known_residual),
    )  # fmt: skip
    column = options.offset if isinstance(options.offset, str) else None
    offset = OffsetLabels(encodings, column, options.offset is not None and column is None)
    groups = {
        name: _group_labels(bar, factors.levels[name], factors.known.get(name))
        for bar in parsed.bars
        for name in factors.names[bar.group_name]
    }
    labels = ModelLabels(
        parsed.text, join(parsed.response), fixed.columns.names, fixed.kept, fixed.columns.encoding, offset, groups,
        tuple(label for _, label in terms.built), terms.residual_labels,
    )  # fmt: skip
    notes, notes_of_y = notes_of_rows(parsed, rows.data, options.offset, rows.offset, y)
    notes = (*notes, *(note for matrix in factors.known.values() for note in matrix.notes))
    if y is not None:
        names = [join(parsed.response)]
        copies = notes_of_copies(factors.levels, factors.known, fixed.x, total_offset, names, y[:, None])
        notes_of_y = (*notes_of_y, *copies)
    return ModelFrame(
        labels, y, fixed.x, rows.data.index, rows.used, root_weight**2, total_offset, factors.levels, factors.known,
        design, notes, notes_of_y,
    )  # fmt: skip


class _Fixed(NamedTuple):
    """The fixed effects: all columns, which are kept, these (n, p), and their weighted orthonormal basis."""

    columns: Columns
    kept: NumpyArray
    x: NumpyArray
    basis: NumpyArray
    triangle: NumpyArray


def _fixed_effects(parsed: ParsedFormula, data: pd.DataFrame, root_weight: NumpyArray) -> _Fixed:
    fixed = model_columns(parsed.fixed, data)
    finite_or_raise(fixed.matrix, fixed.names)
    kept, basis, triangle = independent_basis(fixed.matrix * root_weight[:, None])
    x = fixed.matrix[:, kept]
    if len(data) <= x.shape[1]:
        raise DataError(
            f"the model needs more rows than fixed effects: got {len(data)} complete rows and {x.shape[1]} columns "
            f"({', '.join(fixed.names[:8])}). Remove terms or add data."
        )
    return _Fixed(fixed, kept, x, basis, triangle)


class _Factors(NamedTuple):
    """The grouping factors: ``names`` of each group, one per known matrix; levels and known matrix of each name."""

    names: Mapping[str, Sequence[str]]
    levels: dict[str, Levels]
    known: Mapping[str, Known | Located]


def _factors(
    parsed: ParsedFormula, bars: Sequence[Bar], data: pd.DataFrame, options: ModelOptions, known_residual: bool
) -> _Factors:
    residual_bar = options.residual_bar
    levels = {bar.group_name: grouping_levels(bar.group, data) for bar in bars}
    matrices = known_matrices(options.kinship, {bar.group_name: levels[bar.group_name] for bar in parsed.bars})
    for bar in parsed.bars:
        told_apart = bar.group_name in matrices or (residual_bar is not None and residual_bar.group == bar.group)
        exempt = told_apart or known_residual or TAGS[bar.tag].left == "positions"
        check_grouping(bar.group_name, len(levels[bar.group_name].labels), len(data), exempt)
    names = {group: repeated(group, matrices.get(group, ())) for group in levels}
    known = {matrix.name: matrix for several in matrices.values() for matrix in several}
    return _Factors(names, {name: levels[group] for group in levels for name in names[group]}, known)


class _Terms(NamedTuple):
    """The random terms with their labels, the grouping factors that they refer to, and the residual's term."""

    built: list[tuple[Term, TermLabels]]
    groupings: tuple[Grouping, ...]
    residual: Term | None
    residual_labels: TermLabels | None


def _random_terms(
    parsed: ParsedFormula, data: pd.DataFrame, options: ModelOptions, factors: _Factors, root_weight: NumpyArray
) -> _Terms:
    names, levels, known = factors
    padded = bucket(len(data), SMALLEST_ROWS)
    groupings = tuple(_grouping(level, known.get(name), padded) for name, level in levels.items())
    indices = {name: index for index, name in enumerate(levels)}
    builder = TermBuilder(data, root_weight, padded, set())
    built = [
        builder.build(bar, structure, levels[name], name, indices[name], known.get(name))
        for bar, structure in zip(parsed.bars, structures_of(parsed.bars, options.covariance), strict=True)
        for name in names[bar.group_name]
    ]
    bar = options.residual_bar
    if bar is None:
        return _Terms(built, groupings, None, None)
    group = names[bar.group_name][0]
    index = indices[group]
    if isinstance(known.get(group), Located):  # whose levels are one block
        groupings = (*groupings, _grouping(levels[group], None, padded))
        index = len(groupings) - 1
    plain = TermBuilder(data, np.ones(len(data)), padded, set())
    term, labels = plain.build(bar, TAGS[bar.tag].structure(), levels[group], group, index, None)
    return _Terms(built, groupings, *_as_residual(term, labels, levels[group]))


@in_double_precision
def _replaced(
    parsed: ParsedFormula, rows: Rows, options: ModelOptions, known_residual: bool, changes: Mapping[str, Any]
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
