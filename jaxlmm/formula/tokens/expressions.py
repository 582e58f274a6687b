"""Expressions within calls, from R's syntax and operator precedence to Python's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from jaxlmm.errors import FormulaError
from jaxlmm.formula.tokens.tokens import CONSTANTS, Token, join, quoted, split, word

COMPARISONS = {"==", "!=", "<", ">", "<=", ">="}
_R_PRECEDENCE = {"|": 1, "&": 2, **dict.fromkeys(COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6, "@": 6, "%": 6}
_R_PRECEDENCE |= {"%%": 7, "%/%": 7, "^": 9, "**": 9}
"""R's precedence of binary operators, the larger binds first; Python's ``@`` and ``%``, which R does not have as such,
bind as ``*``."""
_R_NOT, _R_SIGN = 3, 8
"""R's precedence of ``!``, and of a sign."""

_PYTHON_PRECEDENCE = {**dict.fromkeys(COMPARISONS, 1), "|": 2, "&": 3, "+": 4, "-": 4}
_PYTHON_PRECEDENCE |= {**dict.fromkeys(("*", "/", "@", "%", "//"), 5), "**": 7}
"""Python's precedence of binary operators."""
_PYTHON_SIGN, _PYTHON_ATOM = 6, 8
"""Python's precedence of a sign, and of names, calls and brackets."""

_PYTHON_SPELLING = {"^": "**", "%%": "%", "%/%": "//"}
_VALUE_OPERATORS = {*COMPARISONS, "&", "!", "%", "%%", "%/%", "@", "="}
"""Operators of values, which have no meaning between the terms of a formula."""


def in_python(tokens: Sequence[Token], columns: Collection[str]) -> list[Token]:
    """Return one side of a formula in formulaic's syntax, its calls by R's rules of precedence.

    A name that is one of the ``columns`` is put in backquotes, unless it is called as a function, names an argument, or
    is a constant.

    Raises
    ------
    FormulaError
        If an operator of values, a text, a constant, a quotient with a number, or a power that is no whole number
        stands outside a call, if an operator is missing, or if an expression in a call cannot be read.
    """
    written: list[Token] = []
    index = 0
    while index < len(tokens):
        token, following = tokens[index], tokens[index + 1].text if index + 1 < len(tokens) else ""
        # a call, an index, or an expression in braces, formulaic's spelling of I()
        if token.text == "{" or (token.kind in ("name", "quoted") and following in ("(", "[")):
            parser = _Parser(tokens, columns, index)
            written += parser.primary().tokens
            index = parser.index
            continue
        if token.kind == "operator" and token.text in _VALUE_OPERATORS:
            term = _term(tokens, index)
            raise FormulaError(f"{join(term)!r}: {token.text!r} is no operator of formulas; write {_as_value(term)}.")
        if token.text == "/" and (following[:1].isdigit() or tokens[max(index - 1, 0)].kind == "number"):
            term = _term(tokens, index)
            raise FormulaError(
                f"{join(term)!r}: '/' nests factors in a formula, and a number is none; write {_as_value(term)} for "
                "the quotient."
            )
        if token.kind != "operator" and written and written[-1].kind != "operator":
            raise FormulaError(f"{join(tokens)!r}: expected an operator before {token.text!r}.")
        if token.kind == "string":
            raise FormulaError(
                f"{token.text} is text, and no variable; write {word(token.value)} for a column of this name."
            )
        if token.text in ("^", "**") and following != "(" and not (following.isdecimal() and int(following)):
            # the sign of an exponent, at which _term has cut, as in x^-1: put it and the number back
            signed = tokens[index + 1 : index + 3] if following in ("+", "-") else []
            term = [*_term(tokens, index), *signed]
            raise FormulaError(
                f"{join(term)!r}: in a formula {token.text!r} gives interactions up to an order, and takes a whole "
                f"number, as (a + b)^2; write {_as_value(term)} for the power."
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


def _as_value(term: Sequence[Token]) -> str:
    """Return ``I(term)``, by which a formula takes the value of a term."""
    # in parentheses already: the bracket that opens first closes last
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


class _Expression(NamedTuple):
    """An expression of Python, and the precedence of its outermost operator."""

    tokens: list[Token]
    precedence: int

    def within(self, precedence: int) -> list[Token]:
        """Return the expression as an operand, in parentheses if its own precedence is lower than this."""
        if self.precedence >= precedence:
            return self.tokens
        return [Token("operator", "("), *self.tokens, Token("operator", ")")]


class _Parser:
    """Parser of one expression that begins at an index, by precedence climbing."""

    def __init__(self, tokens: Sequence[Token], columns: Collection[str], index: int) -> None:
        self.tokens, self.columns, self.index = tokens, columns, index

    def expression(self, precedence: int = 0) -> _Expression:
        """Read operators of at least this precedence, with their operands."""
        left = self._prefix()
        compared = False
        while (operator := self._text()) in _R_PRECEDENCE and _R_PRECEDENCE[operator] >= precedence:
            if operator in COMPARISONS and compared:
                raise self._error("comparisons do not chain; join them by '&', as in '0 < x & x < 1'")
            compared = operator in COMPARISONS
            self.index += 1
            power = operator in ("^", "**")
            right = self.expression(_R_PRECEDENCE[operator] + (0 if power else 1))
            spelled = _PYTHON_SPELLING.get(operator, operator)
            python_precedence = _PYTHON_PRECEDENCE[spelled]
            before = left.within(_PYTHON_ATOM if power else python_precedence + (operator in COMPARISONS))
            after = right.within(_PYTHON_SIGN if power else python_precedence + 1)
            left = _Expression([*before, Token("operator", spelled), *after], python_precedence)
        if self._text() == "%in%":
            raise self._error("'%in%' joins factors, and stands in no call")
        return left

    def _prefix(self) -> _Expression:
        """Read an operand with the signs before it, or a negation."""
        sign = self._text()
        if sign in ("-", "+", "~"):  # ~ is Python's negation of a column, and binds as a sign; R's is !
            self.index += 1
            operand = self.expression(_R_SIGN)
            return _Expression([Token("operator", sign), *operand.within(_PYTHON_SIGN)], _PYTHON_SIGN)
        if sign == "!":
            self.index += 1
            operand = self.expression(_R_NOT)
            # ~True is -2 in Python
            if not any(token.kind in ("name", "quoted") and token.text not in CONSTANTS for token in operand.tokens):
                raise self._error("'!' needs a column; write FALSE or TRUE")
            return _Expression([Token("operator", "~"), *operand.within(_PYTHON_ATOM)], _PYTHON_SIGN)
        return self.primary()

    def primary(self) -> _Expression:
        """Read a word or a bracket, with the calls and indices that follow it."""
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
        return _Expression(written, _PYTHON_ATOM)

    def _brackets(self) -> list[Token]:
        """Read a bracket to its end: expressions between commas, colons, and the ``=`` of named arguments."""
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
        """Return the text of the token at ``index``, or ``ahead`` tokens after it; empty at the end."""
        index = self.index + ahead
        return self.tokens[index].text if index < len(self.tokens) else ""

    def _error(self, message: str) -> FormulaError:
        return FormulaError(f"cannot evaluate {join(self.tokens)!r}: {message}.")
