"""Model matrices: formulas in R's notation, evaluated by formulaic."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.formula.columns.encoding import Encoding
from jaxlmm.formula.syntax import Bar, ParsedFormula, parts_of, sorted_names, unknown_names
from jaxlmm.formula.tokens import Token, in_python, tokenize


class Columns(NamedTuple):
    """A model matrix, the names of its columns, and the encoding that computes them from data."""

    matrix: Float[NumpyArray, "n p"]
    names: tuple[str, ...]
    encoding: Encoding


def used_variables(tokens: Iterable[Token], columns: Collection[str]) -> list[str]:
    """Return the ``columns`` of the data that an expression names.

    Raises
    ------
    FormulaError
        With the nearest names, if a name is neither a column nor a known function.
    """
    variables, unknown = sorted_names(tokens, columns)
    if unknown:
        raise unknown_names(unknown, columns)
    return variables


def model_variables(parsed: ParsedFormula, bars: Iterable[Bar], columns: Collection[str]) -> list[str]:
    """Return the ``columns`` of the data that a formula with these random terms names, each once."""
    return list(dict.fromkeys(name for part in parts_of(parsed, bars) for name in used_variables(part, columns)))


def model_columns(tokens: Sequence[Token], data: pd.DataFrame, *, for_new_data: bool = True) -> Columns:
    """Evaluate one side of a formula on complete ``data``; with ``for_new_data`` it will be evaluated on new data too.

    A formula means what it means in R: in a call operators bind as there, and ``^`` is a power; ``TRUE`` is true, an
    ordered factor gets polynomial contrasts and a logical column two levels, levels that do not occur are dropped,
    names with dots are columns when the data have them. Numbers are computed in double precision. Names are those that
    formulaic prints, the factors of an interaction in the order in which the formula names them first: ``Intercept``,
    ``f[T.b]``, ``f[T.b]:x``, ``o[.L]``, ``I(x ** 2)``, ``poly(x, 2)[1]``, ``factor(x)[T.2]``, ``relevel(f, 'b')[T.a]``,
    ``C(f, contr.sum)[S.a]``; variables are called in them as in the data, without backquotes.
    """
    names = used_variables(tokens, data.columns)
    encoding, matrix = Encoding.learn(in_python(tokens, names), data, for_new_data=for_new_data)
    return Columns(matrix, encoding.names, encoding)


def as_arithmetic(tokens: Sequence[Token]) -> list[Token]:
    """Return the formula of one column, the value of an expression in which ``+ - * / ^`` are arithmetic."""
    return [*tokenize("0 + number"), Token("operator", "("), *tokens, Token("operator", ")")]
