"""Hypotheses about coefficients, in words or as a matrix, as linear combinations with given values.

A linear form of p coefficients is a vector of d = p + 1 numbers: their factors, and last a constant.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError, nearest

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_OPERATOR = re.compile(r"==|[-−+*/()=,]")
_WORD = re.compile(r"`[^`]*`?|[^\s=,+*/()−-]+|.", re.DOTALL)
_SPELLED = {"==": "=", "−": "-"}


class Hypothesis(NamedTuple):
    """That the products of ``rows`` with the coefficients are those with ``at``, coefficients of which it is true."""

    rows: Float[NumpyArray, "c p"]
    at: Float[NumpyArray, " p"]


def hypothesis(h: Any, names: Sequence[str]) -> Hypothesis:
    """Return a hypothesis about the coefficients ``names``.

    Parameters
    ----------
    h
        Text such as ``"a - b = 0"``, ``"a = b + 1"`` or ``"a = 0, b = 0"``, or a list of such texts, in names of
        coefficients; or a matrix (c, p) or row (p,) whose product with them is zero. Of several names that stand at
        one place the longest is read; backquotes say where one begins and ends, and that a name is no number or sign.

    Raises
    ------
    OptionError
        If it cannot be read, names what is no coefficient, contradicts itself, or has another number of columns.

    Examples
    --------
    >>> hypothesis("f[T.b] - 2 * x = 0", ["Intercept", "f[T.b]", "x"]).rows.tolist()
    [[0.0, 1.0, -2.0]]
    >>> hypothesis("a-b = 0, `a`-`b` = 0", ["a", "b", "a-b"]).rows.tolist()
    [[0.0, 0.0, 1.0], [1.0, -1.0, 0.0]]
    >>> hypothesis("2 * a = 3", ["a", "b"]).at.round(12).tolist()
    [1.5, 0.0]
    """
    texts = in_words(h)
    if texts:
        forms = np.concatenate([_Reader(text, names).hypotheses() for text in texts])
        rows, values = _nonzero(forms[:, :-1] + 0.0, h), -forms[:, -1]  # no zero with a sign
        at = np.linalg.lstsq(rows, values, rcond=None)[0] if values.any() else np.zeros(len(names))
        if not np.allclose(rows @ at, values, rtol=1e-9, atol=1e-9 * np.abs(values).max()):
            raise OptionError(f"h: expected equations that can be true together, got {h!r}.")
        return Hypothesis(rows, at)
    try:
        rows = np.atleast_2d(np.asarray(h, float))
    except (TypeError, ValueError):
        rows = np.empty((0, 0, 0))
    if rows.ndim != 2 or rows.shape[1] != len(names) or not np.isfinite(rows).all():
        got = f"shape {np.shape(h)}" if rows.ndim == 2 else repr(h)
        raise OptionError(
            f"h: expected text such as '{names[-1]} = 0', or a matrix of finite numbers with {len(names)} columns, one "
            f"per coefficient ({', '.join(names)}), got {got}."
        )
    return Hypothesis(_nonzero(rows, h), np.zeros(len(names)))


def in_words(h: Any) -> list[str]:
    """Return the texts of a hypothesis in words, none of one that is a matrix."""
    if isinstance(h, str):
        return [h]
    listed = isinstance(h, (list, tuple, np.ndarray)) and len(h) > 0 and all(isinstance(text, str) for text in h)
    return [str(text) for text in h] if listed else []


def _nonzero(rows: Float[NumpyArray, "c p"], h: Any) -> Float[NumpyArray, "c p"]:
    if not len(rows) or not rows.any(axis=1).all():
        raise OptionError(f"h: expected a combination of coefficients in every row, got {h!r}.")
    return rows


class _Token(NamedTuple):
    """An operator; or a number or a coefficient as a linear form."""

    text: str
    form: Float[NumpyArray, " d"] | None


class _Reader:
    """Reads hypotheses as linear forms."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.names, self.index = text, names, 0
        self.tokens = self._tokens()

    def hypotheses(self) -> Float[NumpyArray, "c d"]:
        """Return the linear forms that are to be zero: the differences of the two sides of each ``=``."""
        rows = []
        while True:
            left = self._sum()
            if self._operator() != "=":
                rows.append(left)
            while self._operator() == "=":
                self.index += 1
                right = self._sum()
                rows.append(left - right)
                left = right
            if self.index == len(self.tokens):
                return np.array(rows)
            if self._operator() != ",":
                raise self._error(f"expected an operator before {self.tokens[self.index].text!r}")
            self.index += 1

    def _sum(self) -> Float[NumpyArray, " d"]:
        form = self._product()
        while (sign := self._operator()) in ("+", "-"):
            self.index += 1
            form = form + self._product() * (1.0 if sign == "+" else -1.0)
        return form

    def _product(self) -> Float[NumpyArray, " d"]:
        form = self._factor()
        while (operator := self._operator()) in ("*", "/"):
            self.index += 1
            other = self._factor()
            if operator == "*" and not form[:-1].any():
                form, other = other, form
            if other[:-1].any() or (operator == "/" and other[-1] == 0.0):
                raise self._error("a coefficient is multiplied and divided by numbers other than zero")
            form = form * other[-1] if operator == "*" else form / other[-1]
        return form

    def _factor(self) -> Float[NumpyArray, " d"]:
        if self.index == len(self.tokens):
            raise self._error("it ends too early")
        text, form = self.tokens[self.index]
        self.index += 1
        if form is not None:
            return form
        if text in ("+", "-"):
            return self._factor() * (1.0 if text == "+" else -1.0)
        if text == "(":
            form = self._sum()
            if self._operator() != ")":
                raise self._error("a parenthesis is not closed")
            self.index += 1
            return form
        raise self._error(f"expected a coefficient or a number before {text!r}")

    def _operator(self) -> str:
        """Return the operator that comes next, "" if none does."""
        token = self.tokens[self.index] if self.index < len(self.tokens) else _Token("", None)
        return token.text if token.form is None else ""

    def _tokens(self) -> list[_Token]:
        """Divide the text in one pass: at each position the longest of names, numbers and operators."""
        text, names = self.text, list(self.names)
        composed = [unicodedata.normalize("NFC", name) for name in names]
        if len(set(composed)) == len(composed):  # letters with accents are written in two ways that look alike
            text, names = unicodedata.normalize("NFC", text), composed
        unit, tokens, start = np.eye(len(names) + 1), [], 0
        while start < len(text):
            if text[start].isspace():
                start += 1
                continue
            ends = [_end(name, text, start) for name in names]
            end = max(ends, default=-1)
            number, operator = _NUMBER.match(text, start), _OPERATOR.match(text, start)
            if number and number.end() >= end:
                end = number.end()
                tokens.append(_Token(number.group(), float(number.group()) * unit[-1]))
            elif operator and operator.end() >= end:
                end = operator.end()
                tokens.append(_Token(_SPELLED.get(operator.group(), operator.group()), None))
            elif end > start:
                tokens.append(_Token(text[start:end], unit[ends.index(end)]))
            else:
                raise self._unknown(_WORD.match(text, start))
            start = end
        return tokens

    def _unknown(self, word: re.Match[str] | None) -> OptionError:
        name = word.group().strip("`") if word else ""
        return OptionError(
            f"h: cannot read {self.text!r}: no coefficient is named {name!r}; {nearest(name, self.names)}."
        )

    def _error(self, message: str) -> OptionError:
        return OptionError(
            f"h: cannot read {self.text!r}: {message}. Expected '{self.names[-1]} = 0', in names of coefficients: "
            f"{', '.join(self.names)}."
        )


def _end(name: str, text: str, start: int) -> int:
    """Return the position in ``text`` at which ``name``, from ``start`` on, ends; -1 if it is not there.

    The whole name, or a single factor of an interaction, may be in backquotes, inside which a backquote stands twice,
    as in a formula. A word ends where no letter follows.

    >>> _end("a b:x", "2 * `a b`:x", 4), _end("x1", "x10", 0)
    (11, -1)
    >>> _end("a`b", "`a``b`", 0), _end("a`b", "a`b", 0)
    (6, 3)
    """
    end, quoted = start, False
    for number, letter in enumerate(name):
        begins, ends = number == 0 or name[number - 1] == ":", letter in ":["
        if text[end : end + 1] == "`" and (ends if quoted else begins and letter != "`"):
            quoted, end = not quoted, end + 1
        spelled = "``" if quoted and letter == "`" else letter
        if not text.startswith(spelled, end):
            return -1
        end += len(spelled)
    following = text[end : end + 1]
    if quoted:
        return end + 1 if following == "`" else -1
    return -1 if _in_word(name[-1:]) and _in_word(following) else end


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
