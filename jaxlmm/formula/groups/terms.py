"""Random terms from bars: their columns or positions, their structures, and the names of their parameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray, pad
from jaxlmm.covariance import AbstractCovariance, Parameter, parameters_of
from jaxlmm.errors import DataError, FormulaError, KinshipError
from jaxlmm.formula.columns import Columns, Encoding, as_arithmetic, finite_or_raise, model_columns
from jaxlmm.formula.groups.coordinates import LevelStructure
from jaxlmm.formula.groups.kinship import KnownMatrix
from jaxlmm.formula.groups.labels import TermLabels
from jaxlmm.formula.groups.levels import Levels, position_values, positions_in_levels
from jaxlmm.formula.groups.structures import check_structure
from jaxlmm.formula.syntax import TAGS, Bar
from jaxlmm.formula.tokens import Token, tokenize
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
        related = covariance is not None
        if TAGS[bar.tag].left == "positions":
            positions_matrix, encoding = _positions(bar, self.data)
            values = position_values(positions_matrix, bar.text)
            indices, coords = positions_in_levels(bar.text, values, levels, related)
            columns: tuple[str, ...] = tuple(f"position {index + 1}" for index in range(coords.shape[1]))
            z, positions = self.root_weight[:, None], pad(indices, self.padded)
            observed = coords[..., 0] if related else np.full(coords.shape[:2], np.nan)
            observed[levels.codes, indices] = values
        else:
            observed = None
            matrix = self._columns(bar)
            encoding = matrix.encoding
            columns = tuple(self._unique(f"{group}: ", name) for name in matrix.names)
            if type(structure) is not TAGS[bar.tag].structure:
                check_structure(structure, np.arange(float(len(columns)))[:, None], f"covariance of {bar.text}")
            coords, positions = np.arange(float(len(columns)))[:, None], None
            z = matrix.matrix * self.root_weight[:, None]
        own = parameters_of(structure, group, columns)
        if group != bar.group_name and columns == ("Intercept",):  # one matrix of several: the sd of its effects
            own = tuple(parameter.about(()) for parameter in own)
        term = Term(structure, coords, pad(z, self.padded), positions, grouping)
        return term, TermLabels(group, columns, bar.text, self._distinct(own), encoding, observed)

    def _across(
        self, bar: Bar, structure: AbstractCovariance, levels: Levels, across: LevelStructure, grouping: int
    ) -> tuple[Term, TermLabels]:
        """Return the term of a structure across levels: one block, whose positions are the levels.

        Its labels are those of a term of one column by group; its arrays, those of a term over positions.
        """
        is_structured = TAGS[bar.tag].left == "positions" or type(structure) is not TAGS[bar.tag].structure
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


def _positions(bar: Bar, data: pd.DataFrame) -> tuple[Float[NumpyArray, "n _"], Encoding | None]:
    """Return positions: numbers, level numbers of a factor, or, without encoding, the order of the rows for ``1``."""
    left = list(bar.left)
    if [token.text for token in left[:2]] == ["0", "+"]:
        left = left[2:]
    if [token.text for token in left] == ["1"]:
        return np.arange(float(len(data)))[:, None], None
    name = left[0].name
    if len(left) == 1 and name in data.columns and not pd.api.types.is_numeric_dtype(data[name]):
        if not isinstance(data[name].dtype, pd.CategoricalDtype):
            raise DataError(
                f"{bar.text}: expected positions as numbers or as a factor (whose levels are steps of one), got "
                f"{data[name].dtype} such as {data[name].iloc[0]!s}; convert {name!r} first, for a date for example to "
                "days since the first."
            )
        left = [*tokenize("level_number"), Token("operator", "("), *left, Token("operator", ")")]
    columns = model_columns(as_arithmetic(left), data)
    return columns.matrix, columns.encoding


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
