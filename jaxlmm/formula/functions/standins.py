"""Plain identifiers in place of the columns and texts of a formula, while Python and formulaic evaluate it.

Neither takes every name: Python takes identifiers in NFKC form, where ``µ`` (micro) becomes ``μ`` (mu) and ``xᵢ``
becomes ``xi``, and refuses others, as ``x²``; and quotes, brackets and keywords mean something to both. So neither ever
sees a name of the data, nor a text.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from jaxlmm.formula.tokens import Token, in_python, join, split

_STAND_IN = re.compile(r"\b_([xt])([0-9]+)_\b")


class StandIns(NamedTuple):
    """Identifiers ``_x0_``, ``_x1_``, … for the ``columns`` of an expression, and ``_t0_``, … for its ``texts``."""

    columns: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> StandIns:
        """Return stand-ins for the columns, which are in backquotes, and the texts of an expression, each once."""
        columns = dict.fromkeys(token.name for token in tokens if token.kind == "quoted")
        texts = dict.fromkeys(token.value for token in tokens if token.kind == "string")
        return cls(tuple(columns), tuple(texts))

    def put(self, tokens: Sequence[Token]) -> str:
        """Return the text of an expression with stand-ins for its columns and texts.

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
        r"""Return an expression, or an error's text, with columns' own names and texts in place of the stand-ins.

        >>> StandIns(("µg", "_x0_"), ("f's",)).written("C(_x0_, _t0_) + _x1_")
        'C(µg, "f\'s") + _x0_'
        """
        return _STAND_IN.sub(self._written, expression)

    def _written(self, match: re.Match[str]) -> str:
        originals, index = self.columns if match[1] == "x" else self.texts, int(match[2])
        if index >= len(originals):
            return match[0]
        return originals[index] if match[1] == "x" else repr(originals[index])


def column_name(tokens: Sequence[Token], columns: Sequence[str]) -> str:
    """Return the name that the model matrix gives to the column of one summand of a formula, as ``I(a b ** 2):x``.

    In formulaic's spelling, with the names of the data's ``columns``.

    >>> from jaxlmm.formula.tokens.tokens import tokenize
    >>> column_name(tokenize("I(`a b`^2):x"), ["a b", "x"])
    'I(a b ** 2):x'
    """
    names = []
    for _, part in split(tokens, (":",)):
        written = in_python(part, columns)
        stand_ins = StandIns.of(written)
        text = stand_ins.put(written)
        # what Python cannot parse, as '.', keeps its spelling, and no column of the model has that name
        with contextlib.suppress(SyntaxError):
            text = ast.unparse(ast.parse(text, mode="eval"))
        names.append(stand_ins.written(text))
    return ":".join(names)
