"""Columns of a model matrix: formulaic's, with R's spellings of what it lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import FormulaError, nearest
from jaxlmm.formula.encoding import Encoding
from jaxlmm.formula.expressions import CONSTANTS, in_python
from jaxlmm.formula.functions import INSTEAD, KNOWN
from jaxlmm.formula.parse import Bar, ParsedFormula
from jaxlmm.formula.tokens import Token, join, tokenize


class Columns(NamedTuple):
    """A model matrix (n, p), its columns' names, and how they are computed from data."""

    matrix: NumpyArray
    names: tuple[str, ...]
    encoding: Encoding


def used_variables(tokens: Iterable[Token], columns: Collection[str]) -> list[str]:
    """Return the ``columns`` of the data that an expression names, and raise for names that are nowhere.

    Raises
    ------
    FormulaError
        With the nearest names, if a name is neither a column nor a known function.
    """
    tokens = list(tokens)
    found = []
    for place, token in enumerate(tokens):
        following = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if token.kind not in ("name", "quoted") or following == "=":
            continue
        name = token.text.strip("`")
        if name in columns and following != "(" and not (token.kind == "name" and name in CONSTANTS):
            found.append(name)
        elif token.kind == "quoted" or name.split(".")[0] not in KNOWN:
            raise _unknown(name, columns, called=following == "(")
    return found


def model_variables(parsed: ParsedFormula, bars: Iterable[Bar], columns: Collection[str]) -> list[str]:
    """Return the ``columns`` of the data that a formula with these random terms names, each once."""
    bars = list(bars)
    groups = [[Token("quoted", factor) for factor in bar.group if factor != "1"] for bar in bars]
    parts = [parsed.response, parsed.fixed, *parsed.offsets, *(bar.left for bar in bars), *groups]
    return list(dict.fromkeys(name for part in parts for name in used_variables(part, columns)))


def _unknown(name: str, columns: Collection[str], *, called: bool) -> FormulaError:
    if called and name in INSTEAD:
        return FormulaError(f"{name!r} is no function of formulas; {INSTEAD[name]}.")
    texts = [str(column) for column in columns]
    if not called and name in texts:
        kinds = type(next(column for column in columns if str(column) == name)).__name__
        return FormulaError(
            f"unknown variable {name!r}: there is a column {name} whose name is no text but {kinds}; make the names "
            "text, as in data.columns = data.columns.astype(str)."
        )
    what, choices = ("function", sorted(KNOWN)) if called else ("variable", texts)
    return FormulaError(f"unknown {what} {name!r}: it is no column of the data; {nearest(name, choices)}.")


def model_columns(tokens: Sequence[Token], data: pd.DataFrame, *, again: bool = True) -> Columns:
    """Evaluate one side of a formula on ``data`` without missing values; ``again`` says that other data follow.

    A formula says what it says in R: in a call operators bind as there, and ``^`` is a power; ``TRUE`` is true, an
    ordered factor gets polynomial contrasts and a logical column two levels, levels that do not occur are dropped,
    names with dots are columns when the data have them. Numbers are computed in double precision. Names are those that
    formulaic prints, the factors of an interaction in the order in which the formula names them first: ``Intercept``,
    ``f[T.b]``, ``f[T.b]:x``, ``o[.L]``, ``I(x ** 2)``, ``poly(x, 2)[1]``, ``factor(x)[T.2]``, ``relevel(f, 'b')[T.a]``,
    ``C(f, contr.sum)[S.a]``.
    """
    names = used_variables(tokens, data.columns)
    encoding, matrix = Encoding.learn(join(in_python(tokens, names)), data, list(dict.fromkeys(names)), again=again)
    return Columns(matrix, encoding.names, encoding)


def as_arithmetic(tokens: Sequence[Token]) -> list[Token]:
    """Return the formula of one column that is the value of an expression, where ``+ - * / ^`` are arithmetic."""
    return [*tokenize("0 + number"), Token("operator", "("), *tokens, Token("operator", ")")]
