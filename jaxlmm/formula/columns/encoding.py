"""How columns are computed from data, remembered: a fit's columns again, on other data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.errors import FormulaError, JaxlmmError
from jaxlmm.formula.columns import plain
from jaxlmm.formula.columns.checks import variables_of
from jaxlmm.formula.functions import StandIns, Variable, plain_dtypes
from jaxlmm.formula.tokens import Token

_FOREIGN = re.compile(r"\b(lag|np\.[\w.]+)\(")
"""Calls of which it is not known whether they go row by row."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """One side of a formula as columns of numbers, with the levels, contrasts and bases that the fit's data gave.

    It holds no data, and is JSON after :meth:`to_plain`. What is taken from all rows is remembered for ``factor``,
    ``poly``, ``center``, ``scale`` and the splines; a call such as ``np.mean(x)``, of which nothing is, is refused.

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
        What each column of the data holds.
    texts
        The texts of the formula.
    transforms, codings
        What formulaic learned of calls and of factors, by how ``text`` spells them.
    """

    text: str
    names: tuple[str, ...]
    terms: tuple[tuple[tuple[str, ...], int], ...]
    variables: Mapping[str, Variable]
    texts: tuple[str, ...]
    transforms: Mapping[str, Any]
    codings: Mapping[str, Any]

    @classmethod
    def learn(cls, tokens: Sequence[Token], data: pd.DataFrame, *, again: bool = True) -> tuple[Encoding, NumpyArray]:
        """Return the encoding that complete data give, and its matrix (n, p).

        ``tokens`` are one side of a formula in Python's words, variables in backquotes. Where it is used ``again``, a
        call must not depend on the rows of these data.
        """
        stand_ins = StandIns.of(tokens)
        variables = {name: Variable.of(name, data[name]) for name in stand_ins.columns}
        encoding, matrix = cls(stand_ins.put(tokens), (), (), variables, stand_ins.texts, {}, {})._evaluate(data)
        if again and any(not isinstance(_numpy(call), np.ufunc) for call in _FOREIGN.findall(encoding.text)):
            encoding._check_row_by_row(data, matrix)
        return encoding, matrix

    def columns(self, data: Any) -> NumpyArray:
        """Return the columns (n, p) of other data; a row in which a variable is missing is NaN.

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

    def to_plain(self) -> dict[str, Any]:
        """Return the encoding as JSON types.

        Raises
        ------
        FormulaError
            If JSON cannot say a level or a state (:mod:`jaxlmm.formula.columns.plain`).
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
        """What stands for the variables and texts."""
        return StandIns(tuple(self.variables), self.texts)

    def _evaluate(self, data: pd.DataFrame) -> tuple[Encoding, NumpyArray]:
        """Return the columns (n, p) of complete data, and the encoding with what they taught, if it was empty."""
        plain_sum = self._as_sum()
        if plain_sum is not None:
            parts = [np.ones(len(data))] if "Intercept" in plain_sum else []
            parts += [np.asarray(self.variables[v].read(v, data[v])) for v in plain_sum if v != "Intercept"]
            factors: list[tuple[str, ...]] = [() if name == "Intercept" else (name,) for name in plain_sum]
            terms = tuple((own, 1) for own in factors)
            return Encoding(self.text, plain_sum, terms, self.variables, (), {}, {}), np.stack(parts, axis=1)
        from jaxlmm.formula.coding import evaluate

        stand_ins = self.stand_ins
        read = {
            stand_ins.column(index): variable.read(name, data[name])
            for index, (name, variable) in enumerate(self.variables.items())
        }
        try:
            with np.errstate(all="ignore"):  # what is undefined is found by the caller, and said in words
                table = pd.DataFrame(read, index=pd.RangeIndex(len(data)))
                found = evaluate(self.text, table, stand_ins, self.transforms, self.codings)
        except Exception as error:  # of formulaic, or of any function that the formula calls
            told = error if isinstance(error, JaxlmmError) else error.__cause__
            if isinstance(told, JaxlmmError):
                raise type(told)(stand_ins.written(str(told))) from None
            if isinstance(error, MemoryError):
                raise
            said = str(error).split("\n\n")[0]  # then formulaic shows the place, in the colors of terminals
            raise FormulaError(
                f"cannot evaluate {stand_ins.written(self.text)!r}: {stand_ins.written(said)}"
            ) from error
        if self.names and (found.names != self.names or found.transforms.keys() != self.transforms.keys()):
            raise FormulaError(
                f"cannot evaluate {stand_ins.written(self.text)!r} as in the fit: expected columns "
                f"{', '.join(self.names)}, got {', '.join(found.names)}."
            )
        terms = tuple((tuple(map(stand_ins.written, factors)), count) for factors, count in found.terms)
        learned = Encoding(self.text, found.names, terms, self.variables, self.texts, found.transforms, found.codings)
        return learned, found.matrix

    def _check_row_by_row(self, data: pd.DataFrame, matrix: NumpyArray) -> None:
        """Raise if the columns of some rows alone are not those (n, p) that they have among all."""
        wrong: set[int] = set()
        # The halves may have the same maximum; no row but the largest is it alone.
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
    found: Any = np if call.startswith("np.") else None
    for name in call.split(".")[1:]:
        found = getattr(found, name, None)
    return found
