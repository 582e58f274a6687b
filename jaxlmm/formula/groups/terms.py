"""Random terms from bars: their columns or positions, their structures, and the names of their parameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray, pad
from jaxlmm.covariance import AbstractCovariance, Parameter, parameters_of
from jaxlmm.errors import DataError, FormulaError, KinshipError
from jaxlmm.formula.columns import Columns, finite_or_raise, model_columns
from jaxlmm.formula.groups.coordinates import LevelStructure
from jaxlmm.formula.groups.kinship import KnownMatrix
from jaxlmm.formula.groups.labels import TermLabels
from jaxlmm.formula.groups.levels import Levels
from jaxlmm.formula.groups.positions import positions_of
from jaxlmm.formula.groups.structures import check_structure, is_from_tag
from jaxlmm.formula.syntax import Bar
from jaxlmm.model import Term


class TermBuilder(NamedTuple):
    """Builds the random terms of a model.

    The terms share the data, the roots of the rows' weights, the ``padded`` number of rows, and the ``names_in_use`` of
    columns and parameters.
    """

    data: pd.DataFrame
    root_weight: Float[NumpyArray, " n"]
    padded: int
    names_in_use: set[str]

    def build(
        self,
        bar: Bar,
        structure: AbstractCovariance,
        levels: Levels,
        group: str,
        grouping: int,
        covariance: KnownMatrix | LevelStructure | None,
    ) -> tuple[Term, TermLabels]:
        """Return a term and its labels.

        ``group`` is the name of its grouping factor, ``grouping`` its index, ``covariance`` that across its levels.
        """
        if isinstance(covariance, LevelStructure):
            return self._across(bar, structure, levels, covariance, grouping)
        if bar.over_positions:
            return self.along(bar, structure, levels, group, grouping, related=covariance is not None)
        matrix = self._columns(bar)
        names = matrix.names if bar.level is None else _names_in_level(bar, matrix.names, self.data)
        columns = tuple(self._unique(f"{group}: ", name) for name in names)
        coords = np.arange(float(len(columns)))[:, None]
        check_structure(structure, coords, f"covariance of {bar.text}")
        own = parameters_of(structure, group, columns)
        if bar.level is not None:
            own = tuple(one if one.columns else one.suffixed(f"[{bar.level}]") for one in own)
        if group != bar.group_name and columns == ("Intercept",):  # one matrix of several: the sd of its effects
            own = tuple(parameter.about(()) for parameter in own)
        z = matrix.matrix * self.root_weight[:, None]
        term = Term(structure, coords, pad(z, self.padded), None, grouping)
        return term, TermLabels(group, columns, bar.text, self._distinct(own), matrix.encoding, None)

    def along(
        self,
        bar: Bar,
        structure: AbstractCovariance,
        levels: Levels,
        group: str,
        grouping: int,
        *,
        related: bool = False,
        is_residual: bool = False,
    ) -> tuple[Term, TermLabels]:
        """Return a term over positions, or the residual's, and its labels; levels that are ``related`` covary."""
        found = positions_of(bar, structure, self.data, levels, shared=related, is_residual=is_residual)
        observed = np.broadcast_to(found.coords[0, :, 0], found.observed.shape) if related else found.observed
        named = self._distinct(parameters_of(found.structure, group, found.names))
        positions = pad(found.indices, self.padded)
        term = Term(found.structure, found.coords, pad(self.root_weight[:, None], self.padded), positions, grouping)
        return term, TermLabels(group, found.names, bar.text, named, found.encoding, observed)

    def _across(
        self, bar: Bar, structure: AbstractCovariance, levels: Levels, across: LevelStructure, grouping: int
    ) -> tuple[Term, TermLabels]:
        """Return the term of a structure across levels: one block, whose positions are the levels.

        Its labels are those of a term of one column by group; its arrays, those of a term over positions.
        """
        is_structured = bar.over_positions or not is_from_tag(structure, bar)
        matrix = None if is_structured else self._columns(bar)
        if matrix is None or len(matrix.names) != 1:
            what = bar.text if matrix is None else f"{len(matrix.names)} in {bar.text} ({', '.join(matrix.names[:4])})"
            raise KinshipError(
                f"kinship of {across.name!r}: {across.kind} acts across the levels for one column, such as "
                f"(1 | {bar.group_name}), got {what}. Write a term for each column, as in (x || {bar.group_name}), and "
                "no structure within."
            )
        (column,) = matrix.names
        parameters = parameters_of(across.structure, across.name, tuple(map(str, levels.labels)))
        if column != "Intercept":
            parameters = tuple(one.of_column(column) for one in parameters)
        named = self._distinct(parameters)
        columns = (self._unique(f"{across.name}: ", column),)
        labels = TermLabels(across.name, columns, bar.text, named, matrix.encoding, None)
        z = pad(matrix.matrix * self.root_weight[:, None], self.padded)
        positions = pad(across.positions[levels.codes], self.padded)
        return Term(across.structure, across.block, z, positions, grouping), labels

    def _columns(self, bar: Bar) -> Columns:
        """Return the columns of a bar; raise unless they are finite, and none is zero in all rows."""
        columns = model_columns(bar.left, self.data)
        finite_or_raise(columns.matrix, columns.names)
        _check_columns(bar, columns)
        return columns

    def _distinct(self, parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        """Return parameters with names that are unique in the model."""
        suffixes = [self._suffix(f"{one.group}: ", one.label) for one in parameters]
        return tuple(one.suffixed(suffix) for one, suffix in zip(parameters, suffixes, strict=True))

    def _unique(self, prefix: str, name: str) -> str:
        """Return ``name``, numbered if another term of the group has it."""
        return name + self._suffix(prefix, name)

    def _suffix(self, prefix: str, name: str) -> str:
        """Return what makes ``name`` unique after the ``prefix``: nothing, or a number; it is then in use."""
        suffix, count = "", 0
        while prefix + name + suffix in self.names_in_use:
            count += 1
            suffix = f".{count}"
        self.names_in_use.add(prefix + name + suffix)
        return suffix


def _names_in_level(bar: Bar, names: tuple[str, ...], data: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the columns of a bar for one level of a factor: those without it, and the level."""
    plain = model_columns(bar.whole_left, data).names
    return tuple(f"{name}[{bar.level}]" for name in plain) if len(plain) == len(names) else names


def _check_columns(bar: Bar, columns: Columns) -> None:
    """Raise if a term has no column, a variable called ``Intercept``, or a column that is zero in all rows."""
    if not columns.names:
        raise FormulaError(f"the left side of {bar.text!r} has no column; write '1' for an intercept.")
    if "Intercept" in columns.encoding.variables:
        raise DataError(
            f"random term {bar.text}: a variable called 'Intercept' cannot be told from the intercept; rename it."
        )
    zero = ~columns.matrix.any(axis=0)
    if zero.any():
        raise DataError(
            f"random term {bar.text}: column {columns.names[int(np.flatnonzero(zero)[0])]!r} is zero in all "
            f"{len(columns.matrix)} rows, so its variance is not in the data; leave it out."
        )
