"""The data of a scan: rows that have genotypes and predictors, their samples, and the responses on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.api import Call, natural
from jaxlmm.errors import DataError, GenotypeError, OptionError, nearest, spelled_like
from jaxlmm.formula import ModelFrame, ParsedFormula, Responses, build_frame, parse, read_responses
from jaxlmm.formula.groups import not_grouped_by
from jaxlmm.formula.syntax import column_of, resolved, resolved_options, with_known_names
from jaxlmm.formula.tokens import column_called, quoted
from jaxlmm.genetics import ArraySource, Genotypes, as_genotypes
from jaxlmm.genetics.ids import Matched, hint, label_texts, match_samples
from jaxlmm.model import Natural
from jaxlmm.scanning.loco import GivenKinship, KinshipByChromosome, MarkerGroup, OwnKinship, marker_groups
from jaxlmm.scanning.options import ScanOptions

MAX_RELATIVE_RESIDUAL_IN_SPAN = 1e-8
"""The length of a column's residual from the fixed effects, relative to its own, up to which it is in their span."""

MOST_NAMES_TRIED = 100_000
"""Names of variants among which a similar one is looked for, for an error."""


class ScanData(NamedTuple):
    """Rows, responses and markers of a scan, or of one marker group.

    ``call`` has no response in its formula, and ``parsed`` is that formula. ``frame`` has the rows with genotypes and
    all predictors, ``y`` the ``responses`` on them, NaN where missing; ``responses`` themselves are on all rows of the
    data, and so is ``matched``, the match of the ids in the data with the samples of the genotypes. ``sample_ids`` are
    the analyzed samples, and ``sample_of_row`` the index among them of each row's sample. An interaction is with the
    ``moderator``. ``matrices`` are the relationship matrices of the source of markers, with ``kinship="auto"``, or
    those by chromosome that were given; ``markers`` are the indices of the markers among all of the scan.
    """

    call: Call
    parsed: ParsedFormula
    frame: ModelFrame
    y: Float[NumpyArray, "n m"]
    genotypes: Genotypes
    sample_ids: Shaped[NumpyArray, " samples"]
    sample_of_row: Int[NumpyArray, " n"]
    moderator: Float[NumpyArray, " n"] | None
    matched: Matched
    responses: Responses
    matrices: KinshipByChromosome | None
    markers: Int[NumpyArray, " markers"]

    @property
    def fixed(self) -> Natural | None:
        """The natural parameters that are fixed, NaN elsewhere; None if none is."""
        return natural("fixed", self.call.options.fixed, self.frame.labels, self.frame.design)

    def on(self, marker_group: MarkerGroup) -> ScanData:
        """Return the data of a marker group: those of one chromosome have the relationship matrix of the others."""
        if marker_group.chromosome is None:
            return self
        assert self.matrices is not None  # which the data of one group do not need
        call = self.matrices.given_to(self.call, without=marker_group.chromosome)
        frame = build_frame(self.parsed, call.data, call.options, known_residual=call.options.known_residual)
        return self._replace(
            call=call, frame=frame, genotypes=self.genotypes_of(marker_group), markers=marker_group.markers,
            matrices=None,
        )  # fmt: skip

    def genotypes_of(self, marker_group: MarkerGroup) -> Genotypes:
        """Return the genotypes of the markers of a group."""
        if marker_group.chromosome is None:
            return self.genotypes
        in_group = np.zeros(len(self.genotypes.variants), bool)
        in_group[marker_group.markers] = True
        return self.genotypes.select(in_group)


def prepare_data(
    call: Call, genotypes: Any, responses: Any, id: str | None, auto: bool, options: ScanOptions
) -> ScanData:
    """Match samples, build the design on the rows that have genotypes, and read the responses.

    Raises
    ------
    GenotypeError, DataError, OptionError, FormulaError, KinshipError
        Before a marker is tested; the message says what was expected and what came.
    """
    table, opened, loco = as_table(call.data), as_genotypes(genotypes), options.loco
    # `.` is expanded only when the responses, which it leaves out, are known
    parsed = with_known_names(parse(call.formula, table.columns), table.columns, call.options, allow_cbind=True)
    groups_of_markers = marker_groups(opened, loco)  # raises if loco has no chromosomes to tell apart
    # only a frame of responses is matched by id; arrays have the data's rows
    read = read_responses(parsed, call.data, responses, id if hasattr(responses, "columns") else None)
    id_column = None if id is None else column_of("id", id, table.columns)
    not_predictors = [*read.names, *([] if id_column is None else [id_column])]
    parsed = resolved(parsed, table.columns, call.options, not_predictors, allow_cbind=True)
    call = dataclasses.replace(call, options=resolved_options(call.options, parsed, table.columns))
    groups = tuple(dict.fromkeys(bar.group_name for bar in parsed.bars))
    for group in call.options.kinship or {}:
        if group not in groups:
            raise not_grouped_by(group, groups)
    if isinstance(genotypes, np.ndarray):
        opened = _by_row(genotypes, table, id_column or _group_of_array(groups, call.options.kinship, table, auto))
    if id_column is None:
        id_column = _group_of_samples(parsed, call.options.kinship, table, opened, auto)
    matched = match_samples(_ids(table, id_column, genotypes, opened), opened.sample_ids)
    parsed = parsed.without_response()
    if options.condition_on:
        table, names = _with_markers(table, opened, matched, options.condition_on)
        parsed = parse(" + ".join([parsed.text, *(quoted(name).text for name in names)]), table.columns)
        parsed = resolved(with_known_names(parsed, table.columns, call.options), table.columns, call.options)
        call = dataclasses.replace(call, data=table)
    call = dataclasses.replace(call, formula=parsed.text)
    if not matched.kept.all():
        call = _on_rows(call, table, matched.kept)
    matrices: KinshipByChromosome | None = GivenKinship.of(call.options.kinship) if loco else None
    if auto:
        matrices = OwnKinship.of(call, str(id_column), opened, loco)
    if matrices is not None:
        if loco:
            matrices.check(str(group.chromosome) for group in groups_of_markers)
        call = matrices.given_to(call)
    frame = build_frame(parsed, call.data, call.options, known_residual=call.options.known_residual)
    used = np.flatnonzero(matched.kept)[frame.used]
    samples, sample_of_row = np.unique(matched.rows[used], return_inverse=True)
    moderator = None
    if options.interaction is not None:
        moderator = _moderator(options.interaction, frame, as_table(call.data))
    return ScanData(
        call, parsed, frame, read.values[used], opened, opened.sample_ids[samples], sample_of_row, moderator,
        matched, read, matrices, np.arange(len(opened.variants)),
    )  # fmt: skip


def _group_of_samples(
    parsed: ParsedFormula, kinship: Mapping[str, Any] | None, table: Any, opened: Genotypes, auto: bool
) -> str | None:
    """Return the one grouping column that has a known matrix, None if there is not one such.

    With ``auto`` (``kinship="auto"``) the one whose levels are ids of the genotypes; there must be one.
    """
    if auto:
        groups = [name for name in dict.fromkeys(bar.group_name for bar in parsed.bars) if name in table.columns]
        of_samples = [
            name
            for name in groups
            if np.isin(label_texts(as_frame(table, [name])[name].dropna()), opened.sample_ids).any()
        ]
        if len(of_samples) != 1:
            hints = [] if of_samples else [_hint(as_frame(table, [name])[name], opened) for name in groups]
            raise OptionError(
                f"kinship='auto': expected one bar whose levels are the ids of the genotypes, such as "
                f"{opened.sample_ids[0]!r}; got {len(of_samples)} of the groups {', '.join(groups) or 'none'}."
                f"{next(filter(None, hints), '')}"
            )
        return of_samples[0]
    with_matrix = [name for name in kinship or {} if name in table.columns]
    return with_matrix[0] if len(with_matrix) == 1 else None


def _hint(column: pd.Series, opened: Genotypes) -> str:
    """Return advice on how to rewrite the values, as '1' to '01', so that they are ids of the genotypes; "" if none."""
    return hint(label_texts(column.dropna()), opened.sample_ids, "the data", "the genotypes")


def _ids(table: Any, column: str | None, genotypes: Any, opened: Genotypes) -> Any:
    """Return the sample id of each row of the data."""
    if column is not None:
        if column not in table.columns:
            raise DataError(f"id: {column!r} is no column of the data; {nearest(column, table.columns)}.")
        return as_frame(table, [column])[column]
    if isinstance(genotypes, np.ndarray):
        return opened.sample_ids
    return table.index if isinstance(table, pd.DataFrame) else range(len(table))


def _group_of_array(groups: Sequence[str], kinship: Any, table: Any, auto: bool) -> str | None:
    """Return the one group that can name the samples of genotypes in an array, which has no ids of its own."""
    candidates = [name for name in (groups if auto else kinship or {}) if name in table.columns]
    return candidates[0] if len(candidates) == 1 else None


def _by_row(genotypes: NumpyArray, table: Any, column: str | None) -> Genotypes:
    """Return the genotypes of an array whose rows are those of the data; ``column`` names the samples."""
    if genotypes.ndim == 2 and len(genotypes) != len(table):
        raise GenotypeError(
            f"genotypes: expected an array with {len(table)} rows, those of the data, got {len(genotypes)}. Name "
            "the column of the data that holds the samples' ids by id=, and give the genotypes as a data frame with "
            "these ids as its index."
        )
    if column is None or column not in table.columns:
        return as_genotypes(genotypes)
    ids = as_frame(table, [column])[column]
    if ids.isna().any() or ids.duplicated().any():
        raise GenotypeError(
            f"genotypes: expected a data frame with ids as its index, since {column!r} has rows without an id, or "
            "several rows with one id; got an array, whose rows are those of the data."
        )
    return as_genotypes(ArraySource(genotypes, list(ids)))


def _on_rows(call: Call, table: Any, kept: Bool[NumpyArray, " rows"]) -> Call:
    """Return the call on some rows of its data."""
    frame = as_frame(table, list(table.columns))[kept]
    changes: dict[str, Any] = {}
    for name in ("weights", "offset"):
        value = getattr(call.options, name)
        if value is not None and not isinstance(value, str):
            changes[name] = np.asarray(value)[kept]
    return dataclasses.replace(call, data=frame, options=dataclasses.replace(call.options, **changes))


def _moderator(name: str, frame: ModelFrame, table: Any) -> Float[NumpyArray, " n"]:
    """Return the column that markers interact with, on the rows of the frame."""
    column_name = column_called(name, list(table.columns))
    if column_name is None:
        raise OptionError(f"interaction: {name!r} is no column of the data; {nearest(name, table.columns)}.")
    column = as_frame(table, [column_name])[column_name]
    if not pd.api.types.is_numeric_dtype(column):
        raise OptionError(
            f"interaction: expected a column of numbers, got {name!r} of type {column.dtype}; code a factor as 0 and 1."
        )
    values = column.to_numpy(float)[frame.used]
    basis = np.asarray(frame.design.basis)[: len(values)]
    weighted = values * np.sqrt(frame.weights)
    residual = weighted - basis @ (basis.T @ weighted)
    if not np.linalg.norm(residual) <= MAX_RELATIVE_RESIDUAL_IN_SPAN * np.linalg.norm(weighted):
        raise OptionError(
            f"interaction: expected {name!r} among the fixed effects too, or the interaction would hold its effect; "
            f"write '~ {name} + ...'."
        )
    return np.asarray(values)


def _with_markers(
    table: Any, genotypes: Genotypes, matched: Matched, names: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the data with a column for each of some markers of the source, and the names of these columns.

    Counts are those of the effect allele, missing calls at the mean of all samples; rows without genotypes are NaN. A
    name that a column of the data has is marked.

    Raises
    ------
    GenotypeError
        If a name is that of no variant, or of several.
    """
    whole, frame, columns = genotypes.whole, as_frame(table, list(table.columns)).copy(deep=False), []
    variants = whole.variants["variant"].to_numpy()
    for name in names:
        places = np.flatnonzero(variants == name)
        if places.size != 1:
            near = spelled_like(name, [str(one) for one in variants[:MOST_NAMES_TRIED]])
            hint = f"; did you mean {' or '.join(near)}?" if near and not places.size else "."
            raise GenotypeError(
                f"condition_on: expected names of variants of {whole.source.name}, each of one, got {name!r}, which "
                f"{places.size or 'none'} {'has' if places.size < 1 else 'have'}{hint}"
            )
        counts = whole.read(places)[:, 0]
        counts = np.where(np.isnan(counts), np.nanmean(counts), counts)
        column = f"{name} (marker)" if name in frame else name
        frame[column] = np.where(matched.kept, counts[np.where(matched.kept, matched.rows, 0)], np.nan)
        columns.append(column)
    return frame, columns
