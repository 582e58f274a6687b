"""Model frames: a design with the labels of its rows, columns and levels, built from a formula and data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxlmm._util import MIN_PADDED_ROWS, Array, NumpyArray, as_table, bucket, in_double_precision, pad
from jaxlmm.covariance import RESIDUAL_SD
from jaxlmm.errors import DataError
from jaxlmm.formula.columns import check_grouping, check_names, check_response, check_weights
from jaxlmm.formula.dispersion import dispersion_levels, dispersion_of
from jaxlmm.formula.family import (
    check_observations,
    check_quadrature,
    distribution_of,
    notes_of_approximation,
    observations_of,
    without_cbind,
)
from jaxlmm.formula.fixed import check_not_perfect, fixed_columns
from jaxlmm.formula.groups import (
    GroupLabels,
    KnownMatrix,
    Levels,
    LevelStructure,
    ModelLabels,
    OffsetLabels,
    TermBuilder,
    TermLabels,
    bars_by_level,
    group_names,
    grouping_levels,
    known_matrices,
    named_like,
    notes_of_copies,
    real_factors,
    structures_of,
)
from jaxlmm.formula.notes import notes_of_responses, notes_of_rows
from jaxlmm.formula.rows import Rows, complete_rows, offset_of
from jaxlmm.formula.syntax import Bar, ModelOptions, ParsedFormula, resolved, resolved_options
from jaxlmm.formula.tokens import join
from jaxlmm.formula.zeros import zero_part
from jaxlmm.model import Design, Grouping, Incidence, Term


@dataclasses.dataclass(frozen=True, eq=False)
class ModelFrame:
    """A design with its labels and its rows: X, the response, weights and offset.

    ``x`` are the fixed-effect columns that are kept; ``index`` labels the n rows, which ``used`` marks in the data;
    ``levels`` are those of each group, the residual's too, in the order of the design's groupings;
    ``level_covariances`` are the known matrices across the levels of a group, or the structures with coordinates, whose
    levels are one level of the design's grouping. ``weights`` are 1 in a generalized model, whose prior weights are in
    its design. ``dispersion_levels`` are the rows of each level in a model of
    dispersion. ``notes`` are sentences on the rows for the summary, ``notes_of_y`` those on the response.
    """

    labels: ModelLabels
    y: Float[NumpyArray, " n"] | None
    x: Float[NumpyArray, "n p"]
    index: pd.Index
    used: Bool[NumpyArray, " rows"]
    weights: Float[NumpyArray, " n"]
    offset: Float[NumpyArray, " n"]
    levels: dict[str, Levels]
    level_covariances: Mapping[str, KnownMatrix | LevelStructure]
    design: Design
    dispersion_levels: Mapping[str, Bool[NumpyArray, " n"]]
    notes: tuple[str, ...] = ()
    notes_of_y: tuple[str, ...] = ()

    def notes_on(self, names: Sequence[str], y: Float[NumpyArray, "n m"]) -> tuple[str, ...]:
        """Return the notes on responses ``y`` of the frame's rows, NaN where missing."""
        copies = notes_of_copies(self.levels, self.level_covariances, self.x, self.offset, names, y)
        return (*notes_of_responses(names, y, as_gaussian=self.labels.family is None), *copies)

    def by_level(self, number: int, effects: Float[Array, "*b _ _"]) -> Float[NumpyArray, "*b L _"]:
        """Return the effects of a term, as a solver computes them, by level and column of its labels."""
        group = self.labels.terms[number].group
        covariance = self.level_covariances.get(group)
        if isinstance(covariance, LevelStructure):
            return np.asarray(effects)[..., 0, covariance.positions][..., None]
        return np.asarray(effects)[..., : len(self.levels[group].labels), :]

    @property
    def row_data(self) -> Float[NumpyArray, "n ..."] | None:
        """The trials or the columns of the zero part of each row, None where the family has none."""
        own = None if self.design.distribution is None else self.design.distribution.row_data
        return None if own is None else np.asarray(own)[: len(self.index)]

    @property
    def trials(self) -> Float[NumpyArray, " n"] | None:
        """The number of trials in each row, None where the family has none."""
        distribution = self.design.distribution
        return self.row_data if distribution is not None and distribution.family.has_trials else None

    @property
    def prior_weights(self) -> Float[NumpyArray, " n"]:
        """The weights as they were given."""
        distribution = self.design.distribution
        return self.weights if distribution is None else np.asarray(distribution.weight)[: len(self.index)]

    @property
    def n_dropped(self) -> int:
        """The number of rows of the data with a missing value, which are not used."""
        return int((~self.used).sum())


def build_frame(parsed: ParsedFormula, data: Any, options: ModelOptions, *, known_residual: bool = False) -> ModelFrame:
    """Evaluate a formula on data: drop incomplete rows once, check, and build the design.

    With ``known_residual`` the residual's variance is fixed, so that each level may have a single row.

    Raises
    ------
    FormulaError, DataError, KinshipError, OptionError
        If the formula, the data or an option is invalid.
    """
    table = as_table(data)
    parsed = resolved(parsed, table.columns, options)
    options = resolved_options(options, parsed, table.columns)
    bars = (*parsed.bars, *((options.residual_bar,) if options.residual_bar else ()))
    rows, family = complete_rows(without_cbind(parsed), bars, table, options), options.row_family
    parsed = parsed._replace(bars=bars_by_level(parsed.bars, rows.data))
    prior_weights = check_weights(rows.weights, len(rows.data))
    root_weight = np.sqrt(prior_weights) if family is None else np.ones(len(rows.data))
    total_offset, encodings = offset_of(parsed, rows)
    y, trials = observations_of(parsed, rows, family)
    zeros = None if family is None else zero_part(parsed, rows.data, family)
    family, row_data = (family, trials) if zeros is None else (zeros.family, zeros.columns)
    if family is not None and y is not None:
        check_observations(join(parsed.response), family, y, row_data, rows.data.index)
    elif y is not None:
        check_response(join(parsed.response), y, total_offset)
    if trials is not None:  # a design of other options has no response to tell them
        rows = rows._replace(trials=pd.Series(trials, rows.data.index))
    fixed = fixed_columns(parsed, rows.data, root_weight)
    if family is None and y is not None:
        check_not_perfect(join(parsed.response), root_weight * (y - total_offset), fixed.basis)
    check_names(fixed.columns.names, [bar.group for bar in bars])
    factors = _factors(parsed, bars, rows.data, options, known_residual)
    terms = _random_terms(parsed, rows.data, options, factors, root_weight)

    padded = bucket(len(rows.data), MIN_PADDED_ROWS)
    dispersion, dispersion_labels = dispersion_of(parsed, rows.data, padded)
    check_quadrature(options, parsed.bars, [term.size for term, _ in terms.built])
    distribution, family_labels = distribution_of(
        family, prior_weights, row_data, padded, options.quadrature, None if zeros is None else zeros.labels
    )
    design = Design(
        pad(fixed.basis, padded), fixed.triangle, pad(root_weight, padded), pad(total_offset, padded),
        np.int64(len(rows.data)), np.int64(fixed.basis.shape[1]), tuple(term for term, _ in terms.built),
        terms.groupings, terms.residual, dispersion,
        functools.partial(_replaced, parsed, rows, options, known_residual), distribution=distribution,
    )  # fmt: skip
    across = enumerate(factors.covariances.get(name) for name in factors.levels)
    places = {number: one.positions for number, one in across if isinstance(one, LevelStructure)}
    design = design.replace(incidence=Incidence.of(design, tuple(factors.levels), places))
    column = options.offset if isinstance(options.offset, str) else None
    offset = OffsetLabels(encodings, column, options.offset is not None and column is None)
    groups = {
        name: _group_labels(bar, factors.levels[name], factors.covariances.get(name))
        for bar in parsed.bars
        for name in factors.names[bar.group_name]
    }
    labels = ModelLabels(
        parsed.text, join(parsed.response), fixed.columns.names, fixed.kept, fixed.columns.encoding, offset, groups,
        tuple(label for _, label in terms.built), terms.residual_labels, dispersion_labels, family_labels,
    )  # fmt: skip
    notes, notes_of_y = notes_of_rows(without_cbind(parsed), rows.data, options, rows.offset, y)
    notes = (*notes, *(note for covariance in factors.covariances.values() for note in covariance.notes))
    counts = [len(levels.labels) for levels in factors.levels.values()]
    notes = (*notes, *notes_of_approximation(options, trials, counts, len(rows.data)))
    if y is not None:
        names = [join(parsed.response)]
        copies = notes_of_copies(factors.levels, factors.covariances, fixed.x, total_offset, names, y[:, None])
        notes_of_y = (*notes_of_y, *copies)
    return ModelFrame(
        labels, y, fixed.x, rows.data.index, rows.used, root_weight**2, total_offset, factors.levels,
        factors.covariances, design, dispersion_levels(dispersion_labels, rows.data), notes, notes_of_y,
    )  # fmt: skip


class _Factors(NamedTuple):
    """The grouping factors: ``names`` of each group, one per known matrix; levels and covariances by name."""

    names: Mapping[str, Sequence[str]]
    levels: dict[str, Levels]
    covariances: Mapping[str, KnownMatrix | LevelStructure]


def _factors(
    parsed: ParsedFormula, bars: Sequence[Bar], data: pd.DataFrame, options: ModelOptions, known_residual: bool
) -> _Factors:
    residual_bar = options.residual_bar
    levels = {bar.group_name: grouping_levels(bar.group, data) for bar in bars}
    matrices = known_matrices(options.kinship, {bar.group_name: levels[bar.group_name] for bar in parsed.bars})
    for bar in parsed.bars:
        identified = bar.group_name in matrices or (residual_bar is not None and residual_bar.group == bar.group)
        exempt = identified or known_residual or bar.over_positions
        count = len(levels[bar.group_name].labels)
        check_grouping(bar.group_name, count, len(data), exempt, has_residual=options.row_family is None)
    names = {group: group_names(group, matrices.get(group, ())) for group in levels}
    covariances = {matrix.name: matrix for of_group in matrices.values() for matrix in of_group}
    return _Factors(names, {name: levels[group] for group in levels for name in names[group]}, covariances)


class _Terms(NamedTuple):
    """The random terms with their labels, the grouping factors that they refer to, and the residual's term."""

    built: list[tuple[Term, TermLabels]]
    groupings: tuple[Grouping, ...]
    residual: Term | None
    residual_labels: TermLabels | None


def _random_terms(
    parsed: ParsedFormula,
    data: pd.DataFrame,
    options: ModelOptions,
    factors: _Factors,
    root_weight: Float[NumpyArray, " n"],
) -> _Terms:
    names, levels, covariances = factors
    padded = bucket(len(data), MIN_PADDED_ROWS)
    groupings = tuple(_grouping(level, covariances.get(name), padded) for name, level in levels.items())
    indices = {name: index for index, name in enumerate(levels)}
    builder = TermBuilder(data, root_weight, padded, set())
    built = [
        builder.build(bar, structure, levels[name], name, indices[name], covariances.get(name))
        for bar, structure in zip(parsed.bars, structures_of(parsed.bars, options.covariance), strict=True)
        for name in names[bar.group_name]
    ]
    bar = options.residual_bar
    if bar is None:
        return _Terms(built, groupings, None, None)
    group = names[bar.group_name][0]
    index = indices[group]
    if isinstance(covariances.get(group), LevelStructure):  # whose levels are one block
        groupings = (*groupings, _grouping(levels[group], None, padded))
        index = len(groupings) - 1
    unweighted = TermBuilder(data, np.ones(len(data)), padded, set())
    term, labels = unweighted.along(bar, bar.structure, levels[group], group, index, is_residual=True)
    return _Terms(built, groupings, *_as_residual(term, labels, levels[group]))


@in_double_precision
def _replaced(
    parsed: ParsedFormula, rows: Rows, options: ModelOptions, known_residual: bool, changes: Mapping[str, Any]
) -> Design:
    """Return the design on the same rows with changed options; entries of mappings that are not named stay."""
    values: dict[str, Any] = {"weights": rows.weights, "offset": rows.offset, "trials": rows.trials}
    for name, value in changes.items():
        values[name] = {**(getattr(options, name) or {}), **value} if isinstance(value, Mapping) else value
    changed = dataclasses.replace(options, **values)
    return build_frame(parsed._replace(response=()), rows.data, changed, known_residual=known_residual).design


def _grouping(levels: Levels, covariance: KnownMatrix | LevelStructure | None, padded: int) -> Grouping:
    """Return the padded arrays of a grouping factor; levels with coordinates are positions of one block."""
    if isinstance(covariance, LevelStructure):
        return Grouping(np.zeros(padded, np.int32), np.int64(1), None)
    relation = None if covariance is None else covariance.relation
    return Grouping(pad(levels.codes, padded), np.int64(len(levels.labels)), relation)


def _group_labels(bar: Bar, levels: Levels, covariance: KnownMatrix | LevelStructure | None) -> GroupLabels:
    unobserved, diagonal = None, None
    if covariance is not None:
        unobserved = named_like(levels.labels, covariance.ids[covariance.unobserved])
        diagonal = covariance.mean_diagonal
    return GroupLabels(real_factors(bar.group), levels.parts, levels.labels, unobserved, diagonal)


def _as_residual(term: Term, labels: TermLabels, levels: Levels) -> tuple[Term, TermLabels]:
    """Return a term as the residual's, its parameters named after it; raise if two rows of a level share a position."""
    cells = levels.codes.astype(np.int64) * term.size + np.asarray(term.positions)[: levels.codes.size]
    if np.unique(cells).size < cells.size:
        raise DataError(
            f"residual {labels.text}: expected one row per position within a level, got "
            f"{cells.size - np.unique(cells).size} repeated positions; a residual cannot be shared by two rows."
        )
    named = tuple(parameter.of_residual() for parameter in labels.natural)
    return term, labels._replace(group=RESIDUAL_SD.group, natural=named, positions=None)
