"""Random terms from bars: columns or positions, structures, and the names of their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxlmm._shapes import pad
from jaxlmm._typing import NumpyArray
from jaxlmm.covariance import OU, AbstractCovariance, Diagonal, Unstructured
from jaxlmm.errors import DataError, FormulaError, OptionError, nearest
from jaxlmm.formula.checks import finite_or_raise
from jaxlmm.formula.columns import Columns, as_arithmetic, model_columns
from jaxlmm.formula.encoding import Encoding
from jaxlmm.formula.labels import TermLabels
from jaxlmm.formula.levels import Levels, position_values, positions_in_levels
from jaxlmm.formula.parse import TAGS, Bar
from jaxlmm.formula.tokens import Token, join, tokenize
from jaxlmm.model.design import Term

STRUCTURES: dict[str, type[AbstractCovariance]] = {"us": Unstructured, "diag": Diagonal, "ou": OU}
"""Tag to class: one table."""


class TermBuilder(NamedTuple):
    """What all terms of a model share: the data, the rows' root weights, the padded size, the names given so far."""

    data: pd.DataFrame
    root_weight: NumpyArray
    padded: int
    taken: set[str]

    def build(
        self, bar: Bar, structure: AbstractCovariance, levels: Levels, group: str, grouping: int, related: bool
    ) -> tuple[Term, TermLabels]:
        """Return a term and its labels.

        ``group`` is what its factor is called, ``grouping`` the factor's place, ``related`` whether levels covary.
        """
        if TAGS[bar.tag] == "positions":
            positions_matrix, encoding = _positions(bar, self.data)
            values = position_values(positions_matrix, bar.text)
            places, coords = positions_in_levels(bar.text, values, levels, related)
            columns: tuple[str, ...] = tuple(f"position {place + 1}" for place in range(coords.shape[1]))
            z, positions = self.root_weight[:, None], pad(places, self.padded)
            seen = coords[..., 0] if related else np.full(coords.shape[:2], np.nan)
            seen[levels.codes, places] = values
        else:
            seen = None
            matrix = model_columns(bar.left, self.data)
            encoding = matrix.encoding
            finite_or_raise(matrix.matrix, matrix.names)
            _check_columns(bar, matrix)
            columns = tuple(self._unique(f"{group}: ", name) for name in matrix.names)
            if type(structure) is not STRUCTURES[bar.tag]:
                check_structure(structure, len(columns), bar.text)
            coords, positions = np.arange(float(len(columns)))[:, None], None
            z = matrix.matrix * self.root_weight[:, None]
        own = structure.param_names(columns)
        if group != bar.group_name and columns == ("Intercept",):  # one matrix of several: the sd of its effects
            own = tuple(name.removesuffix("(Intercept)") for name in own)
        names = tuple(f"{group}: {self._unique(f'{group}: ', name)}" for name in own)
        term = Term(structure, coords, pad(z, self.padded), positions, grouping)
        return term, TermLabels(group, columns, bar.text, names, encoding, seen)

    def _unique(self, prefix: str, name: str) -> str:
        """Return ``name``, numbered if another term of the group has it."""
        base, count = name, 0
        while prefix + name in self.taken:
            count += 1
            name = f"{base}.{count}"
        self.taken.add(prefix + name)
        return name


def structures_of(bars: Sequence[Bar], covariance: Mapping[str, AbstractCovariance] | None) -> list[AbstractCovariance]:
    """Return the structure of each bar: the tag's, or the object that ``covariance`` gives for its group or text.

    Raises
    ------
    OptionError
        If a key matches no term, or a group's name matches several, or the value is no covariance structure.
    """
    found: list[AbstractCovariance] = [STRUCTURES[bar.tag]() for bar in bars]
    for key, structure in (covariance or {}).items():
        if not isinstance(structure, AbstractCovariance):
            raise OptionError(
                f"covariance of {key!r}: expected a jaxlmm.covariance object, got {_described(structure)}."
            )
        text = join(tokenize(key))
        by_group = [i for i, bar in enumerate(bars) if bar.group_name == key]
        by_text = [
            i
            for i, bar in enumerate(bars)
            if text in (f"{join(bar.left)} | {bar.group_name}", f"1 + {join(bar.left)} | {bar.group_name}")
        ]
        places = by_text or by_group
        if len(places) != 1:
            choices = [f"{join(bar.left)} | {bar.group_name}" for bar in bars]
            problem = "matches no term" if not places else f"matches {len(places)} terms; write the whole bar"
            raise OptionError(f"covariance: {key!r} {problem}; {nearest(key, choices)}.")
        if TAGS[bars[places[0]].tag] == "positions":
            raise OptionError(
                f"covariance of {key!r}: acts within the columns of a term such as '(0 + f | g)', got a term over "
                f"positions, {bars[places[0]].text}."
            )
        found[places[0]] = structure
    return found


def _positions(bar: Bar, data: pd.DataFrame) -> tuple[NumpyArray, Encoding | None]:
    """Positions (n, 1): a number, the level number of a factor, or the order of the rows for ``1`` (no encoding)."""
    left = list(bar.left)
    if [token.text for token in left[:2]] == ["0", "+"]:
        left = left[2:]
    if [token.text for token in left] == ["1"]:
        return np.arange(float(len(data)))[:, None], None
    name = left[0].text.strip("`")
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


def _described(value: object) -> str:
    """What came instead of a structure, and what to do about it."""
    if isinstance(value, type):
        return f"the class {value.__name__}; make an object of it, {value.__name__}()"
    return f"{type(value).__name__}; wrap a function in lmm.covariance.Custom"


def check_structure(structure: AbstractCovariance, q: int, text: str) -> None:
    """Raise unless a structure gives a (q, q) factor at its start from exactly the parameters that it declares."""
    coords = np.arange(float(q))[:, None]
    theta = structure.start(coords)
    try:  # JAX would read past the end of theta without a word; NumPy does not
        structure.cholesky(theta, coords)  # type: ignore[arg-type]
    except IndexError as error:
        raise OptionError(
            f"covariance of {text}: {type(structure).__name__} declares {theta.size} parameters and reads more "
            f"({error})."
        ) from error
    except Exception:
        pass
    factor = np.asarray(structure.cholesky(jnp.asarray(theta), jnp.asarray(coords)))
    if factor.shape != (q, q) or not np.isfinite(factor).all():
        raise OptionError(
            f"covariance of {text}: expected a finite factor of shape {(q, q)} from {type(structure).__name__} at "
            f"theta = {theta.tolist()}, got shape {factor.shape}."
        )
    structure.check(theta, coords)


def _check_columns(bar: Bar, columns: Columns) -> None:
    """Raise if a term has no column, or one that is zero in all rows."""
    if not columns.names:
        raise FormulaError(f"the left side of {bar.text!r} has no column; write '1' for an intercept.")
    zero = ~columns.matrix.any(axis=0)
    if zero.any():
        raise DataError(
            f"random term {bar.text}: column {columns.names[int(np.flatnonzero(zero)[0])]!r} is zero in all "
            f"{len(columns.matrix)} rows, so its variance is not in the data; leave it out."
        )
