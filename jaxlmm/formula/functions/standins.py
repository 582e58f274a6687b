"""Plain identifiers in place of the columns and texts of a formula, while Python and formulaic evaluate it.

Neither takes every name: Python writes identifiers in a form of its own (NFKC, in which ``µ`` is ``μ`` and ``x²`` is
``x2``), and quotes, brackets and keywords mean something to both. So neither ever sees a name of the data, nor a text.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from jaxlmm.formula.tokens import Token, in_python, join, split

_ONE = re.compile(r"\b_([xt])([0-9]+)_\b")


class StandIns(NamedTuple):
    """The ``columns`` ``_x0_``, ``_x1_``, … stand for, and the ``texts`` ``_t0_``, …"""

    columns: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> StandIns:
        """Return stand-ins for all columns, which are in backquotes, and texts of an expression, each once."""
        columns = dict.fromkeys(token.name for token in tokens if token.kind == "quoted")
        texts = dict.fromkeys(token.value for token in tokens if token.kind == "string")
        return cls(tuple(columns), tuple(texts))

    def put(self, tokens: Sequence[Token]) -> str:
        """Return the expression with the stand-ins.

        >>> from jaxlmm.formula.tokens.tokens import tokenize
        >>> tokens = tokenize("relevel(`µg`, 'f') + `a b`")
        >>> StandIns.of(tokens).put(tokens)
        'relevel(_x0_, _t0_) + _x1_'
        """
        return join([self._put(token) for token in tokens])

    def _put(self, token: Token) -> Token:
        if token.kind == "quoted":
            return Token("name", f"_x{self.columns.index(token.name)}_")
        return Token("name", f"_t{self.texts.index(token.value)}_") if token.kind == "string" else token

    def column(self, index: int) -> str:
        """Return the stand-in of the column at an index."""
        return f"_x{index}_"

    def text(self, index: int) -> str:
        """Return the stand-in of the text at an index."""
        return f"_t{index}_"

    def written(self, expression: str) -> str:
        r"""Return an expression, or what is said of it, with the columns' own names and the texts.

        >>> StandIns(("µg", "_x0_"), ("f's",)).written("C(_x0_, _t0_) + _x1_")
        'C(µg, "f\'s") + _x0_'
        """
        return _ONE.sub(self._written, expression)

    def _written(self, found: re.Match[str]) -> str:
        known, index = self.columns if found[1] == "x" else self.texts, int(found[2])
        if index >= len(known):
            return found[0]
        return known[index] if found[1] == "x" else repr(known[index])


def column_name(tokens: Sequence[Token], columns: Sequence[str]) -> str:
    """Return what the column of a term is called: the term in formulaic's spelling, with its ``columns``' own names.

    >>> from jaxlmm.formula.tokens.tokens import tokenize
    >>> column_name(tokenize("I(`a b`^2):x"), ["a b", "x"])
    'I(a b ** 2):x'
    """
    names = []
    for _, part in split(tokens, (":",)):
        written = in_python(part, columns)
        stand_ins = StandIns.of(written)
        text = stand_ins.put(written)
        with contextlib.suppress(SyntaxError):  # of a formula that is no expression
            text = ast.unparse(ast.parse(text, mode="eval"))
        names.append(stand_ins.written(text))
    return ":".join(names)
