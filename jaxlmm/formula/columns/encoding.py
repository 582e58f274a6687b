"""Encodings: the levels, contrasts and bases learned from the fit's data, with which new data are evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import FormulaError, JaxlmmError
from jaxlmm.formula.columns import plain
from jaxlmm.formula.columns.checks import variables_of
from jaxlmm.formula.functions import StandIns, Variable, plain_dtypes
from jaxlmm.formula.tokens import Token

CALLS_TO_CHECK = re.compile(r"\b(lag|np\.[\w.]+)\(")
"""Function calls whose value in a row may depend on other rows, which is checked on the data."""


Terms: TypeAlias = tuple[tuple[tuple[str, ...], int], ...]
"""Terms in the order of their columns, each by the factors that it multiplies, with the number of its columns."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """One side of a formula with the levels, contrasts and bases learned from the fit's data.

    It holds no data, and is JSON after :meth:`to_plain`. Statistics of all rows are kept for ``factor``, ``poly``,
    ``center``, ``scale`` and the splines; a call such as ``np.mean(x)``, for which none are, is refused.

    Parameters
    ----------
    text
        The formula as formulaic reads it, with stand-ins for variables and texts.
    names
        The columns' names (p,).
    terms
        The terms of the formula in the order of their columns, each by the factors that it multiplies, none for the
        intercept, with the number of its columns.
    variables
        The type of each column of the data that the formula uses, and the levels of factors.
    texts
        The string literals of the formula.
    transforms, codings
        The states that formulaic learned for calls and for factors, by their spelling in ``text``.
    """

    text: str
    names: tuple[str, ...]
    terms: Terms
    variables: Mapping[str, Variable]
    texts: tuple[str, ...]
    transforms: Mapping[str, Any]
    codings: Mapping[str, Any]

    @classmethod
    def learn(
        cls, tokens: Sequence[Token], data: pd.DataFrame, *, for_new_data: bool = True
    ) -> tuple[Encoding, Float[NumpyArray, "n p"]]:
        """Learn an encoding from complete data; return it with its matrix.

        ``tokens`` are one side of a formula in Python's syntax, variables in backquotes. With ``for_new_data``, no call
        may depend on which rows these data have.
        """
        stand_ins = StandIns.of(tokens)
        variables = {name: Variable.of(name, data[name]) for name in stand_ins.columns}
        encoding, matrix = cls(stand_ins.put(tokens), (), (), variables, stand_ins.texts, {}, {})._evaluate(data)
        calls = CALLS_TO_CHECK.findall(encoding.text)
        if for_new_data and any(not isinstance(_numpy(call), np.ufunc) for call in calls):
            encoding._check_row_by_row(data, matrix)
        return encoding, matrix

    def columns(self, data: Any) -> Float[NumpyArray, "rows p"]:
        """Return the columns of new data; a row in which a variable is missing is NaN.

        Parameters
        ----------
        data
            A data frame (pandas, polars, pyarrow) or a mapping, with the variables of the formula.

        Raises
        ------
        DataError
            If a variable is not there, or a factor has a level that the fit has not seen.
        """
        used = variables_of(data, list(self.variables))
        complete = used.notna().all(axis=1).to_numpy()
        matrix = np.full((len(used), len(self.names)), np.nan)
        if complete.any():
            matrix[complete] = self._evaluate(plain_dtypes(used[complete]))[1]
        return matrix

    def recoded(
        self, data: pd.DataFrame, coding: Literal["centered", "full", "default"]
    ) -> tuple[Float[NumpyArray, "rows c"], Terms]:
        """Return the columns of complete data with all factors coded in another way, and their terms.

        By contrasts that sum to zero (``"centered"``), with an indicator of each level in each term (``"full"``), or
        as factors without contrasts of their own are (``"default"``).
        """
        from jaxlmm.formula.coding import evaluate

        stand_ins = self.stand_ins
        read = self._read(plain_dtypes(data))
        found = evaluate(self.text, read, stand_ins, self.transforms, self.codings, coding=coding)
        return found.matrix, tuple((tuple(map(stand_ins.written, factors)), count) for factors, count in found.terms)

    @property
    def levels_of(self) -> dict[str, tuple[Any, ...]]:
        """The levels of each categorical factor of the terms, by its spelling in the formula."""
        levels = {self.stand_ins.written(name): tuple(state["categories"]) for name, state in self.codings.items()}
        plain = {name: variable for name, variable in self.variables.items() if not variable.is_number}
        occurring = {name for factors, _ in self.terms for name in factors}
        return {name: own.levels or (False, True) for name, own in plain.items() if name in occurring} | levels

    def to_plain(self) -> dict[str, Any]:
        """Return the encoding as JSON types.

        Raises
        ------
        FormulaError
            If a level or a state has no JSON form (:mod:`jaxlmm.formula.columns.plain`).
        """
        variables = {name: [v.kind, list(v.levels), v.ordered] for name, v in self.variables.items()}
        parts = {"variables": variables, "transforms": self.transforms, "codings": self.codings}
        return {
            "text": self.text,
            "names": list(self.names),
            "texts": list(self.texts),
            "terms": [[list(factors), count] for factors, count in self.terms],
            **{key: {name: plain.to_plain(state, name) for name, state in part.items()} for key, part in parts.items()},
        }

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> Encoding:
        """Return the encoding that :meth:`to_plain` wrote."""
        variables, transforms, codings = (
            {name: plain.from_plain(state) for name, state in record[key].items()}
            for key in ("variables", "transforms", "codings")
        )
        read = {name: Variable(kind, tuple(levels), ordered) for name, (kind, levels, ordered) in variables.items()}
        terms, texts = tuple((tuple(factors), count) for factors, count in record["terms"]), tuple(record["texts"])
        return cls(record["text"], tuple(record["names"]), terms, read, texts, transforms, codings)

    @property
    def stand_ins(self) -> StandIns:
        """The identifiers that replace variables and string literals in ``text``."""
        return StandIns(tuple(self.variables), self.texts)

    def _evaluate(self, data: pd.DataFrame) -> tuple[Encoding, Float[NumpyArray, "n p"]]:
        """Evaluate on complete data; return the columns with the encoding, which an empty one learns from the data."""
        plain_sum = self._as_sum()
        if plain_sum is not None:
            parts = [np.ones(len(data))] if "Intercept" in plain_sum else []
            parts += [np.asarray(self.variables[v].read(v, data[v])) for v in plain_sum if v != "Intercept"]
            factors: list[tuple[str, ...]] = [() if name == "Intercept" else (name,) for name in plain_sum]
            terms = tuple((own, 1) for own in factors)
            return Encoding(self.text, plain_sum, terms, self.variables, (), {}, {}), np.stack(parts, axis=1)
        from jaxlmm.formula.coding import evaluate

        stand_ins = self.stand_ins
        table = self._read(data)
        try:
            with np.errstate(all="ignore"):  # the caller looks for undefined values, and raises an error
                evaluated = evaluate(self.text, table, stand_ins, self.transforms, self.codings)
        except Exception as error:  # of formulaic, or of any function that the formula calls
            own_error = error if isinstance(error, JaxlmmError) else error.__cause__
            if isinstance(own_error, JaxlmmError):
                raise type(own_error)(stand_ins.written(str(own_error))) from None
            if isinstance(error, MemoryError):
                raise
            message = str(error).split("\n\n")[0]  # then formulaic shows the position, in the colors of terminals
            raise FormulaError(
                f"cannot evaluate {stand_ins.written(self.text)!r}: {stand_ins.written(message)}"
            ) from error
        if self.names and (evaluated.names != self.names or evaluated.transforms.keys() != self.transforms.keys()):
            raise FormulaError(
                f"cannot evaluate {stand_ins.written(self.text)!r} as in the fit: expected columns "
                f"{', '.join(self.names)}, got {', '.join(evaluated.names)}."
            )
        terms = tuple((tuple(map(stand_ins.written, factors)), count) for factors, count in evaluated.terms)
        learned = Encoding(
            self.text, evaluated.names, terms, self.variables, self.texts, evaluated.transforms, evaluated.codings
        )
        return learned, evaluated.matrix

    def _read(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return the variables of complete data by their stand-ins, as the types that they have in the fit."""
        stand_ins = self.stand_ins
        read = {
            stand_ins.column(index): variable.read(name, data[name])
            for index, (name, variable) in enumerate(self.variables.items())
        }
        return pd.DataFrame(read, index=pd.RangeIndex(len(data)))

    def _check_row_by_row(self, data: pd.DataFrame, matrix: Float[NumpyArray, "n p"]) -> None:
        """Raise if the columns of a subset of the rows, evaluated alone, differ from these rows of ``matrix``."""
        wrong: set[int] = set()
        # Two halves may share a maximum, but of single rows only the largest has it.
        for rows in (slice(0, None, 2), slice(1, None, 2), slice(0, 1), slice(-1, None)):
            if matrix[rows].size:
                close = np.isclose(self._evaluate(data.iloc[rows])[1], matrix[rows], rtol=1e-9, equal_nan=True)
                wrong |= set(np.flatnonzero(~close.all(axis=0)))
        if wrong:
            raise FormulaError(
                f"{self.names[min(wrong)]}: its value in a row depends on the other rows, and would change with them; "
                "write center(x), scale(x) or poly(x, 2), which remember the rows of the fit, or compute it as a "
                "column of the data beforehand."
            )

    def _as_sum(self) -> tuple[str, ...] | None:
        """Return the columns' names if the formula only adds variables that are numbers, else None.

        Most random terms do, and need no formula machinery, which takes as long as the fit of a small model.
        """
        named = {self.stand_ins.column(index): name for index, name in enumerate(self.variables)}
        words = [word.strip() for word in self.text.split("+")]
        others = [word for word in words if word not in ("0", "1")]
        if not all(word in named and self.variables[named[word]].kind == "number" for word in others):
            return None
        numbers = [named[word] for word in others]
        if "Intercept" in numbers or ("0" in words and (words.count("0") > 1 or words[0] != "0" or "1" in words)):
            return None
        return tuple(dict.fromkeys([*([] if "0" in words else ["Intercept"]), *numbers])) or None


def _numpy(call: str) -> Any:
    """Return the function of NumPy that a formula calls ``np.exp``, or None."""
    value: Any = np if call.startswith("np.") else None
    for name in call.split(".")[1:]:
        value = getattr(value, name, None)
    return value
