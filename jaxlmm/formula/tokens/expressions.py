"""What a formula's calls mean in R, spelled so that Python evaluates them so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from jaxlmm.errors import FormulaError
from jaxlmm.formula.tokens.tokens import CONSTANTS, Token, join, quoted, split, word

COMPARISONS = {"==", "!=", "<", ">", "<=", ">="}
# How tightly operators bind, in R and in Python: the larger binds first.
_R = {"|": 1, "&": 2, **dict.fromkeys(COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6, "@": 6, "%": 6}
_R |= {"%%": 7, "%/%": 7, "^": 9, "**": 9}
_R_NOT, _R_SIGN = 3, 8
_PYTHON = {**dict.fromkeys(COMPARISONS, 1), "|": 2, "&": 3, "+": 4, "-": 4}
_PYTHON |= {**dict.fromkeys(("*", "/", "@", "%", "//"), 5), "**": 7}
_PYTHON_SIGN, _ATOM = 6, 8
_SPELLED = {"^": "**", "%%": "%", "%/%": "//"}
_VALUES = {*COMPARISONS, "&", "!", "%", "%%", "%/%", "@", "="}


def in_python(tokens: Sequence[Token], columns: Collection[str]) -> list[Token]:
    """Return one side of a formula in the words of formulaic, its calls by R's rules of precedence.

    Each of the ``columns`` that it names comes in backquotes, whatever its name is.

    Raises
    ------
    FormulaError
        If an operator stands outside a call where R's formulas have another meaning for it, or an expression cannot be
        read.
    """
    written: list[Token] = []
    index = 0
    while index < len(tokens):
        token, following = tokens[index], tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.text == "{" or (token.kind in ("name", "quoted") and following in ("(", "[")):
            reader = _Reader(tokens, columns, index)
            written += reader.primary().tokens
            index = reader.index
            continue
        if token.kind == "operator" and token.text in _VALUES:
            term = _term(tokens, index)
            raise FormulaError(f"{join(term)!r}: {token.text!r} is no operator of formulas; write {_valued(term)}.")
        if token.text == "/" and (following[:1].isdigit() or tokens[max(index - 1, 0)].kind == "number"):
            term = _term(tokens, index)
            raise FormulaError(
                f"{join(term)!r}: '/' nests factors in a formula, and a number is none; write {_valued(term)} for the "
                "quotient."
            )
        if token.kind != "operator" and written and written[-1].kind != "operator":
            raise FormulaError(f"{join(tokens)!r}: expected an operator before {token.text!r}.")
        if token.kind == "string":
            raise FormulaError(
                f"{token.text} is text, and no variable; write {word(token.value)} for a column of this name."
            )
        if token.text in ("^", "**") and following != "(" and not (following.isdecimal() and int(following)):
            signed = tokens[index + 1 : index + 3] if following in ("+", "-") else []  # a sign that ends no summand
            term = [*_term(tokens, index), *signed]
            raise FormulaError(
                f"{join(term)!r}: {token.text!r} crosses terms up to a whole number in a formula; write "
                f"{_valued(term)} for the power."
            )
        if token.kind == "name" and token.text in CONSTANTS:
            raise FormulaError(f"{token.text!r} is a value; write `{token.text}` for a column of this name.")
        written.append(Token("operator", ":") if token.text == "%in%" else _word(token, columns))
        index += 1
    return written


def _term(tokens: Sequence[Token], index: int) -> Sequence[Token]:
    """Return the summand of a formula in which a token stands."""
    start = 0
    for _, part in split(tokens, ("+", "-")):
        start += len(part) + 1
        if index < start:
            return part
    return tokens


def _valued(term: Sequence[Token]) -> str:
    """Return the spelling by which a formula takes the value of a term."""
    wrapped = term[0].text == "(" and term[-1].text == ")" and len(split(term, (")",))) == 2
    inside = term[1:-1] if wrapped else term
    return f"I({join([Token('operator', '==') if token.text == '=' else token for token in inside])})"


def _word(token: Token, columns: Collection[str]) -> Token:
    """Return a word as Python spells it, a column in backquotes."""
    if token.kind == "quoted" or (token.kind == "name" and token.text in columns and token.text not in CONSTANTS):
        return quoted(token.name)
    if token.kind == "name" and token.text in ("TRUE", "FALSE"):
        return Token("name", token.text.capitalize())
    return token


class _Part(NamedTuple):
    """A piece of Python, and how tightly its outermost operator binds."""

    tokens: list[Token]
    binds: int

    def within(self, binds: int) -> list[Token]:
        """Return the piece as an operand, in parentheses if its operator binds less than ``binds``."""
        if self.binds >= binds:
            return self.tokens
        return [Token("operator", "("), *self.tokens, Token("operator", ")")]


class _Reader:
    """Reads one expression from an index on, by precedence climbing."""

    def __init__(self, tokens: Sequence[Token], columns: Collection[str], index: int) -> None:
        self.tokens, self.columns, self.index = tokens, columns, index

    def expression(self, binds: int = 0) -> _Part:
        """Read operators that bind at least as tightly as ``binds``."""
        left = self._prefix()
        compared = False
        while (operator := self._text()) in _R and _R[operator] >= binds:
            if operator in COMPARISONS and compared:
                raise self._error("comparisons do not chain; join them by '&', as in '0 < x & x < 1'")
            compared = operator in COMPARISONS
            self.index += 1
            power = operator in ("^", "**")
            right = self.expression(_R[operator] + (0 if power else 1))
            spelled = _SPELLED.get(operator, operator)
            own = _PYTHON[spelled]
            before = left.within(_ATOM if power else own + (operator in COMPARISONS))
            after = right.within(_PYTHON_SIGN if power else own + 1)
            left = _Part([*before, Token("operator", spelled), *after], own)
        if self._text() == "%in%":
            raise self._error("'%in%' joins factors, and stands in no call")
        return left

    def _prefix(self) -> _Part:
        sign = self._text()
        if sign in ("-", "+", "~"):
            self.index += 1
            operand = self.expression(_R_SIGN)
            return _Part([Token("operator", sign), *operand.within(_PYTHON_SIGN)], _PYTHON_SIGN)
        if sign == "!":
            self.index += 1
            operand = self.expression(_R_NOT)
            if not any(token.kind in ("name", "quoted") and token.text not in CONSTANTS for token in operand.tokens):
                raise self._error("'!' needs a column; write FALSE or TRUE")
            return _Part([Token("operator", "~"), *operand.within(_ATOM)], _PYTHON_SIGN)
        return self.primary()

    def primary(self) -> _Part:
        """Read a word or what stands in brackets, with its calls and indices."""
        token = self.tokens[self.index] if self.index < len(self.tokens) else Token("operator", "the end")
        if token.text in ("(", "[", "{"):
            written = self._brackets()
        elif token.kind == "operator":
            hint = "; write '&' and '|' once, which join row by row" if token.text in ("&", "|", "||") else ""
            raise self._error(f"expected a value before {token.text!r}{hint}")
        else:
            self.index += 1
            called = self._text() == "("
            written = [token if called and token.kind == "name" else _word(token, self.columns)]
        while self._text() in ("(", "["):
            written += self._brackets()
        if self._text() == "||":
            raise self._error("'||' joins no columns; write '|'")
        return _Part(written, _ATOM)

    def _brackets(self) -> list[Token]:
        """Read a bracket to its end: expressions between commas, colons, and the signs of named arguments."""
        written = [self.tokens[self.index]]
        closing = {"(": ")", "[": "]", "{": "}"}[written[0].text]
        self.index += 1
        while self._text() != closing:
            if self._text() == ":" and closing == ")":
                raise self._error("':' joins terms, and stands in no call")
            if self._text() in (",", ":", "="):
                written.append(self.tokens[self.index])
                self.index += 1
                continue
            name = self.tokens[self.index]
            if name.kind == "name" and self._text(1) == "=":
                written.append(Token("name", name.text.replace(".", "_")))  # R's Boundary.knots=
                self.index += 1
                continue
            if written[-1].text not in ("(", "[", "{", ",", ":", "="):
                raise self._error(f"expected an operator or a comma before {self._text()!r}")
            written += self.expression().tokens
        written.append(self.tokens[self.index])
        self.index += 1
        return written

    def _text(self, ahead: int = 0) -> str:
        index = self.index + ahead
        return self.tokens[index].text if index < len(self.tokens) else ""

    def _error(self, message: str) -> FormulaError:
        return FormulaError(f"cannot evaluate {join(self.tokens)!r}: {message}.")
