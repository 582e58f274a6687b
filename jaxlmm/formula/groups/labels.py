"""Labels: the names of a model, and the encodings that compute its columns on new data; no rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import RESIDUAL_SD, Parameter
from jaxlmm.errors import OptionError
from jaxlmm.formula.columns import Encoding, plain
from jaxlmm.formula.groups.beyond import (
    DispersionLabels,
    FamilyLabels,
    parameter_from_plain,
    parameter_to_plain,
)
from jaxlmm.formula.groups.levels import level_labels


class TermLabels(NamedTuple):
    """Labels of one random term: its group, its columns (or positions), its bar as text, its ``natural`` parameters.

    ``encoding`` computes its columns, or its positions (n, 1), on new data; None if the order of the rows is the
    position. ``positions`` are those of each level of a term over positions, NaN where no row has one.
    """

    group: str
    columns: tuple[str, ...]
    text: str
    natural: tuple[Parameter, ...]
    encoding: Encoding | None
    positions: Float[NumpyArray, "L q"] | None

    def to_plain(self) -> dict[str, Any]:
        """Return the labels as JSON types."""
        return {
            "group": self.group,
            "columns": list(self.columns),
            "text": self.text,
            "parameters": [parameter_to_plain(parameter) for parameter in self.natural],
            "encoding": None if self.encoding is None else self.encoding.to_plain(),
            "positions": None if self.positions is None else plain.numbers_to_plain(self.positions),
        }

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> TermLabels:
        """Return the labels that :meth:`to_plain` wrote."""
        encoding, positions, columns = record["encoding"], record["positions"], tuple(record["columns"])
        group, parameters = record["group"], record["parameters"]
        return cls(
            group, columns, record["text"],
            tuple(parameter_from_plain(parameter, group) for parameter in parameters),
            None if encoding is None else Encoding.from_plain(encoding),
            None if positions is None else plain.numbers_from_plain(positions, (-1, len(columns))),
        )  # fmt: skip


class GroupLabels(NamedTuple):
    """Labels of a grouping factor, the interaction of ``factors``; ``parts`` are their values at each level.

    ``unobserved`` are the ids of a known matrix, or with coordinates, that have no row in the fit, None if levels are
    independent; ``diagonal`` is the mean of the matrix's diagonal over the levels, None without a matrix.
    """

    factors: tuple[str, ...]
    parts: tuple[pd.Index, ...]
    labels: pd.Index
    unobserved: pd.Index | None
    diagonal: float | None

    @property
    def ids(self) -> pd.Index:
        """The labels of the levels, followed by the unobserved ones."""
        return self.labels if self.unobserved is None else self.labels.append(self.unobserved)

    def to_plain(self) -> dict[str, Any]:
        """Return the labels as JSON types.

        Raises
        ------
        FormulaError
            If a level is of a type without a JSON form.
        """
        unobserved = None if self.unobserved is None else plain.to_plain(list(self.unobserved), "kinship")
        levels = {
            factor: {"dtype": str(part.dtype), "values": plain.to_plain(list(part), factor)}
            for factor, part in zip(self.factors, self.parts, strict=True)
        }
        return {"factors": levels, "relatives": unobserved, "diagonal": self.diagonal}

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> GroupLabels:
        """Return the labels that :meth:`to_plain` wrote."""
        levels, ids = record["factors"], record["relatives"]
        parts = tuple(
            pd.Index(plain.from_plain(part["values"]), dtype=part["dtype"], tupleize_cols=False)
            for part in levels.values()
        )
        unobserved = None if ids is None else pd.Index(plain.from_plain(ids))
        return cls(tuple(levels), parts, level_labels(parts), unobserved, record["diagonal"])


class OffsetLabels(NamedTuple):
    """Sources of an offset: ``offset()`` in the formula, a ``column`` of the data, an ``array`` by row."""

    encodings: tuple[Encoding, ...]
    column: str | None
    array: bool

    def to_plain(self) -> dict[str, Any]:
        """Return the labels as JSON types."""
        encodings = [encoding.to_plain() for encoding in self.encodings]
        return {"encodings": encodings, "column": self.column, "array": self.array}

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> OffsetLabels:
        """Return the labels that :meth:`to_plain` wrote."""
        encodings = tuple(Encoding.from_plain(encoding) for encoding in record["encodings"])
        return cls(encodings, record["column"], record["array"])


@dataclasses.dataclass(frozen=True, eq=False)
class ModelLabels:
    """The names of a design, and the encodings that compute it on new data; no rows; JSON after :meth:`to_plain`.

    ``column_names`` are all fixed-effect columns, which ``encoding`` computes; ``kept`` marks those that are linearly
    independent of the ones before; ``groups`` are those of the random ``terms``.
    """

    formula: str
    response: str
    column_names: tuple[str, ...]
    kept: Bool[NumpyArray, " _"]
    encoding: Encoding
    offset: OffsetLabels
    groups: Mapping[str, GroupLabels]
    terms: tuple[TermLabels, ...]
    residual: TermLabels | None
    dispersion: DispersionLabels | None
    family: FamilyLabels | None = None

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the kept fixed-effect columns."""
        return tuple(name for name, kept in zip(self.column_names, self.kept, strict=True) if kept)

    @property
    def fixed_terms(self) -> list[tuple[str, Int[NumpyArray, " _"]]]:
        """The terms of the fixed effects but the intercept, with the indices of their columns in ``fixed_names``.

        A term without a column that is kept is left out.
        """
        indices, terms, first = np.cumsum(self.kept) - 1, [], 0
        for factors, count in self.encoding.terms:
            own = slice(first, first + count)
            if factors and self.kept[own].any():
                terms.append((":".join(factors), indices[own][self.kept[own]]))
            first += count
        return terms

    @property
    def blocks(self) -> tuple[tuple[Parameter, ...], ...]:
        """The natural parameters of each term, and last those of the residual: its structure's and its dispersion's;
        in a generalized model those of its family.
        """
        if self.family is not None:
            return (*(term.natural for term in self.terms), self.family.natural)
        last = self.residual.natural if self.residual else (RESIDUAL_SD,)
        coefficients = self.dispersion.natural if self.dispersion else ()
        return (*(term.natural for term in self.terms), (*last, *coefficients))

    @property
    def natural(self) -> tuple[Parameter, ...]:
        """All natural parameters, the residual's last."""
        return tuple(parameter for block in self.blocks for parameter in block)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of all natural parameters."""
        return tuple(parameter.name for parameter in self.natural)

    def check_gaussian(self, what: str) -> None:
        """Raise if ``what``, which only a linear mixed model has, is asked of a generalized one."""
        if self.family is not None:
            raise OptionError(f"{what}: expected a linear mixed model, got one of the family {self.family.text}.")

    def to_plain(self) -> dict[str, Any]:
        """Return the labels as JSON types.

        Raises
        ------
        FormulaError
            If a level, or the state of a function of the formula, is of a type without a JSON form.
        """
        return {
            "formula": self.formula,
            "response": self.response,
            "columns": list(self.column_names),
            "kept": self.kept.tolist(),
            "encoding": self.encoding.to_plain(),
            "offset": self.offset.to_plain(),
            "groups": {name: group.to_plain() for name, group in self.groups.items()},
            "terms": [term.to_plain() for term in self.terms],
            "residual": None if self.residual is None else self.residual.to_plain(),
            "dispersion": None if self.dispersion is None else self.dispersion.to_plain(),
            "family": None if self.family is None else self.family.to_plain(),
        }

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> ModelLabels:
        """Return the labels that :meth:`to_plain` wrote."""
        residual, dispersion, family = record["residual"], record["dispersion"], record["family"]
        return cls(
            record["formula"], record["response"], tuple(record["columns"]), np.array(record["kept"], bool),
            Encoding.from_plain(record["encoding"]), OffsetLabels.from_plain(record["offset"]),
            {name: GroupLabels.from_plain(group) for name, group in record["groups"].items()},
            tuple(TermLabels.from_plain(term) for term in record["terms"]),
            None if residual is None else TermLabels.from_plain(residual),
            None if dispersion is None else DispersionLabels.from_plain(dispersion),
            None if family is None else FamilyLabels.from_plain(family),
        )  # fmt: skip
